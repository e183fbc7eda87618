//! Stanzas of fields, read one at a time: deb822(5), Policy 5.1. Packages, Release, status and
//! control files are made of them.

use std::io::{BufRead, Read};

use crate::{ControlFault, Error};

/// The longest stanza that is read, in bytes. The longest of trixie's `Packages` has 150 kB.
pub const MAX_STANZA: u64 = 4 << 20;

/// One stanza: fields in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza {
    /// The number of its first line, from 1.
    pub line: u64,
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of a field; names are the same in any case. The lines of a value are separated by
    /// `\n`; the one blank that begins a continuation line is cut off.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The stanzas of a file. After an error, there are no more.
#[derive(Debug)]
pub struct Stanzas<R> {
    reader: R,
    file: String,
    wanted: Option<&'static [&'static str]>,
    line: u64,
    buffer: Vec<u8>,
    done: bool,
}

impl<R: BufRead> Stanzas<R> {
    /// Reads `reader`, which messages call `file`.
    pub fn new(reader: R, file: &str) -> Self {
        let (file, buffer) = (file.to_owned(), Vec::new());
        Self {
            reader,
            file,
            wanted: None,
            line: 0,
            buffer,
            done: false,
        }
    }

    /// Keeps only these fields, to save memory; the others are checked all the same.
    #[must_use]
    pub fn keeping(self, wanted: &'static [&'static str]) -> Self {
        Self {
            wanted: Some(wanted),
            ..self
        }
    }

    fn stanza(&mut self) -> Result<Option<Stanza>, Error> {
        let mut stanza = Stanza::default();
        let (mut size, mut in_field, mut kept) = (0, false, false);
        while self.next_line(MAX_STANZA - size)? {
            let text = String::from_utf8_lossy(&self.buffer);
            let text = text.trim_end();
            if text.is_empty() {
                match stanza.line {
                    0 => continue,
                    _ => break,
                }
            }
            size += self.buffer.len() as u64;
            if text.starts_with('#') {
                continue;
            }
            stanza.line = if stanza.line == 0 {
                self.line
            } else {
                stanza.line
            };
            if text.starts_with([' ', '\t']) {
                if !in_field {
                    return Err(self.fault(ControlFault::Continuation));
                }
                if let Some((_, value)) = stanza.fields.last_mut().filter(|_| kept) {
                    value.push('\n');
                    value.push_str(&text[1..]);
                }
                continue;
            }
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| self.fault(ControlFault::NoColon))?;
            if !is_field_name(name) {
                return Err(self.fault(ControlFault::BadName));
            }
            in_field = true;
            kept = self
                .wanted
                .is_none_or(|names| names.iter().any(|n| n.eq_ignore_ascii_case(name)));
            if kept {
                if stanza.get(name).is_some() {
                    return Err(self.fault(ControlFault::Duplicate));
                }
                stanza
                    .fields
                    .push((name.to_owned(), value.trim_start().to_owned()));
            }
        }
        Ok((stanza.line > 0).then_some(stanza))
    }

    /// Reads a line of at most `limit` bytes into the buffer; false at the end of the file.
    fn next_line(&mut self, limit: u64) -> Result<bool, Error> {
        self.buffer.clear();
        let read = (&mut self.reader)
            .take(limit + 1)
            .read_until(b'\n', &mut self.buffer);
        read.map_err(|source| Error::Read {
            file: self.file.clone(),
            source,
        })?;
        self.line += 1;
        if self.buffer.len() as u64 > limit {
            return Err(self.fault(ControlFault::TooLong));
        }
        Ok(!self.buffer.is_empty())
    }

    fn fault(&self, fault: ControlFault) -> Error {
        Error::Control {
            file: self.file.clone(),
            line: self.line,
            fault,
        }
    }
}

impl<R: BufRead> Iterator for Stanzas<R> {
    type Item = Result<Stanza, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let result = self.stanza().transpose();
        self.done = !matches!(result, Some(Ok(_)));
        result
    }
}

