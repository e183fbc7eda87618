//! The ways to make a blob of a layer's tar stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a layer's blob is compressed.
///
/// The `diff_id` is the same for all of them. The blob's digest stays the same across versions of the
/// compressors only for [`Encoder::Splice`], and there only for what is at rest in archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Encoder {
    /// One gzip member into which the archives' deflate streams are taken over as they are.
    #[default]
    Splice,
    /// Compressed anew with Zstandard. Smaller and slower.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: i32,
    },
    /// Compressed anew with deflate. Slower.
    Gzip {
        /// 1 (fast) to 9 (small).
        level: u32,
    },
}

impl Encoder {
    /// The image-spec's media type of the blobs (`media-types.md`).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Splice | Self::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A text that names no encoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown layer encoder `{0}`: expected `splice`, `zstd:1` to `zstd:22`, or `gzip:1` to `gzip:9`"
)]
pub struct EncoderError(pub String);

impl FromStr for Encoder {
    type Err = EncoderError;

    fn from_str(text: &str) -> Result<Self, EncoderError> {
        let error = || EncoderError(text.to_owned());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => {
                let digits = level.bytes().all(|byte| byte.is_ascii_digit());
                let level = level
                    .parse()
                    .ok()
                    .filter(|_| digits && !level.starts_with('0'));
                (name, Some(level.ok_or_else(error)?))
            }
            None => (text, None),
        };
        match (name, level) {
            ("splice", None) => Ok(Self::Splice),
            ("zstd", Some(level @ 1..=22)) => Ok(Self::Zstd { level }),
            ("gzip", Some(level @ 1..=9)) => Ok(Self::Gzip {
                level: level.unsigned_abs(),
            }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Splice => f.write_str("splice"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
        }
    }
}

impl Serialize for Encoder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Encoder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Encoder;

    #[test]
    fn names_round_trip() {
        for text in ["splice", "zstd:1", "zstd:22", "gzip:1", "gzip:9"] {
            assert_eq!(text.parse::<Encoder>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_names_are_refused() {
        let texts = [
            "", "zstd", "zstd:", "zstd:0", "zstd:23", "zstd:+3", "gzip:06", "gzip:10", "splice:1",
        ];
        for text in texts {
            assert!(text.parse::<Encoder>().is_err(), "{text}");
        }
    }
}
