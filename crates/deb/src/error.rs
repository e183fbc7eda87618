//! What can go wrong with Debian's files, with the facts as fields.

use std::fmt;
use std::io;
use std::path::PathBuf;

use oci::{DigestError, PathError, TreeError, TreePath};

use crate::fault::DebFault;
use crate::release::SignatureFault;
use crate::unmet::Lines;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The repository: release.rs, keyring.rs, control.rs, relation.rs, packages.rs.
    /// A file could not be read or decompressed.
    #[error("cannot read {file}")]
    Read {
        /// What the file is called.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that should be stanzas of fields is not.
    #[error("{file}, line {line}: {fault}")]
    Control {
        /// What the file is called.
        file: String,
        /// From 1.
        line: u64,
        /// What is wrong there.
        fault: ControlFault,
    },
    /// A stanza lacks a field.
    #[error("{file}, line {line}: the stanza has no field `{field}`")]
    MissingField {
        /// What the file is called.
        file: String,
        /// The stanza's first line, from 1.
        line: u64,
        /// The field's name.
        field: &'static str,
    },
    /// A field's value is not what its name promises.
    #[error("{file}, line {line}: field `{field}`")]
    Field {
        /// What the file is called.
        file: String,
        /// The stanza's first line, from 1.
        line: u64,
        /// The field's name.
        field: &'static str,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// A keyring holds something else than `OpenPGP` certificates.
    #[error("the keyring is not a list of OpenPGP certificates")]
    Keyring {
        /// What the parser says.
        source: pgp::errors::Error,
    },
    /// A keyring holds no certificate.
    #[error("the keyring holds no OpenPGP certificate")]
    EmptyKeyring,
    /// An `InRelease` file is not a clear-signed text.
    #[error("InRelease is not a clear-signed OpenPGP message")]
    NotSigned {
        /// What the parser says.
        source: pgp::errors::Error,
    },
    /// No signature of an `InRelease` file is a good one by a trusted key.
    #[error("InRelease has no good signature by a trusted key{}", Lines(.signatures))]
    Untrusted {
        /// What is wrong with each of them.
        signatures: Vec<SignatureFault>,
    },
    /// A release file is older than it says it may be.
    #[error("the release file of {suite} was valid until {until}, and it is {now} now")]
    Expired {
        /// Its suite.
        suite: String,
        /// `Valid-Until`, as it is written there.
        until: String,
        /// The given time.
        now: Moment,
    },
    /// A release file was made after the present.
    #[error("the release file of {suite} is dated {date}, and it is only {now} now")]
    NotYetValid {
        /// Its suite.
        suite: String,
        /// `Date`, as it is written there.
        date: String,
        /// The given time.
        now: Moment,
    },
    /// A release file of another suite than the one asked for, however well signed.
    #[error("asked for suite {wanted}, got the release file of {suite} (codename {codename})")]
    OtherSuite {
        /// The suite asked for.
        wanted: String,
        /// `Suite` of the file.
        suite: String,
        /// `Codename` of the file.
        codename: String,
    },
    // A package: archive.rs, tarball.rs, unpack.rs, install.rs, base.rs.
    /// A `.deb` is not what it should be.
    #[error("{file} {fault}")]
    Deb {
        /// What the file is called.
        file: String,
        /// What is wrong with it.
        fault: DebFault,
    },
    /// No room, or no permission, for decompressed archives.
    #[error("cannot write a temporary file in {}", .dir.display())]
    Spool {
        /// The directory they go to.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A package lacks a file that its installation works on.
    #[error("{package} has no /{path}, which its installation needs")]
    Lacks {
        /// Name and version.
        package: String,
        /// What is missing.
        path: TreePath,
    },
    /// Two packages have different things at one path.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A path that cannot be one of an image.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The wanted packages cannot be installed together.
    #[error(transparent)]
    Solve(#[from] crate::SolveError),
}

/// What is wrong with the syntax of a control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlFault {
    /// A line with no colon.
    #[error("expected `Name: value`")]
    NoColon,
    /// A field's name has other characters than Policy 5.1 allows.
    #[error("a field's name is empty or has a character that names cannot have")]
    BadName,
    /// An indented line with no field before it.
    #[error("a continuation line with no field before it")]
    Continuation,
    /// A field twice in a stanza.
    #[error("the stanza has this field already")]
    Duplicate,
    /// More stanzas than the file may have.
    #[error("expected one stanza only")]
    SecondStanza,
    /// A stanza that would take more memory than any real one.
    #[error("the stanza is longer than {} bytes", crate::control::MAX_STANZA)]
    TooLong,
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a version number.
    #[error(transparent)]
    Version(#[from] crate::version::VersionError),
    /// Not a list of package relations.
    #[error(transparent)]
    Relation(#[from] crate::relation::RelationError),
    /// Not a sha256.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Not a number of bytes.
    #[error("`{0}` is not a size")]
    Size(String),
    /// Not a package name, nor an architecture's.
    #[error("`{0}` is not a name")]
    Name(String),
    /// Not a date as Release files have it.
    #[error("`{0}` is not a date like `Sat, 12 Sep 2026 07:55:41 UTC`")]
    Date(String),
    /// Not `sha256 size path`.
    #[error("`{0}` is not a line of checksum, size and path")]
    FileLine(String),
    /// Two entries for one path.
    #[error("`{0}` is listed twice with different checksums")]
    FileTwice(String),
    /// Not `yes` or `no`, or another value of a closed list.
    #[error("`{0}` is none of the field's values")]
    Unknown(String),
}

/// A time in seconds since 1970, shown as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// `20251122T081300Z`, as mirrors of the past have it in their addresses.
    pub fn compact(self) -> String {
        let (year, month, day) = crate::date::civil(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        format!("{year}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = crate::date::civil(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(
            f,
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}
