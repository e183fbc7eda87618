//! `WWW-Authenticate` (RFC 9110, section 11.6.1): what a registry wants to know.

use std::iter::Peekable;
use std::str::Chars;

/// One challenge: a scheme and its parameters. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `bearer`, `basic`.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The parameter `name`, the first where there are several.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The challenges of a header, of which there may be several. What cannot be read is left out.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut parser = Parser(header.chars().peekable());
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        parser.skip(|c| c == ',' || c.is_ascii_whitespace());
        if parser.0.peek().is_none() {
            return found;
        }
        let word = parser.word();
        if word.is_empty() {
            // No token starts here: go on behind it.
            parser.0.next();
            continue;
        }
        let spaces = parser.skip(|c| c.is_ascii_whitespace());
        // `name = value` belongs to the challenge before; `Scheme name=value` starts another one.
        if parser.0.peek() == Some(&'=') && !(spaces && parser.is_token68()) {
            parser.0.next();
            parser.skip(|c| c.is_ascii_whitespace());
            let value = parser.value();
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.push((word, value));
            }
        } else {
            found.push(Challenge {
                scheme: word,
                parameters: Vec::new(),
            });
        }
    }
}

struct Parser<'a>(Peekable<Chars<'a>>);

impl Parser<'_> {
    fn skip(&mut self, unwanted: impl Fn(char) -> bool) -> bool {
        let mut skipped = false;
        while self.0.next_if(|&c| unwanted(c)).is_some() {
            skipped = true;
        }
        skipped
    }

    /// A token, in lower case.
    fn word(&mut self) -> String {
        self.token().to_ascii_lowercase()
    }

    fn token(&mut self) -> String {
        let mut token = String::new();
        let part = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
        while let Some(c) = self.0.next_if(|&c| part(c)) {
            token.push(c);
        }
        token
    }

    /// Whether what is ahead is `==` as at the end of base64, which no parameter has.
    fn is_token68(&self) -> bool {
        let mut ahead = self.0.clone();
        ahead.next();
        ahead.next() == Some('=')
    }

    fn value(&mut self) -> String {
        if self.0.next_if_eq(&'"').is_some() {
            return self.quoted();
        }
        // Some registries do not quote URLs: a value ends at a comma or a space.
        let mut value = String::new();
        while let Some(c) = self
            .0
            .next_if(|&c| c != ',' && c != '"' && !c.is_ascii_whitespace())
        {
            value.push(c);
        }
        value
    }

    /// A quoted string behind its first quote; one that does not end ends with the header.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        while let Some(c) = self.0.next() {
            match c {
                '"' => break,
                '\\' => value.extend(self.0.next()),
                c => value.push(c),
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: &str) {
        let shown: Vec<String> = challenges(header)
            .iter()
            .map(|challenge| {
                let parameters = challenge.parameters.iter();
                let parameters: Vec<_> = parameters.map(|(k, v)| format!("{k}=<{v}>")).collect();
                format!("{} {}", challenge.scheme, parameters.join(" "))
            })
            .collect();
        assert_eq!(shown.join(" | "), expected, "{header}");
    }

    #[test]
    fn all_forms() {
        check(
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#,
            "bearer realm=<https://ghcr.io/token> service=<ghcr.io> scope=<repository:a/b:pull>",
        );
        check(
            r#"BASIC Realm="a \"quoted\", and \\ comma" , charset=UTF-8"#,
            r#"basic realm=<a "quoted", and \ comma> charset=<UTF-8>"#,
        );
        check(
            r#"Basic realm="x", Bearer realm="y",service="z",scope="a:b:pull,push c:d:*""#,
            "basic realm=<x> | bearer realm=<y> service=<z> scope=<a:b:pull,push c:d:*>",
        );
        check("Negotiate, Basic realm=x", "negotiate  | basic realm=<x>");
        check(
            "Bearer realm=https://a.test/token?x=1,service=a.test",
            "bearer realm=<https://a.test/token?x=1> service=<a.test>",
        );
        check(
            r#"Bearer realm = "x" ,, scope = "y""#,
            "bearer realm=<x> scope=<y>",
        );
        check(r#"Bearer realm="open"#, "bearer realm=<open>");
        check("", "");
        check("=,\"", "");
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_a_panic(header in ".*") {
            let _ = challenges(&header);
        }

        #[test]
        fn values_come_back(value in "[ -~]*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = challenges(&format!("Basic a=b, Bearer realm=\"{quoted}\", x=y"));
            proptest::prop_assert_eq!(found[1].parameter("realm"), Some(&*value));
            proptest::prop_assert_eq!(found[1].parameter("x"), Some("y"));
        }
    }
}
