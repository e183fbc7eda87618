//! Resolutions: the wheels that satisfy a request, one for each package.

/// The wheels that satisfy a request on its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Sorted by name.
    pub wheels: Vec<Pinned>,
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
    /// The file name of the wheel.
    pub filename: String,
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
    /// The names of the packages that it depends on, on this target. Sorted.
    pub dependencies: Vec<String>,
}
