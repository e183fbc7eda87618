//! The distribution (os-release(5)).

use serde::{Deserialize, Serialize};

/// What `os-release` says of the distribution.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Os {
    /// `ID`: `debian`; `linux` where there is none.
    pub id: String,
    /// `VERSION_ID`: `13`.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME`: `trixie`.
    pub codename: Option<String>,
}

impl Os {
    /// From the text of `os-release`.
    pub(crate) fn new(text: &str) -> Self {
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| {
                let (key, value) = line.trim().split_once('=')?;
                (key == name).then(|| unquoted(value))
            });
            values.next_back().filter(|value| !value.is_empty())
        };
        Self {
            id: field("ID").unwrap_or_else(|| "linux".to_owned()),
            version_id: field("VERSION_ID"),
            codename: field("VERSION_CODENAME"),
        }
    }
}

/// A value as a shell reads it: in quotation marks of either kind, or in none.
fn unquoted(value: &str) -> String {
    let inner = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    if let Some(inner) = inner('\'') {
        return inner.to_owned();
    }
    let mut out = String::new();
    let mut chars = inner('"').unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_as_a_shell_does() {
        let os = Os::new(
            "PRETTY_NAME=\"x\"\nVERSION_ID='3.20'\nID=\"al\\\"p\"\nVERSION_CODENAME=\n# ID=no",
        );
        assert_eq!(os.id, "al\"p");
        assert_eq!(os.version_id.as_deref(), Some("3.20"));
        assert_eq!(os.codename, None);
        assert_eq!(Os::new("").id, "linux");
    }
}
