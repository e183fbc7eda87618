//! What an interpreter or a library says of itself: version texts between NULs, found in one pass.

use crate::elf::InterpreterSearch;

/// Bytes of a text that are looked at: glibc's banner has about 400.
const MAX_TEXT: usize = 1 << 10;

/// Versions kept of one file. Real ones have a handful.
const MAX_VERSIONS: usize = 64;

/// Bytes of the longest version that is looked for.
const MAX_VERSION: usize = 24;

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Binary {
    /// It is an ELF file: no script.
    pub(crate) is_elf: bool,
    /// The loader that its program headers name: `/lib64/ld-linux-x86-64.so.2`.
    pub(crate) loader: Option<String>,
    /// Texts that are a version such as `3.12.4` or `1.2.5`, in the order of the file.
    pub(crate) versions: Vec<String>,
    /// Versions at the end of another text. Linkers keep one copy of a text that is the end of
    /// another one: `3.12.1` of `/root/.pyenv/versions/3.12.1`.
    pub(crate) endings: Vec<String>,
    /// The version in glibc's banner: `2.36`.
    pub(crate) glibc: Option<String>,
    /// It has musl's banner.
    pub(crate) is_musl: bool,
    /// It has the banner of a Python without the global interpreter lock.
    pub(crate) is_free_threaded: bool,
}

/// Looks for texts in the parts of a file.
#[derive(Debug, Default)]
pub(crate) struct BinaryScan {
    found: Binary,
    interpreter: InterpreterSearch,
    /// The text that the last part ended in; of a long one its beginning and its end.
    text: Vec<u8>,
    /// How long it is.
    length: usize,
}

impl BinaryScan {
    /// The next part of the file.
    pub(crate) fn feed(&mut self, part: &[u8]) {
        self.interpreter.feed(part);
        let mut rest = part;
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            if self.length == 0 {
                self.found.text(&rest[..end], end);
            } else {
                self.extend(&rest[..end]);
                self.found.text(&self.text, self.length);
                self.text.clear();
                self.length = 0;
            }
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    /// At the end of the file.
    pub(crate) fn finish(mut self) -> Binary {
        (self.found.is_elf, self.found.loader) = self.interpreter.finish();
        self.found
    }

    fn extend(&mut self, part: &[u8]) {
        self.length += part.len();
        if self.text.len() + part.len() <= MAX_TEXT {
            self.text.extend_from_slice(part);
            return;
        }
        // What is dropped leaves no trace: texts of this length are asked for their end alone.
        let kept = part.len().min(MAX_VERSION);
        let before = self.text.len().saturating_sub(MAX_VERSION - kept);
        self.text.drain(..before);
        self.text.extend_from_slice(&part[part.len() - kept..]);
    }
}

impl Binary {
    /// A text of `length` bytes, of which at least the end is there.
    fn text(&mut self, text: &[u8], length: usize) {
        let Some(last) = text.last() else {
            return;
        };
        if last.is_ascii_digit() || *last == b'+' {
            self.version(text, length);
        } else if text.len() == length && length <= MAX_TEXT {
            self.banner(text);
        }
    }

