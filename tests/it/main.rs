//! The end-to-end tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad_input;
mod bases;
mod boundaries;
mod build;
mod check;
mod check_sets;
mod commands;
mod credentials;
mod damage;
mod diff;
mod docker_registry;
mod emulation;
mod fresh;
mod full_lock;
mod images;
mod inspect;
mod locks;
mod offline;
mod once;
mod oracles;
mod page;
mod pins;
mod project;
mod push;
mod readme;
mod registries;
mod reproducible;
mod samples;
mod skip;
mod uv_equal;
mod verify;
