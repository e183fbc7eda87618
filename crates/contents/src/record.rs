//! What is kept of a RECORD ("Recording installed projects", section The RECORD file): which files it lists, and
//! the beginnings of their checksums.
//!
//! Nearly all of a layer's paths stand in one, too, and its checksums are what no compressor makes smaller: as a
//! text it would take most of a listing.

use std::collections::BTreeMap;
use std::ops::Bound;

use facts::path;
use serde::{Deserialize, Serialize};

use crate::listing::{Body, Entry, Listing};

/// Hexadecimal digits of a checksum: 48 bits, enough to tell two files apart that have one path.
const DIGITS: usize = 12;
/// In place of a checksum where there is none.
const NONE: &str = "------------";

/// The rows of a RECORD, sorted by their paths.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// A path in the image, and how many more files there are after it in its layer, in the order of their paths,
    /// that the following rows list.
    runs: Vec<(String, usize)>,
    /// The first 12 hexadecimal digits of each row's checksum.
    checksums: String,
}

/// Puts in the place of each RECORD's text what is kept of it.
pub(crate) fn settle(listing: &mut Listing) {
    let is_record = |path: &str| path::name(path) == "RECORD";
    let texts = listing.entries.iter().filter_map(|(path, entry)| {
        match &entry.file().filter(|_| is_record(path))?.body {
            Body::Text(text) => {
                let site = path::parent(path::parent(path));
                let record = Record::new(site, text, &listing.entries);
                Some((path.clone(), record))
            }
            _ => None,
        }
    });
    let records: Vec<_> = texts.collect();
    for (path, record) in records {
        if let Some(file) = listing.entries.get_mut(&path).and_then(Entry::file_mut) {
            file.body = Body::Record(record);
        }
    }
}

impl Record {
    /// Of the RECORD `text` in a directory of `site`, which is in a layer with `entries`.
    fn new(site: &str, text: &str, entries: &BTreeMap<String, Entry>) -> Self {
        let (rows, _) = wheel::Record::parse(text.as_bytes());
        let rows: BTreeMap<_, _> = rows
            .iter()
            .filter_map(|(path, row)| {
                let path = path::relative(&format!("/{site}/{path}"))?;
                Some((path, row.checksum))
            })
            .collect();
        let mut record = Self::default();
        let mut next = None;
        for (path, checksum) in rows {
            match record.runs.last_mut() {
                Some((_, more)) if next == Some(path.as_str()) => *more += 1,
                _ => record.runs.push((path.clone(), 0)),
            }
            next = files_after(entries, &path).next();
            let text = checksum.map(|it| it.to_string());
            let digits = text.as_deref().and_then(|text| text.split_once(':'));
            let digits = digits.and_then(|(_, digits)| digits.get(..DIGITS));
            record.checksums += digits.unwrap_or(NONE);
        }
        record
    }

    /// The paths that are listed, and of each the beginning of its checksum, where it has one. `listing` is that
    /// which has the RECORD.
    pub(crate) fn rows<'a>(
        &'a self,
        listing: &'a Listing,
    ) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let paths = self.runs.iter().flat_map(|(first, more)| {
            let more = files_after(&listing.entries, first).take(*more);
            std::iter::once(first.as_str()).chain(more)
        });
        paths.enumerate().map(|(n, path)| {
            let digits = self.checksums.get(n * DIGITS..(n + 1) * DIGITS);
            (path, digits.filter(|digits| *digits != NONE))
        })
    }
}

/// The paths of files after `path`.
fn files_after<'a>(
    entries: &'a BTreeMap<String, Entry>,
    path: &str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let after = (Bound::Excluded(path), Bound::Unbounded);
    let files = entries.range::<str, _>(after);
    files
        .filter(|(_, entry)| entry.file().is_some())
        .map(|(path, _)| path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{File, Kind};

    const SITE: &str = "opt/site-packages";

    fn entry(kind: Kind) -> Entry {
        Entry {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
        }
    }

    /// A layer with files at `paths`, and at the end of the path of one its text.
    fn listing(paths: &[&str], record: &str) -> Listing {
        let file = |body| {
            entry(Kind::File(File {
                size: 1,
                sha256: None,
                body,
            }))
        };
        let mut listing = Listing::default();
        for path in paths {
            listing
                .entries
                .insert((*path).to_owned(), file(Body::Unread));
        }
        listing.entries.insert(
            format!("{SITE}/x-1.dist-info/RECORD"),
            file(Body::Text(record.to_owned())),
        );
        let directory = entry(Kind::Directory);
        listing.entries.insert(format!("{SITE}/x"), directory);
        settle(&mut listing);
        listing
    }

    fn record(listing: &Listing) -> &Record {
        let path = format!("{SITE}/x-1.dist-info/RECORD");
        match &listing.entries[&path].file().unwrap().body {
            Body::Record(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_are_those_of_the_text() {
        let sum = |n: u8| format!("sha256={}0", n.to_string().repeat(42));
        let text = format!(
            "x/b.py,{},10\nx/a.py,{},\n\"x/c,d.py\",,\n../bin/x,sha256=no,\nx-1.dist-info/RECORD,,\nx/gone.py,{},2\n",
            sum(1),
            sum(2),
            sum(1)
        );
        let listing = listing(
            &[
                "opt/bin/x",
                "opt/site-packages/w.py",
                "opt/site-packages/x/a.py",
                "opt/site-packages/x/b.py",
                "opt/site-packages/x/c,d.py",
                "opt/site-packages/y.py",
            ],
            &text,
        );
        let record = record(&listing);
        let rows: Vec<_> = record.rows(&listing).collect();
        let expect = [
            ("opt/bin/x", None),
            ("opt/site-packages/x-1.dist-info/RECORD", None),
            ("opt/site-packages/x/a.py", Some("db6db6db6db6")),
            ("opt/site-packages/x/b.py", Some("d75d75d75d75")),
            ("opt/site-packages/x/c,d.py", None),
            ("opt/site-packages/x/gone.py", Some("d75d75d75d75")),
        ];
        assert_eq!(rows, expect);
        let runs: Vec<_> = record.runs.iter().map(|(_, more)| *more).collect();
        assert_eq!(runs, [0, 3, 0], "{:?}", record.runs);
    }

    #[test]
    fn what_is_no_record_has_no_rows() {
        let listing = listing(&[], "\0");
        assert!(record(&listing).rows(&listing).count() <= 1);
        let damaged = Record {
            runs: vec![("a".to_owned(), 5)],
            checksums: "ab".to_owned(),
        };
        assert_eq!(damaged.rows(&listing).next(), Some(("a", None)));
    }
}
