//! Copies that are checked on the way: nobody gets more bytes than announced, and the digest has to
//! be right in the end.

use std::error::Error;
use std::io::{self, Write};

use crate::{Digest, HashingWriter, LayoutError};

/// Any error, for what a caller's function writes a blob with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Lets `produce` write a blob to `out`, and errors unless it wrote just `size` bytes of `digest`.
/// What is over `size` never reaches `out`.
pub(crate) fn write_exactly<E: Into<BoxError>>(
    out: &mut dyn Write,
    digest: &Digest,
    size: u64,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), LayoutError> {
    let mut limited = Limited {
        inner: HashingWriter::new(out),
        left: size,
        too_much: false,
    };
    let produced = produce(&mut limited);
    if limited.too_much {
        return Err(LayoutError::TooLong {
            digest: *digest,
            size,
        });
    }
    produced.map_err(|source| LayoutError::Produce {
        digest: *digest,
        source: source.into(),
    })?;
    let (_, found, written) = limited.inner.finish();
    if written != size {
        return Err(LayoutError::Size {
            digest: *digest,
            expected: size,
            found: written,
        });
    }
    if found != *digest {
        return Err(LayoutError::Digest {
            expected: *digest,
            found,
        });
    }
    Ok(())
}

struct Limited<W> {
    inner: HashingWriter<W>,
    left: u64,
    too_much: bool,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            self.too_much = true;
            return Err(io::Error::other("more bytes than the blob has"));
        }
        let written = self.inner.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
