//! The packages of an environment: METADATA (core metadata specification) of `.dist-info` and
//! `.egg-info`.

use serde::{Deserialize, Serialize};

use crate::EntryFault;
use crate::members::Wants;

/// Bytes of the fields of one package. The largest known lists of extras have about 100 KiB.
const MAX_FIELDS: usize = 4 << 20;

/// The fields that are kept.
const FIELDS: [&str; 6] = [
    "Metadata-Version",
    "Name",
    "Version",
    "Requires-Dist",
    "Requires-Python",
    "Provides-Extra",
];

/// An installed package.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// As its metadata writes it.
    pub name: String,
    /// As its metadata writes it.
    pub version: String,
    /// The header fields of METADATA that a resolver needs: `Metadata-Version`, `Name`, `Version`,
    /// `Requires-Dist`, `Requires-Python`, `Provides-Extra`. One field a line.
    pub metadata: String,
    /// Absolute path of its `.dist-info` directory, or of its `.egg-info` directory or file.
    pub location: String,
}

impl Package {
    /// The name as the specification of name normalisation has it: `ruamel-yaml`.
    pub(crate) fn normalised_name(&self) -> String {
        normalise(&self.name)
    }
}

/// Lower case, and one `-` for each run of `-`, `_` and `.`.
fn normalise(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// The kept fields of one METADATA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    fields: String,
    /// The last line belongs to a kept field, and so does a continuation of it.
    is_kept: bool,
}

impl Header {
    /// The next line of the file. The header ends at the first empty one.
    pub(crate) fn line(&mut self, line: &str) -> Wants {
        if line.is_empty() {
            return Wants::Nothing;
        }
        if line.starts_with([' ', '\t']) {
            if self.is_kept {
                self.fields.pop();
                self.fields.push(' ');
                self.fields.push_str(line.trim());
                self.fields.push('\n');
            }
            return Wants::More;
        }
        let field = line.split_once(':').and_then(|(key, value)| {
            let known = FIELDS.iter().find(|known| key.eq_ignore_ascii_case(known));
            Some((known?, value.trim()))
        });
        self.is_kept = field.is_some();
        if let Some((key, value)) = field {
            self.fields.push_str(key);
            self.fields.push_str(": ");
            self.fields.push_str(value);
            self.fields.push('\n');
        }
        Wants::More
    }

    pub(crate) fn check_size(&self) -> Result<(), EntryFault> {
        if self.fields.len() > MAX_FIELDS {
            return Err(EntryFault::Large { limit: MAX_FIELDS });
        }
        Ok(())
    }

    pub(crate) fn weight(&self) -> usize {
        self.fields.len()
    }

    /// None without a usable name or version.
    pub(crate) fn package(&self, location: &str) -> Option<Package> {
        let name = self.field("Name").filter(|name| is_name(name))?;
        let version = self
            .field("Version")
            .filter(|version| !version.is_empty())?;
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            metadata: self.fields.clone(),
            location: location.to_owned(),
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(key, _)| *key == name);
        values.next().map(|(_, value)| value)
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(is_part) && is_end(name.chars().next()) && is_end(name.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        let mut header = Header::default();
        let _ = text
            .lines()
            .find(|line| header.line(line) == Wants::Nothing);
        header
    }

    #[test]
    fn only_what_a_resolver_needs_is_kept() {
        let text = "Metadata-Version: 2.1\nname: Ruamel.Yaml\nVersion:0.18.6\nSummary: a\n b\n\
            Requires-Dist: ruamel.yaml.clib>=0.2.7 ;\n  python_version < \"3.13\"\n\
            Provides-Extra: docs\nLicense: MIT\n\nName: body\n";
        let package = header(text).package("/x").unwrap();
        insta::assert_snapshot!(package.metadata, @r#"
        Metadata-Version: 2.1
        Name: Ruamel.Yaml
        Version: 0.18.6
        Requires-Dist: ruamel.yaml.clib>=0.2.7 ; python_version < "3.13"
        Provides-Extra: docs
        "#);
        assert_eq!(
            (&*package.name, &*package.version),
            ("Ruamel.Yaml", "0.18.6")
        );
        assert_eq!(package.normalised_name(), "ruamel-yaml");
    }

    #[test]
    fn a_package_has_a_name_and_a_version() {
        for text in [
            "",
            "Name: a",
            "Version: 1",
            "Name: -a\nVersion: 1",
            "Name: \nVersion: 1",
            "Name: a\nVersion:",
        ] {
            assert_eq!(header(text).package("/x"), None, "{text}");
        }
        assert_eq!(normalise("A__b.-C"), "a-b-c");
    }
}
