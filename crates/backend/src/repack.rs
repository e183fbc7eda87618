//! A wheel written again, so that its bytes tell of its files and of nothing else: not of the time and
//! order in which a backend wrote them, nor of the umask and the compressor of the host.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use oci::Source;
use sha2::{Digest as _, Sha256};
use wheel::{Archive, Limits, Member, Wheel, WheelFilename};

use crate::error::{At, Error};

/// Changes with the bytes that the same files give.
pub const FORMAT: u32 = 1;

/// Bytes of one file, each of which is held in memory while it is written.
const LARGEST_FILE: u64 = 1 << 30;
/// 1980-01-01, where zip's dates begin.
const DATE: u16 = 0x21;
/// The largest that fields without ZIP64 tell.
const LARGEST: u64 = u32::MAX as u64;

/// Writes the wheel at `path`, which a backend built from `what`, to `out`: files sorted, RECORD last
/// and sorted too.
pub fn repack(
    path: &Path,
    filename: &WheelFilename,
    what: &str,
    out: &mut impl Write,
) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let source = Source::open(path, &name, None).at("open", path)?;
    // Checks METADATA and WHEEL, and that they are those of what the file is called.
    let limits = Limits {
        file: LARGEST_FILE,
        ..Limits::default()
    };
    let wheel = Wheel::open(source, filename, &limits)?;
    let archive = wheel.archive();
    let is_record = |member: &&Member| {
        let (directory, file) = member.name.rsplit_once('/').unwrap_or_default();
        file == "RECORD" && directory.ends_with(".dist-info") && !directory.contains('/')
    };
    let record = archive.members().iter().find(is_record);
    let record = record.ok_or_else(|| Error::Answer {
        what: what.to_owned(),
        hook: "build_wheel",
        returned: "a wheel without a RECORD".to_owned(),
    })?;
    let mut zip = Zip {
        out: Counted { out, written: 0 },
        directory: Vec::new(),
        members: 0,
    };
    let members = archive.members().iter().filter(|it| *it != record);
    let mut rows = Vec::new();
    for member in members {
        let bytes = read(archive, member).at("read", path)?;
        rows.push(row(&member.name, &bytes));
        zip.add(&member.name, member.executable, &bytes)
            .at("write", path)?;
    }
    rows.push(format!("{},,\n", field(&record.name)));
    zip.add(&record.name, false, rows.concat().as_bytes())
        .at("write", path)?;
    zip.finish().at("write", path)
}

fn read(archive: &Archive, member: &Member) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    member
        .content(archive.source(), None)
        .write_to(&mut bytes)?;
    Ok(bytes)
}

/// "Recording installed projects", section The RECORD file.
fn row(name: &str, bytes: &[u8]) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
    format!("{},sha256={digest},{}\n", field(name), bytes.len())
}

fn field(name: &str) -> String {
    if name.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// A zip archive (APPNOTE.TXT, 4.3) in the making.
struct Zip<W> {
    out: Counted<W>,
    directory: Vec<u8>,
    members: u16,
}

impl<W: Write> Zip<W> {
    fn add(&mut self, name: &str, executable: bool, bytes: &[u8]) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidData, "it is too large");
        let offset = self.out.written;
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::new(6));
        deflated.write_all(bytes)?;
        let mut body = deflated.finish()?;
        let is_smaller = body.len() < bytes.len();
        if !is_smaller {
            body = bytes.to_vec();
        }
        if offset.max(bytes.len() as u64) > LARGEST {
            return Err(too_large());
        }
        let length = u16::try_from(name.len()).map_err(|_| too_large())?;
        self.members = self.members.checked_add(1).ok_or_else(too_large)?;
        let mut common = Vec::new();
        // Version needed, flags (names are UTF-8), method, time, date.
        let method = if is_smaller { 8 } else { 0 };
        for value in [20, 1 << 11, method, 0, DATE] {
            common.extend_from_slice(&u16::to_le_bytes(value));
        }
        for value in [crc.sum(), body.len() as u32, bytes.len() as u32] {
            common.extend_from_slice(&value.to_le_bytes());
        }
        // Name, no extra field.
        common.extend_from_slice(&length.to_le_bytes());
        common.extend_from_slice(&[0; 2]);
        self.out.write_all(b"PK\x03\x04")?;
        self.out.write_all(&common)?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&body)?;

        let mode: u32 = if executable { 0o100_755 } else { 0o100_644 };
        self.directory.extend_from_slice(b"PK\x01\x02");
        // Made by version 2.0 on Unix.
        self.directory.extend_from_slice(&[20, 3]);
        self.directory.extend_from_slice(&common);
        // No comment, disk 0, no internal attributes.
        self.directory.extend_from_slice(&[0; 6]);
        self.directory
            .extend_from_slice(&(mode << 16).to_le_bytes());
        self.directory
            .extend_from_slice(&(offset as u32).to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let offset = self.out.written;
        if offset > LARGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is too large",
            ));
        }
        self.out.write_all(&self.directory)?;
        self.out.write_all(b"PK\x05\x06\0\0\0\0")?;
        self.out.write_all(&self.members.to_le_bytes())?;
        self.out.write_all(&self.members.to_le_bytes())?;
        let size = self.directory.len() as u32;
        self.out.write_all(&size.to_le_bytes())?;
        self.out.write_all(&(offset as u32).to_le_bytes())?;
        self.out.write_all(&[0; 2])
    }
}

struct Counted<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use testkit::WheelBuilder;

    use super::*;

    fn repacked(wheel: &WheelBuilder) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(wheel.filename());
        std::fs::write(&path, wheel.build()).unwrap();
        let filename = WheelFilename::from_str(&wheel.filename()).unwrap();
        let mut out = Vec::new();
        repack(&path, &filename, "demo-1.0.tar.gz", &mut out).unwrap();
        // It is a wheel still.
        std::fs::write(&path, &out).unwrap();
        let source = Source::open(&path, "demo", None).unwrap();
        Wheel::open(source, &filename, &Limits::default()).unwrap();
        out
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let wheel = WheelBuilder::simple("demo", "1.0");
        let forwards = wheel.clone().file("a.py", b"a").file("b.py", b"b");
        let backwards = wheel.file("b.py", b"b").file("a.py", b"a");
        assert_ne!(forwards.build(), backwards.build());
        assert_eq!(repacked(&forwards), repacked(&backwards));
    }
}
