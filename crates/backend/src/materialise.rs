//! A tree written to a directory of this machine, for programs of this machine.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use flate2::read::DeflateDecoder;
use oci::{Archived, Content, Kind, Method, Tree};

use crate::error::{At, Error};

/// Writes `tree` below `root`. A file that is there is replaced: of two wheels with one path, the later
/// one wins.
pub(crate) fn materialise(tree: &Tree, root: &Path) -> Result<(), Error> {
    for (path, entry) in tree.iter() {
        let target = root.join(path.as_str());
        match &entry.kind {
            Kind::Directory => fs::create_dir_all(&target).at("create", &target)?,
            Kind::File(content) => {
                let _ = fs::remove_file(&target);
                let mut file = File::create_new(&target).at("create", &target)?;
                write_content(content, &mut file).at("write", &target)?;
                file.set_permissions(Permissions::from_mode(entry.mode))
                    .at("write", &target)?;
            }
            Kind::Symlink(text) => {
                let _ = fs::remove_file(&target);
                symlink(text, &target).at("create", &target)?;
            }
            // Wheels have none.
            Kind::Hardlink(_) => {}
        }
    }
    Ok(())
}

/// Writes the bytes of a file, with the size and CRC-32 that its archive states.
pub(crate) fn write_content(content: &Content, out: &mut impl Write) -> io::Result<()> {
    match content {
        Content::Bytes(bytes) => out.write_all(bytes),
        Content::File {
            source,
            offset,
            length,
        } => io::copy(&mut source.range(*offset, *length), out).map(drop),
        Content::Archived(archived) => inflate(archived, out),
    }
}

fn inflate(archived: &Archived, out: &mut impl Write) -> io::Result<()> {
    let range = archived.source.range(archived.offset, archived.length);
    let reader: Box<dyn Read> = match archived.method {
        Method::Stored => Box::new(range),
        Method::Deflated => Box::new(DeflateDecoder::new(range)),
    };
    // One byte more than there should be, to notice data that goes on.
    let mut reader = reader.take(archived.uncompressed_size.saturating_add(1));
    let (mut crc32, mut size) = (crc32fast::Hasher::new(), 0);
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
    if size == archived.uncompressed_size && crc32.finalize() == archived.crc32 {
        return Ok(());
    }
    let text = format!(
        "a file of {} is not what its archive says",
        archived.source.name()
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}
