//! The blocks of a tar stream that say something of a member: its header, and the extended headers
//! before it (POSIX.1-2017, `pax` utility; GNU's long names and base-256 numbers).

use crate::TarFault;
use crate::tar::BLOCK;

/// A member's values from extended headers, which go before its own.
#[derive(Default)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
}

/// A header block.
pub(crate) struct Block(pub(crate) [u8; BLOCK]);

impl Block {
    pub(crate) fn check(&self) -> Result<(), TarFault> {
        let spaces = 8 * u64::from(b' ');
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let found = sum(&self.0[..148]) + spaces + sum(&self.0[156..]);
        if self.number(148..156) != Some(found) {
            return Err(TarFault::Checksum);
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> Vec<u8> {
        let name = self.text(0..100);
        // GNU's older format has times where ustar has a prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" {
            self.text(345..500)
        } else {
            Vec::new()
        };
        if prefix.is_empty() {
            name
        } else {
            [&prefix[..], b"/", &name[..]].concat()
        }
    }

    pub(crate) fn text(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        until_nul(&self.0[range]).to_vec()
    }

    /// A number in octal digits with spaces or NULs around them, or in base 256 after a byte 0x80.
    pub(crate) fn number(&self, range: std::ops::Range<usize>) -> Option<u64> {
        let field = &self.0[range];
        if let [0x80, number @ ..] = field {
            return number.iter().try_fold(0_u64, |value, byte| {
                value.checked_mul(256)?.checked_add(u64::from(*byte))
            });
        }
        let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
        let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
        let digits = field[start..].split(is_blank).next().unwrap_or_default();
        let rest = &field[start + digits.len()..];
        if !rest.iter().all(is_blank) {
            return None;
        }
        digits.iter().try_fold(0_u64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    }
}

/// The body of a PAX extended header or a GNU long name.
pub(crate) struct Extension(pub(crate) Vec<u8>);

impl Extension {
    pub(crate) fn text(self) -> Vec<u8> {
        until_nul(&self.0).to_vec()
    }

    /// `length key=value\n`, one after another. Keys that only describe the member (times, owners,
    /// extended attributes) are passed over.
    pub(crate) fn apply_pax(&self, extensions: &mut Extensions) -> Result<(), TarFault> {
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let (key, value, after) = pax_record(rest).ok_or(TarFault::Pax)?;
            match key {
                b"path" => set_once(&mut extensions.path, checked_text(value)?)?,
                b"linkpath" => set_once(&mut extensions.link, checked_text(value)?)?,
                b"size" => {
                    let size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    let size = size.ok_or(TarFault::Number { field: "size" })?;
                    set_once(&mut extensions.size, size)?;
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(TarFault::Sparse),
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }
}

fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

/// Readers differ on whether the first or the last of two values counts.
pub(crate) fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), TarFault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TarFault::Pax),
    }
}

fn checked_text(value: &[u8]) -> Result<Vec<u8>, TarFault> {
    if value.is_empty() || value.contains(&0) {
        Err(TarFault::Pax)
    } else {
        Ok(value.to_vec())
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_base_256_fit_every_field() {
        let mut block = Block([0; BLOCK]);
        // The size has twelve bytes, the checksum eight.
        for field in [124..136, 148..156] {
            let digits = &mut block.0[field.clone()];
            digits.fill(0);
            (digits[0], digits[field.len() - 2]) = (0x80, 1);
            assert_eq!(block.number(field.clone()), Some(256));
            block.0[field.clone()][1..].fill(0xff);
            let most = (field.len() == 8).then_some(u64::MAX >> 8);
            assert_eq!(block.number(field), most);
        }
    }
}
