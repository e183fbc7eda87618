//! METADATA ("Core metadata specifications") and WHEEL ("Binary distribution format"): files of
//! headers as e-mails have them.

use std::str::FromStr;

use uv_normalize::PackageName;
use uv_pep440::Version;

/// `Name: value` lines with folded lines joined, up to the first line that is none, as Python's
/// `email` reads them: old packages have licence texts between their headers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Headers(Vec<(String, String)>);

impl Headers {
    /// Bytes that are not UTF-8 become replacement characters: old packages have authors in
    /// Latin-1, and no header that matters here has other than ASCII.
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            let header = line
                .split_once(':')
                .filter(|(name, _)| is_header_name(name));
            if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), headers.last_mut()) {
                value.push('\n');
                value.push_str(line.trim());
            } else if let Some((name, value)) = header {
                headers.push((name.to_owned(), value.trim().to_owned()));
            } else {
                break;
            }
        }
        Self(headers)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn required<'a>(&'a self, name: &'static str) -> Result<&'a str, MetadataFault> {
        self.all(name)
            .next()
            .ok_or(MetadataFault::Missing { header: name })
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What is wrong with METADATA or WHEEL. Reads on after the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// A header that must be there.
    #[error("has no `{header}`")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header whose value is not one.
    #[error("has the {header} `{value}`, which is not one")]
    Invalid {
        /// Its name.
        header: &'static str,
        /// Its value.
        value: String,
    },
    /// Another project or version than the filename's.
    #[error("is of {name} {version}, unlike the filename")]
    OtherProject {
        /// The name in METADATA.
        name: PackageName,
        /// The version in METADATA.
        version: Version,
    },
    /// A Wheel-Version that we do not know how to install.
    #[error("has Wheel-Version {version}; only 1 is known")]
    WheelVersion {
        /// The version.
        version: String,
    },
}

/// The headers of a METADATA file. The description, which follows them or is one, is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `Name`, normalised.
    pub name: PackageName,
    /// `Version`.
    pub version: Version,
    /// `Requires-Dist`, one requirement each, as they stand.
    pub requires_dist: Vec<String>,
    /// `Requires-Python`, as it stands.
    pub requires_python: Option<String>,
    /// `Provides-Extra`, as they stand.
    pub provides_extra: Vec<String>,
    headers: Headers,
}

impl Metadata {
    /// Parses the contents of a METADATA file.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataFault> {
        fn value<T: FromStr>(headers: &Headers, header: &'static str) -> Result<T, MetadataFault> {
            let value = headers.required(header)?;
            value.parse().map_err(|_| MetadataFault::Invalid {
                header,
                value: value.to_owned(),
            })
        }
        let headers = Headers::parse(bytes);
        let list = |name| headers.all(name).map(str::to_owned).collect();
        let requires_python = headers.all("Requires-Python").next().map(str::to_owned);
        Ok(Self {
            name: value(&headers, "Name")?,
            version: value(&headers, "Version")?,
            requires_dist: list("Requires-Dist"),
            requires_python,
            provides_extra: list("Provides-Extra"),
            headers,
        })
    }

    /// The values of any other header, `License-Expression` say; upper and lower case are the same.
    pub fn get_all<'a>(&'a self, header: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.all(header)
    }
}

/// The contents of a WHEEL file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFile {
    /// `Wheel-Version`, major (always 1) and minor.
    pub wheel_version: (u32, u32),
    /// `Root-Is-Purelib`. Makes no difference in a virtual environment.
    pub root_is_purelib: bool,
    /// `Tag`, each of one tag triple. The filename's are the ones to trust.
    pub tags: Vec<String>,
    /// `Build`.
    pub build: Option<String>,
}

impl WheelFile {
    /// Parses the contents of a WHEEL file. The first of several `Wheel-Version` counts: real wheels
    /// have several.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataFault> {
        const HEADER: &str = "Wheel-Version";
        let headers = Headers::parse(bytes);
        let version = headers.required(HEADER)?;
        let wheel_version = version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| MetadataFault::Invalid {
                header: HEADER,
                value: version.to_owned(),
            })?;
        if wheel_version.0 != 1 {
            return Err(MetadataFault::WheelVersion {
                version: version.to_owned(),
            });
        }
        let root_is_purelib = headers.all("Root-Is-Purelib").next();
        Ok(Self {
            wheel_version,
            root_is_purelib: root_is_purelib.is_some_and(|text| text.eq_ignore_ascii_case("true")),
            tags: headers.all("Tag").map(str::to_owned).collect(),
            build: headers.all("Build").next().map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_up_to_the_description() {
        let metadata = Metadata::parse(
            b"Metadata-Version: 2.4\r\nname: Foo.Bar\r\nVersion: 1.0RC1\r\nRequires-Dist: a>1\r\n\
              License: one\r\n        two\r\nRequires-Dist: b ; extra == 'x'\r\nProvides-Extra: x\r\n\
              Requires-Python: >=3.9\r\nAuthor: J\xf6rg\r\n\r\nName: other\r\nno header\r\n",
        )
        .unwrap();
        assert_eq!(metadata.name.as_str(), "foo-bar");
        assert_eq!(metadata.version.to_string(), "1.0rc1");
        assert_eq!(metadata.requires_dist, ["a>1", "b ; extra == 'x'"]);
        assert_eq!(metadata.provides_extra, ["x"]);
        assert_eq!(metadata.requires_python.as_deref(), Some(">=3.9"));
        assert_eq!(
            metadata.get_all("license").collect::<Vec<_>>(),
            ["one\ntwo"]
        );
        assert_eq!(
            metadata.get_all("Author").collect::<Vec<_>>(),
            ["J\u{fffd}rg"]
        );
    }

    #[test]
    fn broken_metadata_is_named() {
        let check = |text: &str| Metadata::parse(text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(check("Version: 1\n"), @"has no `Name`");
        insta::assert_snapshot!(check("Name: a\n"), @"has no `Version`");
        insta::assert_snapshot!(check("Name: ?\nVersion: 1\n"), @"has the Name `?`, which is not one");
        insta::assert_snapshot!(check("Name: a\nVersion: x\n"), @"has the Version `x`, which is not one");
        insta::assert_snapshot!(check(" Name: a\nVersion: 1\n"), @"has no `Name`");
        insta::assert_snapshot!(check("Name: a\nsome text: here\nVersion: 1\n"), @"has no `Version`");
    }

    #[test]
    fn wheel_files() {
        let file = WheelFile::parse(
            b"Wheel-Version: 1.9\nWheel-Version: 3.0\nGenerator: x\nRoot-Is-Purelib: True\n\
              Tag: py2-none-any\nTag: py3-none-any\nBuild: 1st\n",
        )
        .unwrap();
        assert_eq!(file.wheel_version, (1, 9));
        assert!(file.root_is_purelib);
        assert_eq!(file.tags, ["py2-none-any", "py3-none-any"]);
        assert_eq!(file.build.as_deref(), Some("1st"));
    }

    #[test]
    fn other_wheel_versions_are_refused() {
        let check = |text: &str| WheelFile::parse(text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(check("Wheel-Version: 2.0\n"), @"has Wheel-Version 2.0; only 1 is known");
        insta::assert_snapshot!(check("Wheel-Version: 0.1\n"), @"has Wheel-Version 0.1; only 1 is known");
        insta::assert_snapshot!(check("Wheel-Version: 1\n"), @"has the Wheel-Version `1`, which is not one");
        insta::assert_snapshot!(check("Tag: py3-none-any\n"), @"has no `Wheel-Version`");
    }
}
