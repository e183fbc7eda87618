//! What sources say of their wheel: PKG-INFO, where it is bound to be what the wheel's METADATA will be
//! ("Source distribution format", "Core metadata", field Dynamic).

use std::fs;
use std::path::Path;

use uv_normalize::PackageName;
use uv_pep440::Version;
use wheel::Metadata;

use crate::error::Error;

/// Fields that decide what else is installed.
const DECIDING: [&str; 3] = ["Requires-Dist", "Requires-Python", "Provides-Extra"];
/// Metadata of older versions says nothing of what can change.
const SINCE: (u32, u32) = (2, 2);
/// Bytes that PKG-INFO may have.
const LARGEST: u64 = 16 << 20;

/// The PKG-INFO of the sources in `directory`, where nothing of what they require is left to the build.
pub fn static_metadata(directory: &Path) -> Option<String> {
    let path = directory.join("PKG-INFO");
    let length = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    if length.len() > LARGEST {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    is_static(&text).then_some(text)
}

fn is_static(text: &str) -> bool {
    let Ok(metadata) = Metadata::parse(text.as_bytes()) else {
        return false;
    };
    let version = metadata.get_all("Metadata-Version").next();
    let version = version.and_then(|it| {
        let (major, minor) = it.trim().split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let is_dynamic = |field: &str| {
        let is_it = |it: &str| it.trim().eq_ignore_ascii_case(field);
        metadata.get_all("Dynamic").any(is_it)
    };
    version.is_some_and(|it| it >= SINCE) && !DECIDING.into_iter().any(is_dynamic)
}

/// Checks that the metadata of `what` is that of `name` and, where one is wanted, of that version.
pub fn check_identity(
    text: &str,
    what: &str,
    name: &PackageName,
    version: Option<&Version>,
) -> Result<Version, Error> {
    let other = |found: String| Error::OtherProject {
        what: what.to_owned(),
        found,
    };
    let metadata =
        Metadata::parse(text.as_bytes()).map_err(|fault| other(format!("nothing: it {fault}")))?;
    let is_same = version.is_none_or(|version| {
        *version == metadata.version || *version == metadata.version.clone().without_local()
    });
    if metadata.name != *name || !is_same {
        return Err(other(format!("{} {}", metadata.name, metadata.version)));
    }
    Ok(metadata.version)
}

#[cfg(test)]
mod tests {
    use super::is_static;

    #[test]
    fn what_may_change_in_a_build_is_not_relied_on() {
        let check = |version: &str, rest: &str, expected: bool| {
            let text = format!("Metadata-Version: {version}\nName: a\nVersion: 1\n{rest}\n\ntext");
            assert_eq!(is_static(&text), expected, "{text}");
        };
        check("2.2", "Requires-Dist: b", true);
        check("2.4", "Dynamic: License-File", true);
        check("2.1", "Requires-Dist: b", false);
        check("2.2", "Dynamic: requires-dist", false);
        check("2.2", "Dynamic: Provides-Extra", false);
        check("2.3", "Dynamic: Requires-Python", false);
        check("nonsense", "", false);
        assert!(!is_static("no metadata"));
    }
}
