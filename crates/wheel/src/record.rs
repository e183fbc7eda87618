//! RECORD: the list of a wheel's files with their checksums ("Recording installed projects", section
//! The RECORD file, and "Binary distribution format", section The .dist-info directory).

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::fmt::Write as _;
use std::iter::Peekable;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oci::Checksum;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What to do about a RECORD that does not describe its wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordPolicy {
    /// Refuse the wheel.
    #[default]
    Strict,
    /// Take the wheel as it is, and warn.
    Warn,
}

/// What RECORD says of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Its checksum; None where there is none.
    pub checksum: Option<Checksum>,
    /// Its size in bytes; None where there is none.
    pub size: Option<u64>,
}

/// What is wrong with RECORD about one path. Reads on after `RECORD `, and the path follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Not UTF-8 (the path is empty).
    #[error("is not UTF-8")]
    NotUtf8,
    /// A row that has not three fields.
    #[error("has a row of {count} fields instead of 3 for")]
    Fields {
        /// Number of fields.
        count: usize,
    },
    /// A leading `/` or `./`, or backslashes.
    #[error("has a path that is not relative to the wheel's root with `/` between its parts:")]
    OddPath,
    /// Two rows that say different things.
    #[error("has two rows that differ for")]
    Twice,
    /// A member of the archive without a row.
    #[error("does not list")]
    NotListed,
    /// A row without a member.
    #[error("lists what is not in the archive:")]
    NotInArchive,
    /// A row without a checksum.
    #[error("has no checksum for")]
    NoChecksum,
    /// md5, sha1 and the like.
    #[error("has a checksum of {algorithm}, which is weaker than sha256, for")]
    Weak {
        /// Name of the algorithm.
        algorithm: String,
    },
    /// A checksum that cannot be read.
    #[error("has `{text}`, which is not a checksum, for")]
    Checksum {
        /// The field.
        text: String,
    },
    /// The file is another one.
    #[error("has {}, but the file has {}:", .0.expected, .0.found)]
    Mismatch(Box<Mismatch>),
    /// The file has another size. With the right checksum that is only a slip.
    #[error("has a size of {stated} for a file of {actual} bytes:")]
    Size {
        /// What RECORD says.
        stated: u64,
        /// What the archive says.
        actual: u64,
    },
}

/// A file that is not the one RECORD describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What RECORD says.
    pub expected: Checksum,
    /// What the file has.
    pub found: Checksum,
}

/// The rows of a RECORD by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    rows: BTreeMap<String, Row>,
}

impl Record {
    /// Parses the contents of a RECORD. What is wrong is listed beside what could be read: whether
    /// that matters is for the caller to say.
    pub fn parse(bytes: &[u8]) -> (Self, Vec<(String, RecordFault)>) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return (Self::default(), vec![(String::new(), RecordFault::NotUtf8)]);
        };
        let mut faults = Vec::new();
        let mut rows: Vec<_> = Rows(text.strip_prefix('\u{feff}').unwrap_or(text))
            .filter_map(|fields| take_row(fields, &mut faults))
            .collect();
        rows.sort_by(|(path, _), (other, _)| path.cmp(other));
        let twins = rows.windows(2).filter(|it| it[0].0 == it[1].0);
        let differ = twins.filter(|it| it[0].1 != it[1].1);
        faults.extend(differ.map(|it| (it[0].0.clone(), RecordFault::Twice)));
        (rows.into_iter().collect(), faults)
    }

    /// The row of `path`.
    pub fn get(&self, path: &str) -> Option<&Row> {
        self.rows.get(path)
    }

    /// All rows, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(path, row)| (path.as_str(), row))
    }

    /// All rows, to be asked for in the order of their paths.
    pub(crate) fn in_order(&self) -> InOrder<'_> {
        InOrder {
            rows: self.rows.iter().peekable(),
            passed_over: Vec::new(),
        }
    }

    /// The contents of a RECORD: rows sorted by path, as Python's `csv` writes them.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (path, row) in &self.rows {
            write_field(&mut text, path);
            text.push(',');
            if let Some(checksum) = &row.checksum {
                write_checksum(&mut text, checksum);
            }
            text.push(',');
            if let Some(size) = row.size {
                // Writing to a String cannot fail.
                let _ = write!(text, "{size}");
            }
            text.push('\n');
        }
        text
    }
}

