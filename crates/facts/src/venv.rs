//! `pyvenv.cfg` (PEP 405, and the documentation of `site`).

use crate::version::Version;

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    /// The directory of the interpreter that the environment was made with.
    pub(crate) home: Option<String>,
    /// That interpreter's version at that time, where all of it is there.
    pub(crate) version: Option<Version>,
    /// Its minor version, which is there more often.
    pub(crate) minor: Option<u32>,
    pub(crate) system_site_packages: bool,
}

impl Config {
    pub(crate) fn new(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                let is_it = key.trim().eq_ignore_ascii_case(name);
                is_it.then(|| value.trim().to_owned())
            })
        };
        let versions = || ["version", "version_info"].into_iter().filter_map(field);
        let minor = |text: String| text.split('.').nth(1)?.parse().ok();
        Self {
            home: field("home"),
            version: versions().find_map(|text| Version::of_venv(&text)),
            minor: versions().find_map(minor),
            system_site_packages: field("include-system-site-packages")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_programs() {
        let venv = Config::new(
            "home = /usr/local/bin\ninclude-system-site-packages = false\nversion = 3.12.4\n",
        );
        assert_eq!(venv.home.as_deref(), Some("/usr/local/bin"));
        assert_eq!(
            venv.version.map(|version| version.text).as_deref(),
            Some("3.12.4")
        );
        assert!(!venv.system_site_packages);
        let virtualenv = Config::new(
            "HOME=/usr/bin\nversion_info = 3.14.0.candidate.1\nInclude-System-Site-Packages = True",
        );
        assert_eq!(
            virtualenv.version.map(|version| version.text).as_deref(),
            Some("3.14.0rc1")
        );
        assert!(virtualenv.system_site_packages);
        let uv = Config::new("home = /usr/bin\nversion_info = 3.12\n");
        assert_eq!((uv.version, uv.minor), (None, Some(12)));
        assert_eq!(Config::new("\0garbage"), Config::default());
    }
}
