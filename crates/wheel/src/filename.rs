//! What a wheel's filename says, compared with the names of its directories ("Binary distribution
//! format", sections File name convention and File contents).

use std::str::FromStr;

use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

/// Whether `name` and `version` are those of `filename`. The filename may have a local version
/// (`+cpu`) on top: indexes add one to wheels that were built without.
pub(crate) fn matches(filename: &WheelFilename, name: &PackageName, version: &Version) -> bool {
    let with_local = &filename.version;
    *name == filename.name
        && (version == with_local || *version == with_local.clone().without_local())
}

/// Whether `stem`, the `<name>-<version>` before `.dist-info` or `.data`, is that of `filename`.
pub(crate) fn matches_stem(filename: &WheelFilename, stem: &str) -> bool {
    stem.rsplit_once('-').is_some_and(|(name, version)| {
        match (PackageName::from_str(name), Version::from_str(version)) {
            (Ok(name), Ok(version)) => matches(filename, &name, &version),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_match_after_normalisation() {
        let check =
            |filename: &str, stem| matches_stem(&WheelFilename::from_str(filename).unwrap(), stem);
        assert!(check("Foo_Bar-1.0-py3-none-any.whl", "foo.bar-1.0.0"));
        assert!(check("foo-1.0rc1-py3-none-any.whl", "foo-1.0.RC1"));
        assert!(check(
            "foo-bar-1.0-py3-none-any.whl"
                .replacen('-', "_", 1)
                .as_str(),
            "foo-bar-1.0"
        ));
        assert!(check(
            "torch-2.9.0+cpu-cp313-cp313-linux_aarch64.whl",
            "torch-2.9.0"
        ));
        assert!(check(
            "torch-2.9.0+cpu-cp313-cp313-linux_aarch64.whl",
            "torch-2.9.0+cpu"
        ));
        assert!(!check(
            "torch-2.9.0-cp313-cp313-linux_aarch64.whl",
            "torch-2.9.0+cpu"
        ));
        assert!(!check("foo-1.0-py3-none-any.whl", "foo-1.1"));
        assert!(!check("foo-1.0-py3-none-any.whl", "bar-1.0"));
        assert!(!check("foo-1.0-py3-none-any.whl", "foo"));
    }
}
