//! A registry under requests written by hand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::Digest;
use serde_json::{Value, json};

use super::{Kind, Registry, RegistryFault as Fault, RetryAfter, Site, When};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An answer; status 0 where the connection ended or nothing came.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().into()
    }
}

/// Sends a request to a path of the registry, or to an address. Headers end with `\r\n` each.
fn send(registry: &Registry, request: &str, headers: &str, body: &[u8]) -> Answer {
    let (method, address) = request.split_once(' ').unwrap();
    let (host, path) = match address.strip_prefix("http://") {
        Some(rest) => rest.split_at(rest.find('/').unwrap()),
        None => (&*registry.host(), address),
    };
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if matches!(method, "POST" | "PUT" | "PATCH") {
        head = format!("{head}Content-Length: {}\r\n", body.len());
    }
    let _ = stream.write_all(format!("{head}{headers}\r\n").as_bytes());
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut head), Ok(1..)) {
            break;
        }
    }
    let mut body = Vec::new();
    let _ = reader.read_to_end(&mut body);
    let status = head.get(9..12).and_then(|it| it.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head,
        body,
    }
}

/// The Location of a new upload, with its query.
fn begin(registry: &Registry, repository: &str) -> String {
    let answer = send(
        registry,
        &format!("POST /v2/{repository}/blobs/uploads/"),
        "",
        b"",
    );
    assert_eq!(answer.status, 202);
    answer.header("Location").unwrap().into()
}

fn put(registry: &Registry, location: &str, bytes: &[u8]) -> Answer {
    let digest = Digest::of(bytes);
    send(
        registry,
        &format!("PUT {location}&digest={digest}"),
        "",
        bytes,
    )
}

fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Digest {
    let location = begin(registry, repository);
    let answer = put(registry, &location, bytes);
    assert_eq!(answer.status, 201);
    let digest = Digest::of(bytes);
    assert_eq!(
        answer.header("Docker-Content-Digest"),
        Some(&*digest.to_string())
    );
    digest
}

fn put_manifest(registry: &Registry, target: &str, document: &Value) -> Answer {
    let content_type = document["mediaType"].as_str().unwrap();
    send(
        registry,
        &format!("PUT /v2/acme/app/manifests/{target}"),
        &format!("Content-Type: {content_type}\r\n"),
        document.to_string().as_bytes(),
    )
}

fn manifest(config: &[u8], layer: &[u8]) -> Value {
    let descriptor = |bytes: &[u8]| json!({ "digest": Digest::of(bytes), "size": bytes.len() });
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config),
        "layers": [descriptor(layer)],
    })
}

#[track_caller]
fn assert_violation(registry: &Registry, text: &str) {
    let violations = registry.violations();
    let is_there = violations.iter().any(|it| it.contains(text));
    assert!(is_there, "no `{text}` in {violations:#?}");
}

#[test]
fn an_image_is_pushed_and_pulled() {
    let registry = Registry::start();
    push_blob(&registry, "acme/app", b"{}");
    let layer = push_blob(&registry, "acme/app", b"layer");
    let document = manifest(b"{}", b"layer");
    let answer = put_manifest(&registry, "1", &document);
    assert_eq!(answer.status, 201);
    let digest = answer.header("Docker-Content-Digest").unwrap();
    let accept = format!("Accept: {INDEX}, {MANIFEST}\r\n");
    for target in ["1", digest] {
        let path = format!("/v2/acme/app/manifests/{target}");
        let answer = send(&registry, &format!("GET {path}"), &accept, b"");
        assert_eq!(answer.json(), document);
        assert_eq!(answer.header("Content-Type"), Some(MANIFEST));
        let answer = send(&registry, &format!("HEAD {path}"), &accept, b"");
        let length = document.to_string().len().to_string();
        assert_eq!(answer.header("Content-Length"), Some(&*length));
        assert!(answer.body.is_empty());
    }
    let path = format!("/v2/acme/app/blobs/{layer}");
    let answer = send(&registry, &format!("HEAD {path}"), "", b"");
    assert_eq!(answer.header("Content-Length"), Some("5"));
    assert_eq!(
        send(&registry, &format!("GET {path}"), "", b"").body,
        b"layer"
    );
    let part = send(
        &registry,
        &format!("GET {path}"),
        "Range: bytes=2-\r\n",
        b"",
    );
    assert_eq!((part.status, &*part.body), (206, &b"yer"[..]));
    assert_eq!(part.header("Content-Range"), Some("bytes 2-4/5"));
    registry.complete("acme/app").unwrap();
    registry.assert_conformant();
    assert_eq!(registry.committed("acme/app", &layer), 1);
    assert_eq!(registry.uploaded_bytes(), 7);
    assert_eq!(registry.count(Kind::PutUpload), 2);
    registry.remove_blob("acme/app", &layer);
    assert!(
        registry
            .complete("acme/app")
            .unwrap_err()
            .contains("missing")
    );
}

