//! Where a member of a wheel goes ("Binary distribution format", section The .data directory).

use std::collections::BTreeMap;

use crate::archive::Member;
use crate::filename::matches_stem;
use crate::{EntryPoint, Error, Wheel};

impl Wheel {
    /// Where `member` goes; None where it is left out.
    pub(super) fn place<'a>(
        &self,
        member: &'a Member,
        commands: &BTreeMap<String, EntryPoint>,
    ) -> Result<Option<Place<'a>>, Error> {
        let name = member.name.as_str();
        // Those are an installer's to write, whoever packed them.
        if let Some("RECORD" | "INSTALLER" | "REQUESTED" | "direct_url.json") =
            self.dist_info_file(member)
        {
            return Ok(None);
        }
        if self.is_bytecode(name) {
            return Ok(None);
        }
        let Some((_, path)) = name
            .split_once('/')
            .filter(|(top, _)| self.is_data_directory(top))
        else {
            return Ok(Some(Place::Library(name)));
        };
        let place = match path.split_once('/') {
            Some(("purelib" | "platlib", path)) => Place::Library(path),
            Some(("headers", path)) => Place::Header(path),
            Some(("scripts", path)) => Place::Script(path),
            Some(("data", path)) => Place::Data(path),
            _ => {
                let member = name.to_owned();
                return Err(Error::Scheme {
                    wheel: self.label(),
                    member,
                });
            }
        };
        let launcher = match place {
            Place::Script(path) => Some(without_suffix(path)),
            Place::Data(path) => path.strip_prefix("bin/"),
            _ => None,
        };
        Ok(Some(place).filter(|_| launcher.is_none_or(|name| !commands.contains_key(name))))
    }

    fn is_data_directory(&self, top: &str) -> bool {
        top.strip_suffix(".data")
            .is_some_and(|stem| matches_stem(&self.filename, stem))
    }

    /// Compiled files whose source is there, or that Python would not find without it. They depend
    /// on the interpreter of whoever packed them; those that stand alone are the program itself.
    fn is_bytecode(&self, name: &str) -> bool {
        let Some(stem) = name
            .strip_suffix(".pyc")
            .or_else(|| name.strip_suffix(".pyo"))
        else {
            return false;
        };
        let in_cache = name.rsplit('/').nth(1) == Some("__pycache__");
        in_cache || self.archive.get(&format!("{stem}.py")).is_some()
    }
}

/// A command's name as a script for it may be called.
fn without_suffix(script: &str) -> &str {
    ["-script.py", ".exe", ".pya"]
        .iter()
        .find_map(|suffix| script.strip_suffix(suffix))
        .unwrap_or(script)
}

/// A path in one of the directories that `sysconfig` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Library(&'a str),
    Header(&'a str),
    Script(&'a str),
    Data(&'a str),
}
