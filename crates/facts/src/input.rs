//! A layer's bytes as a tar stream: image-spec `layer.md`, media types `…tar`, `…tar+gzip` (RFC 1952,
//! any number of members) and `…tar+zstd` (RFC 8878, any number of frames).

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::Error;

/// Bytes read at once.
const BUFFER: usize = 128 << 10;

/// The largest window of a zstd frame, as a power of two: what zstd itself takes without being told.
const WINDOW_LOG: u32 = 27;

/// Looks at the first bytes of `reader` and decompresses what follows.
pub fn open<'a>(media_type: &str, reader: impl Read + 'a) -> Result<Box<dyn BufRead + 'a>, Error> {
    let is_layer = media_type.contains("tar") && !media_type.contains("encrypted");
    if !is_layer {
        return Err(Error::MediaType {
            media_type: media_type.to_owned(),
        });
    }
    let unreadable = |source| Error::Read {
        after: String::new(),
        source,
    };
    let mut reader = reader;
    let mut first = Vec::with_capacity(6);
    reader
        .by_ref()
        .take(6)
        .read_to_end(&mut first)
        .map_err(unreadable)?;
    let format = Format::of(&first)?;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(first).chain(reader));
    Ok(match format {
        Format::Plain => Box::new(whole),
        Format::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole))),
        Format::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(whole).map_err(unreadable)?;
            decoder.window_log_max(WINDOW_LOG).map_err(unreadable)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy)]
enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    fn of(first: &[u8]) -> Result<Self, Error> {
        let refuse = |program| Err(Error::Compression { program });
        match first {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => refuse("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A'] => refuse("bzip2"),
            _ => Ok(Self::Plain),
        }
    }
}