/// The one stanza of a file that has no other: a Release or a control file.
pub fn single(bytes: &[u8], file: &str) -> Result<Stanza, Error> {
    let mut stanzas = Stanzas::new(bytes, file);
    let first = stanzas.next().transpose()?.unwrap_or_default();
    match stanzas.next().transpose()? {
        None => Ok(first),
        Some(Stanza { line, .. }) => Err(Error::Control {
            file: file.to_owned(),
            line,
            fault: ControlFault::SecondStanza,
        }),
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['-', '#']) && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Stanza>, Error> {
        Stanzas::new(text.as_bytes(), "status").collect()
    }

    fn shown(text: &str) -> String {
        let show = |stanza: &Stanza| {
            let fields: Vec<_> = stanza.fields().map(|(n, v)| format!("{n}={v:?}")).collect();
            format!("{}: {}", stanza.line, fields.join(" "))
        };
        read(text)
            .unwrap()
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn reads_stanzas() {
        insta::assert_snapshot!(
            shown("\n\n# c\nA: 1\nB:\n x\n  y\n .\n# c\n z\n \nC:2  \n\n\nD:\t:é\r\n"),
            @r#"
        4: A="1" B="\nx\n y\n.\nz"
        12: C="2"
        15: D=":é"
        "#
        );
    }

    #[test]
    fn names_have_no_case() {
        let stanza = single(b"package: x\n", "control").unwrap();
        assert_eq!(stanza.get("Package"), Some("x"));
        assert_eq!(stanza.get("Version"), None);
    }

    #[test]
    fn keeps_what_is_wanted() {
        let text = "A: 1\nB: 2\n 3\nC: 4\n 5\n\nB: 6\n";
        let kept = Stanzas::new(text.as_bytes(), "f").keeping(&["A", "C"]);
        let kept: Vec<_> = kept.map(Result::unwrap).collect();
        assert_eq!(
            kept[0].fields().collect::<Vec<_>>(),
            [("A", "1"), ("C", "4\n5")]
        );
        assert_eq!((kept[1].fields().count(), kept.len()), (0, 2));
    }

    #[test]
    fn refuses_other_texts() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        insta::assert_snapshot!(message("A: 1\nB\n"), @"status, line 2: expected `Name: value`");
        insta::assert_snapshot!(message("A: 1\n\n x\n"), @"status, line 3: a continuation line with no field before it");
        insta::assert_snapshot!(message("A b: 1\n"), @"status, line 1: a field's name is empty or has a character that names cannot have");
        insta::assert_snapshot!(message(": 1\n"), @"status, line 1: a field's name is empty or has a character that names cannot have");
        insta::assert_snapshot!(message("A: 1\nB: 2\na: 3\n"), @"status, line 3: the stanza has this field already");
        let second = single(b"A: 1\n\nB: 2\n", "Release")
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(second, @"Release, line 3: expected one stanza only");
    }

    #[test]
    fn a_stanza_has_a_limit() {
        let long_line = format!("A: {}", "x".repeat(5 << 20));
        let many_lines = format!("A: x\n{}", " 0123456789\n".repeat(1 << 19));
        for text in [long_line, many_lines] {
            let message = read(&text).unwrap_err().to_string();
            assert!(
                message.ends_with("the stanza is longer than 4194304 bytes"),
                "{message}"
            );
        }
        // Small ones may be many.
        let many = "A: x\n\n".repeat(1 << 20);
        assert_eq!(read(&many).unwrap().len(), 1 << 20);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stanzas::new(&bytes[..], "f").collect::<Result<Vec<_>, _>>();
        }

        #[test]
        fn near_texts_are_read_or_refused(text in "([AB#: \t-]{0,4}[\n\r]{0,2}){0,12}") {
            for stanza in read(&text).unwrap_or_default() {
                prop_assert!(stanza.line > 0);
            }
        }
    }
}
