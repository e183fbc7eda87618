//! A package index over HTTP: the simple repository API (PEP 503 in HTML, PEP 691 in JSON) with
//! metadata files (PEP 658, PEP 714), yanked files (PEP 592) and upload times (PEP 700).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use hyper::header::{ACCEPT, HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::server::{Server, lock};
use crate::wheel::normalised;
use crate::{SdistBuilder, WheelBuilder};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "text/html; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// An index that can be added to while it serves. The [`Server`] it derefs to has its faults and its
/// account of requests.
#[derive(Debug)]
pub struct PackageIndex {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By filename.
    files: BTreeMap<String, File>,
    without_hashes: bool,
    without_json: bool,
    without_metadata: bool,
}

#[derive(Debug)]
struct File {
    /// Normalised.
    project: String,
    bytes: Vec<u8>,
    metadata: Option<Vec<u8>>,
    requires_python: Option<String>,
    yanked: Option<String>,
    upload_time: Option<String>,
    /// What is said of its size, where that is not what it is.
    said_size: Option<u64>,
}

impl PackageIndex {
    /// An empty index on a free port.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shown = Arc::clone(&state);
        let server = Server::start(move |path, headers| lock(&shown).answer(path, headers));
        Self { server, state }
    }

    /// An index of these wheels.
    pub fn of<'a>(wheels: impl IntoIterator<Item = &'a WheelBuilder>) -> Self {
        let index = Self::start();
        for wheel in wheels {
            index.add(wheel);
        }
        index
    }

    /// The address that `--index-url` takes.
    pub fn url(&self) -> String {
        self.at("/simple/")
    }

    /// The same, with a user and a password in it.
    pub fn url_with_credentials(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@127.0.0.1:{}/simple/", self.port())
    }

    /// A page that links every file, for `--find-links`.
    pub fn links_url(&self) -> String {
        self.at("/links/")
    }

    /// The address of a file.
    pub fn file_url(&self, filename: &str) -> String {
        self.at(&format!("/files/{filename}"))
    }

    /// Serves a source distribution.
    pub fn add_sdist(&self, sdist: &SdistBuilder) -> &Self {
        self.add_file(sdist.name(), &sdist.filename(), &sdist.build())
    }

    /// Adds a wheel, in place of one with the same filename.
    pub fn add(&self, wheel: &WheelBuilder) -> &Self {
        let metadata = wheel.metadata();
        let requires_python = String::from_utf8_lossy(&metadata)
            .lines()
            .find_map(|line| line.strip_prefix("Requires-Python: ").map(str::to_owned));
        self.put(
            wheel.filename(),
            File {
                project: normalised(wheel.name()),
                bytes: wheel.build(),
                metadata: Some(metadata),
                requires_python,
                yanked: None,
                upload_time: None,
                said_size: None,
            },
        )
    }

    /// Adds a file of any kind (an sdist) for `project`.
    pub fn add_file(&self, project: &str, filename: &str, bytes: &[u8]) -> &Self {
        self.put(
            filename.to_owned(),
            File {
                project: normalised(project),
                bytes: bytes.to_vec(),
                metadata: None,
                requires_python: None,
                yanked: None,
                upload_time: None,
                said_size: None,
            },
        )
    }

    /// Yanks a file that was added.
    pub fn yank(&self, filename: &str, reason: &str) -> &Self {
        self.change(filename, |file| file.yanked = Some(reason.to_owned()))
    }

    /// States when a file that was added was uploaded: `2024-01-31T12:00:00Z`.
    pub fn uploaded(&self, filename: &str, time: &str) -> &Self {
        self.change(filename, |file| file.upload_time = Some(time.to_owned()))
    }

    /// Says that a file that was added has `size` bytes: what depends on a wheel's size alone can be seen
    /// without one that large.
    pub fn says_size(&self, filename: &str, size: u64) -> &Self {
        self.change(filename, |file| file.said_size = Some(size))
    }

    /// Removes a file.
    pub fn remove(&self, filename: &str) -> &Self {
        lock(&self.state)
            .files
            .remove(filename)
            .expect("a file that was added");
        self
    }

    /// States no hashes from now on.
    pub fn without_hashes(&self) -> &Self {
        lock(&self.state).without_hashes = true;
        self
    }

    /// Answers in HTML alone from now on.
    pub fn without_json(&self) -> &Self {
        lock(&self.state).without_json = true;
        self
    }

    /// Offers no metadata files from now on: clients must read parts of wheels.
    pub fn without_metadata(&self) -> &Self {
        lock(&self.state).without_metadata = true;
        self
    }

    fn put(&self, filename: String, file: File) -> &Self {
        lock(&self.state).files.insert(filename, file);
        self
    }

    fn change(&self, filename: &str, change: impl FnOnce(&mut File)) -> &Self {
        change(
            lock(&self.state)
                .files
                .get_mut(filename)
                .expect("a file that was added"),
        );
        self
    }
}

