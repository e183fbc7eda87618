//! A recorded package index: what the real one said of some projects, as `cargo xtask record-pins`
//! wrote it down. There is metadata of wheels and no wheel.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::Path;

use hyper::header::HeaderMap;
use liblzma::read::XzDecoder;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::server::Server;
use crate::wheel::normalised;

/// An index that answers as the recorded one did: PEP 691 in JSON, with metadata files.
#[derive(Debug)]
pub struct RecordedIndex {
    server: Server,
}

impl RecordedIndex {
    /// Serves the recording at `path`, an xz file with a line of JSON for each project.
    pub fn open(path: &Path) -> Self {
        let file = std::fs::File::open(path).expect("a recording");
        let mut pages = BTreeMap::new();
        let mut metadata = BTreeMap::new();
        for line in BufReader::new(XzDecoder::new(file)).lines() {
            let line = line.expect("a line of the recording");
            let project: Value = serde_json::from_str(&line).expect("JSON");
            let name = project["name"].as_str().expect("a name").to_owned();
            let files = project["files"].as_array().expect("files");
            if !files.is_empty() {
                pages.insert(name.clone(), page(&name, files));
            }
            for (filename, text) in project["metadata"].as_object().expect("metadata") {
                let text = text.as_str().expect("a text").to_owned();
                metadata.insert(format!("/files/{filename}.metadata"), text);
            }
        }
        let answer = move |path: &str, _: &HeaderMap| {
            let path = path.replace("%2B", "+");
            let name = path.strip_prefix("/simple/");
            if let Some(name) = name.and_then(|it| it.strip_suffix('/')) {
                let page = pages.get(&normalised(name).replace('_', "-"));
                return page.map_or_else(Answer::not_found, |page| {
                    Answer::ok("application/vnd.pypi.simple.v1+json", page.clone())
                });
            }
            let text = metadata.get(&path);
            text.map_or_else(Answer::not_found, |text| {
                Answer::ok("text/plain", text.clone())
            })
        };
        Self {
            server: Server::start(answer),
        }
    }

    /// The address that `--index-url` takes.
    pub fn url(&self) -> String {
        self.at("/simple/")
    }
}

impl Deref for RecordedIndex {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The page of a project. A row is filename, requires-python, yanked, day of upload, size and sha256,
/// of which the last ones may be missing.
fn page(name: &str, rows: &[Value]) -> String {
    let entry = |row: &Value| {
        let filename = row[0].as_str().expect("a filename");
        let mut entry = json!({
            "filename": filename,
            "url": format!("/files/{}", filename.replace('+', "%2B")),
            "hashes": {},
            "yanked": if row[2].is_null() { json!(false) } else { row[2].clone() },
            "core-metadata": Path::new(filename).extension().is_some_and(|it| it == "whl"),
        });
        if row[1].is_string() {
            entry["requires-python"] = row[1].clone();
        }
        if let Some(day) = row[3].as_str() {
            entry["upload-time"] = json!(format!("{day}T00:00:00Z"));
        }
        if row[4].is_u64() {
            entry["size"] = row[4].clone();
            entry["hashes"] = json!({ "sha256": row[5] });
        }
        entry
    };
    let files: Vec<_> = rows.iter().map(entry).collect();
    json!({ "meta": { "api-version": "1.1" }, "name": name, "files": files }).to_string()
}
