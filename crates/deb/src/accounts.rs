//! The user that applications run as: lines of passwd(5) and group(5).

use std::sync::Arc;

use oci::{Content, Entry, Kind, Tree, TreePath};

use crate::error::Error;
use crate::postinst;

/// User and group of [`NONROOT`]. Above all that Debian gives out, and the number that other bases
/// without a shell use.
pub const NONROOT_ID: u32 = 65_532;

/// Name of the user that applications run as.
pub const NONROOT: &str = "nonroot";

/// Its home directory.
pub const NONROOT_HOME: &str = "/home/nonroot";

/// Adds the user, its group and its home directory. `/etc/passwd` and `/etc/group` need not be there.
pub(crate) fn add_nonroot(tree: &mut Tree) -> Result<(), Error> {
    let origin: Arc<str> = "the user nonroot".into();
    let user = format!(
        "{NONROOT}:*:{NONROOT_ID}:{NONROOT_ID}:{NONROOT}:{NONROOT_HOME}:/usr/sbin/nologin\n"
    );
    append(tree, "etc/passwd", &user, &origin)?;
    append(
        tree,
        "etc/group",
        &format!("{NONROOT}:*:{NONROOT_ID}:\n"),
        &origin,
    )?;
    let home = Entry::new(Kind::Directory, 0o700, &origin);
    let home = Entry {
        uid: NONROOT_ID,
        gid: NONROOT_ID,
        ..home
    };
    tree.insert(TreePath::new(NONROOT_HOME)?, home)?;
    Ok(())
}

fn append(tree: &mut Tree, path: &str, line: &str, origin: &Arc<str>) -> Result<(), Error> {
    let path = TreePath::new(path)?;
    let mut text = match tree.get(&path) {
        Some(Entry {
            kind: Kind::File(content),
            origin,
            ..
        }) => postinst::read(content, origin)?,
        _ => Vec::new(),
    };
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend(line.bytes());
    tree.replace(
        path,
        Entry::file(Content::Bytes(text.into()), false, origin),
    )?;
    Ok(())
}
