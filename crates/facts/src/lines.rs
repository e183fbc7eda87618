//! Lines of a text that comes in parts.

use crate::EntryFault;
use crate::members::Wants;

/// Bytes of one line. The longest in package records are lists of dependencies.
const MAX_LINE: usize = 1 << 20;

/// The line that the last part ended in.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Gives each line that is complete now to `each`, until that wants no more.
    pub(crate) fn feed(
        &mut self,
        part: &[u8],
        mut each: impl FnMut(&str) -> Wants,
    ) -> Result<Wants, EntryFault> {
        let mut rest = part;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let wants = if self.line.is_empty() {
                each(&text(&rest[..end]))
            } else {
                self.extend(&rest[..end])?;
                let wants = each(&text(&self.line));
                self.line.clear();
                wants
            };
            if wants == Wants::Nothing {
                self.line.clear();
                return Ok(Wants::Nothing);
            }
            rest = &rest[end + 1..];
        }
        self.extend(rest)?;
        Ok(Wants::More)
    }

    /// The last line, if no line feed ends it.
    pub(crate) fn finish(&self) -> Option<std::borrow::Cow<'_, str>> {
        (!self.line.is_empty()).then(|| text(&self.line))
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), EntryFault> {
        if self.line.len() + part.len() > MAX_LINE {
            return Err(EntryFault::Large { limit: MAX_LINE });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }
}

fn text(line: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_parts() {
        let text = "a\r\n\nlong line\nstop\nafter";
        for part in 1..text.len() {
            for stop in ["stop", "never"] {
                let mut lines = Lines::default();
                let mut seen = Vec::new();
                for part in text.as_bytes().chunks(part) {
                    let wants = lines.feed(part, |line| {
                        seen.push(line.to_owned());
                        if line == stop {
                            Wants::Nothing
                        } else {
                            Wants::More
                        }
                    });
                    if wants == Ok(Wants::Nothing) {
                        break;
                    }
                }
                seen.extend(lines.finish().map(std::borrow::Cow::into_owned));
                let expect = ["a", "", "long line", "stop", "after"];
                let count = if stop == "stop" { 4 } else { 5 };
                assert_eq!(seen, expect[..count], "{part}");
            }
        }
    }
}
