//! Version numbers and their order: deb-version(7), Policy 5.6.12.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A Debian version: `[epoch:]upstream[-revision]`.
///
/// Equality is that of the order, so `1.0`, `0:1.0` and `1.0-0` are equal; the text is kept as it
/// was.
#[derive(Clone)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
}

impl Version {
    /// The number before the colon; 0 where there is none.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What is between the epoch and the revision.
    pub fn upstream(&self) -> &str {
        self.parts().0
    }

    /// What is after the last hyphen; empty where there is none.
    pub fn revision(&self) -> &str {
        self.parts().1
    }

    /// The text, as it was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self
            .text
            .split_once(':')
            .map_or(&*self.text, |(_, rest)| rest);
        rest.rsplit_once('-').unwrap_or((rest, ""))
    }
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: {fault}")]
pub struct VersionError {
    /// As it was given.
    pub text: String,
    /// What is wrong with it.
    pub fault: VersionFault,
}

/// What is wrong with a text that should be a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionFault {
    /// Nothing before the colon, other things than digits, or a number over 2147483647.
    #[error("the epoch is not a number")]
    Epoch,
    /// Nothing between the epoch and the revision.
    #[error("the upstream version is empty")]
    NoUpstream,
    /// A hyphen with nothing behind it.
    #[error("the revision is empty")]
    NoRevision,
    /// A character that versions cannot have.
    #[error("it has the character {0:?}")]
    Character(char),
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = |fault| VersionError {
            text: text.to_owned(),
            fault,
        };
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (parse_epoch(epoch).ok_or(error(VersionFault::Epoch))?, rest),
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return Err(error(VersionFault::NoRevision)),
            Some((upstream, revision)) => (upstream, revision),
            None => (rest, ""),
        };
        if upstream.is_empty() {
            return Err(error(VersionFault::NoUpstream));
        }
        let in_both = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~');
        let in_upstream = |c: char| in_both(c) || matches!(c, '-' | ':');
        let bad = upstream.chars().find(|c| !in_upstream(*c));
        if let Some(c) = bad.or_else(|| revision.chars().find(|c| !in_both(*c))) {
            return Err(error(VersionFault::Character(c)));
        }
        Ok(Self {
            text: text.into(),
            epoch,
        })
    }
}

fn parse_epoch(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<i32>().ok().filter(|_| digits)?.try_into().ok()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((upstream, revision), (other_upstream, other_revision)) =
            (self.parts(), other.parts());
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(upstream.as_bytes(), other_upstream.as_bytes()))
            .then_with(|| compare(revision.as_bytes(), other_revision.as_bytes()))
    }
}

/// Runs of other characters and runs of digits, in turn, from the left.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (text_a, text_b) = (
            take(&mut a, |c| !c.is_ascii_digit()),
            take(&mut b, |c| !c.is_ascii_digit()),
        );
        let (number_a, number_b) = (
            take(&mut a, u8::is_ascii_digit),
            take(&mut b, u8::is_ascii_digit),
        );
        let order = compare_text(text_a, text_b).then_with(|| compare_numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Cuts off the longest beginning whose bytes are all wanted.
fn take<'a>(bytes: &mut &'a [u8], wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
    let length = bytes.iter().position(|b| !wanted(b)).unwrap_or(bytes.len());
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weights = |text: &[u8], n: usize| text.get(n).map_or(0, |c| weight(*c));
    (0..a.len().max(b.len()))
        .map(|n| weights(a, n).cmp(&weights(b, n)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// `~` before the end (0), the end before letters, letters before the rest.
fn weight(c: u8) -> i32 {
    match c {
        b'~' => -1,
        letter if letter.is_ascii_alphabetic() => i32::from(letter),
        other => i32::from(other) + 256,
    }
}

/// As numbers of any length; no digits are 0.
fn compare_numbers(mut a: &[u8], mut b: &[u8]) -> Ordering {
    take(&mut a, |c| *c == b'0');
    take(&mut b, |c| *c == b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn orders_as_the_manual_says() {
        // Each smaller than the next.
        let ascending = [
            "0~",
            "0",
            "0.a",
            "1~~",
            "1~~a",
            "1~",
            "1",
            "1-0.1",
            "1-1~bpo12+1",
            "1-1",
            "1-1+b1",
            "1-1+deb13u1",
            "1-2",
            "1-10",
            "1a",
            "1+dfsg-1",
            "1.0",
            "1.0.1",
            "1.2",
            "1.10",
            "2.0",
            "9",
            "10",
            "99999999999999999999",
            "100000000000000000000",
            "1:0~",
            "1:0.1",
            "2:0",
        ];
        for (n, low) in ascending.iter().enumerate() {
            for high in &ascending[n + 1..] {
                assert_eq!(
                    version(low).cmp(&version(high)),
                    Ordering::Less,
                    "{low} < {high}"
                );
                assert_eq!(
                    version(high).cmp(&version(low)),
                    Ordering::Greater,
                    "{high} > {low}"
                );
            }
        }
    }

    #[test]
    fn equal_versions_may_look_different() {
        for (a, b) in [
            ("1.0", "0:1.0"),
            ("1.0", "1.0-0"),
            ("1.0", "1.00"),
            ("1.0", "1."),
            ("1", "1-00"),
        ] {
            assert_eq!(version(a), version(b), "{a} = {b}");
        }
    }

    #[test]
    fn has_parts() {
        let all = version("2:1.2-3:4-5~6");
        assert_eq!(
            (all.epoch(), all.upstream(), all.revision()),
            (2, "1.2-3:4", "5~6")
        );
        let native = version("13");
        assert_eq!(
            (native.epoch(), native.upstream(), native.revision()),
            (0, "13", "")
        );
        assert_eq!(all.to_string(), "2:1.2-3:4-5~6");
    }

    #[test]
    fn refuses_other_texts() {
        let message = |text: &str| text.parse::<Version>().unwrap_err().to_string();
        insta::assert_snapshot!(message(""), @"`` is not a version: the upstream version is empty");
        insta::assert_snapshot!(message("1-"), @"`1-` is not a version: the revision is empty");
        insta::assert_snapshot!(message(":1"), @"`:1` is not a version: the epoch is not a number");
        insta::assert_snapshot!(message("+1:1"), @"`+1:1` is not a version: the epoch is not a number");
        insta::assert_snapshot!(message("2147483648:1"), @"`2147483648:1` is not a version: the epoch is not a number");
        insta::assert_snapshot!(message("1 2"), @"`1 2` is not a version: it has the character ' '");
        insta::assert_snapshot!(message("1_2-3"), @"`1_2-3` is not a version: it has the character '_'");
        insta::assert_snapshot!(message("1-é"), @"`1-é` is not a version: it has the character 'é'");
    }

    /// Versions of few characters, so that equal ones and near ones turn up.
    fn any_version() -> impl Strategy<Value = Version> {
        "([01]:)?[0-2a+.~]{1,5}(-[01a~.+]{1,3})?".prop_map(|text| version(&text))
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
        }

        #[test]
        fn any_text_parses_or_not(text in "\\PC*") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.as_str(), text);
            }
        }
    }
}
