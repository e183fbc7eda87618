//! Installation: where each file of a wheel goes, and the files that an installer adds ("Binary
//! distribution format", section Installing a wheel, and "Recording installed projects").

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci::{Content, Entry, Kind, OnMismatch, Tree, TreeError, TreePath};

use crate::archive::Member;
use crate::record::{Mismatch, checksum_like};
use crate::{
    DirectUrl, EntryPoint, Error, Record, RecordFault, RecordPolicy, Row, Venv, Warning, Wheel,
    scripts,
};
use place::Place;

/// What an installer knows that the wheel does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallOptions {
    /// Whether the project was asked for by name, not only by another one: writes REQUESTED.
    pub requested: bool,
    /// Where it came from, if not from an index: writes `direct_url.json`.
    pub direct_url: Option<DirectUrl>,
    /// What to do about a RECORD that does not describe the wheel.
    pub record: RecordPolicy,
}

/// A wheel's files at their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The files, and the directories they need.
    pub tree: Tree,
    /// What is odd about the wheel.
    pub warnings: Vec<Warning>,
}

impl Wheel {
    /// The tree that this wheel's installation into `venv` gives. Files stay where they lie in the
    /// archive; each carries its checksum from RECORD, which is not checked here but when the file
    /// is read.
    pub fn install(&self, venv: &Venv, options: &InstallOptions) -> Result<Installed, Error> {
        let mut warnings = self.wheel_version_warning();
        let record = self.checked_record(options.record, &mut warnings)?;
        let commands = self.commands(venv, &mut warnings)?;
        let mut installation = Installation {
            wheel: self,
            venv,
            policy: options.record,
            skeleton: venv.skeleton(),
            origin: self.label().into(),
            site_packages: venv.site_packages(),
            tree: Tree::new(),
            checked: None,
            rows: Vec::new(),
            warnings,
        };
        let mut rows = record.in_order();
        for member in self.archive.members() {
            let row = rows.of(&member.name);
            if let Some(place) = self.place(member, &commands)? {
                installation.add_member(member, place, row)?;
            }
        }
        for (name, entry_point) in &commands {
            let program = scripts::launcher(&venv.executable(), entry_point);
            let path = installation.join(&venv.bin(), name)?;
            installation.add_bytes(path, program.into_bytes(), true)?;
        }
        installation.add_metadata(options)?;
        Ok(Installed {
            tree: installation.tree,
            warnings: installation.warnings,
        })
    }

    fn wheel_version_warning(&self) -> Vec<Warning> {
        match self.wheel_file().wheel_version {
            (_, 0) => Vec::new(),
            version => vec![Warning::WheelVersion {
                wheel: self.label(),
                version,
            }],
        }
    }

    /// RECORD, compared with the archive. Under [`RecordPolicy::Warn`] rows may be missing or have
    /// no checksum, and every fault is a warning.
    fn checked_record(
        &self,
        policy: RecordPolicy,
        warnings: &mut Vec<Warning>,
    ) -> Result<Record, Error> {
        let (record, mut faults) = Record::parse(&self.read_record()?);
        let known: BTreeSet<_> = faults.iter().map(|(path, _)| path.clone()).collect();
        let mut slips = Vec::new();
        let mut rows = record.in_order();
        for member in self.archive.members() {
            let row = rows.of(&member.name);
            if self.is_signed_by(member) {
                continue;
            }
            let path = || member.name.clone();
            let actual = member.uncompressed_size;
            match row {
                None => faults.push((path(), RecordFault::NotListed)),
                Some(row) => {
                    if let (Some(stated), Some(_)) = (row.size, row.checksum)
                        && stated != actual
                    {
                        slips.push((path(), RecordFault::Size { stated, actual }));
                    } else if row.checksum.is_none() && !known.contains(&member.name) {
                        faults.push((path(), RecordFault::NoChecksum));
                    }
                }
            }
        }
        let absent = rows.passed_over();
        faults.extend(absent.map(|path| (path.to_owned(), RecordFault::NotInArchive)));
        let wheel = || self.label();
        if policy == RecordPolicy::Strict && !faults.is_empty() {
            let others = faults.len() - 1;
            let (path, fault) = faults.swap_remove(0);
            return Err(Error::Record {
                wheel: wheel(),
                path,
                fault,
                others,
            });
        }
        let all = faults.into_iter().chain(slips);
        warnings.extend(all.map(|(path, fault)| Warning::Record {
            wheel: wheel(),
            path,
            fault,
        }));
        Ok(record)
    }

