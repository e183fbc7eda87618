//! Decompression of a `.deb`'s inner archives to disk, so that memory does not grow with them. There they are
//! compressed again, by what is fast and can be read at any place.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use oci::{HashingWriter, Packer, Source};

use crate::archive::{Compression, Part};
use crate::error::Error;
use crate::fault::DebFault;

/// `xz -9` needs 65 MiB to decompress; Debian's packages are made with less.
const XZ_MEMORY: u64 = 128 << 20;
/// The widest window, as a power of two, that `zstd` reads unless told otherwise.
const ZSTD_WINDOW: u32 = 27;
const BUFFER: usize = 128 << 10;

/// Where the inner archives of one package go.
pub(crate) struct Spool<'a> {
    pub(crate) deb: &'a Source,
    pub(crate) dir: &'a Path,
}

impl Spool<'_> {
    /// `part` decompressed, of at most `limit` bytes, into an unlinked file of fewer. Its sha256 is taken on
    /// the way: it is what makes two unpackings of one package equal.
    pub(crate) fn decompress(
        &self,
        member: &'static str,
        part: Part,
        limit: u64,
    ) -> Result<Source, Error> {
        let fault = |fault| Error::Deb {
            file: self.deb.name().to_owned(),
            fault,
        };
        let spool = |source| Error::Spool {
            dir: self.dir.to_owned(),
            source,
        };
        let input = BufReader::with_capacity(BUFFER, self.deb.range(part.offset, part.length));
        let decompress = |source| fault(DebFault::Decompress { member, source });
        let mut reader = decoder(part.compression, input).map_err(decompress)?;
        let file = tempfile::tempfile_in(self.dir).map_err(spool)?;
        let mut writer = HashingWriter::new(Packer::new(file).map_err(spool)?);
        let mut buffer = vec![0; BUFFER];
        let mut size = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(decompress(error)),
            };
            size += read as u64;
            if size > limit {
                return Err(fault(DebFault::TooLarge { member, limit }));
            }
            writer.write_all(&buffer[..read]).map_err(spool)?;
        }
        let (packer, digest, _) = writer.finish();
        let name = format!("{member} of {}", self.deb.name());
        packer.finish(&name, Some(digest)).map_err(spool)
    }
}

/// All three read concatenated streams, as the command-line tools do, and refuse anything else that
/// follows.
fn decoder<'a>(
    compression: Compression,
    input: impl BufRead + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            Box::new(XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}
