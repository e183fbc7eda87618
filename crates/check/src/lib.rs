//! Whether an image would load, proven from what its layers hold: nothing is run, and no network is asked.
//!
//! [`check()`] takes what a container of one platform sees and how it is configured, and gives findings:
//! what cannot work is a fault, what is worth a look is a note, each by a rule that docs/check.md states.

mod closure;
mod command;
mod image;
mod known;
mod loader;
mod machine;
mod metadata;
mod modes;
mod modules;
mod owners;
mod python;
mod report;
mod scripts;
mod search;
#[cfg(test)]
mod tests;

pub use image::{Config, check};
pub use report::{Code, Counts, Finding, Report, Severity};

/// Changes when the same image would be proven otherwise: kept proofs are then made anew.
pub const VERSION: u32 = 3;