#[test]
fn what_is_incomplete_is_refused() {
    let registry = Registry::start();
    push_blob(&registry, "acme/app", b"{}");
    push_blob(&registry, "other", b"layer");
    let answer = put_manifest(&registry, "1", &manifest(b"{}", b"layer"));
    assert_eq!(
        (answer.status, &*answer.code()),
        (400, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_violation(&registry, "is not in the repository");
    let index = json!({
        "mediaType": INDEX,
        "manifests": [{ "digest": Digest::of(b"x"), "size": 1 }],
    });
    assert_eq!(
        put_manifest(&registry, "1", &index).code(),
        "MANIFEST_BLOB_UNKNOWN"
    );
    assert!(registry.tags("acme/app").is_empty());
}

#[test]
fn blobs_are_mounted() {
    let registry = Registry::start();
    let digest = push_blob(&registry, "base", b"layer");
    let mount = |from: &str| {
        let request = format!("POST /v2/acme/app/blobs/uploads/?mount={digest}&from={from}");
        send(&registry, &request, "", b"")
    };
    assert_eq!(mount("unknown").status, 202);
    registry.fault_when(Fault::MountAccepted, When::First(1));
    assert_eq!(mount("base").status, 202);
    assert_eq!(mount("base").status, 201);
    assert_eq!(registry.blob("acme/app", &digest).unwrap(), &b"layer"[..]);
    registry.fault(Fault::MountRefused { status: 403 });
    assert_eq!(mount("base").status, 403);
    registry.assert_conformant();
    assert_eq!(registry.count(Kind::Mount), 4);
    assert_eq!(registry.committed("acme/app", &digest), 0);
}

#[test]
fn uploads_come_in_chunks() {
    let registry = Registry::start();
    registry.fault(Fault::ChunksOnly {
        bytes: 4,
        status: 413,
    });
    registry.fault_when(Fault::StuckRange { status: 416 }, When::First(1));
    let answer = send(&registry, "POST /v2/a/blobs/uploads/", "", b"");
    assert_eq!(answer.header("OCI-Chunk-Min-Length"), Some("4"));
    let location = answer.header("Location").unwrap();
    assert_eq!(put(&registry, location, b"0123456789").status, 413);
    let patch = |location: &str, range: &str, bytes: &[u8]| {
        let header = format!("Content-Range: {range}\r\n");
        send(&registry, &format!("PATCH {location}"), &header, bytes)
    };
    let answer = patch(location, "0-5", b"012345");
    assert_eq!((answer.status, answer.header("Range")), (416, Some("0-2")));
    let answer = send(&registry, &format!("GET {location}"), "", b"");
    assert_eq!((answer.status, answer.header("Range")), (204, Some("0-2")));
    let location = answer.header("Location").unwrap();
    let answer = patch(location, "3-8", b"345678");
    assert_eq!((answer.status, answer.header("Range")), (202, Some("0-8")));
    let location = answer.header("Location").unwrap();
    let digest = Digest::of(b"0123456789");
    let last = format!("PUT {location}&digest={digest}");
    let answer = send(&registry, &last, "Content-Range: 9-9\r\n", b"9");
    assert_eq!(answer.status, 201);
    registry.assert_conformant();
    assert_eq!(registry.blob("a", &digest).unwrap(), &b"0123456789"[..]);
}

#[test]
fn tokens_are_good_for_their_scopes() {
    let registry = Registry::with_token_auth("user", "secret");
    registry.put_blob("base", &b"layer"[..]);
    let answer = send(&registry, "POST /v2/acme/app/blobs/uploads/", "", b"");
    assert_eq!(answer.status, 401);
    let challenge = answer.header("WWW-Authenticate").unwrap().to_owned();
    let realm = format!("Bearer realm=\"http://{}/token\"", registry.host());
    assert!(challenge.starts_with(&realm), "{challenge}");
    let scope = "scope=\"repository:acme/app:pull,push\"";
    assert!(challenge.contains(scope), "{challenge}");
    let basic = format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode("user:secret")
    );
    let request = "GET /token?service=testkit%20registry&scope=repository:acme/app:pull,push";
    let token = send(&registry, request, &basic, b"").json();
    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        token["token"].as_str().unwrap()
    );
    let status = |request: &str| send(&registry, request, &bearer, b"").status;
    assert_eq!(status("POST /v2/acme/app/blobs/uploads/"), 202);
    assert_eq!(status("POST /v2/other/blobs/uploads/"), 401);
    let mount = format!("?mount={}&from=base", Digest::of(b"layer"));
    assert_eq!(
        status(&format!("POST /v2/acme/app/blobs/uploads/{mount}")),
        401
    );
    let wrong = format!("Authorization: Basic {}\r\n", STANDARD.encode("user:x"));
    assert_eq!(send(&registry, request, &wrong, b"").status, 401);
    let identity = registry.identity_token("user");
    let form = format!(
        "grant_type=refresh_token&refresh_token={identity}&client_id=test\
         &service=testkit+registry&scope=repository:base:pull"
    );
    let header = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = send(&registry, "POST /token", header, form.as_bytes());
    assert!(answer.json()["access_token"].is_string());
    registry.revoke_tokens();
    let answer = send(&registry, "POST /v2/acme/app/blobs/uploads/", &bearer, b"");
    let challenge = answer.header("WWW-Authenticate").unwrap();
    assert!(challenge.contains("invalid_token"), "{challenge}");
    registry.assert_conformant();
    let requests = registry.requests();
    assert_eq!(requests[0].scheme, None);
    assert_eq!(requests[1].scheme.as_deref(), Some("Basic"));
    assert!(registry.secrets().contains(&"secret".to_owned()));
}

