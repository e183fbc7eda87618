//! In which order the members of a layer are encoded: in runs of about the same size, and long files in
//! stretches, once they were scanned.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use crate::layer::EncodeError;
use crate::members::Member;
use crate::seam::Scanned;
use crate::{Archived, Content, Method};

/// Bytes of tar stream after which a run ends.
pub(crate) const RUN: u64 = 1 << 20;
/// Size in bytes from which a file is long.
const LONG: u64 = 16 << 20;

/// The members that are left.
pub(crate) struct Line<'a> {
    members: &'a [Member<'a>],
    /// The first one that is left.
    at: usize,
    /// Whether the end of the archive is part of a run already.
    ended: bool,
    /// Long files that may be scanned.
    long: VecDeque<usize>,
    /// Those that are being scanned, or were.
    scans: VecDeque<(usize, Receiver<Result<Scanned, EncodeError>>)>,
    /// The one whose turn it is, and the stretch that is next.
    open: Option<(Arc<Scanned>, usize)>,
}

/// What is to be encoded next.
pub(crate) enum Next {
    /// These members, and the end of the archive after the last one.
    Run(Range<usize>),
    /// A stretch of a long file, by its number.
    Stretch(Arc<Scanned>, usize),
    /// Nothing: a long file is not as it should be.
    Failed(EncodeError),
    /// A long file is still being scanned.
    Wait,
    /// Nothing more.
    End,
}

impl<'a> Line<'a> {
    /// `ahead`: bytes after which it is worth a scan to have a long file in stretches; one that comes before
    /// is encoded as it is scanned.
    pub(crate) fn new(members: &'a [Member<'a>], ahead: u64) -> Self {
        let (mut before, mut long) = (0_u64, VecDeque::new());
        for (n, member) in members.iter().enumerate() {
            if is_long(member) && before >= ahead {
                long.push_back(n);
            }
            before = before.saturating_add(member.header.size);
        }
        Self {
            members,
            at: 0,
            ended: false,
            long,
            scans: VecDeque::new(),
            open: None,
        }
    }

    /// The next long file to scan, where fewer than `limit` are being scanned or wait for their turn.
    pub(crate) fn next_to_scan(&mut self, limit: usize) -> Option<usize> {
        (self.scans.len() < limit)
            .then(|| self.long.pop_front())
            .flatten()
    }

    /// What comes of scanning `member`, the last one that was asked for, will be received from `found`.
    pub(crate) fn scanning(
        &mut self,
        member: usize,
        found: Receiver<Result<Scanned, EncodeError>>,
    ) {
        self.scans.push_back((member, found));
    }

    /// What is next; if it `must`, it waits for a scan. Err where that has no end.
    pub(crate) fn next(&mut self, must: bool) -> Result<Next, TryRecvError> {
        if let Some((scanned, number)) = self.open.take() {
            if number + 1 < scanned.len() {
                self.open = Some((Arc::clone(&scanned), number + 1));
            }
            return Ok(Next::Stretch(scanned, number));
        }
        if let Some((_, found)) = self.scans.front().filter(|(member, _)| *member == self.at) {
            let found = if must {
                found.recv().map_err(TryRecvError::from)
            } else {
                found.try_recv()
            };
            let scanned = match found {
                Err(TryRecvError::Empty) => return Ok(Next::Wait),
                found => found?,
            };
            self.scans.pop_front();
            self.at += 1;
            return match scanned {
                Ok(scanned) => {
                    self.open = Some((Arc::new(scanned), 0));
                    self.next(must)
                }
                Err(error) => Ok(Next::Failed(error)),
            };
        }
        if self.ended {
            return Ok(Next::End);
        }
        let start = self.at;
        self.at += self.run();
        if self.long.front() == Some(&start) {
            self.long.pop_front();
        }
        self.ended = self.at == self.members.len();
        Ok(Next::Run(start..self.at))
    }

    /// How many members are the next run: one that is long, or those up to the next one that is.
    fn run(&self) -> usize {
        let mut size = 0_u64;
        let left = &self.members[self.at..];
        let run = left.iter().enumerate().take_while(|(n, member)| {
            let before = size;
            size = size.saturating_add(member.header.size).saturating_add(512);
            *n == 0 || (before < RUN && !is_long(member))
        });
        let count = run.count();
        match left.first() {
            Some(first) if is_long(first) => 1,
            _ => count,
        }
    }
}

