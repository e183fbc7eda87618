//! The user's netrc file: names and passwords by host, as curl, pip and uv read them too. It follows
//! the manual of GNU inetutils, The .netrc file.

use std::fmt;
use std::path::PathBuf;
use std::str::Lines;
use std::vec;

use crate::progress::Progress;

/// What the file says, in its order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Netrc(Vec<Machine>);

/// An entry of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// None in the entry for all other hosts.
    host: Option<String>,
    pub(crate) login: String,
    pub(crate) password: String,
}

impl Netrc {
    /// The file that `NETRC` names, else `.netrc` in the home directory; nothing where there is none.
    pub(crate) fn of_environment(progress: &Progress) -> Self {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let stated = variable("NETRC");
        let usual = || variable("HOME").map(|home| home.join(".netrc"));
        let Some(path) = stated.clone().or_else(usual) else {
            return Self::default();
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) => {
                if stated.is_some() || error.kind() != std::io::ErrorKind::NotFound {
                    progress.warn(&format!("cannot read {}: {error}", path.display()));
                }
                Self::default()
            }
        }
    }

    /// Reads what can be read: a word that is not known is passed over, as other programs do.
    pub(crate) fn parse(text: &str) -> Self {
        let mut machines: Vec<Machine> = Vec::new();
        let mut words = Words {
            lines: text.lines(),
            line: Vec::new().into_iter(),
        };
        while let Some(word) = words.next() {
            match (word.as_str(), machines.last_mut()) {
                ("machine", _) => machines.push(Machine {
                    host: words.next(),
                    ..Machine::default()
                }),
                ("default", _) => machines.push(Machine::default()),
                ("login", Some(machine)) => machine.login = words.next().unwrap_or_default(),
                ("password", Some(machine)) => machine.password = words.next().unwrap_or_default(),
                ("account", _) => drop(words.next()),
                ("macdef", _) => words.skip_macro(),
                (comment, _) if comment.starts_with('#') => words.skip_line(),
                _ => {}
            }
        }
        Self(machines)
    }

    /// The entry for `host`, and for that `login` where one is given; else the one for all other hosts.
    pub(crate) fn find(&self, host: &str, login: Option<&str>) -> Option<&Machine> {
        let mut machines = self.0.iter().filter(|machine| {
            let named = machine.host.as_deref();
            named.is_none_or(|it| it.eq_ignore_ascii_case(host))
                && login.is_none_or(|login| login == machine.login)
        });
        machines.next()
    }
}

/// The words of a text.
struct Words<'a> {
    lines: Lines<'a>,
    /// What is left of the line that was begun.
    line: vec::IntoIter<String>,
}

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            if let Some(word) = self.line.next() {
                return Some(word);
            }
            self.line = words(self.lines.next()?).into_iter();
        }
    }

    fn skip_line(&mut self) {
        self.line = Vec::new().into_iter();
    }

    /// A macro ends at the next empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        self.lines.find(|line| line.trim().is_empty());
    }
}

/// The words of a line; one in double quotes may have spaces, and a backslash before any character.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if(|it| it.is_whitespace()).is_some() {}
        let Some(first) = characters.peek() else {
            return words;
        };
        let quoted = *first == '"';
        if quoted {
            characters.next();
        }
        let mut word = String::new();
        while let Some(character) = characters.next_if(|it| {
            if quoted {
                *it != '"'
            } else {
                !it.is_whitespace()
            }
        }) {
            match character {
                '\\' => word.extend(characters.next()),
                _ => word.push(character),
            }
        }
        if quoted {
            characters.next();
        }
        words.push(word);
    }
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.0.iter().map(|it| it.host.as_deref());
        f.debug_list().entries(hosts).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Netrc;

    const TEXT: &str = r#"
# the usual form
machine index.test login robot password s3cret
machine
    other.test login someone
    account none
    password "with \"quotes\" and spaces" # a comment

macdef init
machine macro.test login wrong password wrong

machine index.test login second password another
default login anonymous password guest
"#;

    fn check(host: &str, login: Option<&str>, expected: Option<(&str, &str)>) {
        let netrc = Netrc::parse(TEXT);
        let found = netrc.find(host, login);
        let found = found.map(|it| (it.login.as_str(), it.password.as_str()));
        assert_eq!(found, expected, "{host} {login:?}");
    }

    #[test]
    fn entries_by_host_and_login() {
        check("index.test", None, Some(("robot", "s3cret")));
        check("INDEX.test", Some("second"), Some(("second", "another")));
        check("index.test", Some("third"), None);
        check(
            "other.test",
            None,
            Some(("someone", "with \"quotes\" and spaces")),
        );
        check("macro.test", None, Some(("anonymous", "guest")));
    }

    #[test]
    fn no_text_is_too_odd() {
        for text in [
            "",
            "machine",
            "login x",
            "machine a login",
            "\"",
            "\\",
            "default password",
        ] {
            let _ = Netrc::parse(text);
        }
        assert_eq!(
            format!("{:?}", Netrc::parse(TEXT)),
            r#"[Some("index.test"), Some("other.test"), Some("index.test"), None]"#
        );
    }
}
