//! The facts of an image.

use serde::{Deserialize, Serialize};

use crate::finder::Finder;
use crate::search::Variables;
use crate::view::View;
use crate::{Dpkg, Error, Libc, Os, Python, Scan, libc, view};

/// What a base image tells. What it does not tell is None.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The distribution.
    pub os: Option<Os>,
    /// The C library; where there are several, the one that the first Python uses.
    pub libc: Option<Libc>,
    /// The Pythons, the one that `python3` means in a container first. One whose exact version the
    /// image does not tell is left out, and so is every implementation but CPython.
    pub pythons: Vec<Python>,
    /// What dpkg's records say and packages that are added depend on, if there are records.
    pub dpkg: Option<Dpkg>,
}

impl Facts {
    /// The Python that a program in a container of the image uses.
    pub fn python(&self) -> Option<&Python> {
        self.pythons.first()
    }
}

/// The facts of the image that `layers` make up, the lowest first. `env` is `Env` of the image's
/// config: `NAME=value` each.
///
/// Layers are put on top of each other as runtimes do it with a directory for each: whiteouts and
/// opaque directories hide what lower layers have, and so does whatever is at the same path, but for
/// a directory over a directory.
pub fn facts(env: &[String], layers: &[Scan]) -> Result<Facts, Error> {
    let view = View::new(layers)?;
    let variables = Variables::new(env);
    let dpkg = Dpkg::of(&view, |path| view::is_directory(layers, path));
    let versions = dpkg.as_ref().map(Dpkg::versions).unwrap_or_default();
    let apk = ["lib/apk/db/installed", "usr/lib/apk/db/installed"]
        .into_iter()
        .find_map(|path| view.records(path).cloned())
        .unwrap_or_default();
    let finder = Finder {
        view: &view,
        variables: &variables,
        dpkg: &versions,
        apk: &apk,
    };
    let found = finder.all();
    let loader = found.first().and_then(|found| found.loader);
    let os = ["etc/os-release", "usr/lib/os-release"];
    Ok(Facts {
        os: os.into_iter().find_map(|path| view.text(path)).map(Os::new),
        libc: libc::of_loader(&view, &versions, &apk, loader),
        pythons: found.into_iter().map(|found| found.python).collect(),
        dpkg,
    })
}
