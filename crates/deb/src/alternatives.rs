//! Alternatives: which of several files a common name leads to, as update-alternatives(1) chooses on
//! a new installation, by priority.
//!
//! Only what a script says in so many words is done. Where a word comes from a command or a loop,
//! the script is not understood, and a warning is left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use oci::{Content, Entry, Tree, TreePath};

use crate::error::Error;
use crate::ground::Ground;
use crate::shell::{Token, lex};
use crate::status::Database;

/// One `update-alternatives --install`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative {
    /// The name that others use: `/usr/lib/aarch64-linux-gnu/libblas.so.3`, absolute as the others.
    link: String,
    /// The name in `/etc/alternatives`.
    name: String,
    path: String,
    priority: i32,
    /// Link, name and path of each that goes along.
    slaves: Vec<[String; 3]>,
}

/// The alternatives that a script installs. None where it does more with them, or is not understood.
pub(crate) fn installed_by(script: &str) -> Option<Vec<Alternative>> {
    let mut variables: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut found = Vec::new();
    let tokens = lex(script);
    let mut tokens = tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        let Token::Word(word) = token else { continue };
        if let Some((name, value)) = assignment(word) {
            let value = expand(value, &variables);
            // What is set twice depends on the way through the script.
            let known = variables.contains_key(name);
            variables.insert(name.to_owned(), value.filter(|_| !known));
        } else if word.rsplit('/').next() == Some("update-alternatives") {
            let mut arguments = Vec::new();
            while let Some(Token::Word(word)) = tokens.peek() {
                arguments.push(expand(word, &variables)?);
                tokens.next();
            }
            found.extend(parse(&arguments)?);
        }
    }
    Some(found)
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, value))
}

/// The word with its variables replaced; None where one is not known or more is asked of the shell.
fn expand(word: &str, variables: &BTreeMap<String, Option<String>>) -> Option<String> {
    let mut parts = word.split('$');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = if let Some(inner) = part.strip_prefix('{') {
            inner.split_once('}')?
        } else {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            part.split_at(end.unwrap_or(part.len()))
        };
        out.push_str(variables.get(name)?.as_ref()?);
        out.push_str(rest);
    }
    let is_plain = |c: char| !matches!(c, '`' | '*' | '?' | '[');
    out.chars().all(is_plain).then_some(out)
}

/// What one command installs; None where it is not understood.
fn parse(arguments: &[String]) -> Option<Vec<Alternative>> {
    let mut words = arguments.iter().map(String::as_str);
    let mut next = || words.next();
    let mut alternative = None;
    while let Some(option) = next() {
        match option {
            "--install" => {
                let mut absolute = || next().filter(|it| it.starts_with('/')).map(str::to_owned);
                let link = absolute()?;
                let name = next().filter(|it| is_name(it))?.to_owned();
                let path = next().filter(|it| it.starts_with('/'))?.to_owned();
                let priority = next()?.parse().ok()?;
                let slaves = Vec::new();
                alternative = Some(Alternative {
                    link,
                    name,
                    path,
                    priority,
                    slaves,
                });
            }
            "--slave" => {
                let slave = [next()?.to_owned(), next()?.to_owned(), next()?.to_owned()];
                if !slave[0].starts_with('/') || !is_name(&slave[1]) || !slave[2].starts_with('/') {
                    return None;
                }
                alternative.as_mut()?.slaves.push(slave);
            }
            "--quiet" | "--force" => {}
            // Nothing of it is there to be removed.
            "--remove" | "--remove-all" if alternative.is_none() => return Some(Vec::new()),
            _ => return None,
        }
    }
    Some(alternative.into_iter().collect())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', ' ']) && !text.starts_with('.')
}

/// An alternative and the package that brings it.
pub(crate) type Brought = (Alternative, Arc<str>);

/// Makes the links for `all`, of each name for the one with the highest priority. A name that the
/// image has a choice for already keeps it.
pub(crate) fn apply(all: Vec<Brought>, tree: &mut Tree, ground: &Ground) -> Result<(), Error> {
    let mut groups: BTreeMap<String, Vec<Brought>> = BTreeMap::new();
    for (alternative, origin) in all {
        let there = ground.place(&path(&alternative.path)?)?;
        let is_kept = ground.keeps(&format!("etc/alternatives/{}", alternative.name));
        if tree.get(&there).is_some() && !is_kept {
            let group = groups.entry(alternative.name.clone()).or_default();
            group.push((alternative, origin));
        }
    }
    for (name, mut group) in groups {
        group.sort_by_key(|(it, _)| std::cmp::Reverse(it.priority));
        let Some((best, origin)) = group.first().cloned() else {
            continue;
        };
        let slaves = best.slaves.iter();
        let main = [best.link.clone(), name.clone(), best.path.clone()];
        for [link, name, to] in slaves.chain([&main]) {
            if tree.get(&ground.place(&path(to)?)?).is_none() {
                continue;
            }
            let chosen = path(&format!("etc/alternatives/{name}"))?;
            tree.replace(chosen, Entry::symlink(to, &origin))?;
            let link = ground.place(&path(link)?)?;
            if tree.get(&link).is_none() {
                let target = format!("/etc/alternatives/{name}");
                tree.insert(link, Entry::symlink(&target, &origin))?;
            }
        }
        if let Database::Status(_) = ground.database {
            let text = record(&group);
            let entry = Entry::file(Content::Bytes(text.into_bytes().into()), false, &origin);
            tree.replace(path(&format!("var/lib/dpkg/alternatives/{name}"))?, entry)?;
        }
    }
    Ok(())
}

