//! Base images put together by hand: what a distribution's image has of what is looked for, and no more.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use testkit::{Registry, elf};

/// Puts an image of one uncompressed layer for amd64 and arm64 into a registry, in Docker's media types.
/// `files` gives the paths of an architecture with their bytes.
pub(crate) fn put(
    registry: &Registry,
    repository: &str,
    files: impl Fn(&str, &str) -> Vec<(String, Vec<u8>)>,
) {
    let mut entries = Vec::new();
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let mut layer = tar::Builder::new(Vec::new());
        let program = ("usr/bin/python3.13".to_owned(), elf(architecture));
        let files = files(architecture, machine);
        let files: Vec<_> = files.into_iter().chain([program]).collect();
        let directories: BTreeSet<&Path> = files
            .iter()
            .flat_map(|(path, _)| Path::new(path).ancestors().skip(1))
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        for path in directories {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            layer.append_data(&mut header, path, &[][..]).unwrap();
        }
        for (path, bytes) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            layer.append_data(&mut header, path, &bytes[..]).unwrap();
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        link.set_mode(0o777);
        link.set_uid(0);
        link.set_gid(0);
        link.set_mtime(0);
        layer
            .append_link(&mut link, "usr/bin/python3", "python3.13")
            .unwrap();
        let layer = layer.into_inner().unwrap();
        let size = layer.len();
        let digest = registry.put_blob(repository, layer);
        let config = json!({"os": "linux", "architecture": architecture, "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest]}});
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = json!({"schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(), "digest": registry.put_blob(repository, config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": size, "digest": digest}]});
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let digest = registry.put_manifest(repository, architecture, media_type, manifest.clone());
        entries.push(
            json!({"mediaType": media_type, "size": manifest.len(), "digest": digest,
            "platform": {"os": "linux", "architecture": architecture}}),
        );
    }
    let media_type = "application/vnd.docker.distribution.manifest.list.v2+json";
    let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let list = serde_json::to_vec(&list).unwrap();
    registry.put_manifest(repository, "1", media_type, list);
}

/// As Alpine's Python would be: musl 1.2, Python 3.13.5.
pub(crate) fn put_alpine(registry: &Registry, repository: &str) {
    put(registry, repository, |architecture, machine| {
        let installed = "P:musl\nV:1.2.5-r0\n\nP:python3\nV:3.13.5-r1\n\n";
        vec![
            ("lib/apk/db/installed".to_owned(), installed.into()),
            (format!("lib/ld-musl-{machine}.so.1"), elf(architecture)),
        ]
    });
}

/// As a distribution with another glibc would be, with Python 3.13.5.
pub(crate) fn put_glibc(registry: &Registry, repository: &str, version: &str) {
    put(registry, repository, |architecture, _| {
        let patch_level = "#define PY_VERSION \"3.13.5\"\n";
        let status = format!(
            "Package: libc6\nStatus: install ok installed\nVersion: {version}-1\n\
             Architecture: {architecture}\n\n"
        );
        vec![
            ("var/lib/dpkg/status".to_owned(), status.into()),
            (
                "usr/include/python3.13/patchlevel.h".to_owned(),
                patch_level.into(),
            ),
        ]
    });
}