impl Deref for PackageIndex {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl State {
    fn answer(&self, path: &str, headers: &HeaderMap) -> Answer {
        let accept = headers
            .get(ACCEPT)
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        let json = accept.contains(JSON) && !self.without_json;
        if path == "/simple/" {
            return self.projects(json);
        }
        if path == "/links/" {
            return Answer::ok(
                HTML,
                page("Links", self.files.iter().map(|it| self.anchor(it))),
            );
        }
        if let Some(project) = path
            .strip_prefix("/simple/")
            .and_then(|it| it.strip_suffix('/'))
        {
            return self.project(&normalised(project), json);
        }
        let Some(filename) = path.strip_prefix("/files/") else {
            return Answer::not_found();
        };
        let filename = filename.replace("%2B", "+");
        if let Some(file) = self.files.get(&filename) {
            return Answer::ok(BYTES, file.bytes.clone());
        }
        filename
            .strip_suffix(".metadata")
            .filter(|_| !self.without_metadata)
            .and_then(|filename| self.files.get(filename)?.metadata.clone())
            .map_or_else(Answer::not_found, |metadata| Answer::ok(BYTES, metadata))
    }

    fn projects(&self, json: bool) -> Answer {
        let names: BTreeSet<_> = self
            .files
            .values()
            .map(|file| file.project.as_str())
            .collect();
        if json {
            let projects: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            let document = json!({ "meta": { "api-version": "1.1" }, "projects": projects });
            return Answer::ok(JSON, document.to_string());
        }
        let anchors = names
            .iter()
            .map(|name| format!("<a href=\"/simple/{name}/\">{name}</a>"));
        Answer::ok(HTML, page("Simple index", anchors))
    }

    fn project(&self, project: &str, json: bool) -> Answer {
        let files: Vec<_> = self
            .files
            .iter()
            .filter(|(_, file)| file.project == project)
            .collect();
        if files.is_empty() {
            return Answer::not_found();
        }
        if json {
            let files: Vec<_> = files.into_iter().map(|it| self.entry(it)).collect();
            let document = json!({
                "meta": { "api-version": "1.1" },
                "name": project.replace('_', "-"),
                "files": files,
            });
            return Answer::ok(JSON, document.to_string());
        }
        Answer::ok(
            HTML,
            page(project, files.into_iter().map(|it| self.anchor(it))),
        )
    }

    fn entry(&self, (filename, file): (&String, &File)) -> Value {
        let hashes = if self.without_hashes {
            json!({})
        } else {
            json!({ "sha256": sha256(&file.bytes) })
        };
        let mut entry = json!({
            "filename": filename,
            "url": format!("/files/{}", escaped(filename)),
            "hashes": hashes,
            "size": file.said_size.unwrap_or(file.bytes.len() as u64),
            "yanked": match &file.yanked {
                Some(reason) => json!(reason),
                None => json!(false),
            },
        });
        if let Some(metadata) = file.metadata.as_ref().filter(|_| !self.without_metadata) {
            entry["core-metadata"] = if self.without_hashes {
                json!(true)
            } else {
                json!({ "sha256": sha256(metadata) })
            };
        }
        if let Some(specifiers) = &file.requires_python {
            entry["requires-python"] = json!(specifiers);
        }
        if let Some(time) = &file.upload_time {
            entry["upload-time"] = json!(time);
        }
        entry
    }

