//! Platforms, as image-spec `image-index.md` names them: `linux/arm64`, `linux/arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of the platforms that images are built for.
///
/// A closed list: each needs wheel tags, a Debian architecture and an ELF machine, and a name that
/// has none of them would fail late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// `linux/amd64`
    Amd64,
    /// `linux/arm64`
    Arm64,
    /// `linux/arm/v7`
    ArmV7,
}

impl Platform {
    /// All of them, in the order of their names' popularity.
    pub const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::ArmV7];

    /// The platform this program runs on, where it is one of them.
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            "arm" => Some(Self::ArmV7),
            _ => None,
        }
    }

    /// `os` of the image-spec: always `linux`.
    pub const fn os(self) -> &'static str {
        "linux"
    }

    /// `architecture` of the image-spec (Go's `GOARCH`).
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::ArmV7 => "arm",
        }
    }

    /// `variant` of the image-spec. None for arm64: `v8` is implied, and GHCR and Docker show the
    /// plain name.
    pub const fn variant(self) -> Option<&'static str> {
        match self {
            Self::Amd64 | Self::Arm64 => None,
            Self::ArmV7 => Some("v7"),
        }
    }

    /// The name as one path component: `linux-arm-v7`.
    pub fn slug(self) -> String {
        self.to_string().replace('/', "-")
    }
}

/// A text that names no platform we build for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown platform `{0}`: expected one of linux/amd64, linux/arm64, linux/arm/v7")]
pub struct PlatformError(pub String);

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        match text {
            "linux/amd64" => Ok(Self::Amd64),
            "linux/arm64" | "linux/arm64/v8" => Ok(Self::Arm64),
            "linux/arm/v7" => Ok(Self::ArmV7),
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
            Self::ArmV7 => "linux/arm/v7",
        })
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn names_round_trip() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse(), Ok(platform));
        }
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        let message = "linux/riscv64".parse::<Platform>().unwrap_err().to_string();
        insta::assert_snapshot!(message, @"unknown platform `linux/riscv64`: expected one of linux/amd64, linux/arm64, linux/arm/v7");
    }
}
