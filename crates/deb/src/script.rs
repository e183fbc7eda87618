//! What a `postinst` would have done: nothing runs it, so whatever it does besides the usual
//! bookkeeping has to be said.
//!
//! A reading of the shell's grammar (POSIX, Shell Command Language, 2.10) that is just deep enough
//! to find command names and redirections. What it misses are commands inside `$(…)`, which are
//! questions in every script that was looked at; where in doubt, it reports.

use crate::shell::{Token, lex};

/// Commands with nothing to do in an image that was never another version and never boots.
const HARMLESS: [&str; 8] = [
    // The shell's own.
    ": [ [[ test true false set exit return shift break continue local export readonly unset umask",
    "trap cd read command which type echo printf",
    // dpkg's own, and its questions.
    "dpkg dpkg-query dpkg-trigger dpkg-maintscript-helper dpkg-vendor",
    // The loader's cache is made by `loader_cache`; byte code is made when a module is first imported.
    "ldconfig py3compile pycompile pypy3compile py3clean pyclean py3versions",
    // There is no init system in an image.
    "deb-systemd-helper deb-systemd-invoke systemctl systemd-tmpfiles invoke-rc.d update-rc.d \
     service initctl update-binfmts",
    // Nothing of an earlier version is there to be removed.
    "rm rmdir",
    // They only look.
    "awk basename cat cmp cut diff dirname egrep expr fgrep find getent grep head id ls md5sum",
    "mktemp pwd readlink realpath sort stat tail tr uname uniq",
];

/// The condition of an `if` is looked for within so many words: a bound on the work, not on scripts.
const MAX_CONDITION: usize = 1000;

/// The commands of `script` that would have changed an image; each once, in order.
pub(crate) fn changes(script: &str) -> Vec<String> {
    if !is_shell(script) {
        return vec!["a program that is no shell script".to_owned()];
    }
    let mut walk = Walk {
        tokens: lex(script),
        position: 0,
        found: Vec::new(),
        own: Vec::new(),
    };
    walk.all();
    let Walk { mut found, own, .. } = walk;
    found.retain(|name| !own.contains(name));
    let mut seen = Vec::new();
    found.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    found
}

fn is_shell(script: &str) -> bool {
    let first = script.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else {
        return script.trim().is_empty();
    };
    let program = interpreter
        .split_whitespace()
        .find(|word| !word.ends_with("/env"));
    program
        .is_some_and(|program| matches!(program.rsplit('/').next(), Some("sh" | "bash" | "dash")))
}

/// Goes through the tokens and keeps the commands that matter.
struct Walk {
    tokens: Vec<Token>,
    position: usize,
    found: Vec<String>,
    /// Functions of the script; what they do is seen where they are defined.
    own: Vec<String>,
}

impl Walk {
    fn all(&mut self) {
        let mut at_command = true;
        while let Some(token) = self.next() {
            at_command = match token {
                Token::Operator(operator) => {
                    if operator == ";;" {
                        self.skip_pattern();
                    }
                    true
                }
                Token::Redirect(kind) => {
                    // A redirection before the command does not end the search for its name.
                    self.redirect("a redirection", kind);
                    at_command
                }
                Token::Word(word) if at_command => self.word(word),
                Token::Word(_) => false,
            };
        }
    }

    /// Takes a word where a command may begin; whether the next one may begin one, too.
    fn word(&mut self, word: String) -> bool {
        match word.as_str() {
            "then" | "else" | "elif" | "fi" | "do" | "done" | "esac" | "while" | "until" | "{"
            | "}" | "!" | "time" => return true,
            "if" => {
                self.condition();
                return true;
            }
            "for" => {
                self.skip_to(|token| *token == Token::Word("do".into()));
                return true;
            }
            "case" => {
                self.skip_to(|token| *token == Token::Word("in".into()));
                self.skip_pattern();
                return true;
            }
            _ if is_assignment(&word) => return true,
            _ => {}
        }
        if self.tokens.get(self.position) == Some(&Token::Operator("(".into())) {
            self.next();
            self.next_if(|token| *token == Token::Operator(")".into()));
            self.own.push(word);
            return true;
        }
        self.command(&word);
        false
    }

