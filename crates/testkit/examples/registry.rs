//! A registry for tests in other processes: prints its address, and serves until it is killed or its
//! input ends. Then it prints the requests and the violations.
//!
//! `cargo run -p testkit --example registry [-- PORT [PROFILE] [--discard]]`

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::io::Read as _;

use testkit::{Registry, profiles};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let port = arguments.iter().find_map(|it| it.parse().ok());
    let registry = Registry::start_at(port.unwrap_or_default());
    if arguments.iter().any(|it| it == "--discard") {
        registry.discard_blobs();
    }
    for profile in profiles() {
        if arguments.iter().any(|it| it == profile.name) {
            registry.faults(&profile.faults);
        }
    }
    println!("{}", registry.host());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    for request in registry.requests() {
        println!("{request}");
    }
    for violation in registry.violations() {
        println!("violation: {violation}");
    }
}
