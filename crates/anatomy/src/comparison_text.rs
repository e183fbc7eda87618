//! A comparison for a terminal.

use std::fmt::Write;

use serde_json::Value;

use crate::changes::Change;
use crate::comparison::{Comparison, LayerChange, PlatformComparison};
use crate::files::{Fate, FileChange};
use crate::human;
use crate::size::delta;
use crate::table::{Table, plain, shortened};

/// Causes that are told before the details.
const CAUSES: usize = 12;
/// Characters of a value that are shown.
const VALUE: usize = 72;

impl Comparison {
    /// What it says, in lines.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut sides = Table::new(&[]);
        for (letter, side) in [("A", &self.a), ("B", &self.b)] {
            sides.row([letter.to_owned(), side.name.clone(), side.digest.clone()]);
        }
        sides.write(&mut out, 0);
        out.push('\n');
        match self.why.as_slice() {
            _ if self.same => out.push_str("They are the same.\n"),
            [one] => drop(writeln!(out, "They differ in one thing: {one}")),
            several => {
                out.push_str("They differ:\n");
                for cause in several.iter().take(CAUSES) {
                    let _ = writeln!(out, "  {cause}");
                }
                if let Some(more @ 1..) = several.len().checked_sub(CAUSES) {
                    let _ = writeln!(out, "  and in {more} more ways, all of them below");
                }
            }
        }
        for (names, sign) in [(&self.platforms_removed, "-"), (&self.platforms_added, "+")] {
            for name in names {
                let _ = writeln!(out, "\n{sign} {}", plain(name));
            }
        }
        section(&mut out, "index", &changes(&self.index));
        for platform in &self.platforms {
            of_platform(&mut out, platform);
        }
        out
    }
}

fn of_platform(out: &mut String, found: &PlatformComparison) {
    let (a, b) = (found.size.a, found.size.b);
    let _ = writeln!(
        out,
        "\n{}  {} → {} ({}), {} layers shared",
        plain(&found.platform),
        human(a),
        human(b),
        delta(a, b),
        found.layers_shared,
    );
    let mut layers = Table::new(&[1, 3]);
    for change in &found.layers {
        let size = |layer: &Option<crate::Layer>| layer.as_ref().map_or(0, |it| it.size);
        layers.row([
            sign(change.a.is_some(), change.b.is_some()).to_owned(),
            number(change),
            change.what.clone(),
            delta(size(&change.a), size(&change.b)),
        ]);
    }
    section(out, "  layers", &layers);
    let mut packages = Table::new(&[4]);
    for change in &found.packages {
        let size = |it: &Option<crate::Version>| it.as_ref().map_or(0, |it| it.size);
        packages.row([
            sign(change.a.is_some(), change.b.is_some()).to_owned(),
            format!("{:?}", change.ecosystem).to_lowercase(),
            change.name.clone(),
            change.versions(),
            delta(size(&change.a), size(&change.b)),
        ]);
    }
    section(out, "  packages", &packages);
    section(out, "  config", &changes(&found.config));
    section(out, "  manifest", &changes(&found.manifest));
    if let Some(files) = &found.files {
        section(out, "  files", &file_table(files));
    }
}

fn section(out: &mut String, title: &str, table: &Table) {
    if table.is_empty() {
        return;
    }
    let indent = title.len() - title.trim_start().len();
    if indent == 0 {
        out.push('\n');
    }
    out.push_str(title);
    out.push('\n');
    table.write(out, indent + 2);
}

/// `7`, or `6 → 7` where it has another place.
fn number(change: &LayerChange) -> String {
    let of = |layer: &Option<crate::Layer>| layer.as_ref().map(|it| it.number);
    match (of(&change.a), of(&change.b)) {
        (Some(a), Some(b)) if a != b => format!("{a} → {b}"),
        (a, b) => a.or(b).unwrap_or_default().to_string(),
    }
}

fn sign(in_a: bool, in_b: bool) -> &'static str {
    match (in_a, in_b) {
        (true, true) => "~",
        (true, false) => "-",
        (false, _) => "+",
    }
}

fn changes(changes: &[Change]) -> Table {
    let mut table = Table::new(&[]);
    for change in changes {
        let values = match (&change.a, &change.b) {
            (Value::Null, b) => shown(b),
            (a, Value::Null) => shown(a),
            (a, b) => format!("{} → {}", shown(a), shown(b)),
        };
        table.row([
            sign(!change.a.is_null(), !change.b.is_null()).to_owned(),
            change.field.clone(),
            values,
        ]);
    }
    table
}

fn file_table(files: &[FileChange]) -> Table {
    let mut table = Table::new(&[]);
    for file in files {
        let fields = file.fields.iter().map(|it| match it.field.as_str() {
            // Digests are for the JSON document.
            "content" => "content".to_owned(),
            field => format!("{field} {} → {}", shown(&it.a), shown(&it.b)),
        });
        table.row([
            sign(file.change != Fate::Added, file.change != Fate::Removed).to_owned(),
            format!("/{}", file.path),
            fields.collect::<Vec<_>>().join(", "),
        ]);
    }
    table
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    shortened(&text, VALUE)
}
