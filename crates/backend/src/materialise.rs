//! A tree written to a directory of this machine, for programs of this machine.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use oci::{Kind, Tree};

use crate::error::{At, Error};

/// Writes `tree` below `root`. A file that is there is replaced: of two wheels with one path, the later
/// one wins.
pub(crate) fn materialise(tree: &Tree, root: &Path) -> Result<(), Error> {
    for (path, entry) in tree.iter() {
        let target = root.join(path.as_str());
        match &entry.kind {
            Kind::Directory => fs::create_dir_all(&target).at("create", &target)?,
            Kind::File(content) => {
                let _ = fs::remove_file(&target);
                let mut file = File::create_new(&target).at("create", &target)?;
                content.write_to(&mut file).at("write", &target)?;
                file.set_permissions(Permissions::from_mode(entry.mode))
                    .at("write", &target)?;
            }
            Kind::Symlink(text) => {
                let _ = fs::remove_file(&target);
                symlink(text, &target).at("create", &target)?;
            }
            // Wheels have none.
            Kind::Hardlink(_) => {}
        }
    }
    Ok(())
}
