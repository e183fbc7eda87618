//! Resolutions: what satisfies a request, one wheel or installed package for each name.

/// What satisfies a request on its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Sorted by name.
    pub wheels: Vec<Pinned>,
    /// The packages that are not in `wheels` because the base image has them. Sorted by name.
    pub satisfied: Vec<SatisfiedPackage>,
    /// The installed packages that are not kept: a wheel of the same name is in `wheels`. Sorted by
    /// name.
    pub replaced: Vec<ReplacedPackage>,
    /// What a reader should know, though it stops nothing. Sorted.
    pub warnings: Vec<String>,
}

/// The one wheel that was chosen for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The normalised name of the package.
    pub name: String,
    /// Its version, normalised, with a local part where it has one: `2.1.0+cpu`.
    pub version: String,
    /// The file name of the wheel, or of the sdist.
    pub filename: String,
    /// Whether it is an sdist, that a wheel has to be built from. What is said of the wheel below is
    /// said of the sdist then.
    pub is_sdist: bool,
    /// Where the wheel is: absolute, without credentials, `file:` for a local one.
    pub url: String,
    /// The sha256 of the wheel, 64 lower-case hexadecimal digits. None where the index gives none.
    pub sha256: Option<String>,
    /// The size of the wheel in bytes, where the index gives it.
    pub size: Option<u64>,
    /// When the wheel was uploaded, in milliseconds since 1970, where the index gives it.
    pub uploaded: Option<i64>,
    /// The URL of the index that it came from, without credentials. None for a direct URL or path.
    pub index: Option<String>,
    /// Whether an input names the package itself.
    pub requested: bool,
    /// The names of the packages that it depends on, on this target, satisfied ones included.
    /// Sorted.
    pub dependencies: Vec<String>,
}

/// A package of the base image that is used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SatisfiedPackage {
    /// The normalised name of the package.
    pub name: String,
    /// Its version, normalised.
    pub version: String,
}

/// A package of the base image that a wheel stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedPackage {
    /// The normalised name of the package.
    pub name: String,
    /// The version that is installed, as the request has it.
    pub installed: String,
    /// The version of the wheel, normalised. It can be the same.
    pub version: String,
    /// Why the installed one won't do.
    pub why: WhyReplaced,
}

/// Why an installed package is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyReplaced {
    /// It is not what the requirements ask for: another version, or the wheel at a URL.
    Requirements,
    /// The inputs require a hash of it, and what is installed has none to check.
    Hashes,
    /// Its metadata can't be used.
    Metadata {
        /// What is wrong with it.
        message: String,
    },
}
