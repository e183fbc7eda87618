//! A file's bytes as they are in the image, for whoever wants them outside of a layer.

use std::io::{self, Read, Write};

use flate2::read::DeflateDecoder;

use crate::{Archived, Content, Method};

impl Content {
    /// Writes the file's bytes. One that ends early is an error of kind `InvalidData`, and so is one of an
    /// archive without the size and CRC-32 that are stated there; its stronger checksum is not looked at.
    /// At most one byte beyond the stated size is written.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::File {
                source,
                offset,
                length,
            } => {
                let copied = io::copy(&mut source.range(*offset, *length), out)?;
                expect("size", source.name(), *length, copied)
            }
            Self::Archived(archived) => archived.write_to(out),
        }
    }
}

impl Archived {
    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let range = self.source.range(self.offset, self.length);
        let reader: Box<dyn Read> = match self.method {
            Method::Stored => Box::new(range),
            Method::Deflated => Box::new(DeflateDecoder::new(range)),
        };
        // One byte more than there should be, to notice data that goes on.
        let mut reader = reader.take(self.uncompressed_size.saturating_add(1));
        let mut crc32 = crc32fast::Hasher::new();
        let mut size = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            crc32.update(&buffer[..read]);
            size += read as u64;
            out.write_all(&buffer[..read])?;
        }
        let name = self.source.name();
        expect("size", name, self.uncompressed_size, size)?;
        let found = crc32.finalize();
        expect("CRC-32", name, self.crc32.into(), found.into())
    }
}

fn expect(what: &str, name: &str, expected: u64, found: u64) -> io::Result<()> {
    if expected == found {
        return Ok(());
    }
    let text = format!("a file of {name}: {what} is {found}, the tree says {expected}");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}
