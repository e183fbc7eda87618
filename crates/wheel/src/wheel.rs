//! A wheel: an archive, and what it says of itself ("Binary distribution format").

use oci::Source;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;

use crate::archive::Archive;
use crate::filename::{matches, matches_stem};
use crate::{EntryPoints, Error, Limits, Metadata, MetadataFault, WheelFile};

/// A wheel that can be installed. Of its contents, only METADATA and WHEEL were looked at.
#[derive(Debug, Clone)]
pub struct Wheel {
    pub(crate) archive: Archive,
    pub(crate) filename: WheelFilename,
    pub(crate) dist_info: String,
    metadata: Metadata,
    about: WheelFile,
}

impl Wheel {
    /// Checks the archive, its METADATA and its WHEEL. `filename` is the one under which the wheel
    /// was found: its name, version and tags are what was resolved.
    pub fn open(source: Source, filename: &WheelFilename, limits: &Limits) -> Result<Self, Error> {
        let archive = Archive::open(source, limits)?;
        let dist_info = find_dist_info(&archive, filename)?;
        let name = || archive.source().name().to_owned();
        let read = |file| read_required(&archive, &dist_info, file);

        let file = "WHEEL";
        let about = WheelFile::parse(&read(file)?).map_err(|fault| Error::Metadata {
            wheel: name(),
            file,
            fault,
        })?;
        let file = "METADATA";
        let fault = |fault| Error::Metadata {
            wheel: name(),
            file,
            fault,
        };
        let metadata = Metadata::parse(&read(file)?).map_err(fault)?;
        if !matches(filename, &metadata.name, &metadata.version) {
            let Metadata { name, version, .. } = metadata;
            return Err(fault(MetadataFault::OtherProject { name, version }));
        }
        Ok(Self {
            filename: filename.clone(),
            dist_info,
            metadata,
            about,
            archive,
        })
    }

    /// The project's normalised name.
    pub fn name(&self) -> &PackageName {
        &self.filename.name
    }

    /// The version, with the local part that only the filename may have.
    pub fn version(&self) -> &Version {
        &self.filename.version
    }

    /// The filename it was opened with.
    pub fn filename(&self) -> &WheelFilename {
        &self.filename
    }

    /// The headers of METADATA.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The contents of WHEEL.
    pub fn wheel_file(&self) -> &WheelFile {
        &self.about
    }

    /// The archive it lies in.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Its commands.
    pub fn entry_points(&self) -> Result<EntryPoints, Error> {
        match self
            .archive
            .get(&format!("{}/entry_points.txt", self.dist_info))
        {
            Some(member) => EntryPoints::parse(&self.archive.read(member)?).map_err(|fault| {
                Error::EntryPoints {
                    wheel: self.label(),
                    fault,
                }
            }),
            None => Ok(EntryPoints::default()),
        }
    }

    /// What messages call it.
    pub(crate) fn label(&self) -> String {
        self.archive.source().name().to_owned()
    }

    pub(crate) fn read_record(&self) -> Result<Vec<u8>, Error> {
        read_required(&self.archive, &self.dist_info, "RECORD")
    }
}

fn read_required(archive: &Archive, dist_info: &str, file: &'static str) -> Result<Vec<u8>, Error> {
    match archive.get(&format!("{dist_info}/{file}")) {
        Some(member) => archive.read(member),
        None => Err(Error::Missing {
            wheel: archive.source().name().to_owned(),
            file,
        }),
    }
}

/// The one `.dist-info` at the top of the archive. Others may lie deeper: projects vendor some.
fn find_dist_info(archive: &Archive, filename: &WheelFilename) -> Result<String, Error> {
    let mut found: Vec<String> = Vec::new();
    for member in archive.members() {
        if let Some((top, _)) = member.name.split_once('/')
            && top.ends_with(".dist-info")
            && found.last().is_none_or(|last| last != top)
        {
            found.push(top.to_owned());
        }
    }
    match found.as_slice() {
        [one]
            if one
                .strip_suffix(".dist-info")
                .is_some_and(|stem| matches_stem(filename, stem)) =>
        {
            Ok(one.clone())
        }
        _ => Err(Error::DistInfo {
            wheel: archive.source().name().to_owned(),
            found,
        }),
    }
}
