//! The compressors: one for files that are not compressed at rest, and those that compress a whole
//! tar stream anew.
//!
//! Their bytes depend on the version of zlib-rs or zstd (pinned exactly) and on how the input is cut
//! into calls, so it is always cut alike, however the bytes arrive.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress};

use crate::Encoder;

/// The level at which files that are not compressed at rest are compressed. Changes only with
/// [`crate::layer::FORMAT`].
const LEVEL: u32 = 6;

/// Number of input bytes per call of a compressor.
pub(crate) const PIECE: usize = 64 * 1024;

/// Compresses files one by one into deflate blocks, none of them final, that end at a byte boundary.
#[derive(Debug)]
pub(crate) struct Deflate {
    compress: Compress,
    out: Box<[u8]>,
}

impl Deflate {
    pub(crate) fn new() -> Self {
        let compress = Compress::new(Compression::new(LEVEL), false);
        Self {
            compress,
            out: vec![0; PIECE].into(),
        }
    }

    /// Begins another file, which refers to nothing before it.
    pub(crate) fn reset(&mut self) {
        self.compress.reset();
    }

    /// Compresses the next [`PIECE`] of the file, or what is left of it if that is less. `out` takes
    /// the compressed bytes.
    pub(crate) fn piece<E: From<io::Error>>(
        &mut self,
        piece: &[u8],
        is_last: bool,
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let flush = if is_last {
            FlushCompress::Sync
        } else {
            FlushCompress::None
        };
        let mut rest = piece;
        loop {
            let (consumed, produced) = (self.compress.total_in(), self.compress.total_out());
            self.compress
                .compress(rest, &mut self.out, flush)
                .map_err(io::Error::other)?;
            let produced = (self.compress.total_out() - produced) as usize;
            rest = &rest[(self.compress.total_in() - consumed) as usize..];
            out(&self.out[..produced])?;
            if rest.is_empty() && produced < self.out.len() {
                return Ok(());
            }
        }
    }
}

/// Compresses a whole tar stream anew.
pub(crate) struct Recompress<W: Write> {
    /// What does not fill a piece yet.
    pending: Vec<u8>,
    encoder: Kind<W>,
}

enum Kind<W: Write> {
    Zstd(zstd::Encoder<'static, W>),
    /// The deflate stream only: the gzip member around it is the caller's.
    Gzip(flate2::write::DeflateEncoder<W>),
}

impl<W: Write> Recompress<W> {
    /// Compresses to `out` as `encoder` says; gives `out` back if that is to splice.
    pub(crate) fn new(encoder: Encoder, out: W) -> io::Result<Result<Self, W>> {
        let encoder = match encoder {
            Encoder::Splice => return Ok(Err(out)),
            Encoder::Zstd { level } => {
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                Kind::Zstd(encoder)
            }
            Encoder::Gzip { level } => Kind::Gzip(flate2::write::DeflateEncoder::new(
                out,
                Compression::new(level),
            )),
        };
        Ok(Ok(Self {
            pending: Vec::with_capacity(PIECE),
            encoder,
        }))
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.encoder.write_all(&self.pending)?;
        match self.encoder {
            Kind::Zstd(encoder) => encoder.finish(),
            Kind::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Recompress<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.pending.len());
        if taken == PIECE {
            self.encoder.write_all(&bytes[..taken])?;
            return Ok(taken);
        }
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == PIECE {
            self.encoder.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Kind<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Read;

    use super::*;
    use crate::Digest;
    use crate::deflate::END;

    fn deflated(deflate: &mut Deflate, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        deflate.reset();
        let mut pieces = bytes.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let take = |bytes: &[u8]| {
                out.extend_from_slice(bytes);
                io::Result::Ok(())
            };
            deflate.piece(piece, pieces.peek().is_none(), take).unwrap();
        }
        out
    }

    /// Texts, binaries and noise from a fixed generator: what the golden digests are taken over.
    fn corpus() -> Vec<(&'static str, Vec<u8>)> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % below
        };
        let words = [
            "def ", "self", "return ", ".", "(", ")", "\n    ", "import ", "numpy", "= ", "0x",
        ];
        let text: Vec<u8> = (0..60_000)
            .flat_map(|_| words[next(words.len() as u64) as usize].bytes())
            .collect();
        let records: Vec<u8> = (0..40_000_u32)
            .flat_map(|n| [n.to_le_bytes(), (next(7) as u32).to_le_bytes()].concat())
            .collect();
        let noise: Vec<u8> = (0..200_000).map(|_| next(256) as u8).collect();
        let sparse: Vec<u8> = (0..300_000)
            .map(|_| if next(100) == 0 { next(256) as u8 } else { 0 })
            .collect();
        vec![
            ("one byte", vec![b'x']),
            ("short", b"Wheel-Version: 1.0\nGenerator: test\n".to_vec()),
            ("zeros", vec![0; 1 << 20]),
            ("text", text.clone()),
            ("records", records.clone()),
            ("noise", noise.clone()),
            ("sparse", sparse),
            (
                "mixed",
                [&text[..70_000], &noise[..70_000], &records[..70_000], &text].concat(),
            ),
        ]
    }

    /// Changes only with [`crate::layer::FORMAT`]: if an upgrade of zlib-rs or flate2 breaks this, the
    /// same inputs give other blobs.
    #[test]
    fn golden_corpus() {
        let mut deflate = Deflate::new();
        let mut lines = String::new();
        for (name, bytes) in corpus() {
            let packed = deflated(&mut deflate, &bytes);
            let digest = Digest::of(&packed).hex();
            writeln!(lines, "{name}: {} {}", packed.len(), &digest[..16]).unwrap();
            assert_eq!(
                packed,
                deflated(&mut Deflate::new(), &bytes),
                "{name}: after another file"
            );
            assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
            let mut back = Vec::new();
            let stream = [packed, END.to_vec()].concat();
            flate2::read::DeflateDecoder::new(&stream[..])
                .read_to_end(&mut back)
                .unwrap();
            assert!(back == bytes, "{name}");
        }
        insta::assert_snapshot!(lines, @r"
one byte: 7 659196dec7bbfd1f
short: 41 656fc29a7846a6bd
zeros: 1037 b13a2ca82ea74c0f
text: 43029 5a9c040907e2d1eb
records: 86236 1da6d2533a2d08a9
noise: 200070 ef669695cf40b9a6
sparse: 9269 33a7f7c22942d779
mixed: 151172 5e51788528ca96e6
");
    }

    #[test]
    fn a_tar_stream_is_compressed_alike_however_it_arrives() {
        let (_, bytes) = corpus().pop().unwrap();
        for encoder in [
            Encoder::Zstd { level: 3 },
            Encoder::Gzip { level: 6 },
            Encoder::Gzip { level: 1 },
        ] {
            let run = |cut: usize| {
                let Ok(mut out) = Recompress::new(encoder, Vec::new()).unwrap() else {
                    panic!()
                };
                bytes
                    .chunks(cut)
                    .for_each(|bytes| out.write_all(bytes).unwrap());
                out.finish().unwrap()
            };
            let whole = run(bytes.len());
            assert!(
                [1000, PIECE - 1, PIECE, PIECE + 1]
                    .iter()
                    .all(|cut| run(*cut) == whole)
            );
        }
    }
}
