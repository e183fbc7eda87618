//! Paths of packages and where they lie in an image.

use oci::TreePath;

use crate::fault::EntryFault;
use crate::tarball::MemberKind;
use crate::unpack::Usr;

/// The directories of the root that a merged /usr replaces by links to `usr/<name>`.
pub(crate) const USR_LINKS: [&str; 7] =
    ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// Links that every Debian system has, and packages that still have directories there.
const VAR_LINKS: [(&str, &str); 2] = [("var/lock", "run/lock"), ("var/run", "run")];

/// Trees of documentation and of translations.
const DOCUMENTATION: [&str; 12] = [
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/gnome/help",
    "usr/share/gtk-doc",
    "usr/share/help",
    "usr/share/info",
    "usr/share/linda",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/omf",
];

/// The path of a member of `data.tar`: `./usr/bin/x`. None for the root itself.
pub(crate) fn package_path(text: &str) -> Result<Option<TreePath>, EntryFault> {
    let relative = text.strip_prefix("./").unwrap_or(text);
    if text.starts_with('/') || relative.starts_with('/') {
        return Err(EntryFault::Absolute);
    }
    let relative = relative.strip_suffix('/').unwrap_or(relative);
    if (relative.is_empty() && !text.is_empty()) || text == "." {
        return Ok(None);
    }
    TreePath::new(relative).map(Some).map_err(EntryFault::Path)
}

/// Where `path` lies in an image, which has links in the place of some directories. A directory in
/// such a place would replace the link and hide what is behind it.
pub(crate) fn in_image(path: TreePath, usr: Usr) -> Result<TreePath, EntryFault> {
    match behind_link(&path, usr) {
        Some(moved) => TreePath::new(&moved).map_err(EntryFault::Path),
        None => Ok(path),
    }
}

fn behind_link(path: &TreePath, usr: Usr) -> Option<String> {
    let text = path.as_str();
    let below = |link: &str| {
        text.strip_prefix(link)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if usr == Usr::Merged && USR_LINKS.into_iter().any(|link| below(link).is_some()) {
        return Some(format!("usr/{text}"));
    }
    VAR_LINKS
        .into_iter()
        .find_map(|(link, target)| Some(format!("{target}{}", below(link)?)))
}

/// Where the link at `path` leads, if it is one of those that a merged /usr or Debian's /var has.
pub(crate) fn link_target(path: &TreePath, usr: Usr) -> Option<String> {
    let is_link = USR_LINKS.contains(&path.as_str())
        || VAR_LINKS.into_iter().any(|(link, _)| link == path.as_str());
    if is_link {
        behind_link(path, usr)
    } else {
        None
    }
}

/// Whether a package's file is left out unless documentation is wanted. Copyright files stay, and so
/// do the links between the directories that have them.
pub(crate) fn is_documentation(path: &TreePath, kind: &MemberKind) -> bool {
    let is_below = |root: &str| {
        path.as_str()
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_copyright = || match kind {
        MemberKind::Directory => false,
        MemberKind::Symlink(_) if path.parent().is_some_and(|p| p.as_str() == "usr/share/doc") => {
            true
        }
        _ => path.as_str().starts_with("usr/share/doc/") && path.name() == "copyright",
    };
    DOCUMENTATION.into_iter().any(is_below) && !is_copyright()
}

/// Whether the target of the symbolic link at `path` is empty or leads above the image's root.
pub(crate) fn climbs(path: &TreePath, target: &str) -> bool {
    let is_absolute = target.starts_with('/');
    let mut depth = if is_absolute {
        0
    } else {
        path.as_str().matches('/').count()
    };
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    target.is_empty() || target.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::path;

    #[test]
    fn the_root_is_no_path() {
        for text in [".", "./", "/"] {
            assert!(!matches!(package_path(text), Ok(Some(_))), "{text}");
        }
        assert_eq!(package_path("./usr/").unwrap(), Some(path("usr")));
        assert_eq!(package_path("usr/bin/x").unwrap(), Some(path("usr/bin/x")));
        insta::assert_snapshot!(package_path("").unwrap_err(), @"is no path inside an image: it is empty");
        insta::assert_snapshot!(package_path("/etc/x").unwrap_err(), @"is an absolute path");
        insta::assert_snapshot!(package_path(".//etc/x").unwrap_err(), @"is an absolute path");
        insta::assert_snapshot!(package_path("././x").unwrap_err(), @"is no path inside an image: it has a `.` component");
    }

    #[test]
    fn links_may_go_up_to_the_root_and_no_further() {
        for (target, expect) in [
            ("../../etc", false),
            ("../../../etc", true),
            ("x/../../../..", true),
            ("/etc", false),
            ("/usr/..", false),
            ("/usr/../..", true),
            (".", false),
            ("", true),
        ] {
            assert_eq!(climbs(&path("usr/lib/x"), target), expect, "{target}");
        }
    }
}
