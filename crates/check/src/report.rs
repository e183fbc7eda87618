//! What was proven and what was found.

use serde::{Deserialize, Serialize};

/// The proof of one image.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How much was looked at.
    pub proven: Counts,
    /// Faults first; sorted by code and path.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What cannot work.
    pub fn faults(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.severity == Severity::Fault)
    }

    /// Whether a requirement is not satisfied: whether there is something for [`Report::waive`].
    pub fn lacks_requirements(&self) -> bool {
        let mut faults = self.faults();
        faults.any(|fault| fault.code == Code::MissingRequirement)
    }

    /// Makes notes of requirements that the project deliberately replaces or leaves out. `by` is given the package
    /// that has the requirement and the one that it is on, and tells what replaces it.
    pub fn waive(&mut self, by: impl Fn(&str, &str) -> Option<String>) {
        for finding in &mut self.findings {
            let (Some(owner), Some(subject)) = (&finding.owner, &finding.subject) else {
                continue;
            };
            let owner = owner.split(' ').next().unwrap_or_default();
            if finding.code == Code::MissingRequirement
                && finding.severity == Severity::Fault
                && let Some(by) = by(owner, subject)
            {
                finding.severity = Severity::Note;
                finding.hint = Some(format!("rule: the project says otherwise: {by}"));
            }
        }
    }

    /// What is worth a look.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.severity == Severity::Note)
    }
}

/// How much was looked at.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// ELF files whose machine was compared with the platform.
    pub elf_files: u64,
    /// Needed libraries that were looked for, each once for each file that needs it.
    pub libraries: u64,
    /// Symbol versions that were looked for in the library that was found.
    pub versions: u64,
    /// Executable scripts whose interpreter was looked for.
    pub scripts: u64,
    /// Console scripts whose module was looked for, and what the configuration runs.
    pub entry_points: u64,
    /// Installed Python packages.
    pub packages: u64,
    /// Requirements that hold on the platform, compared with what is installed.
    pub requirements: u64,
    /// Files that packages own.
    pub owned_files: u64,
}

/// Something that was found.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Fault or note.
    pub severity: Severity,
    /// Which kind.
    pub code: Code,
    /// The file, absolute; of a requirement the METADATA, of the configuration its field: `Entrypoint`.
    pub path: String,
    /// The package that owns the file: `numpy 2.3.1`.
    pub owner: Option<String>,
    /// What is missing, where something is: a library, a package.
    pub subject: Option<String>,
    /// What is wrong. Reads on after the path.
    pub message: String,
    /// What would mend it, or by which rule it is no fault.
    pub hint: Option<String>,
}

/// Whether an image can work with it.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something that the image has for a purpose does not work.
    Fault,
    /// It works as far as can be told.
    Note,
}

/// Kinds of findings. Their names are stable; docs/check.md lists them.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// An ELF file for another machine.
    WrongArchitecture,
    /// A wheel for another platform, or native files in one that says it has none.
    WrongTag,
    /// A file built against another C library.
    WrongLibc,
    /// A needed library that the loader does not find.
    MissingLibrary,
    /// A library without a symbol version that is needed of it.
    MissingVersion,
    /// A library that the loader does not find, but that a package's code loads before.
    Preloaded,
    /// The loader or the interpreter of a program is not there.
    MissingInterpreter,
    /// A link to Python that leads nowhere.
    DanglingInterpreter,
    /// A program that the configuration names is not there or not executable.
    MissingProgram,
    /// A module that a command needs.
    MissingModule,
    /// The configured user or group.
    MissingUser,
    /// The configured working directory.
    MissingDirectory,
    /// A requirement that no installed package satisfies.
    MissingRequirement,
    /// A file that two packages own.
    OwnedTwice,
    /// A file whose tables cannot be read.
    DamagedElf,
    /// A file or directory that anyone may write.
    WorldWritable,
    /// A program that runs with its owner's or group's rights.
    Setuid,
}

impl Code {
    /// `missing-library`
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongArchitecture => "wrong-architecture",
            Self::WrongTag => "wrong-tag",
            Self::WrongLibc => "wrong-libc",
            Self::MissingLibrary => "missing-library",
            Self::MissingVersion => "missing-version",
            Self::Preloaded => "preloaded",
            Self::MissingInterpreter => "missing-interpreter",
            Self::DanglingInterpreter => "dangling-interpreter",
            Self::MissingProgram => "missing-program",
            Self::MissingModule => "missing-module",
            Self::MissingUser => "missing-user",
            Self::MissingDirectory => "missing-directory",
            Self::MissingRequirement => "missing-requirement",
            Self::OwnedTwice => "owned-twice",
            Self::DamagedElf => "damaged-elf",
            Self::WorldWritable => "world-writable",
            Self::Setuid => "setuid",
        }
    }
}
