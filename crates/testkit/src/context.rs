//! A project and a store in a temporary directory, and the program run there with an environment of
//! its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A run that takes longer than this is killed, and the test fails.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Where one test's files are. Everything is removed when it is dropped.
///
/// The program sees none of the test's own environment: HOME and the temporary directory are here,
/// and PATH names an empty directory, so that it finds no other program.
#[derive(Debug)]
pub struct Context {
    binary: PathBuf,
    root: TempDir,
    environment: BTreeMap<String, String>,
    umask: Option<u32>,
    directory: PathBuf,
    store: PathBuf,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    /// The exit status; None where a signal ended it.
    pub status: Option<i32>,
    /// Bytes of stdout.
    pub stdout_bytes: Vec<u8>,
    /// stdout as text.
    pub stdout: String,
    /// stderr as text.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    arguments: String,
    substitutes: Vec<(String, &'static str)>,
}

/// A run that goes on; it is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Option<[JoinHandle<Vec<u8>>; 2]>,
    begun: Instant,
    arguments: String,
    substitutes: Vec<(String, &'static str)>,
}

impl Context {
    /// An empty project and an empty store. `binary` is the program: `env!("CARGO_BIN_EXE_oxcart")`.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let root = TempDir::with_prefix("oxcart-test-").expect("a temporary directory");
        let path = root.path();
        let environment = ["home", "tmp", "bin"].map(|name| {
            fs::create_dir(path.join(name)).expect("a new directory");
            path.join(name)
                .to_str()
                .expect("a path in UTF-8")
                .to_owned()
        });
        let environment = ["HOME", "TMPDIR", "PATH"]
            .map(str::to_owned)
            .into_iter()
            .zip(environment);
        let mut context = Self {
            binary: binary.as_ref().to_owned(),
            environment: environment.collect(),
            umask: None,
            directory: path.join("project"),
            store: path.join("store"),
            root,
        };
        fs::create_dir(&context.directory).expect("a new directory");
        context.use_store(context.store.clone());
        context
    }

    /// The directory that holds everything.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The project's directory, where the program runs.
    pub fn project(&self) -> &Path {
        &self.directory
    }

    /// The store's directory. It is made by the program.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// A path in the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file of the project, with the directories it is in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a path in the project")).expect("directories");
        fs::write(path, content).expect("a file can be written");
        self
    }

    /// Reads a text file of the project.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Sets a variable for the runs from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a variable for the runs from now on.
    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.environment.remove(name);
        self
    }

    /// Runs the program under this umask from now on.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.umask = Some(mask);
        self
    }

    /// Uses another store from now on.
    pub fn use_store(&mut self, store: PathBuf) -> &mut Self {
        self.set("OXCART_STORE", store.to_str().expect("a path in UTF-8"));
        self.store = store;
        self
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.start(arguments).wait()
    }

    /// Runs the program, which must succeed.
    #[track_caller]
    pub fn succeeds<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.status, Some(0), "{}", run.account());
        run
    }

    /// Runs the program, which must fail with a message, and with the status that says that the user
    /// can mend it.
    #[track_caller]
    pub fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.status, Some(1), "{}", run.account());
        assert!(run.stderr.contains("error:"), "{}", run.account());
        run
    }

    /// Starts the program.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|it| it.as_ref().to_owned())
            .collect();
        let mut command = self.command();
        command.args(&arguments);
        let mut child = command.spawn().expect("the program starts");
        let output = [collect(child.stdout.take()), collect(child.stderr.take())];
        let arguments = arguments
            .join(OsStr::new(" "))
            .to_string_lossy()
            .into_owned();
        let (begun, substitutes) = (Instant::now(), self.substitutes());
        Running {
            child,
            output: Some(output),
            begun,
            arguments,
            substitutes,
        }
    }

    fn command(&self) -> Command {
        let mut command = match self.umask {
            None => Command::new(&self.binary),
            // Setting it between fork and exec would need unsafe code.
            Some(mask) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("umask {mask:03o}; exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(&self.binary);
                shell
            }
        };
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What differs from run to run, and what stands for it; the longest first.
    fn substitutes(&self) -> Vec<(String, &'static str)> {
        [
            (&*self.directory, "[PROJECT]"),
            (&*self.store, "[STORE]"),
            (self.root(), "[ROOT]"),
        ]
        .map(|(path, name)| (path.display().to_string(), name))
        .into()
    }
}