/// Of rows that have one path the last one counts.
impl FromIterator<(String, Row)> for Record {
    fn from_iter<I: IntoIterator<Item = (String, Row)>>(rows: I) -> Self {
        let rows = rows.into_iter().collect();
        Self { rows }
    }
}

/// Rows that are asked for in the order of their paths.
pub(crate) struct InOrder<'a> {
    rows: Peekable<btree_map::Iter<'a, String, Row>>,
    passed_over: Vec<&'a str>,
}

impl<'a> InOrder<'a> {
    /// The row of `path`, which must not come before one that was asked for.
    pub(crate) fn of(&mut self, path: &str) -> Option<&'a Row> {
        while let Some((other, _)) = self.rows.next_if(|(other, _)| other.as_str() < path) {
            self.passed_over.push(other);
        }
        let found = self.rows.next_if(|(other, _)| other.as_str() == path);
        found.map(|(_, row)| row)
    }

    /// The paths that nobody asked for.
    pub(crate) fn passed_over(self) -> impl Iterator<Item = &'a str> {
        let rest = self.rows.map(|(path, _)| path.as_str());
        self.passed_over.into_iter().chain(rest)
    }
}

impl Row {
    /// The row of a file that holds `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            checksum: Some(Checksum::Sha256(Sha256::digest(bytes).into())),
            size: Some(bytes.len() as u64),
        }
    }
}

/// The checksum of `bytes` by the algorithm of `like`.
pub(crate) fn checksum_like(like: &Checksum, bytes: &[u8]) -> Checksum {
    match like {
        Checksum::Sha256(_) => Checksum::Sha256(Sha256::digest(bytes).into()),
        Checksum::Sha384(_) => Checksum::Sha384(Sha384::digest(bytes).into()),
        Checksum::Sha512(_) => Checksum::Sha512(Sha512::digest(bytes).into()),
    }
}

fn parse_checksum(text: &str) -> Result<Option<Checksum>, RecordFault> {
    fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .ok()?
            .try_into()
            .ok()
    }
    if text.is_empty() {
        return Ok(None);
    }
    let (algorithm, value) = text.split_once('=').unwrap_or((text, ""));
    let checksum = match algorithm {
        "sha256" => decode(value).map(Checksum::Sha256),
        "sha384" => decode(value).map(Checksum::Sha384),
        "sha512" => decode(value).map(Checksum::Sha512),
        "md5" | "sha1" | "sha224" => {
            return Err(RecordFault::Weak {
                algorithm: algorithm.to_owned(),
            });
        }
        _ => None,
    };
    checksum.map(Some).ok_or_else(|| RecordFault::Checksum {
        text: text.to_owned(),
    })
}

fn write_checksum(text: &mut String, checksum: &Checksum) {
    let (algorithm, value): (_, &[u8]) = match checksum {
        Checksum::Sha256(bytes) => ("sha256=", bytes),
        Checksum::Sha384(bytes) => ("sha384=", bytes),
        Checksum::Sha512(bytes) => ("sha512=", bytes),
    };
    text.push_str(algorithm);
    URL_SAFE_NO_PAD.encode_string(value, text);
}

fn write_field(text: &mut String, field: &str) {
    if field.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}

/// What a row says of which path, if it is one of a file.
fn take_row(
    Fields { first, count }: Fields<'_>,
    faults: &mut Vec<(String, RecordFault)>,
) -> Option<(String, Row)> {
    let [written, checksum, size] = first;
    let path = if written.contains('\\') {
        Cow::Owned(written.replace('\\', "/"))
    } else {
        Cow::Borrowed(&*written)
    };
    let path = path.trim_start_matches("./").trim_start_matches('/');
    // Some writers list directories, which have nothing to check.
    if path.is_empty() || path.ends_with('/') {
        return None;
    }
    if path != written {
        faults.push((written.to_string(), RecordFault::OddPath));
    }
    if count != 3 {
        faults.push((path.to_owned(), RecordFault::Fields { count }));
    }
    let checksum = parse_checksum(&checksum).unwrap_or_else(|fault| {
        faults.push((path.to_owned(), fault));
        None
    });
    let size = size.trim().parse().ok();
    Some((path.to_owned(), Row { checksum, size }))
}

/// The rows of a CSV text in Python's default dialect; blank lines are none.
struct Rows<'a>(&'a str);

