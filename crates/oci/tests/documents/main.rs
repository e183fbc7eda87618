//! The documents side of `oci` from outside: layouts, archives, and what `validate` finds in them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod archives;
mod faults;
mod layouts;
mod sample;
