//! Putting a layer together: the blob's frame (RFC 1952), its compression and its digest.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::buffer::Buffer;
use crate::compress::Recompress;
use crate::deflate::END;
use crate::layer::{EncodeError, Layer, Output};
use crate::{DiffId, Digest, Encoder};

/// A gzip header: deflate, no flags, no time, no hint at the level, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Takes the tar stream and, of a spliced layer, the deflate stream, in order; writes and digests the
/// blob.
pub(crate) struct Assembly<'a> {
    encoder: Encoder,
    tar_size: u64,
    blob: Blob<'a>,
}

/// The blob, with or without a compressor before it.
enum Blob<'a> {
    Spliced(BlobWriter<'a>),
    Recompressed(Box<Recompress<BlobWriter<'a>>>),
}

struct BlobWriter<'a> {
    output: Output<'a>,
    hasher: Sha256,
    size: u64,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(encoder: Encoder, mut output: Output<'a>) -> io::Result<Self> {
        if let Output::Map(map) = &mut output {
            map.clear();
        }
        let mut writer = BlobWriter {
            output,
            hasher: Sha256::new(),
            size: 0,
        };
        if !matches!(encoder, Encoder::Zstd { .. }) {
            writer.write_all(&GZIP_HEADER)?;
        }
        let blob = match Recompress::new(encoder, writer)? {
            Ok(recompress) => Blob::Recompressed(Box::new(recompress)),
            Err(writer) => Blob::Spliced(writer),
        };
        Ok(Self {
            encoder,
            tar_size: 0,
            blob,
        })
    }

    /// Takes the next bytes of the tar stream: compresses them, where they are compressed anew. Someone
    /// else digests them.
    pub(crate) fn take_tar(&mut self, buffer: &Buffer) -> io::Result<()> {
        self.tar_size += buffer.filled as u64;
        match &mut self.blob {
            Blob::Spliced(_) => Ok(()),
            Blob::Recompressed(recompress) => recompress.write_all(buffer.filled()),
        }
    }

    /// Takes the next bytes of a spliced layer's deflate stream.
    pub(crate) fn splice(&mut self, buffer: &Buffer) -> io::Result<()> {
        match &mut self.blob {
            Blob::Spliced(writer) => writer.splice(buffer),
            Blob::Recompressed(_) => unreachable!("only a spliced layer has a deflate stream"),
        }
    }

    /// Ends the blob. `crc` and `diff_id` are the whole tar stream's.
    pub(crate) fn finish(self, crc: u32, diff_id: DiffId) -> Result<Layer, EncodeError> {
        let mut writer = match self.blob {
            Blob::Spliced(mut writer) => {
                writer.write_all(&END)?;
                writer
            }
            Blob::Recompressed(recompress) => recompress.finish()?,
        };
        if !matches!(self.encoder, Encoder::Zstd { .. }) {
            writer.write_all(&crc.to_le_bytes())?;
            writer.write_all(&(self.tar_size as u32).to_le_bytes())?;
        }
        Ok(Layer {
            digest: Digest::from_bytes(writer.hasher.finalize().into()),
            diff_id,
            size: writer.size,
            media_type: self.encoder.media_type().to_owned(),
        })
    }
}

impl BlobWriter<'_> {
    fn splice(&mut self, buffer: &Buffer) -> io::Result<()> {
        let Output::Map(map) = &mut self.output else {
            return self.write_all(buffer.filled());
        };
        self.hasher.update(buffer.filled());
        self.size += buffer.filled as u64;
        let mut at = 0;
        for copy in &buffer.copies {
            map.push_literal(&buffer.bytes[at..copy.start]);
            map.push_copy(copy.source, copy.offset, (copy.end - copy.start) as u64);
            at = copy.end;
        }
        map.push_literal(&buffer.bytes[at..buffer.filled]);
        Ok(())
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.output {
            Output::Discard => {}
            Output::Blob(out) => out.write_all(bytes)?,
            Output::Map(map) => map.push_literal(bytes),
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
