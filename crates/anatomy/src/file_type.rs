//! What files are for, by their first bytes and their names: enough to see what takes the space.

use contents::{Body, File};
use serde::{Deserialize, Serialize};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    /// Machine code: programs and libraries (ELF).
    Native,
    /// Python's source.
    Python,
    /// Python's bytecode.
    Bytecode,
    /// Scripts of other languages, or without an ending.
    Script,
    /// What packages say of themselves, and records of package managers.
    Metadata,
    /// Headers and sources of compiled languages, and static libraries.
    Development,
    /// Pages, styles and programs of browsers.
    Web,
    /// Pictures, fonts, sound.
    Media,
    /// Tables, models, archives, time zones.
    Data,
    /// Messages in other languages.
    Translation,
    /// Texts for people.
    Documentation,
    /// Everything else.
    Other,
}

impl FileType {
    /// Of the file at `path`.
    pub fn of(path: &str, file: &File) -> Self {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match &file.body {
            Body::Elf(_) => return Self::Native,
            Body::Script(_) if extension != "py" => return Self::Script,
            _ => {}
        }
        let within = |part: &str| directory.split('/').any(|it| it == part);
        let is_info = |part: &str| part.ends_with(".dist-info") || part.ends_with(".egg-info");
        if directory.split('/').any(is_info)
            || directory.starts_with("var/lib/dpkg")
            || directory.starts_with("lib/apk")
        {
            return Self::Metadata;
        }
        if directory.starts_with("usr/share/doc") || directory.starts_with("usr/share/man") {
            return Self::Documentation;
        }
        if within("zoneinfo") {
            return Self::Data;
        }
        Self::by_extension(&extension.to_ascii_lowercase()).unwrap_or_else(|| {
            let base = name.split('.').next().unwrap_or_default();
            match base.to_ascii_uppercase().as_str() {
                "LICENSE" | "LICENCE" | "COPYING" | "NOTICE" | "README" | "AUTHORS" => {
                    Self::Documentation
                }
                // Of a library's name, the version may come last.
                _ if name.contains(".so.") => Self::Native,
                _ => Self::Other,
            }
        })
    }

    fn by_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "so" => Self::Native,
            "py" | "pyi" | "pth" => Self::Python,
            "pyc" | "pyo" => Self::Bytecode,
            "sh" | "bash" | "pl" | "pm" | "bat" | "ps1" | "lua" | "rb" => Self::Script,
            "h" | "hh" | "hpp" | "hxx" | "cuh" | "c" | "cc" | "cpp" | "cxx" | "cu" | "f"
            | "f90" | "pyx" | "pxd" | "pxi" | "rs" | "go" | "java" | "a" | "o" | "lib"
            | "cmake" | "pc" | "la" | "inc" | "m4" => Self::Development,
            "js" | "mjs" | "cjs" | "ts" | "css" | "scss" | "html" | "htm" | "map" | "wasm"
            | "vue" | "jinja" | "j2" => Self::Web,
            "png" | "jpg" | "jpeg" | "gif" | "svg" | "ico" | "webp" | "ttf" | "otf" | "woff"
            | "woff2" | "afm" | "pfb" | "wav" | "mp3" | "ogg" | "mp4" | "pdf" => Self::Media,
            "json" | "jsonl" | "csv" | "tsv" | "parquet" | "feather" | "npy" | "npz" | "mat"
            | "h5" | "hdf5" | "xml" | "yaml" | "yml" | "toml" | "dat" | "data" | "bin" | "db"
            | "sqlite" | "gz" | "xz" | "bz2" | "zst" | "zip" | "tar" | "onnx" | "pt"
            | "safetensors" | "pkl" | "pickle" | "proto" | "sql" | "pem" | "crt" | "icc" => {
                Self::Data
            }
            "mo" | "po" | "pot" | "qm" => Self::Translation,
            "md" | "rst" | "txt" | "tex" => Self::Documentation,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_first_bytes_and_names() {
        let check = |path: &str, body: Body, expect: FileType| {
            let file = File {
                size: 1,
                sha256: None,
                body,
            };
            assert_eq!(FileType::of(path, &file), expect, "{path}");
        };
        let script = || Body::Script("/bin/sh".into());
        check("usr/bin/ls", Body::Unread, FileType::Other);
        check("usr/lib/libz.so.1.3", Body::Unread, FileType::Native);
        check("usr/bin/ldd", script(), FileType::Script);
        check("opt/venv/bin/tool.py", script(), FileType::Python);
        let site = "opt/venv/lib/python3.13/site-packages";
        let check_site =
            |name: &str, expect| check(&format!("{site}/{name}"), Body::Unread, expect);
        check_site("a/__init__.PY", FileType::Python);
        check_site("a-1.dist-info/licenses/LICENSE", FileType::Metadata);
        check_site("a/LICENSE.mit", FileType::Documentation);
        check_site("a/include/a.h", FileType::Development);
        check_site("tzdata/zoneinfo/Europe/Berlin", FileType::Data);
        check(
            "var/lib/dpkg/status",
            Body::Text(String::new()),
            FileType::Metadata,
        );
        check("nothing", Body::Unread, FileType::Other);
    }
}