impl Running {
    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .is_none()
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(mut self) -> Run {
        // It may have ended by itself; then its own status tells.
        let _ = self.child.kill();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        let status = self.wait_for_status();
        let output = self.output.take().expect("only this takes it");
        let [stdout, stderr] = output.map(|it| it.join().expect("a reader that does not panic"));
        Run {
            status: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stdout_bytes: stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            elapsed: self.begun.elapsed(),
            arguments: std::mem::take(&mut self.arguments),
            substitutes: std::mem::take(&mut self.substitutes),
        }
    }

    fn wait_for_status(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                self.begun.elapsed() < TIMEOUT,
                "still running: oxcart {}",
                self.arguments
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// All there is to see, for the messages of assertions.
    pub fn account(&self) -> String {
        let Self {
            arguments,
            status,
            stdout,
            stderr,
            ..
        } = self;
        format!(
            "oxcart {arguments}\nstatus: {status:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }

    /// Asserts that stderr has each of `texts`.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            let normal = normal(&self.stderr, &self.substitutes);
            assert!(
                normal.contains(text),
                "no {text:?} in\n{normal}\n\n{}",
                self.account()
            );
        }
        self
    }

    /// stderr, with fixed words for what differs from run to run: directories, ports, temporary names.
    pub fn normal_stderr(&self) -> String {
        normal(&self.stderr, &self.substitutes)
    }

    /// The part of stderr that says why a run failed, in the same way.
    pub fn message(&self) -> String {
        let text = self.normal_stderr();
        text.find("error:")
            .map_or(String::new(), |start| text[start..].trim_end().to_owned())
    }

    /// stdout, in the same way.
    pub fn normal_stdout(&self) -> String {
        normal(&self.stdout, &self.substitutes)
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("a piped stream");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn normal(text: &str, substitutes: &[(String, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in substitutes {
        text = text.replace(from, to);
    }
    let text = replace_run(&text, "127.0.0.1:", |c| c.is_ascii_digit(), "[PORT]");
    replace_run(&text, "/.tmp", |c| c.is_ascii_alphanumeric(), "[RANDOM]")
}

/// `text` with `to` in place of what `belongs` after each `prefix`.
fn replace_run(text: &str, prefix: &str, belongs: impl Fn(char) -> bool, to: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&belongs);
        out.push_str(prefix);
        out.push_str(if rest.len() < part.len() { to } else { "" });
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_the_tests_own() {
        let mut context = Context::new("/usr/bin/env");
        context.set("TZ", "Asia/Tokyo").unset("HOME");
        let run = context.succeeds([""; 0]);
        let names: Vec<_> = run
            .stdout
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        assert_eq!(names, ["OXCART_STORE", "PATH", "TMPDIR", "TZ"]);
        assert!(
            run.normal_stdout()
                .contains("OXCART_STORE=[STORE]\nPATH=[ROOT]/bin\n")
        );
    }

    #[test]
    fn what_differs_is_replaced() {
        let substitutes = [
            ("/tmp/x/project".to_owned(), "[PROJECT]"),
            ("/tmp/x".to_owned(), "[ROOT]"),
        ];
        assert_eq!(
            normal(
                "/tmp/x/project/a /tmp/x/y http://127.0.0.1:4711/z s/.tmpAb12/q",
                &substitutes
            ),
            "[PROJECT]/a [ROOT]/y http://127.0.0.1:[PORT]/z s/.tmp[RANDOM]/q"
        );
    }

    #[test]
    fn umask_status_and_kill() {
        let mut context = Context::new("/bin/sh");
        context.umask(0o077);
        let run = context.run(["-c", "umask; echo oops >&2; exit 7"]);
        assert_eq!(
            (run.status, run.stdout.trim(), run.stderr.trim()),
            (Some(7), "0077", "oops")
        );
        let mut sleeping = context.start(["-c", "while :; do :; done"]);
        assert!(sleeping.is_running());
        assert_eq!(sleeping.kill().status, None);
    }
}
