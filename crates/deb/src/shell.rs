//! The words and operators of a shell script (POSIX, Shell Command Language, 2.3).

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// With its quotes taken off.
    Word(String),
    /// `;`, `&&`, a newline…: a command may begin after it.
    Operator(String),
    /// `>` and its like; the word after it is a file.
    Redirect(&'static str),
}

/// Splits a script into words and operators; here-documents and comments are left out.
pub(crate) fn lex(script: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: script,
        tokens: Vec::new(),
        word: None,
        here: Vec::new(),
    };
    while lexer.step() {}
    lexer.end_word();
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    word: Option<String>,
    /// Ends of the here-documents that begin after this line.
    here: Vec<String>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        match first {
            '\\' => self.escape(),
            '\'' | '"' | '`' => self.quoted(first),
            '$' if self.rest.starts_with("$(") => self.substitution(),
            ' ' | '\t' | '\r' => {
                self.end_word();
                self.skip(1);
            }
            '#' if self.word.is_none() => {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.skip(end);
            }
            '\n' => {
                self.operator("\n");
                self.skip_here_documents();
            }
            ';' | '&' | '|' | '(' | ')' => {
                let double = [";;", "&&", "||"]
                    .into_iter()
                    .find(|op| self.rest.starts_with(op));
                self.operator(double.unwrap_or(&self.rest[..1]));
            }
            '<' | '>' => self.redirect(),
            other => {
                self.word.get_or_insert_default().push(other);
                self.skip(other.len_utf8());
            }
        }
        true
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            self.tokens.push(Token::Word(word));
        }
    }

    fn operator(&mut self, operator: &str) {
        self.end_word();
        self.tokens.push(Token::Operator(operator.to_owned()));
        self.skip(operator.len());
    }

    fn escape(&mut self) {
        let next = self.rest[1..].chars().next();
        if let Some(next) = next.filter(|next| *next != '\n') {
            self.word.get_or_insert_default().push(next);
        }
        self.skip(1 + next.map_or(0, char::len_utf8));
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        self.skip(1);
        while let Some(next) = self.rest.chars().next() {
            if next == quote {
                self.skip(1);
                return;
            }
            match next {
                '\\' if quote != '\'' => self.escape(),
                '$' if quote == '"' && self.rest.starts_with("$(") => self.substitution(),
                other => {
                    self.word.get_or_insert_default().push(other);
                    self.skip(other.len_utf8());
                }
            }
        }
    }

    /// Takes `$(…)` as a part of the word, whatever is in it.
    fn substitution(&mut self) {
        let mut depth = 0;
        let end = self.rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ')' && depth == 0
        });
        let text = &self.rest[..end.map_or(self.rest.len(), |end| end + 1)];
        self.word.get_or_insert_default().push_str(text);
        self.skip(text.len());
    }

    fn redirect(&mut self) {
        // A number before it is a file descriptor, not an argument.
        if self
            .word
            .as_ref()
            .is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()))
        {
            self.word = None;
        }
        self.end_word();
        let (token, length) = match self.rest {
            text if text.starts_with("<<") => return self.here_document(),
            text if text.starts_with(">&") || text.starts_with("<&") => ("&", 2),
            text if text.starts_with(">>") || text.starts_with(">|") => (">", 2),
            text if text.starts_with('>') => (">", 1),
            _ => ("<", 1),
        };
        self.tokens.push(Token::Redirect(token));
        self.skip(length);
    }

    fn here_document(&mut self) {
        self.skip(2);
        let text = self.rest.trim_start_matches(['-', ' ']);
        let end = text
            .find(|c: char| c.is_whitespace() || ";|&)".contains(c))
            .unwrap_or(text.len());
        self.here.push(
            text[..end]
                .trim_matches(['"', '\''])
                .trim_start_matches('\\')
                .to_owned(),
        );
        self.rest = &text[end..];
    }

    fn skip_here_documents(&mut self) {
        for end in std::mem::take(&mut self.here) {
            while !self.rest.is_empty() {
                let length = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
                let is_end = self.rest[..length].trim() == end;
                self.skip(length);
                if is_end {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expect: &[&str]) {
        let show = |token: Token| match token {
            Token::Word(word) => format!("'{word}"),
            Token::Operator(operator) => operator,
            Token::Redirect(kind) => format!("redirect {kind}"),
        };
        assert_eq!(
            lex(script).into_iter().map(show).collect::<Vec<_>>(),
            expect,
            "{script}"
        );
    }

    #[test]
    fn words_keep_what_is_quoted() {
        check(
            r#"a 'b c' "d \" e" f\ g"#,
            &["'a", "'b c", "'d \" e", "'f g"],
        );
        check("''", &["'"]);
        check(r#"x="$(a "b c" d)" e"#, &[r#"'x=$(a "b c" d)"#, "'e"]);
        check("a\\\nb", &["'ab"]);
        check("a#b # c", &["'a#b"]);
    }

    #[test]
    fn operators_and_redirections_stand_alone() {
        check(
            "a&&b||c;d;;\n(e)|f&",
            &[
                "'a", "&&", "'b", "||", "'c", ";", "'d", ";;", "\n", "(", "'e", ")", "|", "'f", "&",
            ],
        );
        check(
            "a 2>/dev/null >>b 2>&1 <c",
            &[
                "'a",
                "redirect >",
                "'/dev/null",
                "redirect >",
                "'b",
                "redirect &",
                "'1",
                "redirect <",
                "'c",
            ],
        );
    }

    #[test]
    fn here_documents_are_left_out() {
        check(
            "cat <<-'EOF' >x\n\ta b\n\tEOF\nc",
            &["'cat", "redirect >", "'x", "\n", "'c"],
        );
        check("cat <<A <<B\n1\nA\n2\nB\nc", &["'cat", "\n", "'c"]);
        check("cat <<A\nnever ends", &["'cat", "\n"]);
    }
}