    fn anchor(&self, (filename, file): (&String, &File)) -> String {
        let mut anchor = format!("<a href=\"/files/{}", escaped(filename));
        let mut put = |text: &str| anchor.push_str(text);
        if !self.without_hashes {
            put(&format!("#sha256={}", sha256(&file.bytes)));
        }
        put("\"");
        if let Some(metadata) = file.metadata.as_ref().filter(|_| !self.without_metadata) {
            let value = if self.without_hashes {
                "true".to_owned()
            } else {
                format!("sha256={}", sha256(metadata))
            };
            put(&format!(" data-core-metadata=\"{value}\""));
        }
        if let Some(specifiers) = &file.requires_python {
            let specifiers = specifiers.replace('<', "&lt;").replace('>', "&gt;");
            put(&format!(" data-requires-python=\"{specifiers}\""));
        }
        if let Some(reason) = &file.yanked {
            put(&format!(" data-yanked=\"{reason}\""));
        }
        put(&format!(">{filename}</a>"));
        anchor
    }
}

fn page(title: &str, anchors: impl Iterator<Item = String>) -> String {
    let mut text = format!("<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>\n");
    for anchor in anchors {
        writeln!(text, "{anchor}<br>").expect("a String takes every write");
    }
    text.push_str("</body></html>\n");
    text
}

/// A filename in a URL: of what may be in one, only `+` means something else to some readers.
fn escaped(filename: &str) -> String {
    filename.replace('+', "%2B")
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let index = PackageIndex::start();
        index
            .add(&WheelBuilder::simple("Foo.Bar", "1.0").requires_python(">=3.9,<4"))
            .add(&WheelBuilder::simple("foo-bar", "1.1+cpu"))
            .yank("foo_bar-1.1+cpu-py3-none-any.whl", "broken");
        std::mem::take(&mut *lock(&index.state))
    }

    fn get(state: &State, path: &str, accept: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let answer = state.answer(path, &headers);
        assert_eq!(answer.status, 200, "{path}");
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    #[test]
    fn json_has_what_a_resolver_needs() {
        let state = state();
        let document: Value = serde_json::from_str(&get(&state, "/simple/foo-bar/", JSON)).unwrap();
        let wheel = WheelBuilder::simple("Foo.Bar", "1.0").requires_python(">=3.9,<4");
        let first = &document["files"][0];
        assert_eq!(first["hashes"]["sha256"], wheel.sha256());
        assert_eq!(first["size"], wheel.build().len());
        assert_eq!(first["requires-python"], ">=3.9,<4");
        assert_eq!(first["core-metadata"]["sha256"], sha256(&wheel.metadata()));
        assert_eq!(document["files"][1]["yanked"], "broken");
        let metadata = get(
            &state,
            &format!("/files/{}.metadata", wheel.filename()),
            "*/*",
        );
        assert_eq!(metadata.into_bytes(), wheel.metadata());
    }

    #[test]
    fn html_says_the_same() {
        let page = get(&state(), "/simple/Foo_Bar/", "text/html");
        assert!(
            page.contains("data-requires-python=\"&gt;=3.9,&lt;4\""),
            "{page}"
        );
        assert!(page.contains("data-yanked=\"broken\""), "{page}");
        assert!(
            page.contains("href=\"/files/foo_bar-1.1%2Bcpu-py3-none-any.whl#sha256="),
            "{page}"
        );
    }

    #[test]
    fn it_can_be_poorer() {
        let mut state = state();
        (
            state.without_hashes,
            state.without_metadata,
            state.without_json,
        ) = (true, true, true);
        let page = get(&state, "/simple/foo-bar/", JSON);
        assert!(
            !page.contains("sha256") && !page.contains("core-metadata"),
            "{page}"
        );
        let missing = state.answer(
            "/files/foo_bar-1.0-py3-none-any.whl.metadata",
            &HeaderMap::new(),
        );
        assert_eq!(missing.status, 404);
    }
}
