//! Parts of large wheels. A wheel above 512 MiB becomes several layers, so that they are hashed and pulled
//! in parallel, and none takes longer than registries wait for an upload.
//!
//! How many there are follows from the wheel's size, which the lock has; which file is in which part, from
//! the wheel itself. Part 1 of 1 is the whole wheel.

use std::fmt;

use oci::{Content, Kind, Tree, TreeError};

/// Bytes of a wheel that one layer holds at most, if its files can be divided so: 512 MiB.
pub(crate) const LIMIT: u64 = 512 << 20;

/// One of the layers of a wheel that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1 on.
    pub(crate) number: usize,
    /// Of how many.
    pub(crate) of: usize,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

impl Part {
    /// About how many of a wheel's `size` bytes are in it; all parts' are `size` together.
    pub(crate) fn share(self, size: u64) -> u64 {
        let up_to = |n: usize| (u128::from(size) * n as u128 / self.of as u128) as u64;
        up_to(self.number) - up_to(self.number - 1)
    }

    /// What is in this part of a wheel's `tree`: the files, in the order of their paths, are cut into
    /// runs of about as many bytes as they have in the wheel. A directory is in every part that has a
    /// file below it.
    pub(crate) fn of_tree(self, tree: Tree) -> Result<Tree, TreeError> {
        let files: Vec<_> = tree
            .into_iter()
            .filter(|(_, entry)| entry.kind != Kind::Directory)
            .collect();
        let sizes: Vec<_> = files
            .iter()
            .map(|(_, entry)| match &entry.kind {
                Kind::File(Content::Archived(archived)) => archived.length,
                Kind::File(content) => content.size(),
                _ => 0,
            })
            .collect();
        let run = runs(&sizes, self.of).nth(self.number - 1).unwrap_or(0..0);
        let mut part = Tree::new();
        let files = files.into_iter().skip(run.start).take(run.len());
        for (path, entry) in files {
            part.insert(path, entry)?;
        }
        Ok(part)
    }
}

/// `count` runs of `sizes`, each of which has about the average of what the runs before it left. None is
/// empty as long as there are as many files as runs.
fn runs(sizes: &[u64], count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut left: u128 = sizes.iter().map(|it| u128::from(*it)).sum();
    let mut start = 0;
    (0..count).map(move |n| {
        let runs = count - n;
        let last = sizes.len().saturating_sub(runs - 1);
        let (mut end, mut taken) = (start, 0);
        while end < last {
            let size = u128::from(sizes[end]);
            // Where a file crosses the average, it goes where its larger half is.
            if runs > 1 && end > start && (2 * taken + size) * runs as u128 > 2 * left {
                break;
            }
            taken += size;
            end += 1;
        }
        left -= taken;
        let run = start..end;
        start = end;
        run
    })
}

#[cfg(test)]
mod tests {
    use oci::{Entry, TreePath};

    use super::*;

    fn cut(sizes: &[u64], count: usize) -> Vec<std::ops::Range<usize>> {
        let runs: Vec<_> = runs(sizes, count).collect();
        assert_eq!(runs.len(), count);
        let ends = runs.iter().map(|it| it.end);
        let starts = std::iter::once(0).chain(ends).take(count);
        assert!(starts.eq(runs.iter().map(|it| it.start)), "{runs:?}");
        assert_eq!(runs.last().unwrap().end, sizes.len());
        runs
    }

    #[test]
    fn runs_have_about_the_same_bytes() {
        assert_eq!(cut(&[1; 9], 3), [0..3, 3..6, 6..9]);
        assert_eq!(cut(&[5, 1, 1, 1, 1, 1], 2), [0..1, 1..6]);
        assert_eq!(cut(&[1, 1, 1, 1, 1, 5], 2), [0..5, 5..6]);
        assert_eq!(cut(&[1, 1000, 1], 3), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[1000, 1, 1], 3), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[0, 0, 0, 0], 2), [0..3, 3..4]);
        let sizes: Vec<u64> = (0..500).map(|n| n * 7919 % 1009).collect();
        let largest = |run: &std::ops::Range<usize>| sizes[run.clone()].iter().sum::<u64>();
        let total: u64 = sizes.iter().sum();
        for count in 2..12 {
            for run in cut(&sizes, count) {
                let bytes = largest(&run);
                assert!(
                    bytes.abs_diff(total / count as u64) <= 1009,
                    "{count}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn fewer_files_than_parts_leave_parts_empty() {
        assert_eq!(cut(&[3], 3), [0..0, 0..0, 0..1]);
        assert_eq!(cut(&[], 2), [0..0, 0..0]);
    }

    #[test]
    fn shares_add_up() {
        for (size, of) in [(0, 1), (10, 3), (LIMIT * 3 + 1, 4), (u64::MAX, 7)] {
            let shares = (1..=of).map(|number| Part { number, of }.share(size));
            assert_eq!(shares.map(u128::from).sum::<u128>(), u128::from(size));
        }
    }

    #[test]
    fn parts_have_every_file_once_and_the_same_directories() {
        let origin = "a wheel".into();
        let mut tree = Tree::new();
        for n in 0..10 {
            let path = TreePath::new(&format!("lib/package/part{}/{n}", n / 4)).unwrap();
            let content = Content::Bytes(vec![n; 100].into());
            tree.insert(path, Entry::file(content, n == 3, &origin))
                .unwrap();
        }
        let part = |number, of| Part { number, of }.of_tree(tree.clone()).unwrap();
        assert_eq!(part(1, 1), tree);
        let parts: Vec<_> = (1..=3).map(|number| part(number, 3)).collect();
        let mut merged = Tree::new();
        for part in &parts {
            assert!(
                part.iter()
                    .all(|(path, entry)| tree.get(path) == Some(entry))
            );
            merged.merge(part.clone()).unwrap();
        }
        assert_eq!(merged, tree);
        let files = |tree: &Tree| {
            tree.iter()
                .filter(|(_, it)| it.kind != Kind::Directory)
                .count()
        };
        assert_eq!(parts.iter().map(files).collect::<Vec<_>>(), [3, 4, 3]);
    }
}
