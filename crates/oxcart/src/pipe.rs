//! A pipe between two threads that makes no system call for each piece.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

/// Bytes of a piece: to be woken for one takes as long as to read it.
const PIECE: usize = 256 << 10;
/// Pieces that wait to be read.
const AHEAD: usize = 2;
/// Bytes that a pipe takes with what is read and written just now.
pub(crate) const MEMORY: u64 = ((AHEAD + 2) * PIECE) as u64;

/// What is written to the one end is read at the other. Where nobody reads any more the rest is dropped:
/// who reads only looks on.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (full, filled) = mpsc::sync_channel(AHEAD);
    let (used, spare) = mpsc::channel();
    let piece = Vec::new();
    let writer = PipeWriter { piece, full, spare };
    let reader = PipeReader {
        filled,
        used,
        piece: Vec::new(),
        at: 0,
    };
    (writer, reader)
}

/// Dropped, it ends the stream.
pub(crate) struct PipeWriter {
    /// What is not a whole piece yet.
    piece: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    /// Pieces that were read, to be used again.
    spare: Receiver<Vec<u8>>,
}

pub(crate) struct PipeReader {
    filled: Receiver<Vec<u8>>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    /// How much of the piece was read.
    at: usize,
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut next = self.spare.try_recv().unwrap_or_default();
        next.clear();
        // It fails where nobody reads any more.
        let _ = self.full.send(std::mem::replace(&mut self.piece, next));
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.piece.len() {
            let Ok(next) = self.filled.recv() else {
                return Ok(&[]);
            };
            let _ = self.used.send(std::mem::replace(&mut self.piece, next));
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_that_is_written_is_read() {
        let (mut writer, mut reader) = pipe();
        let pieces: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; usize::from(n) << 8]).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for piece in &pieces {
                    writer.write_all(piece).unwrap();
                }
                drop(writer);
            });
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all, pieces.concat());
        });
    }

    #[test]
    fn the_writer_goes_on_where_nobody_reads() {
        let (mut writer, reader) = pipe();
        drop(reader);
        for _ in 0..10 * AHEAD {
            writer.write_all(&vec![1; PIECE]).unwrap();
        }
    }
}
