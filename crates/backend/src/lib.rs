//! Wheels from sources: a frontend for build backends.
//!
//! Follows PEP 517 (hooks), PEP 518 (`[build-system]`), PEP 625 and PEP 643 (source distributions and
//! their metadata). A backend runs with the host's Python in an environment that has its requirements
//! and nothing else; which wheels those are is for the caller to find out. Processes are spawned in
//! `process` alone.

mod build_system;
mod elf;
mod environment;
mod error;
mod hooks;
mod materialise;
mod metadata;
mod process;
mod python;
mod repack;
mod unpack;

pub use build_system::BuildSystem;
pub use elf::{Version, newest_glibc};
pub use environment::{Environment, Requirement};
pub use error::{Error, UnpackFault};
pub use hooks::Sources;
pub use metadata::{check_identity, static_metadata};
pub use python::{Facts, LibC, Python};
pub use repack::{FORMAT, repack};
pub use unpack::{Limits, is_archive, unpack};
