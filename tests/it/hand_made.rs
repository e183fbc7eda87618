//! Base images put together by hand: what a distribution's image has of what is looked for, and no more.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use testkit::{Registry, elf};

/// An image as Alpine's Python would be, of an uncompressed layer.
pub(crate) fn put_alpine(registry: &Registry, repository: &str) {
    put(registry, repository, |architecture| {
        let name = if architecture == "amd64" {
            "x86_64"
        } else {
            "aarch64"
        };
        vec![
            Member::file("etc/os-release", "ID=alpine\nVERSION_ID=3.22.0\n"),
            Member::file(
                "lib/apk/db/installed",
                "P:musl\nV:1.2.5-r0\n\nP:python3\nV:3.13.5-r1\n\n",
            ),
            Member::file(&format!("lib/ld-musl-{name}.so.1"), elf(architecture)),
            Member::file("usr/bin/python3.13", elf(architecture)),
            Member::link("usr/bin/python3", "python3.13"),
        ]
    });
}

/// A file, or a link, of a layer that is put together by hand.
pub(crate) struct Member {
    path: String,
    bytes: Vec<u8>,
    link: Option<String>,
}

impl Member {
    pub(crate) fn file(path: &str, bytes: impl AsRef<[u8]>) -> Self {
        Self {
            path: path.to_owned(),
            bytes: bytes.as_ref().to_vec(),
            link: None,
        }
    }

    pub(crate) fn is_below(&self, directory: &str) -> bool {
        self.path.starts_with(&format!("{directory}/"))
    }

    pub(crate) fn link(path: &str, target: &str) -> Self {
        Self {
            link: Some(target.to_owned()),
            ..Self::file(path, "")
        }
    }
}

/// Puts an image of one layer for two platforms into a registry, with Docker's media types.
pub(crate) fn put(registry: &Registry, repository: &str, members: impl Fn(&str) -> Vec<Member>) {
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let mut layer = tar::Builder::new(Vec::new());
        let mut directories = BTreeSet::new();
        for member in members(architecture) {
            let mut parents: Vec<_> = Path::new(&member.path).ancestors().skip(1).collect();
            parents.reverse();
            for parent in parents.into_iter().skip(1) {
                if directories.insert(parent.to_owned()) {
                    let mut header = tar::Header::new_gnu();
                    header.set_mode(0o755);
                    header.set_uid(0);
                    header.set_gid(0);
                    header.set_mtime(0);
                    header.set_size(0);
                    header.set_entry_type(tar::EntryType::Directory);
                    layer
                        .append_data(&mut header, parent, std::io::empty())
                        .unwrap();
                }
            }
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(member.bytes.len() as u64);
            match member.link {
                None => layer.append_data(&mut header, &member.path, &*member.bytes),
                Some(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    layer.append_link(&mut header, &member.path, target)
                }
            }
            .unwrap();
        }
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
    registry.put_manifest(
        repository,
        "1",
        media_type,
        serde_json::to_vec(&list).unwrap(),
    );
}

/// As a distribution with another glibc would be, with Python 3.13.5.
pub(crate) fn put_glibc(registry: &Registry, repository: &str, version: &str) {
    put(registry, repository, |architecture| {
        let status = format!(
            "Package: libc6\nStatus: install ok installed\nVersion: {version}-1\n\
             Architecture: {architecture}\n\n"
        );
        vec![
            Member::file("var/lib/dpkg/status", status),
            Member::file(
                "usr/include/python3.13/patchlevel.h",
                "#define PY_VERSION \"3.13.5\"\n",
            ),
            Member::file("usr/bin/python3.13", elf(architecture)),
            Member::link("usr/bin/python3", "python3.13"),
        ]
    });
}
