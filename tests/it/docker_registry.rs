//! Debian's `docker-registry` on the loopback interface, with a password and with TLS where asked.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::samples::succeed;

/// The user and the password of a registry that asks for them.
pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "correct horse";
/// The line of `htpasswd` for them (bcrypt).
const HTPASSWD: &str = "robot:$2b$04$hZ3pY193mD6CDGDGY7c4r.kWBMWl8w4nCx1UEzlunqAbBYll/wgdS";

/// What it asks of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    PasswordOverTls,
}

/// A registry that is stopped when it is dropped.
pub(crate) struct DockerRegistry {
    child: Child,
    port: u16,
    directory: TempDir,
    asks: Asks,
}

impl DockerRegistry {
    pub(crate) fn start(asks: Asks) -> Self {
        // A port that was free may be taken before the registry gets it.
        for _ in 0..5 {
            let directory = TempDir::with_prefix("oxcart-registry-").expect("a directory");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            drop(listener);
            let child = spawn(&directory, port, asks);
            let mut registry = Self {
                child,
                port,
                directory,
                asks,
            };
            if registry.wait() {
                return registry;
            }
        }
        panic!("docker-registry does not start; `cargo xtask test` installs it")
    }

    fn wait(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// `127.0.0.1:<port>`
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A name in it.
    pub(crate) fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    /// The certificate that its own is signed by.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// An auth.json with its credentials, after containers-auth.json(5).
    pub(crate) fn auth_file(&self) -> PathBuf {
        use base64::Engine as _;
        let path = self.directory.path().join("auth.json");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let text = serde_json::json!({ "auths": { self.host(): { "auth": auth } } });
        fs::write(&path, text.to_string()).expect("auth.json");
        path
    }

    /// The requests so far, as its log has them: `PUT /v2/…`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("log")).expect("the log");
        log.lines()
            .filter_map(|line| line.split('"').nth(1))
            .filter(|request| request.contains(" /v2/"))
            .map(str::to_owned)
            .collect()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        let log = self.directory.path().join("log");
        fs::OpenOptions::new()
            .write(true)
            .open(log)
            .and_then(|log| log.set_len(0))
            .expect("the log");
    }

    /// A command of skopeo, or podman, that may speak to it.
    pub(crate) fn client(&self, program: &str) -> Command {
        self.allow(Command::new(program))
    }

    /// The command with what it needs to speak to it.
    pub(crate) fn allow(&self, mut command: Command) -> Command {
        if self.asks == Asks::PasswordOverTls {
            command
                .env("REGISTRY_AUTH_FILE", self.auth_file())
                .env("SSL_CERT_FILE", self.authority());
        }
        command
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &TempDir, port: u16, asks: Asks) -> Child {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        path("data")
    );
    if asks == Asks::PasswordOverTls {
        let mut openssl = Command::new("openssl");
        openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE".split(' '));
        openssl.args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]);
        openssl.stderr(Stdio::null());
        succeed(&mut openssl);
        fs::write(path("htpasswd"), HTPASSWD).expect("htpasswd");
        let _ = write!(
            config,
            "  tls: {{certificate: {}, key: {}}}\nauth:\n  htpasswd: {{realm: test, path: {}}}\n",
            path("cert.pem"),
            path("key.pem"),
            path("htpasswd")
        );
    }
    fs::write(path("config.yml"), config).expect("config.yml");
    // Appended to, so that the log can be cut while it is written.
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path("log"))
        .expect("the log");
    Command::new("docker-registry")
        .args(["serve", &path("config.yml")])
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("docker-registry; `cargo xtask test` installs it")
}
