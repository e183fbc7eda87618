//! Columns for a terminal. What comes from an image may hold anything: control characters are replaced, so
//! that no text can move the cursor or begin a line of its own.

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Of each column that is aligned to the right, its place.
    right: &'static [usize],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the columns at `right` aligned to the right.
    pub(crate) fn new(right: &'static [usize]) -> Self {
        let rows = Vec::new();
        Self { right, rows }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes all rows, `indent` blanks before each, two between columns.
    pub(crate) fn write(&self, out: &mut String, indent: usize) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut text = " ".repeat(indent);
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let parts = if self.right.contains(&column) {
                    [pad.as_str(), cell]
                } else {
                    [cell, pad.as_str()]
                };
                text.extend(parts);
                text.push_str("  ");
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
}

/// One line of text without control characters, those for the direction of writing included.
pub(crate) fn plain(text: &str) -> String {
    let is_control =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.trim_end()
        .replace(['\n', '\t'], " ")
        .replace(is_control, "\u{fffd}")
}

/// The first `limit` characters.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// `singular` or `singular` and an s, after the number, with its thousands told apart.
pub(crate) fn count(number: u64, singular: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {singular}{s}", grouped(number))
}

/// `12,345`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The beginning of a digest that tells it from others.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_no_control_characters() {
        let mut table = Table::new(&[1]);
        table.row(["a".into(), "1".into(), "x\n\x1b[31my\u{202e}".into()]);
        table.row(["längst".into(), "123".into(), String::new()]);
        let mut out = String::new();
        table.write(&mut out, 1);
        assert_eq!(out, " a         1  x \u{fffd}[31my\u{fffd}\n längst  123\n");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(shortened("äöü ab", 4), "äöü…");
    }
}
