//! The commands, one a file: what is typed → what is done → what is printed.

pub(crate) mod build;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod store;

use std::io::{self, Write};

use anyhow::Context;

/// Prints a command's result. A reader that went away is no error of ours.
fn print(result: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{result}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Bytes for people: `12.3 MiB`.
fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}