    /// RECORD and the signatures over it, which it cannot list.
    fn is_signed_by(&self, member: &Member) -> bool {
        let name = self.dist_info_file(member);
        matches!(name, Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
    }

    fn dist_info_file<'a>(&self, member: &'a Member) -> Option<&'a str> {
        member.name.strip_prefix(&self.dist_info)?.strip_prefix('/')
    }

    /// The commands in `bin/` by name.
    fn commands(
        &self,
        venv: &Venv,
        warnings: &mut Vec<Warning>,
    ) -> Result<BTreeMap<String, EntryPoint>, Error> {
        let mut commands = self.entry_points()?.into_scripts();
        if self.name().as_str() == "pip" {
            // pip's wheel is built by another Python than it is installed for; installers are
            // expected to put the right version into this name.
            let versioned = |name: &str| {
                name.strip_prefix("pip3.")
                    .is_some_and(|rest| rest.parse::<u32>().is_ok())
            };
            commands.retain(|name, _| !versioned(name));
            if let Some(pip3) = commands.get("pip3").cloned() {
                commands.insert(format!("pip3.{}", venv.python.minor), pip3);
            }
        }
        for (command, entry_point) in &commands {
            if !entry_point.is_importable() {
                warnings.push(Warning::Unimportable {
                    wheel: self.label(),
                    command: command.clone(),
                    target: format!("{}:{}", entry_point.module, entry_point.function),
                });
            }
        }
        Ok(commands)
    }
}

/// A tree in the making, and the rows of its RECORD.
struct Installation<'a> {
    wheel: &'a Wheel,
    venv: &'a Venv,
    policy: RecordPolicy,
    skeleton: Tree,
    origin: Arc<str>,
    site_packages: TreePath,
    tree: Tree,
    /// The directory that was last found to be free for files.
    checked: Option<TreePath>,
    /// Of RECORD.
    rows: Vec<(String, Row)>,
    warnings: Vec<Warning>,
}

