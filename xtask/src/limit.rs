//! The least that building layers from wheels can cost: inflate every member once, and hash what
//! has to be hashed (each file for its RECORD line, all of them for the `diff_id`, the compressed
//! bytes for the blob's digest). No tar, no checks, no files written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, bail};
use flate2::{Decompress, FlushDecompress, Status};
use sha2::{Digest as _, Sha256};

/// Works on the wheels of `directory`, largest first, on `threads` threads.
pub(crate) fn run(directory: &Path, threads: usize) -> anyhow::Result<()> {
    let mut wheels = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        wheels.push((entry.metadata()?.len(), entry.path()));
    }
    wheels.sort();
    let queue = Mutex::new(wheels);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&queue))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

fn work(queue: &Mutex<Vec<(u64, PathBuf)>>) -> anyhow::Result<()> {
    let mut buffers = Buffers {
        input: vec![0; 1 << 16],
        output: vec![0; 1 << 17],
    };
    loop {
        let next = queue.lock().ok().and_then(|mut queue| queue.pop());
        let Some((size, path)) = next else {
            return Ok(());
        };
        wheel(&File::open(&path)?, size, &mut buffers)
            .with_context(|| path.display().to_string())?;
    }
}

struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

fn wheel(file: &File, size: u64, buffers: &mut Buffers) -> anyhow::Result<()> {
    let (mut diff_id, mut blob) = (Sha256::new(), Sha256::new());
    for member in members(file, size)? {
        let mut record = Sha256::new();
        let mut inflate = Decompress::new(false);
        let (mut offset, end) = (member.offset, member.offset + member.size);
        while offset < end {
            let length = buffers.input.len().min(usize::try_from(end - offset)?);
            file.read_exact_at(&mut buffers.input[..length], offset)?;
            offset += length as u64;
            let mut input = &buffers.input[..length];
            blob.update(input);
            if member.stored {
                record.update(input);
                diff_id.update(input);
                continue;
            }
            loop {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status =
                    inflate.decompress(input, &mut buffers.output, FlushDecompress::None)?;
                input = &input[usize::try_from(inflate.total_in() - read)?..];
                let output = &buffers.output[..usize::try_from(inflate.total_out() - written)?];
                record.update(output);
                diff_id.update(output);
                if status == Status::StreamEnd || (input.is_empty() && output.is_empty()) {
                    break;
                }
            }
        }
        std::hint::black_box(record.finalize());
    }
    std::hint::black_box((diff_id.finalize(), blob.finalize()));
    Ok(())
}

struct Member {
    offset: u64,
    size: u64,
    stored: bool,
}

/// The archive's members by its central directory (APPNOTE 4.3.12, 4.3.16): enough of it for the
/// wheels that are measured, which `oxcart` has checked before.
fn members(file: &File, size: u64) -> anyhow::Result<Vec<Member>> {
    let tail_length = size.min(66_000);
    let mut tail = vec![0; usize::try_from(tail_length)?];
    file.read_exact_at(&mut tail, size - tail_length)?;
    let end = tail
        .windows(4)
        .rposition(|four| four == b"PK\x05\x06")
        .context("not a zip file")?;
    let (count, length, start) = (
        u16_at(&tail, end + 10),
        u32_at(&tail, end + 12),
        u32_at(&tail, end + 16),
    );
    let mut directory = vec![0; length as usize];
    file.read_exact_at(&mut directory, u64::from(start))?;
    let mut at = 0;
    (0..count)
        .map(|_| {
            let (method, size, header) = (
                u16_at(&directory, at + 10),
                u32_at(&directory, at + 20),
                u32_at(&directory, at + 42),
            );
            let variable: usize = [28, 30, 32]
                .iter()
                .map(|field| usize::from(u16_at(&directory, at + field)))
                .sum();
            at += 46 + variable;
            let mut local = [0; 30];
            file.read_exact_at(&mut local, u64::from(header))?;
            if !matches!(method, 0 | 8) || size == u32::MAX {
                bail!("method {method}, size {size}");
            }
            let body = 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
            Ok(Member {
                offset: u64::from(header) + body,
                size: u64::from(size),
                stored: method == 0,
            })
        })
        .collect()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
