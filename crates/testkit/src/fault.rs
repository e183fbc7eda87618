//! What can go wrong between a client and a server.

/// A fault that requests meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 503 for so many requests, then the answer.
    Unavailable {
        /// Number of requests that fail.
        times: u32,
    },
    /// This status, always.
    Status(u16),
    /// A whole response with only the first bytes of the file.
    Truncate {
        /// Bytes that are left.
        length: usize,
    },
    /// As many bytes as there should be, but not the same.
    WrongBytes,
    /// The connection ends in the middle of the body.
    Reset {
        /// Bytes of the body that come through.
        after: usize,
    },
    /// The body stops coming; the connection stays.
    Stall {
        /// Bytes of the body that come through.
        after: usize,
    },
    /// No answer at all; the connection stays.
    Hang,
    /// A page with status 200 where there is nothing, as captive portals and some proxies do.
    HtmlForMissing,
    /// `Range` is ignored.
    NoRanges,
}

/// The faults of one server by path pattern.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(String, Fault)>);

impl Faults {
    pub(crate) fn add(&mut self, pattern: &str, fault: Fault) {
        self.0.push((pattern.to_owned(), fault));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that a request for `path` meets; counts down those that end by themselves.
    pub(crate) fn due(&mut self, path: &str) -> Option<Fault> {
        let matching = self
            .0
            .iter_mut()
            .rev()
            .filter(|(pattern, _)| matches(pattern, path));
        for (_, fault) in matching {
            match fault {
                Fault::Unavailable { times: 0 } => {}
                Fault::Unavailable { times } => {
                    *times -= 1;
                    return Some(fault.clone());
                }
                other => return Some(other.clone()),
            }
        }
        None
    }
}

/// Whether `pattern` is the whole of `path`, `*` standing for any run of characters.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).any(|n| left.is_char_boundary(n) && matches(rest, &left[n..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("*", "", true),
            ("*.whl", "/files/demo-1.0-py3-none-any.whl", true),
            ("*.whl", "/files/demo-1.0-py3-none-any.whl.metadata", false),
            ("/simple/*/", "/simple/demo/", true),
            ("*demo*arm64*", "/pool/demo_1_arm64.deb", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_one_counts_until_it_is_used_up() {
        let mut faults = Faults::default();
        faults.add("*", Fault::Hang);
        faults.add("/a", Fault::Unavailable { times: 1 });
        assert_eq!(faults.due("/b"), Some(Fault::Hang));
        assert_eq!(faults.due("/a"), Some(Fault::Unavailable { times: 0 }));
        assert_eq!(faults.due("/a"), Some(Fault::Hang));
    }
}