/// The first fields of a row, empty where it has fewer, and how many it has.
#[derive(Default)]
struct Fields<'a> {
    first: [Cow<'a, str>; 3],
    count: usize,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Fields<'a>;

    fn next(&mut self) -> Option<Fields<'a>> {
        self.0 = self.0.trim_start_matches(['\r', '\n']);
        if self.0.is_empty() {
            return None;
        }
        let mut fields = Fields::default();
        loop {
            let field = self.field();
            if let Some(place) = fields.first.get_mut(fields.count) {
                *place = field;
            }
            fields.count += 1;
            match self.0.strip_prefix(',') {
                Some(rest) => self.0 = rest,
                None => return Some(fields),
            }
        }
    }
}

impl<'a> Rows<'a> {
    fn field(&mut self) -> Cow<'a, str> {
        let Some(rest) = self.0.strip_prefix('"') else {
            return Cow::Borrowed(self.plain());
        };
        self.0 = rest;
        let mut field = String::new();
        while let Some((text, rest)) = self.0.split_once('"') {
            field.push_str(text);
            self.0 = rest;
            let Some(rest) = self.0.strip_prefix('"') else {
                field.push_str(self.plain());
                return Cow::Owned(field);
            };
            field.push('"');
            self.0 = rest;
        }
        field.push_str(std::mem::take(&mut self.0));
        Cow::Owned(field)
    }

    /// What comes up to the end of the field.
    fn plain(&mut self) -> &'a str {
        let end = self.0.find([',', '\r', '\n']).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    fn check(text: &str) -> (Vec<String>, Vec<String>) {
        let (record, faults) = Record::parse(text.as_bytes());
        let faults = faults
            .iter()
            .map(|(path, fault)| format!("{fault} {path}"))
            .collect();
        (
            record.to_text().lines().map(str::to_owned).collect(),
            faults,
        )
    }

    #[test]
    fn rows_are_read_and_written_sorted() {
        let text =
            format!("b.py,{EMPTY},0\r\n\r\n\"a,\"\"b.py\",{EMPTY}=,0\nx-1.dist-info/RECORD,,");
        let (rows, faults) = check(&text);
        assert_eq!(
            rows,
            [
                format!("\"a,\"\"b.py\",{EMPTY},0"),
                format!("b.py,{EMPTY},0"),
                "x-1.dist-info/RECORD,,".to_owned()
            ]
        );
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn sha384_and_sha512_are_as_good() {
        for like in [Checksum::Sha384([0; 48]), Checksum::Sha512([0; 64])] {
            let checksum = checksum_like(&like, b"x");
            let mut text = String::new();
            write_checksum(&mut text, &checksum);
            assert_eq!(parse_checksum(&text), Ok(Some(checksum)));
        }
    }

    #[test]
    fn what_is_wrong_is_listed() {
        let (rows, faults) = check(&format!(
            "/a,{EMPTY},0\n./b,{EMPTY},0\nc\\d,{EMPTY},0\ne,md5=AA,0\nf,sha256=AA,0\ng,{EMPTY}\n\
             h,{EMPTY},0\nh,{EMPTY},1\ni,what,0\nj/,,\n"
        ));
        insta::assert_snapshot!(faults.join("\n"), @"
        has a path that is not relative to the wheel's root with `/` between its parts: /a
        has a path that is not relative to the wheel's root with `/` between its parts: ./b
        has a path that is not relative to the wheel's root with `/` between its parts: c\\d
        has a checksum of md5, which is weaker than sha256, for e
        has `sha256=AA`, which is not a checksum, for f
        has a row of 2 fields instead of 3 for g
        has `what`, which is not a checksum, for i
        has two rows that differ for h
        ");
        assert_eq!(rows[2], format!("c/d,{EMPTY},0"));
        assert_eq!(
            Record::parse(b"\xff").1,
            [(String::new(), RecordFault::NotUtf8)]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(paths in proptest::collection::vec("[a-z,\"\n\r é]{1,9}z", 0..9)) {
            let rows = paths.iter().map(|path| (path.clone(), Row::of(path.as_bytes())));
            let record: Record = rows.collect();
            prop_assert_eq!(Record::parse(record.to_text().as_bytes()), (record, vec![]));
        }

        #[test]
        fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            Record::parse(&bytes);
        }
    }
}
