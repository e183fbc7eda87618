//! The images run, the arm64 ones too: qemu executes their programs, as the image's own user.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci::Platform;

use crate::samples::{Bundle, Sample, succeed};
use crate::skip::{Need, left_out};

/// The uid of `nonroot`.
const NONROOT: u64 = 65532;

#[test]
fn hello_serves_its_route() {
    if left_out(Need::Emulation) {
        return;
    }
    let built = Sample::Hello.built();
    let native = built.bundle(Platform::Amd64);
    hello(&native);
    let foreign = built.bundle(Platform::Arm64);
    share_bytecode(&native, &foreign);
    hello(&foreign);
}

fn hello(bundle: &Bundle) {
    assert_eq!(bundle.uid(), NONROOT);
    let server = Server::start(bundle);
    let (status, body) = server.request("GET / HTTP/1.1", "");
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["hello"], "world");
    assert_eq!(body["machine"], machine(bundle));
    let python = body["python"].as_str().unwrap();
    assert!(python.starts_with("3.13."), "{python}");
}

#[test]
fn the_backend_works_with_its_ml_packages_and_without() {
    if left_out(Need::Emulation) {
        return;
    }
    let ml = Sample::Ml.built();
    let native = ml.bundle(Platform::Amd64);
    everything(&native);
    let foreign = ml.bundle(Platform::Arm64);
    let without = Sample::Backend.built().bundle(Platform::Arm64);
    share_bytecode(&native, &foreign);
    share_bytecode(&native, &without);
    std::thread::scope(|scope| {
        scope.spawn(|| everything(&foreign));
        scope.spawn(|| no_analysis(&without));
    });
}

/// What the image with the ML packages has to do.
fn everything(bundle: &Bundle) {
    assert_eq!(bundle.uid(), NONROOT);
    std::thread::scope(|scope| {
        scope.spawn(|| imports(bundle));
        scope.spawn(|| console_scripts(bundle));
        scope.spawn(|| analysis(bundle));
    });
}

fn no_analysis(bundle: &Bundle) {
    let server = Server::start(bundle);
    let (status, body) = server.request("GET /health HTTP/1.1", "");
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"status":"ok","machine":"aarch64"}"#)
    );
    let (status, body) = server.request("POST /analysis HTTP/1.1", TEXTS);
    assert_eq!(
        (status, body.as_str()),
        (501, r#"{"detail":"spacy is not installed"}"#)
    );
}

/// Gives one image the bytecode that Python made in another, where it lacks it: it is the same on
/// all machines, and to make it under emulation takes minutes. Python compares each file's source.
fn share_bytecode(from: &Bundle, to: &Bundle) {
    share_bytecode_of(&from.rootfs(), &to.rootfs());
}

pub(crate) fn share_bytecode_of(from: &Path, to: &Path) {
    let [from, to] = [from, to].map(|rootfs| rootfs.join(&BYTECODE[1..]));
    if from.exists() && !to.exists() {
        succeed(Command::new("cp").arg("-a").arg(from).arg(to));
    }
}

/// Where Python keeps bytecode in these tests, instead of beside its sources, where the image's user
/// may not write.
pub(crate) const BYTECODE: &str = "/tmp/bytecode";

fn python(bundle: &Bundle, program: &str) -> Command {
    let mut command = bundle.command(program);
    command.env("PYTHONPYCACHEPREFIX", BYTECODE);
    command
}

/// `platform.machine()` in the image.
fn machine(bundle: &Bundle) -> &'static str {
    match bundle.platform() {
        Platform::Amd64 => "x86_64",
        Platform::Arm64 => "aarch64",
        Platform::ArmV7 => "armv7l",
    }
}

fn analysis(bundle: &Bundle) {
    let server = Server::start(bundle);
    let (status, body) = server.request("GET /health HTTP/1.1", "");
    assert_eq!(status, 200, "{body}");
    let (status, body) = server.request("POST /analysis HTTP/1.1", TEXTS);
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let labels = body["labels"].as_array().unwrap();
    assert_eq!(labels[0], labels[1], "{body}");
    assert_eq!(labels[2], labels[3], "{body}");
    assert_ne!(labels[0], labels[2], "{body}");
}

const TEXTS: &str = r#"{"texts": ["a benign variant of the gene", "a benign variant of that gene",
    "the invoice was paid late", "the invoice was paid today"]}"#;

/// Each imports a shared object of its own, and does something with it.
const IMPORTS: &str = r#"
import os, platform
assert os.getuid() == 65532, os.getuid()
import ssl, sqlite3, ctypes, bz2, lzma, zlib
import numpy, scipy.linalg, sklearn.linear_model, pandas, spacy, transformers, tokenizers
import sqlalchemy, psycopg2, cryptography.hazmat.primitives.ciphers.aead as aead
import pydantic_core, uvloop, httptools, orjson, regex, yaml, bcrypt
matrix = numpy.eye(3) * 2
assert scipy.linalg.det(matrix) == 8
fit = sklearn.linear_model.LinearRegression().fit([[0], [1], [2]], [1, 3, 5])
assert abs(fit.predict([[3]])[0] - 7) < 1e-9
assert pandas.DataFrame({"a": [1, 2, 3]}).a.sum() == 6
assert [token.text for token in spacy.blank("en")("It works.")] == ["It", "works", "."]
assert transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
).encode("a") == [0]
assert sqlalchemy.create_engine("sqlite://").connect().scalar(sqlalchemy.text("select 1")) == 1
assert psycopg2.__libpq_version__ > 90000
assert len(aead.AESGCM(bytes(16)).encrypt(bytes(12), b"text", None)) == 20
print("imported")
"#;

fn imports(bundle: &Bundle) {
    let output =
        succeed(python(bundle, "/opt/venv/bin/python").args(["-W", "ignore", "-c", IMPORTS]));
    assert_eq!(output.lines().last(), Some("imported"));
}

fn console_scripts(bundle: &Bundle) {
    for (script, option, expected) in [
        ("uvicorn", "--version", "Running uvicorn"),
        ("alembic", "--version", "alembic"),
        ("celery", "--version", "."),
        ("httpx", "--help", "Usage"),
        ("dotenv", "--version", "dotenv"),
        ("f2py", "-v", "2."),
        ("numpy-config", "--version", "2."),
        ("normalizer", "--version", "Charset-Normalizer"),
        ("tqdm", "--version", "."),
        ("pygmentize", "-V", "Pygments"),
        ("websockets", "--version", "websockets"),
    ] {
        let program = format!("/opt/venv/bin/{script}");
        let output = python(bundle, &program).arg(option).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(
            output.status.success(),
            "{script} {option}: {}\n{text}",
            output.status
        );
        assert!(text.contains(expected), "{script} {option}: {text}");
    }
}

/// The image's server on a free port of the loopback interface; stopped when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(bundle: &Bundle) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut command: Command = python(bundle, "/opt/venv/bin/uvicorn");
        command.args([
            "app.main:app",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ]);
        let child = command
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("unshare");
        let mut server = Self { child, port };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait().expect("wait") {
                panic!("the server ended: {status}");
            }
            assert!(
                start.elapsed() < Duration::from_mins(10),
                "the server does not answer"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One request, for which the connection is closed: status and body.
    fn request(&self, line: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_mins(10)))
            .expect("timeout");
        write!(
            stream,
            "{line}\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        (status, body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
