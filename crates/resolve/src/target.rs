//! Targets: the Python and the libc of an image, which decide which wheels fit and what markers say.
//!
//! Markers follow the dependency specifiers specification, section Environment Markers.

use std::fmt;
use std::str::FromStr;

use uv_pep440::Version;
use uv_pep508::{MarkerEnvironment, MarkerEnvironmentBuilder};
use uv_platform_tags::{Os, Platform, Tags, TagsOptions};

use crate::error::Error;
use crate::tags;

/// What wheels are chosen for: `CPython` of one version on Linux with one libc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The machine.
    pub arch: Arch,
    /// The C library, with the version that the image has.
    pub libc: Libc,
    /// The full version of `CPython`: `3.13.5`.
    pub python: String,
}

/// A machine, by the name that `uname -m` and wheel tags give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// `x86_64`
    X86_64,
    /// `aarch64`
    Aarch64,
    /// `armv7l`, with hardware floating point
    Armv7l,
}

/// A C library and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Libc {
    /// The GNU C library: Debian, Ubuntu, Fedora and most others.
    Glibc {
        /// 2, as yet.
        major: u16,
        /// The part that changes with each release.
        minor: u16,
    },
    /// musl: Alpine.
    Musl {
        /// 1, as yet.
        major: u16,
        /// 2 since Alpine 3.13.
        minor: u16,
    },
}

impl Target {
    /// The wheel tags that fit, best first: what `packaging` lists on such a machine. Empty where
    /// `python` is not a version, which [`resolve`](crate::resolve) reports as an error.
    pub fn tags(&self) -> Vec<String> {
        self.python_version()
            .map(|python| tags::of(self, python))
            .unwrap_or_default()
    }

    /// Major and minor version of the Python.
    pub(crate) fn python_version(&self) -> Result<(u8, u8), Error> {
        let version = self.python_full_version()?;
        match &version.release()[..] {
            [major, minor, ..] => u8::try_from(*major).ok().zip(u8::try_from(*minor).ok()),
            _ => None,
        }
        .ok_or_else(|| Error::Python {
            given: self.python.clone(),
        })
    }

    pub(crate) fn python_full_version(&self) -> Result<Version, Error> {
        Version::from_str(&self.python).map_err(|_| Error::Python {
            given: self.python.clone(),
        })
    }

    /// The values of the environment markers. The kernel's (`platform_release`,
    /// `platform_version`) are empty: an image has none.
    pub(crate) fn markers(&self) -> Result<MarkerEnvironment, Error> {
        let (major, minor) = self.python_version()?;
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: "cpython",
            implementation_version: &self.python,
            os_name: "posix",
            platform_machine: self.arch.name(),
            platform_python_implementation: "CPython",
            platform_release: "",
            platform_system: "Linux",
            platform_version: "",
            python_full_version: &self.python,
            python_version: &format!("{major}.{minor}"),
            sys_platform: "linux",
        })
        .map_err(|_| Error::Python {
            given: self.python.clone(),
        })
    }

    /// uv's own list of tags. It has the same members as [`Target::tags`]; uv ranks the plain
    /// `linux_*` tags last, where `packaging` ranks them first, and its list can't be set.
    pub(crate) fn uv_tags(&self) -> Result<Tags, Error> {
        let python = self.python_version()?;
        let os = match self.libc {
            Libc::Glibc { major, minor } => Os::Manylinux { major, minor },
            Libc::Musl { major, minor } => Os::Musllinux { major, minor },
        };
        let arch = match self.arch {
            Arch::X86_64 => uv_platform_tags::Arch::X86_64,
            Arch::Aarch64 => uv_platform_tags::Arch::Aarch64,
            Arch::Armv7l => uv_platform_tags::Arch::Armv7L,
        };
        let options = TagsOptions {
            manylinux_compatible: true,
            gil_disabled: false,
            debug_enabled: false,
            is_cross: true,
        };
        Tags::from_env(Platform::new(os, arch), python, "cpython", python, options).map_err(|_| {
            Error::Python {
                given: self.python.clone(),
            }
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Linux {}, {}, CPython {}",
            self.arch, self.libc, self.python
        )
    }
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Armv7l];

    /// The name in tags and in the marker `platform_machine`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7l => "armv7l",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc { major, minor } => write!(f, "glibc {major}.{minor}"),
            Self::Musl { major, minor } => write!(f, "musl {major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use uv_pep508::MarkerTree;

    use super::{Arch, Libc, Target};

    fn holds(marker: &str) -> bool {
        let target = Target {
            arch: Arch::Armv7l,
            libc: Libc::Glibc {
                major: 2,
                minor: 36,
            },
            python: "3.13.5".to_owned(),
        };
        MarkerTree::from_str(marker)
            .unwrap()
            .evaluate(&target.markers().unwrap(), &[])
    }

    #[test]
    fn markers_are_those_of_the_image() {
        for marker in [
            "os_name == 'posix' and sys_platform == 'linux' and platform_system == 'Linux'",
            "platform_machine == 'armv7l'",
            "python_version == '3.13' and python_full_version == '3.13.5'",
            "implementation_name == 'cpython' and platform_python_implementation == 'CPython'",
            "implementation_version == '3.13.5'",
            "platform_release == '' and platform_version == ''",
        ] {
            assert!(holds(marker), "{marker}");
        }
        assert!(!holds("platform_machine == 'arm'"));
    }

    #[test]
    fn a_python_that_is_no_version_is_an_error() {
        for given in ["", "3", "three", "3.13.x"] {
            let target = Target {
                arch: Arch::Aarch64,
                libc: Libc::Musl { major: 1, minor: 2 },
                python: given.to_owned(),
            };
            assert!(target.markers().is_err(), "{given}");
            assert!(target.tags().is_empty(), "{given}");
        }
    }
}
