//! The client against the registry of `testkit`, with the faults that registries have. Every test
//! ends with a check that the client kept to the specification.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod auth;
mod common;
mod faults;
mod memory;
mod network;
mod pull;
mod push;