/// Whether a member is a file that may have seams.
fn is_long(member: &Member<'_>) -> bool {
    let is_deflated = matches!(
        member.content,
        Some(Content::Archived(Archived {
            method: Method::Deflated,
            ..
        }))
    );
    is_deflated && member.header.size >= LONG
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::members::members;
    use crate::seam::Seam;
    use crate::{Entry, SHARED_MTIME, Source, Tree, TreePath};

    /// Files of these sizes, in MiB, that an archive has deflated.
    fn tree(sizes: &[u64]) -> Tree {
        let file = tempfile::tempfile().unwrap();
        let source = Source::from_file(file, "test.whl", None).unwrap();
        let mut tree = Tree::new();
        for (n, size) in sizes.iter().enumerate() {
            let content = Content::Archived(Archived {
                source: source.clone(),
                method: Method::Deflated,
                offset: 0,
                length: 1,
                uncompressed_size: size << 20,
                crc32: 0,
                checksum: None,
            });
            let path = TreePath::new(&format!("{n}")).unwrap();
            let entry = Entry::file(content, false, &"test".into());
            tree.insert(path, entry).unwrap();
        }
        tree
    }

    fn shown(next: Result<Next, TryRecvError>) -> String {
        match next.unwrap() {
            Next::Run(range) => format!("{range:?}"),
            Next::Stretch(scanned, number) => format!("{}.{number}", scanned.member),
            Next::Failed(_) => "failed".to_owned(),
            Next::Wait => "wait".to_owned(),
            Next::End => "end".to_owned(),
        }
    }

    fn scanned(member: usize, seams: u64) -> Scanned {
        let seam = |n| Seam {
            consumed: n,
            unused: 0,
            last: 0,
            produced: n,
            window: Box::default(),
        };
        Scanned {
            member,
            seams: (1..=seams).map(seam).collect(),
        }
    }

    #[test]
    fn long_files_come_in_stretches_once_they_are_scanned() {
        let tree = tree(&[16, 0, 0, 1, 0, 17, 0, 40, 99]);
        let members = members(&tree, SHARED_MTIME).unwrap();
        let mut line = Line::new(&members, 1);
        assert_eq!(
            line.next_to_scan(2),
            Some(5),
            "the first one is begun at once"
        );
        let (out, found) = mpsc::sync_channel(1);
        line.scanning(5, found);
        assert_eq!(line.next_to_scan(1), None, "as many as there may be");
        assert_eq!(shown(line.next(true)), "0..1");
        assert_eq!(shown(line.next(false)), "1..4");
        assert_eq!(shown(line.next(false)), "4..5");
        assert_eq!(shown(line.next(false)), "wait");
        out.send(Ok(scanned(5, 2))).unwrap();
        for expect in ["5.0", "5.1", "5.2", "6..7"] {
            assert_eq!(shown(line.next(false)), expect);
        }
        assert_eq!(shown(line.next(false)), "7..8", "nobody scans it");
        assert_eq!(line.next_to_scan(2), Some(8));
        let (out, found) = mpsc::sync_channel(1);
        line.scanning(8, found);
        out.send(Ok(scanned(8, 0))).unwrap();
        assert_eq!(shown(line.next(true)), "8.0");
        assert_eq!(shown(line.next(true)), "9..9", "the end of the archive");
        assert_eq!(shown(line.next(true)), "end");
        assert_eq!(line.next_to_scan(2), None);
    }

    #[test]
    fn a_scan_without_an_end_is_told() {
        let tree = tree(&[1, 16]);
        let members = members(&tree, SHARED_MTIME).unwrap();
        let mut line = Line::new(&members, 1);
        let member = line.next_to_scan(1).unwrap();
        let (out, found) = mpsc::sync_channel(1);
        line.scanning(member, found);
        drop(out);
        assert_eq!(shown(line.next(true)), "0..1");
        assert!(line.next(true).is_err());
    }
}
