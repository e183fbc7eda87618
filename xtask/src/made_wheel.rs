//! Wheels made for the benches, the same bytes each time.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// A wheel of one package, being written.
pub(crate) struct MadeWheel {
    zip: ZipWriter<BufWriter<File>>,
    dist_info: String,
    record: String,
}

impl MadeWheel {
    /// Begins `NAME-1.0-py3-none-any.whl` in `directory`.
    pub(crate) fn create(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let file = File::create(directory.join(filename(name)))?;
        Ok(Self {
            zip: ZipWriter::new(BufWriter::new(file)),
            dist_info: format!("{name}-1.0.dist-info"),
            record: String::new(),
        })
    }

    /// A file of `size` bytes that deflate makes a third of; `seed` tells it from others.
    pub(crate) fn file(&mut self, path: &str, size: usize, seed: u64) -> anyhow::Result<()> {
        self.put(path, &content(size, seed))
    }

    /// Writes what makes a wheel of it.
    pub(crate) fn finish(mut self, name: &str) -> anyhow::Result<()> {
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let wheel =
            "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        for (file, text) in [("METADATA", metadata.as_str()), ("WHEEL", wheel)] {
            let path = format!("{}/{file}", self.dist_info);
            self.put(&path, text.as_bytes())?;
        }
        let path = format!("{}/RECORD", self.dist_info);
        let record = format!("{}{path},,\n", self.record);
        self.zip.start_file(path, options())?;
        self.zip.write_all(record.as_bytes())?;
        self.zip.finish()?.flush()?;
        Ok(())
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.zip.start_file(path, options())?;
        self.zip.write_all(bytes)?;
        let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        writeln!(self.record, "{path},sha256={digest},{}", bytes.len())?;
        Ok(())
    }
}

pub(crate) fn filename(name: &str) -> String {
    format!("{name}-1.0-py3-none-any.whl")
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
}

/// Bytes of a word.
const LENGTHS: [usize; 5] = [3, 4, 6, 8, 12];

/// Words of a vocabulary, the choice of which is noise. Deflate makes of them what it makes of native
/// libraries, and inflates them about as fast: 0.35 in place of 0.27 for the BLAS of scipy.
fn content(size: usize, seed: u64) -> Vec<u8> {
    static VOCABULARY: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let mut noise = Noise(1);
        (0..256)
            .map(|n| {
                let length = LENGTHS[n % LENGTHS.len()];
                (0..length).map(|_| (noise.next() >> 56) as u8).collect()
            })
            .collect()
    });
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = Vec::with_capacity(size + LENGTHS[LENGTHS.len() - 1]);
    while bytes.len() < size {
        bytes.extend_from_slice(&VOCABULARY[(noise.next() >> 56) as usize]);
    }
    bytes.truncate(size);
    bytes
}

/// Marsaglia's xorshift64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
