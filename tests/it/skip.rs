//! Tests that are slow or need the network run unless `OXCART_TEST_SKIP` leaves them out, and say so
//! when it does. `cargo xtask test` repeats it after the last test.

/// What a test needs beside the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The package index, a Debian mirror, and the tools that `cargo xtask test` installs.
    Network,
    /// All of that, and a kernel that runs arm64 programs.
    Emulation,
}

/// Whether the test is to be left out.
pub(crate) fn left_out(need: Need) -> bool {
    let skipped = std::env::var("OXCART_TEST_SKIP").unwrap_or_default();
    let skips = |name| skipped.split(',').any(|word| word.trim() == name);
    let name = match need {
        Need::Network | Need::Emulation if skips("network") => "network",
        Need::Emulation if skips("emulation") => "emulation",
        Need::Network | Need::Emulation => return false,
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the capture of libtest, which shows nothing of a test that passes.
    let line = format!("LEFT OUT by OXCART_TEST_SKIP={name}: {test}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    true
}
