//! Python modules, found as the import system does it (PEP 420 for directories without `__init__.py`).

use facts::path::join;
use oci::Platform;

use crate::image::Image;

/// Modules that are part of the interpreter, and are asked for by `-m` or by scripts.
const BUILT_IN: [&str; 3] = ["builtins", "sys", "time"];

/// How a module is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// A file, or a package with `__init__`.
    Code,
    /// A directory without one.
    Namespace,
}

/// The module of a dotted name in one of `directories`.
pub(crate) fn find(image: &Image<'_>, directories: &[String], dotted: &str) -> Option<Module> {
    if BUILT_IN.contains(&dotted) {
        return Some(Module::Code);
    }
    let mut places: Vec<String> = directories.to_vec();
    let mut parts = dotted.split('.').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let mut packages = Vec::new();
        let mut namespaces = Vec::new();
        for place in &places {
            let path = join(place, part);
            if is_package(image, &path) {
                packages.push(path);
                break;
            }
            if is_file(image, place, part) {
                // A module has no modules in it, but for what it does itself.
                return Some(Module::Code);
            }
            if image.is_directory(&path) {
                namespaces.push(path);
            }
        }
        match (packages.is_empty(), namespaces.is_empty()) {
            (false, _) if is_last => return Some(Module::Code),
            (true, false) if is_last => return Some(Module::Namespace),
            (true, true) => return None,
            (false, _) => places = packages,
            (true, false) => places = namespaces,
        }
    }
    None
}

fn is_package(image: &Image<'_>, directory: &str) -> bool {
    is_file(image, directory, "__init__")
}

/// `name.py`, `name.pyc` or `name….so`.
fn is_file(image: &Image<'_>, directory: &str, name: &str) -> bool {
    let mut ends = vec![
        "py".to_owned(),
        "pyc".to_owned(),
        "so".to_owned(),
        "abi3.so".to_owned(),
    ];
    ends.extend(image.python.iter().map(|python| {
        let triple = match image.platform {
            Platform::Amd64 => "x86_64-linux",
            Platform::Arm64 => "aarch64-linux",
            Platform::ArmV7 => "arm-linux",
        };
        let (libc, minor) = (image.libc().suffix(image.platform), python.minor);
        format!("cpython-3{minor}-{triple}-{libc}.so")
    }));
    let there = |end: &String| {
        image
            .contents
            .file(&join(directory, &format!("{name}.{end}")))
    };
    ends.iter().any(|end| there(end).is_some())
}
