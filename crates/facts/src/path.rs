//! Paths in an image: always from its root, without a slash before them.

use std::borrow::Cow;

use crate::EntryFault;

/// Bytes that Linux takes as a path, its last NUL left out (`PATH_MAX`).
pub const MAX_PATH: usize = 4095;

/// `path` of a tar entry as `a/b`, empty for the root. As runtimes do it, `.` and empty components
/// are dropped and `..` takes one away, but not more than there are.
pub fn clean(path: &[u8]) -> Result<Cow<'_, [u8]>, EntryFault> {
    if path.len() > MAX_PATH {
        return Err(EntryFault::Length { limit: MAX_PATH });
    }
    let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let inner = path.strip_prefix(b"./").unwrap_or(path);
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    if inner.split(|byte| *byte == b'/').all(is_plain) {
        return Ok(Cow::Borrowed(inner));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or(EntryFault::Outside)?;
            }
            part => parts.push(part),
        }
    }
    Ok(Cow::Owned(parts.join(&b'/')))
}

/// The directory and the name: `a/b` and `c` of `a/b/c`.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The name.
pub fn name(path: &str) -> &str {
    split(path).1
}

/// The directory.
pub fn parent(path: &str) -> &str {
    split(path).0
}

/// `name` in `directory`.
pub fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// With the slash before it, as it is in the image.
pub fn absolute(path: &str) -> String {
    format!("/{path}")
}

/// An absolute path of an environment variable or a file, without its slash and as short as it can
/// be by its text alone. None for a relative one.
pub fn relative(path: &str) -> Option<String> {
    let inner = path.strip_prefix('/')?;
    let mut parts: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_as_runtimes_do() {
        let check = |text: &str| {
            clean(text.as_bytes()).map(|path| String::from_utf8(path.into_owned()).unwrap())
        };
        for (text, expect) in [
            ("a/b", "a/b"),
            ("./a/b/", "a/b"),
            ("/a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("./", ""),
            (".", ""),
            ("/", ""),
            ("", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(check(text).as_deref(), Ok(expect), "{text}");
        }
        for text in ["..", "../a", "a/../../b", "/../a", "./.."] {
            assert_eq!(check(text), Err(EntryFault::Outside), "{text}");
        }
        let long = "a/".repeat(2048);
        assert_eq!(check(&long), Err(EntryFault::Length { limit: 4095 }));
    }

    #[test]
    fn absolute_paths_stay_in_the_image() {
        assert_eq!(
            relative("/opt//venv/./bin/"),
            Some("opt/venv/bin".to_owned())
        );
        assert_eq!(relative("/../../a/../b"), Some("b".to_owned()));
        assert_eq!(relative("bin"), None);
        assert_eq!(relative(""), None);
    }
}
