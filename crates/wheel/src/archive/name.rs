//! What a member may be called, and be.

use oci::TreePath;

use super::header::Central;
use super::{Headers, MemberFault};

pub(super) fn check_name(name: &[u8]) -> Result<&str, MemberFault> {
    const LONGEST_COMPONENT: usize = 255;
    let name = std::str::from_utf8(name).map_err(|_| MemberFault::NotUtf8)?;
    if name.starts_with('/') {
        return Err(MemberFault::Absolute);
    }
    if name.contains('\\') {
        return Err(MemberFault::Backslash);
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    TreePath::new(path).map_err(|error| MemberFault::Path(error.fault))?;
    if path
        .split('/')
        .any(|component| component.len() > LONGEST_COMPONENT)
    {
        return Err(MemberFault::LongComponent);
    }
    Ok(name)
}

/// A path cannot be a file and have something below it.
pub(super) fn check_parents(name: &str, headers: &Headers<'_>) -> Result<(), MemberFault> {
    let is_file = |path: &str| {
        headers
            .binary_search_by_key(&path, |(name, _)| *name)
            .is_ok()
    };
    let clash = name.match_indices('/').any(|(at, _)| is_file(&name[..at]));
    if clash {
        Err(MemberFault::BelowFile)
    } else {
        Ok(())
    }
}

/// Regular files and directories only, by the type bits whatever system they come from. Many writers
/// leave them out.
pub(super) fn check_type(name: &str, header: &Central<'_>) -> Result<(), MemberFault> {
    const DIRECTORY: u16 = 0o040_000;
    const REGULAR: u16 = 0o100_000;
    const SYMLINK: u16 = 0o120_000;
    let directory = name.ends_with('/');
    if directory && header.uncompressed_size != 0 {
        return Err(MemberFault::DirectoryWithData);
    }
    match header.high_attributes & 0o170_000 {
        0 => Ok(()),
        DIRECTORY if directory => Ok(()),
        REGULAR if !directory => Ok(()),
        SYMLINK => Err(MemberFault::Symlink),
        kind => Err(MemberFault::Special { kind }),
    }
}