impl Installation<'_> {
    fn add_member(
        &mut self,
        member: &Member,
        place: Place<'_>,
        row: Option<&Row>,
    ) -> Result<(), Error> {
        let row = row.copied().unwrap_or_default();
        let path = self.destination(place)?;
        let is_script = matches!(place, Place::Script(_));
        if is_script
            && self
                .wheel
                .archive
                .starts_with(member, scripts::PLACEHOLDER)?
        {
            let script = self.checked_script(member, row)?;
            let rewritten = scripts::rewrite(&script, &self.venv.executable());
            return self.add_bytes(path, rewritten.unwrap_or(script), true);
        }
        let on_mismatch = match self.policy {
            RecordPolicy::Strict => OnMismatch::Fail,
            RecordPolicy::Warn => OnMismatch::Report,
        };
        let checksum = row.checksum.map(|checksum| (checksum, on_mismatch));
        let content = member.content(self.wheel.archive.source(), checksum);
        let row = Row {
            checksum: row.checksum,
            size: Some(member.uncompressed_size),
        };
        self.add(
            path,
            Entry::file(content, is_script || member.executable, &self.origin),
            row,
        )
    }

    /// A script that is not copied but rewritten: nobody else looks at its checksum.
    fn checked_script(&mut self, member: &Member, row: Row) -> Result<Vec<u8>, Error> {
        let script = self.wheel.archive.read(member)?;
        if let Some(expected) = row.checksum {
            let found = checksum_like(&expected, &script);
            if found != expected {
                let (wheel, path) = (self.wheel.label(), member.name.clone());
                let fault = RecordFault::Mismatch(Box::new(Mismatch { expected, found }));
                match self.policy {
                    RecordPolicy::Strict => {
                        return Err(Error::Record {
                            wheel,
                            path,
                            fault,
                            others: 0,
                        });
                    }
                    RecordPolicy::Warn => {
                        self.warnings.push(Warning::Record { wheel, path, fault });
                    }
                }
            }
        }
        Ok(script)
    }

    fn destination(&self, place: Place<'_>) -> Result<TreePath, Error> {
        match place {
            Place::Library(path) => self.join(&self.site_packages, path),
            Place::Header(path) => self.join(&self.venv.headers(self.wheel.name()), path),
            Place::Script(path) => self.join(&self.venv.bin(), path),
            Place::Data(path) => match path.strip_prefix("lib64/") {
                // A link to lib in the environment: as a directory in this layer it would replace
                // the link.
                Some(path) => self.join(&self.venv.prefix, &format!("lib/{path}")),
                None => self.join(&self.venv.prefix, path),
            },
        }
    }

    fn join(&self, directory: &TreePath, path: &str) -> Result<TreePath, Error> {
        directory.join(path).map_err(|fault| Error::Path {
            wheel: self.wheel.label(),
            fault,
        })
    }

    fn add_bytes(&mut self, path: TreePath, bytes: Vec<u8>, executable: bool) -> Result<(), Error> {
        let row = Row::of(&bytes);
        let entry = Entry::file(Content::Bytes(bytes.into()), executable, &self.origin);
        self.add(path, entry, row)
    }

    fn add(&mut self, path: TreePath, entry: Entry, row: Row) -> Result<(), Error> {
        self.check_reserved(&path)?;
        self.rows.push((self.relative_to_site_packages(&path), row));
        self.tree
            .insert(path, entry)
            .map_err(|TreeError::Conflict { path, .. }| Error::Conflict {
                wheel: self.wheel.label(),
                path,
            })
    }

    /// A file may add to the environment's directories, and be nothing else that it has.
    fn check_reserved(&mut self, path: &TreePath) -> Result<(), Error> {
        let in_the_way = |path: &TreePath| {
            self.skeleton
                .get(path)
                .is_some_and(|entry| entry.kind != Kind::Directory)
        };
        let mut parent = path.parent();
        if parent == self.checked {
            parent = None;
        } else {
            self.checked.clone_from(&parent);
        }
        while let Some(directory) = parent {
            if in_the_way(&directory) {
                return Err(Error::Reserved {
                    wheel: self.wheel.label(),
                    path: directory,
                });
            }
            parent = directory.parent();
        }
        if self.skeleton.get(path).is_some() {
            return Err(Error::Reserved {
                wheel: self.wheel.label(),
                path: path.clone(),
            });
        }
        Ok(())
    }

    /// `path` as RECORD has it: relative to site-packages, `../` where it lies elsewhere.
    fn relative_to_site_packages(&self, path: &TreePath) -> String {
        let below = path.as_str().strip_prefix(self.site_packages.as_str());
        if let Some(path) = below.and_then(|it| it.strip_prefix('/')) {
            return path.to_owned();
        }
        let mut from = self.site_packages.as_str().split('/').peekable();
        let mut to = path.as_str().split('/').peekable();
        while from.peek().is_some() && from.peek() == to.peek() {
            from.next();
            to.next();
        }
        from.map(|_| "..").chain(to).collect::<Vec<_>>().join("/")
    }

    /// The files of the `.dist-info` directory that are the installer's.
    fn add_metadata(&mut self, options: &InstallOptions) -> Result<(), Error> {
        let dist_info = self.join(&self.site_packages, &self.wheel.dist_info)?;
        let mut files = vec![("INSTALLER", b"oxcart\n".to_vec())];
        if options.requested {
            files.push(("REQUESTED", Vec::new()));
        }
        if let Some(direct_url) = &options.direct_url {
            files.push(("direct_url.json", direct_url.to_json()));
        }
        for (name, bytes) in files {
            self.add_bytes(self.join(&dist_info, name)?, bytes, false)?;
        }
        let path = self.join(&dist_info, "RECORD")?;
        let own = (self.relative_to_site_packages(&path), Row::default());
        let rows = std::mem::take(&mut self.rows).into_iter().chain([own]);
        let text = rows.collect::<Record>().to_text().into_bytes();
        let entry = Entry::file(Content::Bytes(text.into()), false, &self.origin);
        self.add(path, entry, Row::default())
    }
}

#[cfg(test)]
mod tests;
