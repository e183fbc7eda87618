//! Requirements to pinned wheels, for one target at a time.
//!
//! The uv crates do the resolving (`uv.rs`, `context.rs`); they promise no stable API, so nothing
//! of theirs appears in this crate's own. Nothing of the host reaches a result either: the Python
//! version, the libc and the architecture are those of the [`Target`].

mod align;
mod context;
mod diagnose;
mod downgrade;
mod entries;
mod error;
mod formats;
#[cfg(test)]
mod harness;
mod input;
mod installed;
mod lines;
mod locked;
mod misfit;
mod provider;
mod pylock;
mod pyproject;
#[cfg(test)]
mod recorded;
mod replaced;
mod request;
mod requirements;
mod resolution;
mod sdists;
mod solution;
mod tags;
mod target;
mod tool_uv;
mod uv;
mod uv_lock;

pub use align::{Misaligned, align};
pub use downgrade::Downgrade;
pub use error::{Error, NotAWheel, Place};
pub use formats::Formats;
pub use input::{Input, Inputs, normalize_name};
pub use locked::{UnfitEntry, UnfitLock};
pub use misfit::{Misfit, NoCompatibleWheel, TagPart, WheelSeen};
pub use replaced::Replaced;
pub use request::{Indexes, InstalledPackage, Request};
pub use resolution::{Pinned, ReplacedPackage, Resolution, SatisfiedPackage, WhyReplaced};
pub use sdists::{Builds, Describe, DescribeError, Sdist};
pub use target::{Arch, Libc, Target};
pub use uv::{before_threads, resolve};
