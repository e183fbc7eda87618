//! Blobs are streamed: none is in memory.

use std::fs;
use std::sync::Arc;

use oci::Digest;
use registry::{Content, Credentials, Pushed, Upload};
use testkit::Registry;

use crate::common::{client, finish, open};

const CHUNK: usize = 1 << 20;
const CHUNKS: u64 = 256;

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

/// A process of its own, for other tests have blobs in memory.
#[test]
fn a_large_blob_takes_little_memory() {
    if std::env::var_os("REGISTRY_TEST_ALONE").is_some() {
        alone();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", "memory::a_large_blob_takes_little_memory"])
        .arg("--nocapture")
        .env("REGISTRY_TEST_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[tokio::main]
async fn alone() {
    let registry = Registry::start();
    registry.discard_blobs();
    let (client, told) = client(Credentials::none());
    let repository = open(&client, &registry, "acme/app");
    let chunk = Arc::new(vec![1_u8; CHUNK]);
    let mut hasher = oci::HashingWriter::new(std::io::sink());
    for _ in 0..CHUNKS {
        std::io::Write::write_all(&mut hasher, &chunk).unwrap();
    }
    let (_, digest, size): (_, Digest, u64) = hasher.finish();
    let before = peak();
    let upload = Upload {
        digest,
        size,
        mount_from: &[],
        is_new: false,
        content: Content::Written(Arc::new(move |out| {
            for _ in 0..CHUNKS {
                out.write_all(&chunk)?;
            }
            Ok(())
        })),
    };
    let pushed = repository.push_blob(&upload).await.unwrap();
    assert_eq!(pushed, Pushed::Uploaded { bytes: size });
    let used = peak() - before;
    // The registry's share included.
    assert!(used < 32 << 20, "{} MiB", used >> 20);
    finish(&registry, &told, None);
}