    fn command(&mut self, name: &str) {
        let mut arguments = Vec::new();
        while let Some(token) = self.next_if(|token| !matches!(token, Token::Operator(_))) {
            match token {
                Token::Word(word) => arguments.push(word),
                Token::Redirect(kind) => self.redirect(name, kind),
                Token::Operator(_) => {}
            }
        }
        if !is_harmless(name, &arguments) {
            self.found
                .push(name.rsplit('/').next().unwrap_or(name).to_owned());
        }
    }

    fn redirect(&mut self, command: &str, kind: &str) {
        let Some(Token::Word(file)) = self.next_if(|token| matches!(token, Token::Word(_))) else {
            return;
        };
        // A file of `mktemp` is named by a variable alone.
        let is_temporary = file.starts_with('$') && !file.contains('/');
        if kind == ">" && !is_temporary && !["/dev/null", "/dev/stderr"].contains(&&*file) {
            self.found.push(format!("{command} > {file}"));
        }
    }

    /// The condition of an `if`. Where it asks for an earlier version, the branch is left out.
    fn condition(&mut self) {
        let rest = &self.tokens[self.position..];
        let then = Token::Word("then".into());
        let Some(end) = rest
            .iter()
            .take(MAX_CONDITION)
            .position(|token| *token == then)
        else {
            return;
        };
        let (condition, body) = rest.split_at(end);
        if is_upgrade_only(condition) {
            self.position += condition.len() + branch_length(body);
        }
    }

    fn next(&mut self) -> Option<Token> {
        self.next_if(|_| true)
    }

    fn next_if(&mut self, is_wanted: impl Fn(&Token) -> bool) -> Option<Token> {
        let token = self
            .tokens
            .get(self.position)
            .filter(|token| is_wanted(token))?
            .clone();
        self.position += 1;
        Some(token)
    }

    fn skip_to(&mut self, end: impl Fn(&Token) -> bool) {
        while self.next().is_some_and(|token| !end(&token)) {}
    }

    /// `a|b)` of a `case`, or its `esac`.
    fn skip_pattern(&mut self) {
        while self
            .next_if(|t| *t == Token::Operator("\n".into()))
            .is_some()
        {}
        if self.tokens.get(self.position) != Some(&Token::Word("esac".into())) {
            self.skip_to(|token| *token == Token::Operator(")".into()));
        }
    }
}

/// Tokens from `then` to the `else`, `elif` or `fi` that belongs to it.
fn branch_length(body: &[Token]) -> usize {
    let mut depth = 0;
    let end = body.iter().position(|token| {
        let Token::Word(word) = token else {
            return false;
        };
        match word.as_str() {
            "if" => depth += 1,
            "fi" if depth > 0 => depth -= 1,
            "fi" | "else" | "elif" if depth == 0 => return true,
            _ => {}
        }
        false
    });
    end.unwrap_or(body.len())
}

