//! Lines of requirements files as pip sees them, for a reader that sees them otherwise.
//!
//! Follows pip's reference, Requirements File Format: a line that ends with a backslash goes on in the
//! next one, unless it is a comment. uv's reader takes that between options only, and wants white space
//! after `-r` and `-c`.

use std::path::Path;

use uv_requirements_txt::SourceCache;

use crate::locked::normal;

/// Options that include a file, by which the lines of one file go on in another.
const INCLUDING: [&str; 4] = ["--requirement", "--constraint", "-r", "-c"];

/// Puts the file at `path`, and those that it includes, into `contents`, as far as they can be read.
pub(crate) fn prepare(path: &Path, contents: &mut SourceCache) {
    // What is not UTF-8 the reader knows how to decode, or to refuse.
    let Ok(text) = std::fs::read_to_string(path) else {
        return;
    };
    let text = joined(text.trim_start_matches('\u{feff}'));
    let included: Vec<_> = text
        .lines()
        .filter_map(|line| Some(normal(&path.parent()?.join(included(line)?))))
        .collect();
    contents.insert(path.to_owned(), text);
    for path in included {
        if !contents.contains_key(&path) {
            prepare(&path, contents);
        }
    }
}

/// The name of the file that a line includes.
pub(crate) fn included(line: &str) -> Option<&str> {
    let line = without_comment(line);
    let name = INCLUDING.iter().find_map(|it| line.strip_prefix(it))?;
    Some(name.trim_start_matches(['=', ' ', '\t']))
}

/// A line without its comment and the white space around it.
pub(crate) fn without_comment(line: &str) -> &str {
    line.split(" #").next().unwrap_or_default().trim()
}

/// The text with continued lines joined. There are as many lines as before.
fn joined(text: &str) -> String {
    let (mut out, mut pending) = (String::with_capacity(text.len()), 0);
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with('#');
        if let Some(start) = line.strip_suffix('\\').filter(|_| !is_comment) {
            out.push_str(start);
            pending += 1;
            continue;
        }
        if is_comment && pending > 0 {
            out.push(' ');
        }
        out.push_str(line);
        out.extend(std::iter::repeat_n('\n', pending + 1));
        pending = 0;
    }
    let text = out.split('\n').map(|line| {
        ["-r", "-c"]
            .iter()
            .find_map(|option| {
                let rest = line.trim_start().strip_prefix(option)?;
                let is_name = |first: char| !first.is_whitespace() && first != '=';
                rest.starts_with(is_name)
                    .then(|| format!("{option} {rest}"))
            })
            .unwrap_or_else(|| line.to_owned())
    });
    text.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn lines_are_joined_where_pip_joins_them() {
        for (text, expected) in [
            ("a \\\n  >=1\nb\n", "a   >=1\n\nb\n"),
            ("a \\\r\n  >=1\r\nb", "a   >=1\n\nb\n"),
            ("# a \\\nb\n", "# a \\\nb\n"),
            ("a \\\n# why\nb\n", "a  # why\n\nb\n"),
            ("a \\\n", "a "),
            (
                "-rfile\n-c file\n--requirement=x\n",
                "-r file\n-c file\n--requirement=x\n",
            ),
            ("", ""),
        ] {
            assert_eq!(joined(text), expected, "{text:?}");
        }
    }
}
