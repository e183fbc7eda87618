//! Versions of Python as the files of an image write them.

use crate::path;

/// A version of Python 3 with at least its three numbers, as `sys.version` begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// `3.12.4`, `3.14.0rc1`, `3.13.0+`.
    pub(crate) text: String,
    /// 12
    pub(crate) minor: u32,
}

impl Version {
    /// From the form that Python itself uses (`PY_VERSION`).
    pub(crate) fn new(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("3.")?;
        let (minor, rest) = number(rest)?;
        let (_, rest) = number(rest.strip_prefix('.')?)?;
        let rest = rest.strip_suffix('+').unwrap_or(rest);
        let stage = ["a", "b", "rc"]
            .iter()
            .find_map(|stage| rest.strip_prefix(stage));
        let is_stage = |serial: &str| number(serial).is_some_and(|(_, rest)| rest.is_empty());
        (rest.is_empty() || stage.is_some_and(is_stage)).then(|| Self {
            text: text.to_owned(),
            minor,
        })
    }

    /// From the version of a package: `3.11.2-6+deb12u3`, `3.13.0~rc1-1`, `3.12.0_rc1-r0`.
    pub(crate) fn of_package(text: &str) -> Option<Self> {
        let upstream = text.split_once(':').map_or(text, |(_, rest)| rest);
        let text: String = upstream
            .chars()
            .filter(|c| !matches!(c, '~' | '_'))
            .collect();
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '.';
        Self::new(&text.chars().take_while(is_part).collect::<String>())
    }

    /// From `version` or `version_info` in `pyvenv.cfg`: `3.12.4`, `3.12.4.final.0`,
    /// `3.14.0.candidate.1`.
    pub(crate) fn of_venv(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [major, minor, patch, level, serial] = parts[..] else {
            return Self::new(text);
        };
        let stage = match level {
            "alpha" => "a",
            "beta" => "b",
            "candidate" => "rc",
            _ => return Self::new(&format!("{major}.{minor}.{patch}")),
        };
        Self::new(&format!("{major}.{minor}.{patch}{stage}{serial}"))
    }

    /// From `#define PY_VERSION` in `patchlevel.h`.
    pub(crate) fn of_header(text: &str) -> Option<Self> {
        let value = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let is_it = words.next() == Some("#define") && words.next() == Some("PY_VERSION");
            is_it.then(|| {
                words
                    .next()
                    .unwrap_or_default()
                    .trim_matches('"')
                    .to_owned()
            })
        };
        Self::new(&text.lines().find_map(value)?)
    }
}

/// The minor version that a directory's name has: 12 of `lib/python3.12`.
pub(crate) fn of_directory(path: &str) -> Option<(u32, bool)> {
    let rest = path::name(path).strip_prefix("python3.")?;
    match number(rest)? {
        (minor, "") => Some((minor, false)),
        (minor, "t") => Some((minor, true)),
        _ => None,
    }
}

/// The digits that `text` begins with, and the rest.
pub(crate) fn number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_python() {
        let check = |text| Version::new(text).map(|version| version.minor);
        assert_eq!(check("3.12.4"), Some(12));
        assert_eq!(check("3.14.0rc1"), Some(14));
        assert_eq!(check("3.14.0a7+"), Some(14));
        assert_eq!(check("3.13.0+"), Some(13));
        for text in [
            "",
            "3",
            "3.12",
            "3.12.",
            "2.7.18",
            "3.12.4.1",
            "3.12.4rc",
            "3.12.4-1",
            "3.x.1",
            "3.99999999999.1",
        ] {
            assert_eq!(check(text), None, "{text}");
        }
    }

    #[test]
    fn of_other_files() {
        let text = |version: Option<Version>| version.map(|version| version.text);
        let package = |version| text(Version::of_package(version));
        assert_eq!(package("3.11.2-6+deb12u3").as_deref(), Some("3.11.2"));
        assert_eq!(package("1:3.13.0~rc1-1").as_deref(), Some("3.13.0rc1"));
        assert_eq!(package("3.12.0_rc2-r0").as_deref(), Some("3.12.0rc2"));
        assert_eq!(package("3.11.2+dfsg-1").as_deref(), Some("3.11.2"));
        assert_eq!(package("3.12-1"), None);
        let venv = |version| text(Version::of_venv(version));
        assert_eq!(venv("3.12.4").as_deref(), Some("3.12.4"));
        assert_eq!(venv("3.12.4.final.0").as_deref(), Some("3.12.4"));
        assert_eq!(venv("3.14.0.candidate.1").as_deref(), Some("3.14.0rc1"));
        assert_eq!(venv("3.14.0.beta.2").as_deref(), Some("3.14.0b2"));
        assert_eq!(venv("3.12"), None);
        let header = "#define PY_MICRO_VERSION 4\n#define PY_VERSION   \"3.12.4\"\n";
        assert_eq!(text(Version::of_header(header)).as_deref(), Some("3.12.4"));
        assert_eq!(text(Version::of_header("#define PY_VERSION")), None);
    }

    #[test]
    fn of_directories() {
        assert_eq!(of_directory("usr/lib/python3.12"), Some((12, false)));
        assert_eq!(of_directory("lib/python3.13t"), Some((13, true)));
        assert_eq!(of_directory("usr/lib/python3"), None);
        assert_eq!(of_directory("usr/lib/python3.12-old"), None);
    }
}