/// dpkg gives the version that was configured before as second argument, and on a new installation
/// none (Policy 6.5).
fn is_upgrade_only(condition: &[Token]) -> bool {
    let words: Vec<_> = condition
        .iter()
        .map(|token| match token {
            Token::Word(text) | Token::Operator(text) => text.as_str(),
            Token::Redirect(text) => text,
        })
        .collect();
    if ["||", "-o", "!"].iter().any(|or| words.contains(or)) {
        return false;
    }
    words
        .windows(2)
        .any(|pair| matches!(pair, ["-n", "$2" | "${2}"]))
        || words.windows(3).any(|triple| {
            matches!(
                triple,
                ["$2" | "${2}", "!=", ""] | ["x$2", "!=", "x"] | ["$2", "lt-nl" | "le-nl", _]
            )
        })
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn is_harmless(name: &str, arguments: &[String]) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    let has = |flag: &str| arguments.iter().any(|argument| argument.starts_with(flag));
    match name {
        // debconf asks questions; nobody is there to answer.
        "." | "source" => has("/usr/share/debconf/confmodule"),
        "sed" => !has("-i") && !has("--in-place"),
        "find" => !has("-exec") && !has("-delete"),
        _ => {
            name.starts_with("db_")
                || HARMLESS
                    .iter()
                    .any(|names| names.split(' ').any(|n| n == name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expect: &[&str]) {
        assert_eq!(
            changes(&format!("#!/bin/sh\nset -e\n{body}\nexit 0\n")),
            expect,
            "{body}"
        );
    }

    #[test]
    fn the_usual_bookkeeping_is_nothing() {
        check("", &[]);
        check("ldconfig # cache", &[]);
        check("if [ \"$1\" = \"configure\" ]; then\n\tldconfig\nfi", &[]);
        check(
            "if which py3compile >/dev/null 2>&1; then\n\tpy3compile -p x /usr/share/x\nfi",
            &[],
        );
        check(
            "case \"$1\" in\n configure|abort-upgrade)\n dpkg-trigger x\n;;\n*)\n;;\nesac",
            &[],
        );
        check(
            "dpkg-maintscript-helper rm_conffile /etc/x 1.0~ -- \"$@\"",
            &[],
        );
        check(
            "deb-systemd-helper unmask 'x.service' >/dev/null || true",
            &[],
        );
        check(
            ". /usr/share/debconf/confmodule\ndb_version 2.0\ndb_stop",
            &[],
        );
        check(
            "X=$(dpkg-query -W \\\n  x | sed 's/a;b/c/')\nrm -f \"$X\"",
            &[],
        );
    }

    #[test]
    fn anything_else_is_named_once() {
        check(
            "update-alternatives --install /usr/lib/libblas.so.3 a b 10",
            &["update-alternatives"],
        );
        check(
            "adduser --system x\n/usr/sbin/adduser --system y",
            &["adduser"],
        );
        check(
            "true && chown a:b /x || chmod 0 /x; mkdir -p /y",
            &["chown", "chmod", "mkdir"],
        );
        check(
            "echo x > /etc/x\necho y >&2\necho z 2>/dev/null",
            &["echo > /etc/x"],
        );
        check(
            "echo x > $DPKG_ROOT/etc/x\necho x > $TMPFILE",
            &["echo > $DPKG_ROOT/etc/x"],
        );
        check("sed 's/a/b/' x\nsed -i 's/a/b/' x", &["sed"]);
        check(
            "if test -x /usr/bin/fc-cache; then fc-cache -s; fi",
            &["fc-cache"],
        );
        check("for x in a b; do install $x; done", &["install"]);
        check("LC_ALL=C update-something", &["update-something"]);
        check("(cd /x && ln -s a b)", &["ln"]);
        check(". /usr/share/other", &["."]);
    }

    #[test]
    fn functions_are_read_where_they_are_defined() {
        check("f() {\n ldconfig\n}\nf a b", &[]);
        check("f () {\n cp a b\n}\nf", &["cp"]);
    }

    #[test]
    fn here_documents_are_not_commands() {
        check("cat <<-EOF\n\tcp a b\n\tEOF\nldconfig", &[]);
        check(
            "cat > /etc/hosts <<EOF\n127.0.0.1 localhost\nEOF",
            &["cat > /etc/hosts"],
        );
    }

    #[test]
    fn what_is_done_on_upgrades_only_is_nothing() {
        let upgrade = |condition: &str| format!("if {condition}; then\n if x; then cp a b; fi\nfi");
        check(&upgrade(r#"[ "$1" = configure ] && [ -n "$2" ]"#), &[]);
        check(&upgrade(r#"[ "configure" = "$1" -a "x$2" != "x" ]"#), &[]);
        check(&upgrade(r#"dpkg --compare-versions "$2" lt-nl 1.0"#), &[]);
        // Without an earlier version, `lt` is true.
        check(
            &upgrade(r#"dpkg --compare-versions "$2" lt 1.0"#),
            &["x", "cp"],
        );
        check(
            "if [ -n \"$2\" ]; then\n cp a b\nelse\n mv a b\nfi",
            &["mv"],
        );
    }

    #[test]
    fn programs_are_not_read() {
        let other = ["a program that is no shell script"];
        assert_eq!(changes("\x7fELF"), other);
        assert_eq!(changes("#!/usr/bin/perl\n"), other);
        assert_eq!(changes("#! /usr/bin/env bash\n"), [""; 0]);
        assert_eq!(changes(""), [""; 0]);
    }

    #[test]
    fn odd_texts_are_read() {
        for text in [
            "'", "\"", "\\", "$(", "`", "case", "if", "for", "<<", "a <<", "f(", "é\\é", ">",
        ] {
            changes(&format!("#!/bin/sh\n{text}"));
        }
        // A bound on work: each `if` looks for its `then`.
        changes(&format!("#!/bin/sh\n{}", "if ".repeat(100_000)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "([a-z$\"'`\\\\(){};&|<>#\n é]|if |then |fi |case |in |esac ){0,60}") {
            changes(&format!("#!/bin/sh\n{text}"));
        }
    }
}
