//! Headers that a registry's answers carry: `Link` (RFC 8288), `Warning` (RFC 7234, section 5.5),
//! `Range` as uploads have it (distribution-spec, "Pushing a blob in chunks") and `Content-Range`.

use reqwest::header::HeaderMap;

/// The text of a header, if it has one.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The target of the first `Link` whose relation is `next`.
pub(crate) fn next_link(headers: &HeaderMap) -> Option<String> {
    let mut links = headers
        .get_all("link")
        .iter()
        .filter_map(|link| link.to_str().ok());
    links.find_map(next_of)
}

fn next_of(mut header: &str) -> Option<String> {
    while let Some(start) = header.find('<') {
        let (target, rest) = header[start + 1..].split_once('>')?;
        // The parameters go on to the next target.
        let end = rest.find(",<").or_else(|| rest.find(", <"));
        let parameters = &rest[..end.unwrap_or(rest.len())];
        let is_next = parameters.split(';').any(|parameter| {
            parameter
                .trim()
                .split_once('=')
                .is_some_and(|(key, value)| {
                    key.trim().eq_ignore_ascii_case("rel")
                        && value
                            .trim_matches(|c: char| c == '"' || c == ',' || c.is_ascii_whitespace())
                            .split_ascii_whitespace()
                            .any(|relation| relation.eq_ignore_ascii_case("next"))
                })
        });
        if is_next {
            return Some(target.to_owned());
        }
        header = rest;
    }
    None
}

/// The texts of warnings that a registry means for users: `299 - "text"`.
pub(crate) fn warnings(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.get_all("warning").iter().filter_map(|header| {
        let header = header.to_str().ok()?.trim();
        let (code, rest) = header.split_once(' ')?;
        let (_agent, quoted) = rest.trim_start().split_once(' ')?;
        let mut chars = quoted.trim_start().strip_prefix('"')?.chars();
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => text.extend(chars.next()),
                c => text.push(c),
            }
        }
        (code == "299").then(|| readable(&text, 500))
    })
}

/// How many bytes an upload has: `0-1023`, `bytes=0-1023`. Registries say `0-0` for none as well as
/// for one; no chunk of ours is of one byte.
pub(crate) fn received(headers: &HeaderMap) -> Option<u64> {
    let range = text(headers, "range")?.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.split_once('-')?;
    let end: u64 = end.trim().parse().ok()?;
    (start.trim() == "0").then(|| if end == 0 { 0 } else { end.saturating_add(1) })
}

/// Where the body of a 206 starts, and how long all of it is: `bytes 5-9/10`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, "content-range")?
        .trim()
        .strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// `text` for a terminal: without control characters, at most `limit` bytes of it.
pub(crate) fn readable(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if shown.len() + word.len() > limit {
            shown.push('…');
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        let values = values.iter();
        values
            .map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn links() {
        let check = |values: &[&str], expected: Option<&str>| {
            let found = next_link(&headers("link", values));
            assert_eq!(found.as_deref(), expected, "{values:?}");
        };
        check(
            &[r#"</v2/a/tags/list?last=b&n=2>; rel="next""#],
            Some("/v2/a/tags/list?last=b&n=2"),
        );
        check(&["<x>; rel=next"], Some("x"));
        check(&[r#"<x,y>; title="<"; Rel="prev next""#], Some("x,y"));
        check(&[r#"<x>; rel="prev", <y>; rel="next""#], Some("y"));
        check(&[r#"<x>; rel="prev""#, "<y>;rel=next"], Some("y"));
        check(&["<x"], None);
        check(&["x; rel=next"], None);
        check(&[], None);
    }

    #[test]
    fn warnings_for_users() {
        let found: Vec<_> = warnings(&headers(
            "warning",
            &[
                r#"299 - "this \"image\" is deprecated""#,
                r#"299 registry.test "two	lines""#,
                r#"199 - "not for users""#,
                "299",
            ],
        ))
        .collect();
        assert_eq!(found, [r#"this "image" is deprecated"#, "two lines"]);
    }

    #[test]
    fn ranges() {
        let check = |value: &str, expected: Option<u64>| {
            assert_eq!(received(&headers("range", &[value])), expected, "{value}");
        };
        check("0-1023", Some(1024));
        check("bytes=0-1023", Some(1024));
        check("0-0", Some(0));
        check("5-9", None);
        check("0", None);
        check("0-99999999999999999999999", None);
        let start = |value: &str| content_range(&headers("content-range", &[value]));
        assert_eq!(start("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(start("bytes 5-9/*"), Some((5, None)));
        assert_eq!(start("bytes */10"), None);
    }

    #[test]
    fn texts_for_terminals() {
        assert_eq!(readable(" a\n\x1b[1m b ", 100), "a [1m b");
        assert_eq!(readable("aaaa bbbb cccc", 8), "aaaa bbbb…");
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_a_panic(value in "[ -~\u{80}-\u{ff}]*") {
            let Ok(value) = HeaderValue::from_str(&value) else { return Ok(()) };
            for name in ["link", "warning", "range", "content-range"] {
                let map: HeaderMap =
                    [(HeaderName::from_static(name), value.clone())].into_iter().collect();
                let _ = (next_link(&map), warnings(&map).count(), received(&map), content_range(&map));
            }
        }
    }
}