    fn version(&mut self, text: &[u8], length: usize) {
        let tail = &text[text.len().saturating_sub(MAX_VERSION)..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+');
        let start = tail.iter().rposition(|byte| !is_part(byte));
        let (list, version) = match start {
            None if length < MAX_VERSION => (&mut self.versions, text),
            Some(start) if matches!(tail[start], b'/' | b'-' | b' ' | b'=') => {
                (&mut self.endings, &tail[start + 1..])
            }
            _ => return,
        };
        if list.len() < MAX_VERSIONS
            && is_version(version)
            && let Ok(version) = std::str::from_utf8(version)
            && !list.iter().any(|known| known == version)
        {
            list.push(version.to_owned());
        }
    }

    fn banner(&mut self, text: &[u8]) {
        if text.starts_with(b"GNU C Library ") {
            let text = String::from_utf8_lossy(text);
            let version = text.split_once("release version ").map(|(_, rest)| rest);
            let version =
                version.map(|rest| rest.trim_start_matches(|c: char| !c.is_ascii_digit()));
            let is_part = |c: char| c.is_ascii_digit() || c == '.';
            let version = version.and_then(|rest| rest.split(|c| !is_part(c)).next());
            let version = version.map(|version| version.trim_end_matches('.').to_owned());
            self.glibc = self.glibc.take().or(version);
        } else if text.starts_with(b"musl libc") {
            self.is_musl = true;
        } else if text.starts_with(b"%.80s")
            && text.windows(21).any(|w| w == b"free-threading build ")
        {
            self.is_free_threaded = true;
        }
    }
}

/// `3.12.4`, `3.14.0rc1`, `3.13.0+`, `1.2.5`.
fn is_version(text: &[u8]) -> bool {
    let mut parts = text.splitn(3, |byte| *byte == b'.');
    let is_number =
        |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    matches!(parts.next(), Some(b"3" | b"1"))
        && parts.next().is_some_and(is_number)
        && parts.next().is_some_and(|part| {
            part[..].first().is_some_and(u8::is_ascii_digit) && !part.contains(&b'.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], part: usize) -> Binary {
        let mut scan = BinaryScan::default();
        bytes.chunks(part).for_each(|part| scan.feed(part));
        scan.finish()
    }

    /// A file of texts with a NUL after each.
    fn texts(texts: &[&str]) -> Vec<u8> {
        texts
            .join("\0")
            .into_bytes()
            .into_iter()
            .chain([0])
            .collect()
    }

    #[test]
    fn versions() {
        let long = format!("{}/3.12.6", "x".repeat(3000));
        let bytes = texts(&[
            "3.12.4",
            "3.12.4",
            "3.14.0rc1",
            "3.13.0+",
            "1.2.5",
            "2.7.18",
            "3.12",
            "3.12.",
            "3.1234.5",
            "GLIBC_3.2.5",
            "v3.9.1",
            "/src/Python-3.12.1",
            "x 3.12.2",
            "=3.12.3",
            "13.12.5",
            &long,
            "3.12.4.final",
            "3.12.5x ",
            "3.12.123456789012345678901234567890",
        ]);
        let bytes = [&bytes[..], b"3.12.7"].concat();
        for part in [1, 2, 5, 64, 1000, 1 << 20] {
            let found = read(&bytes, part);
            assert_eq!(
                found.versions,
                ["3.12.4", "3.14.0rc1", "3.13.0+", "1.2.5"],
                "{part}"
            );
            assert_eq!(
                found.endings,
                ["3.12.1", "3.12.2", "3.12.3", "3.12.6"],
                "{part}"
            );
        }
        let many: Vec<String> = (0..500).map(|n| format!("3.12.{n}\0")).collect();
        let found = read(many.concat().as_bytes(), 100);
        assert_eq!(found.versions.len(), MAX_VERSIONS);
    }

    #[test]
    fn banners() {
        let check = |text: &str| read(&texts(&["x", text]), 10);
        let glibc = |text| check(text).glibc;
        assert_eq!(
            glibc("GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nx").as_deref(),
            Some("2.36")
        );
        assert_eq!(
            glibc("GNU C Library (GNU libc) development release version 2.40.9000.\n").as_deref(),
            Some("2.40.9000")
        );
        assert_eq!(
            glibc("GNU C Library stable release version 2.17, by Roland McGrath et al.\n")
                .as_deref(),
            Some("2.17")
        );
        assert_eq!(glibc("the GNU C Library release version 2.36.\n"), None);
        assert_eq!(glibc("GNU C Library\n"), None);
        assert!(check("musl libc (x86_64)\nVersion %s\n").is_musl);
        assert!(check("%.80s free-threading build (%.80s) %.80s").is_free_threaded);
        assert!(!check("%.80s (%.80s) %.80s").is_free_threaded);
    }
}
