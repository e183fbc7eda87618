//! The commands, one a file: what is typed → what is done → what is printed.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod digest;
pub(crate) mod index;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod lock;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod store;
pub(crate) mod vendor;
pub(crate) mod verify;

use std::io::{self, Write};

use anyhow::Context;
use registry::Reference;

use crate::diagnostics::Failure;

/// Prints a command's result. A reader that went away is no error of ours.
fn print(result: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{result}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Bytes for people: `12.3 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// A reference to push to: one with a tag, `latest` where it is left out.
fn target(text: &str) -> anyhow::Result<Reference> {
    let reference: Reference = text.parse()?;
    if reference.digest().is_some() {
        return Err(Failure::new(format!(
            "`{text}` has a digest, and what is pushed gets its own"
        ))
        .hint("name a tag, as in HOST/NAME:TAG")
        .into());
    }
    Ok(reference)
}