/// What update-alternatives keeps of a name: the links, then each choice.
fn record(group: &[Brought]) -> String {
    let mut slaves: BTreeMap<&str, &str> = BTreeMap::new();
    for [link, name, _] in group.iter().flat_map(|(it, _)| &it.slaves) {
        slaves.insert(name, link);
    }
    let mut text = format!("auto\n{}\n", group[0].0.link);
    for (name, link) in &slaves {
        let _ = writeln!(text, "{name}\n{link}");
    }
    text.push('\n');
    let mut choices: Vec<_> = group.iter().map(|(it, _)| it).collect();
    choices.sort_by_key(|it| &it.path);
    for it in choices {
        let _ = writeln!(text, "{}\n{}", it.path, it.priority);
        for name in slaves.keys() {
            let own = it.slaves.iter().find(|[_, own, _]| own == name);
            let _ = writeln!(text, "{}", own.map_or("", |[_, _, path]| path));
        }
    }
    text.push('\n');
    text
}

fn path(absolute: &str) -> Result<TreePath, Error> {
    Ok(TreePath::new(absolute.trim_start_matches('/'))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install;
    use crate::testing::{listing, text, unpack};
    use testkit::DebBuilder;

    fn names(body: &str) -> Option<Vec<String>> {
        let found = installed_by(&format!("#!/bin/sh\nset -e\n{body}\n"))?;
        let show = |it: Alternative| format!("{} {} {} {}", it.name, it.link, it.path, it.priority);
        Some(found.into_iter().map(show).collect())
    }

    #[test]
    fn what_is_said_in_so_many_words_is_understood() {
        let body = "LIBDIR=/usr/lib/aarch64-linux-gnu\n\
            case \"$1\" in configure)\n update-alternatives --install \\\n  \"$LIBDIR\"/libblas.so.3 \\\n  \
            libblas.so.3-aarch64-linux-gnu ${LIBDIR}/blas/libblas.so.3 10 \\\n  --slave /usr/share/x x /usr/share/y\n;; esac";
        assert_eq!(
            names(body).unwrap(),
            [
                "libblas.so.3-aarch64-linux-gnu /usr/lib/aarch64-linux-gnu/libblas.so.3 /usr/lib/aarch64-linux-gnu/blas/libblas.so.3 10"
            ]
        );
        assert_eq!(
            names("update-alternatives --remove x /usr/bin/x"),
            Some(Vec::new())
        );
        assert_eq!(names("ldconfig"), Some(Vec::new()));
    }

    #[test]
    fn the_rest_is_not() {
        for body in [
            "for x in a b; do update-alternatives --install /usr/bin/$x $x /usr/lib/$x 1; done",
            "D=$(dpkg-architecture)\nupdate-alternatives --install /usr/$D x /usr/lib/x 1",
            "D=a\nif true; then D=b; fi\nupdate-alternatives --install /usr/$D x /usr/lib/x 1",
            "update-alternatives --install /usr/bin/x x /usr/lib/x $PRIORITY",
            "update-alternatives --install /usr/bin/x ../x /usr/lib/x 1",
            "update-alternatives --set x /usr/bin/x",
            "update-alternatives --install usr/bin/x x /usr/lib/x 1",
        ] {
            assert_eq!(names(body), None, "{body}");
        }
    }

    fn library(name: &str, priority: u32) -> crate::Unpacked {
        let script = format!(
            "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/lib/libblas.so.3 libblas.so.3 /usr/lib/{name}/libblas.so.3 {priority} --slave /usr/lib/blas.txt blas.txt /usr/lib/{name}/gone\n"
        );
        let deb = DebBuilder::new(name, "1", "arm64").postinst(&script);
        unpack(&deb.file(&format!("usr/lib/{name}/libblas.so.3"), b"x"))
    }

    #[test]
    fn the_highest_priority_wins() {
        let ground = Ground {
            database: Database::Status(Vec::new()),
            ..Ground::bare()
        };
        let packages = vec![library("atlas", 35), library("blas", 10)];
        let done = install(packages.clone(), &ground).unwrap();
        assert_eq!(done.warnings, []);
        let mut lines = listing(&done.tree);
        lines.retain(|line| line.contains("->"));
        assert_eq!(
            lines,
            [
                "0777 etc/alternatives/libblas.so.3 -> /usr/lib/atlas/libblas.so.3",
                "0777 usr/lib/libblas.so.3 -> /etc/alternatives/libblas.so.3",
            ]
        );
        assert_eq!(
            text(&done.tree, "var/lib/dpkg/alternatives/libblas.so.3"),
            "auto\n/usr/lib/libblas.so.3\nblas.txt\n/usr/lib/blas.txt\n\n\
             /usr/lib/atlas/libblas.so.3\n35\n/usr/lib/atlas/gone\n\
             /usr/lib/blas/libblas.so.3\n10\n/usr/lib/blas/gone\n\n"
        );
        let etc = std::iter::once("etc/alternatives/libblas.so.3".to_owned()).collect();
        let kept = install(packages, &Ground { etc, ..ground }).unwrap().tree;
        assert!(
            !listing(&kept).iter().any(|line| line.contains("->")),
            "the image's choice stays"
        );
    }
}
