//! What the fuzz targets share. Each target is a program of libFuzzer; `cargo xtask fuzz` builds them
//! with coverage counters, which needs no nightly compiler, and runs them.

use std::fs::File;
use std::io::{self, Write as _};

use oci::{Digest, Source};

/// An archive at rest with these bytes, which exists in memory only.
pub fn source(bytes: &[u8], name: &str) -> io::Result<Source> {
    Source::from_file(file(bytes)?, name, Some(Digest::of(bytes)))
}

/// A file with these bytes, which exists in memory only.
pub fn file(bytes: &[u8]) -> io::Result<File> {
    let memory = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(bytes)?;
    Ok(file)
}
