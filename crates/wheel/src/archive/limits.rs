//! How much an archive may claim before any of it is unpacked.

use oci::Source;

use super::end::Directory;
use super::header::Central;
use super::{ArchiveFault, Headers, MemberFault};
use crate::Error;

/// What an archive may at most ask for. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Number of members.
    pub members: u64,
    /// Size of the central directory, which is held in memory while it is read.
    pub directory: u64,
    /// Uncompressed size of one file.
    pub file: u64,
    /// Sum of the uncompressed sizes.
    pub wheel: u64,
    /// Uncompressed size for each compressed byte, of one file and of all together.
    pub ratio: u64,
    /// Below this uncompressed size no ratio is too high.
    pub ratio_from: u64,
    /// Size of a file that is read into memory: RECORD, METADATA, WHEEL, `entry_points.txt` and
    /// scripts that begin with `#!python`.
    pub text: u64,
}

impl Default for Limits {
    /// Wide enough for torch and CUDA: a gigabyte per file at single-digit ratios.
    fn default() -> Self {
        Self {
            members: 500_000,
            directory: 128 << 20,
            file: 8 << 30,
            wheel: 64 << 30,
            ratio: 200,
            ratio_from: 256 << 20,
            text: 64 << 20,
        }
    }
}

impl Limits {
    pub(super) fn exceeds_ratio(&self, uncompressed_size: u64, length: u64) -> bool {
        uncompressed_size > self.ratio_from && uncompressed_size > length.saturating_mul(self.ratio)
    }

    /// Refuses a directory that is too large to hold, before it is read.
    pub(super) fn check_directory(
        &self,
        source: &Source,
        directory: Directory,
    ) -> Result<(), Error> {
        let Directory {
            size,
            entries: count,
            ..
        } = directory;
        let fault = if count > self.members {
            ArchiveFault::TooManyMembers {
                count,
                limit: self.members,
            }
        } else if size > self.directory {
            ArchiveFault::DirectoryTooLarge {
                size,
                limit: self.directory,
            }
        } else {
            return Ok(());
        };
        Err(Error::archive(source, fault))
    }

    /// Refuses members that claim too much, one by one and together.
    pub(super) fn check(&self, source: &Source, headers: &Headers<'_>) -> Result<(), Error> {
        let (mut total, mut total_length) = (0u64, 0u64);
        for (name, header) in headers {
            let Central {
                length,
                uncompressed_size: size,
                ..
            } = *header;
            if size > self.file {
                let limit = self.file;
                return Err(Error::member(
                    source,
                    name,
                    MemberFault::TooLarge { size, limit },
                ));
            }
            if self.exceeds_ratio(size, length) {
                let limit = self.ratio;
                return Err(Error::member(
                    source,
                    name,
                    MemberFault::Ratio {
                        size,
                        length,
                        limit,
                    },
                ));
            }
            total = total.saturating_add(size);
            total_length = total_length.saturating_add(length);
        }
        if total > self.wheel {
            let fault = ArchiveFault::TooLarge {
                size: total,
                limit: self.wheel,
            };
            return Err(Error::archive(source, fault));
        }
        if self.exceeds_ratio(total, total_length) {
            let fault = ArchiveFault::Ratio {
                size: total,
                length: total_length,
                limit: self.ratio,
            };
            return Err(Error::archive(source, fault));
        }
        Ok(())
    }
}
