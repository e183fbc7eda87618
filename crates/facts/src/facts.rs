//! The facts of an image.

use serde::{Deserialize, Serialize};

use crate::finder::Finder;
use crate::records::Records;
use crate::search::Variables;
use crate::view::View;
use crate::{Error, Libc, Os, Python, Scan, libc, path};

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
    /// Where dpkg's records are, if there are any.
    pub dpkg: Option<DpkgDatabase>,
}

/// The form of dpkg's records.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DpkgDatabase {
    /// One file for all packages: `/var/lib/dpkg/status`.
    Status,
    /// One file for each package, in `/var/lib/dpkg/status.d`, as images without dpkg have it.
    StatusD,
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
    let (dpkg, database) = dpkg(&view);
    let apk = ["lib/apk/db/installed", "usr/lib/apk/db/installed"]
        .into_iter()
        .find_map(|path| view.records(path).cloned())
        .unwrap_or_default();
    let finder = Finder {
        view: &view,
        variables: &variables,
        dpkg: &dpkg,
        apk: &apk,
    };
    let found = finder.all();
    let loader = found.first().and_then(|found| found.loader);
    let os = ["etc/os-release", "usr/lib/os-release"];
    Ok(Facts {
        os: os.into_iter().find_map(|path| view.text(path)).map(Os::new),
        libc: libc::of_loader(&view, &dpkg, &apk, loader),
        pythons: found.into_iter().map(|found| found.python).collect(),
        dpkg: database,
    })
}

/// dpkg's records in either form.
fn dpkg(view: &View) -> (Records, Option<DpkgDatabase>) {
    const DIRECTORY: &str = "var/lib/dpkg/status.d";
    let whole = view.records("var/lib/dpkg/status");
    if let Some(records) = whole.filter(|records| !records.is_empty()) {
        return (records.clone(), Some(DpkgDatabase::Status));
    }
    let files = view.names_in(DIRECTORY).into_iter();
    let parts: Vec<&Records> = files
        .filter_map(|name| view.records(&path::join(DIRECTORY, name)))
        .collect();
    let database = match parts[..] {
        [] => whole.map(|_| DpkgDatabase::Status),
        _ => Some(DpkgDatabase::StatusD),
    };
    (parts.into_iter().flat_map(Clone::clone).collect(), database)
}