#[test]
fn basic_credentials_are_asked_for() {
    let registry = Registry::with_basic_auth("user", "secret");
    let answer = send(&registry, "GET /v2/", "", b"");
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("WWW-Authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    let basic = format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode("user:secret")
    );
    assert_eq!(send(&registry, "GET /v2/", &basic, b"").status, 200);
    registry.fault(Fault::PushDenied { status: 403 });
    let answer = send(&registry, "POST /v2/a/blobs/uploads/", &basic, b"");
    assert_eq!((answer.status, &*answer.code()), (403, "DENIED"));
}

#[test]
fn tags_and_referrers_come_in_pages() {
    let registry = Registry::start();
    let subject = registry.put_manifest("a", "1", MANIFEST, "{}");
    for tag in ["2", "3"] {
        registry.put_manifest("a", tag, MANIFEST, "{}");
    }
    for kind in ["sbom", "signature"] {
        let document = json!({ "artifactType": kind, "subject": { "digest": subject } });
        registry.put_manifest(
            "a",
            &Digest::of(b"").to_string(),
            MANIFEST,
            document.to_string(),
        );
    }
    registry.page_size(2);
    let answer = send(&registry, "GET /v2/a/tags/list", "", b"");
    assert_eq!(answer.json()["tags"], json!(["1", "2"]));
    let link = "</v2/a/tags/list?last=2&n=2>; rel=\"next\"";
    assert_eq!(answer.header("Link"), Some(link));
    let answer = send(&registry, "GET /v2/a/tags/list?last=2&n=2", "", b"");
    assert_eq!(answer.json()["tags"], json!(["3"]));
    assert_eq!(answer.header("Link"), None);
    registry.page_size(1);
    let mut next = Some(format!("/v2/a/referrers/{subject}"));
    let mut kinds = Vec::new();
    while let Some(path) = next {
        let answer = send(&registry, &format!("GET {path}"), "", b"");
        let entry = &answer.json()["manifests"][0];
        kinds.push(entry["artifactType"].as_str().unwrap().to_owned());
        let link = answer.header("Link");
        next = link.map(|it| it[1..it.find('>').unwrap()].to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["sbom", "signature"]);
    registry.fault(Fault::NoReferrers { status: 404 });
    let answer = send(
        &registry,
        &format!("GET /v2/a/referrers/{subject}"),
        "",
        b"",
    );
    assert_eq!(answer.status, 404);
}

#[test]
fn violations_are_noticed() {
    let registry = Registry::start();
    let digest = push_blob(&registry, "a", b"blob");
    registry.assert_conformant();
    let location = begin(&registry, "a");
    assert_eq!(put(&registry, &location, b"other").status, 201);
    assert_eq!(put(&registry, &location, b"other").status, 404);
    assert_violation(&registry, "an upload that is over: it was finished");
    let location = begin(&registry, "a");
    let bare = location.split('?').next().unwrap();
    send(
        &registry,
        &format!("PUT {bare}?digest={digest}"),
        "",
        b"blob",
    );
    assert_violation(&registry, "the query of the Location was lost");
    put(&registry, &location, b"blob");
    assert_violation(&registry, "was uploaded although it was there");
    send(&registry, &format!("HEAD /v2/a/blobs/{digest}"), "", b"");
    let location = begin(&registry, "a");
    put(&registry, &location, b"blob");
    assert_violation(&registry, "although HEAD had said");
    let location = begin(&registry, "a");
    let twice = format!("PUT {location}&digest={digest}&digest={digest}");
    send(&registry, &twice, "", b"blob");
    assert_violation(&registry, "not one digest");
    send(
        &registry,
        &format!("PATCH {location}"),
        "Content-Range: 5-8\r\n",
        b"1234",
    );
    assert_violation(&registry, "a chunk at 5 of an upload of 0 bytes");
    let mut document = manifest(b"blob", b"other");
    document["mediaType"] = json!(INDEX);
    let header = format!("Content-Type: {MANIFEST}\r\n");
    let body = document.to_string();
    send(&registry, "PUT /v2/a/manifests/1", &header, body.as_bytes());
    assert_violation(&registry, "Content-Type is not");
    for (path, text) in [
        ("/v2/A/tags/list", "name is not allowed"),
        ("/v2/a/manifests/1+2", "tag is not allowed"),
        ("/v2/a/blobs/sha256:AB", "digest is not allowed"),
    ] {
        assert_eq!(send(&registry, &format!("GET {path}"), "", b"").status, 400);
        assert_violation(&registry, text);
    }
    registry.put_manifest("a", "1", MANIFEST, "{}");
    let header = format!("Accept: {INDEX}\r\n");
    let answer = send(&registry, "GET /v2/a/manifests/1", &header, b"");
    assert_eq!(answer.status, 404);
    assert_violation(&registry, "Accept lacks");
}

#[test]
fn the_foreign_host_wants_signatures_and_no_credentials() {
    let registry = Registry::start();
    let digest = registry.put_blob("a", &b"layer"[..]);
    registry
        .fault(Fault::BlobRedirect)
        .fault(Fault::ForeignLocation);
    let request = format!("GET /v2/a/blobs/{digest}");
    let answer = send(&registry, &request, "", b"");
    assert_eq!(answer.status, 307);
    let location = answer.header("Location").unwrap().to_owned();
    assert!(location.contains(&registry.foreign_host()), "{location}");
    assert_eq!(
        send(&registry, &format!("GET {location}"), "", b"").body,
        b"layer"
    );
    let upload = begin(&registry, "a");
    assert!(upload.contains(&registry.foreign_host()), "{upload}");
    assert_eq!(put(&registry, &upload, b"more").status, 201);
    registry.assert_conformant();
    let header = "Authorization: Bearer x\r\n";
    assert_eq!(
        send(&registry, &format!("GET {location}"), header, b"").status,
        400
    );
    assert_violation(&registry, "credentials were sent to another host");
    let bare = location.split('?').next().unwrap();
    assert_eq!(send(&registry, &format!("GET {bare}"), "", b"").status, 403);
    assert_violation(&registry, "signed address was lost");
    registry.clear_faults().fault(Fault::RedirectCycle);
    let away = send(&registry, &request, "", b"");
    let away = away.header("Location").unwrap().to_owned();
    let back = send(&registry, &format!("GET {away}"), "", b"");
    assert!(back.header("Location").unwrap().contains(&registry.host()));
}

#[test]
fn faults_of_uploads() {
    let registry = Registry::start();
    let upload = |fault, bytes: &[u8]| {
        registry.clear_faults().fault_when(fault, When::First(1));
        let location = begin(&registry, "a");
        let answer = put(&registry, &location, bytes);
        let is_there = registry.blob("a", &Digest::of(bytes)).is_some();
        (answer.status, is_there)
    };
    assert_eq!(upload(Fault::LostCommit, b"1"), (0, true));
    assert_eq!(upload(Fault::CommitUnknown, b"2"), (404, true));
    assert_eq!(upload(Fault::SessionLost, b"3"), (404, false));
    assert_eq!(upload(Fault::CommitDigestInvalid, b"4"), (400, false));
    assert_eq!(
        upload(Fault::ResetUpload { after: 3 }, b"12345"),
        (0, false)
    );
    assert_eq!(upload(Fault::Hang(Site::Commits), b"5"), (0, false));
    let retry = RetryAfter::Body;
    let limited = |site| Fault::Status {
        status: 429,
        retry,
        site,
    };
    assert_eq!(upload(limited(Site::Commits), b"6"), (429, false));
    assert_eq!(upload(Fault::SlowCommit { millis: 1 }, b"7"), (201, true));
    registry.assert_conformant();
    registry
        .clear_faults()
        .fault_when(limited(Site::Commits), When::First(1));
    let location = begin(&registry, "a");
    put(&registry, &location, b"8");
    put(&registry, &location, b"8");
    assert_violation(&registry, "an upload that is over: its PUT had failed");
    assert_eq!(registry.faults_met().len(), 9);
}

#[test]
fn faults_of_answers() {
    let registry = Registry::start();
    let digest = registry.put_blob("a", vec![7; 1000]);
    registry.put_manifest("a", "1", MANIFEST, "{}");
    let get = |fault, request: &str| {
        registry.clear_faults().fault(fault);
        send(&registry, request, &format!("Accept: {MANIFEST}\r\n"), b"")
    };
    let blob = format!("GET /v2/a/blobs/{digest}");
    let head_blob = format!("HEAD /v2/a/blobs/{digest}");
    let manifest = "GET /v2/a/manifests/1";
    assert_ne!(Digest::of(&get(Fault::WrongBlob, &blob).body), digest);
    let cut = get(Fault::CutBlob { after: 100 }, &blob);
    assert_eq!(cut.header("Content-Length"), Some("1000"));
    assert_eq!(cut.body.len(), 100);
    let short = get(Fault::ShortBlob { length: 100 }, &blob);
    assert_eq!(short.header("Content-Length"), Some("100"));
    assert_eq!(get(Fault::LongBlob, &blob).body.len(), 1001);
    let lie = get(Fault::BlobSizeLie, &head_blob);
    assert_eq!(lie.header("Content-Length"), Some("1001"));
    let without = get(Fault::HeadWithoutLength, &head_blob);
    assert_eq!(without.header("Content-Length"), None);
    let without = get(Fault::NoDigestHeader, manifest);
    assert_eq!(without.header("Docker-Content-Digest"), None);
    assert_ne!(get(Fault::WrongManifest, manifest).body, b"{}");
    assert_eq!(
        get(Fault::NoManifestHead, "HEAD /v2/a/manifests/1").status,
        405
    );
    assert!(get(Fault::Warning, manifest).header("Warning").is_some());
    let page = get(Fault::HtmlErrors, "GET /v2/a/manifests/2");
    assert!(page.body.starts_with(b"<!DOCTYPE html>"));
    let date = Fault::Status {
        status: 503,
        retry: RetryAfter::Date(1),
        site: Site::Any,
    };
    assert!(
        get(date, manifest)
            .header("Retry-After")
            .unwrap()
            .ends_with(" GMT")
    );
    let reset = Fault::ResetBeforeAnswer(Site::Pulls);
    assert_eq!(get(reset, manifest).status, 0);
    registry.assert_conformant();
}

#[test]
fn bytes_can_be_left_out() {
    let registry = Registry::start();
    registry.discard_blobs();
    let digest = push_blob(&registry, "a", b"layer");
    assert_eq!(registry.blobs("a"), [(digest, 5)]);
    assert_eq!(registry.blob("a", &digest), None);
    let answer = send(&registry, &format!("GET /v2/a/blobs/{digest}"), "", b"");
    assert_eq!(answer.code(), "BLOB_UNKNOWN");
}
