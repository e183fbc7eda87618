//! `entry_points.txt`: the commands that a wheel brings ("Entry points specification", section File
//! format, read as `importlib.metadata` reads it).

use std::collections::BTreeMap;

/// A function to be called by a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// Dotted name of the module.
    pub module: String,
    /// Dotted name of the function in it.
    pub function: String,
}

impl EntryPoint {
    /// Parses `module:function [extra, …]`. Extras say nothing about the command: they are dropped.
    fn parse(value: &str) -> Option<Self> {
        let reference = match value.split_once('[') {
            Some((reference, extras)) => {
                let extras = extras.strip_suffix(']')?;
                if extras.contains(['[', ']']) {
                    return None;
                }
                reference
            }
            None => value,
        };
        let (module, function) = reference.split_once(':')?;
        let (module, function) = (module.trim(), function.trim());
        // Both are written into a program: nothing but names may pass.
        (is_dotted(module) && is_dotted(function)).then(|| Self {
            module: module.to_owned(),
            function: function.to_owned(),
        })
    }

    /// Whether Python can import it at all. Wheels with commands that cannot run exist; their other
    /// parts may be all that is wanted of them.
    pub fn is_importable(&self) -> bool {
        let identifier = |name: &str| {
            !name.contains('-') && !name.starts_with(|first: char| first.is_ascii_digit())
        };
        self.module
            .split('.')
            .chain(self.function.split('.'))
            .all(identifier)
    }
}

fn is_dotted(name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    name.split('.')
        .all(|part| !part.is_empty() && part.chars().all(word))
}

/// The commands of a wheel by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPoints {
    /// `[console_scripts]`
    pub console_scripts: BTreeMap<String, EntryPoint>,
    /// `[gui_scripts]`: on Linux there is no difference.
    pub gui_scripts: BTreeMap<String, EntryPoint>,
}

/// What is wrong with an `entry_points.txt`. Reads on after the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPointFault {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// No `=` in it.
    #[error("has the line {line:?}, which is neither a section nor `name = value`")]
    Line {
        /// The line.
        line: String,
    },
    /// A name that is no file's.
    #[error("has a command called {name:?}, which cannot be a file in bin/")]
    Name {
        /// The name.
        name: String,
    },
    /// Not `module:function`.
    #[error("has the command `{name}` as {value:?}, which is not `module:function`")]
    Value {
        /// The command.
        name: String,
        /// What stands for it.
        value: String,
    },
}

impl EntryPoints {
    /// Parses the contents of an `entry_points.txt`; other groups than the two are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryPointFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| EntryPointFault::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parsed = Self::default();
        let mut group = None;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                group = match name.trim() {
                    "console_scripts" => Some(&mut parsed.console_scripts),
                    "gui_scripts" => Some(&mut parsed.gui_scripts),
                    _ => None,
                };
                continue;
            }
            let Some(scripts) = &mut group else { continue };
            let (name, value) = line.split_once('=').ok_or_else(|| EntryPointFault::Line {
                line: line.to_owned(),
            })?;
            let (name, value) = (name.trim(), value.trim());
            if matches!(name, "" | "." | "..") || name.contains(['/', '\\', '\0']) {
                return Err(EntryPointFault::Name {
                    name: name.to_owned(),
                });
            }
            let entry_point = EntryPoint::parse(value).ok_or_else(|| EntryPointFault::Value {
                name: name.to_owned(),
                value: value.to_owned(),
            })?;
            scripts.insert(name.to_owned(), entry_point);
        }
        Ok(parsed)
    }

    /// All commands. Where both groups have one name, gui's is taken: it would be written last.
    pub(crate) fn into_scripts(self) -> BTreeMap<String, EntryPoint> {
        let mut scripts = self.console_scripts;
        scripts.extend(self.gui_scripts);
        scripts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        EntryPoint::parse(text).map(|point| format!("{} {}", point.module, point.function))
    }

    #[test]
    fn values() {
        for text in [
            "a.b:c.d",
            " a.b : c.d ",
            "a.b:c.d[x]",
            "a.b:c.d  [ x , y-z ] ",
        ] {
            assert_eq!(value(text.trim()).as_deref(), Some("a.b c.d"), "{text}");
        }
        for text in [
            "",
            "a",
            ":b",
            "a:",
            "a:b [x",
            "a:b x]",
            "a:b()",
            "a;import os:b",
            "a:b\nc",
            "a..b:c",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
        assert!(EntryPoint::parse("a:b").unwrap().is_importable());
        assert!(!EntryPoint::parse("a-b.c:d").unwrap().is_importable());
        assert!(!EntryPoint::parse("2to3:d").unwrap().is_importable());
    }

    #[test]
    fn groups_comments_and_repeats() {
        let parsed = EntryPoints::parse(
            b"# c\n[console_scripts]\n  foo = a:b\n  foo-2 = a:c ; extra? no\n"
                .split(|b| *b == b';')
                .next()
                .unwrap(),
        )
        .unwrap();
        assert_eq!(
            parsed.console_scripts.keys().collect::<Vec<_>>(),
            ["foo", "foo-2"]
        );
        let parsed = EntryPoints::parse(
            b"[other.group]\nnot a pair\n; comment\n[ gui_scripts ]\nFoo=a:b\nFoo=a:c\n[console_scripts]\r\nFoo=x:y\r\nb=x:y",
        )
        .unwrap();
        let scripts = parsed.into_scripts();
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["Foo", "b"]);
        assert_eq!(scripts["Foo"].function, "c");
    }

    #[test]
    fn broken_files_are_named() {
        let check = |text: &str| {
            let text = format!("[console_scripts]\n{text}\n");
            EntryPoints::parse(text.as_bytes()).unwrap_err().to_string()
        };
        insta::assert_snapshot!(check("foo: a:b"), @r#"has the line "foo: a:b", which is neither a section nor `name = value`"#);
        insta::assert_snapshot!(check("../foo = a:b"), @r#"has a command called "../foo", which cannot be a file in bin/"#);
        insta::assert_snapshot!(check("foo = a.b"), @r#"has the command `foo` as "a.b", which is not `module:function`"#);
        insta::assert_snapshot!(EntryPoints::parse(b"\xff").unwrap_err(), @"is not UTF-8");
    }
}
