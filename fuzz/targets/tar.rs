//! Any bytes as a base image's layer, and as an archive with a layout in it: both are read to their
//! end, or refused.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use oci::LayoutReader;

fuzz_target!(|input: &[u8]| {
    let scans = [
        facts::scan("application/vnd.oci.image.layer.v1.tar", input),
        facts::scan("application/vnd.oci.image.layer.v1.tar+gzip", input),
    ];
    let scans: Vec<_> = scans.into_iter().filter_map(Result::ok).collect();
    // What two layers of these bytes say together may be wrong, but must be said.
    let _ = facts::facts(&["PATH=/usr/bin".to_owned()], &scans);

    let file = fuzz::file(input).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if let Ok(reader) = LayoutReader::open(&path) {
        let _ = oci::validate(&reader);
    }
});
