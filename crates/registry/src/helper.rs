//! Credential helpers: `docker-credential-NAME get`, after docker-credential-helpers' protocol. The
//! registry's name goes to stdin; `{"ServerURL":…,"Username":…,"Secret":…}` comes from stdout.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::header::readable;
use crate::secret::Secret;

/// A helper that wants to ask the user something never gets an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A helper that somebody has open for writing cannot be run.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// No answer is longer, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Why a helper could not be asked. Never shows what it printed to stdout.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperFault {
    #[error("docker-credential-{helper} is not installed")]
    Missing { helper: String },
    #[error("docker-credential-{helper} cannot be run: {source}")]
    Start { helper: String, source: io::Error },
    #[error("docker-credential-{helper} has a name that is a path")]
    Name { helper: String },
    #[error("docker-credential-{helper} did not answer within {} s", PATIENCE.as_secs())]
    Slow { helper: String },
    #[error("docker-credential-{helper} failed: {said}")]
    Failed { helper: String, said: String },
    #[error("docker-credential-{helper} printed something that is no credential")]
    Garbage { helper: String },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks the helper for what it has for `key`; None where it has nothing. `search` is the value of
/// `PATH` to find it in.
pub(crate) fn get(helper: &str, key: &str, search: &OsStr) -> Result<Option<Secret>, HelperFault> {
    get_within(helper, key, search, PATIENCE)
}

fn get_within(
    helper: &str,
    key: &str,
    search: &OsStr,
    patience: Duration,
) -> Result<Option<Secret>, HelperFault> {
    let helper = helper.to_owned();
    if helper.contains(['/', '\\']) {
        return Err(HelperFault::Name { helper });
    }
    let name = format!("docker-credential-{helper}");
    let mut directories = std::env::split_paths(search);
    let Some(program) = directories.find_map(|directory| {
        let path = directory.join(&name);
        path.is_file().then_some(path)
    }) else {
        return Err(HelperFault::Missing { helper });
    };
    let (printed, succeeded) = match run(program.into_os_string(), key, patience) {
        Ok(Some(end)) => end,
        Ok(None) => return Err(HelperFault::Slow { helper }),
        Err(source) => return Err(HelperFault::Start { helper, source }),
    };
    let text = String::from_utf8_lossy(&printed);
    if !succeeded {
        // Helpers say so on stdout, in one of these ways.
        let none = ["not found", "no credentials", "no usernames"];
        let said = readable(&text, 200);
        if none.iter().any(|it| said.to_ascii_lowercase().contains(it)) {
            return Ok(None);
        }
        return Err(HelperFault::Failed { helper, said });
    }
    match serde_json::from_slice::<Answer>(&printed) {
        Ok(answer) if answer.secret.is_empty() => Ok(None),
        Ok(answer) => Ok(Some(Secret::new(&answer.user, &answer.secret))),
        Err(_) => Err(HelperFault::Garbage { helper }),
    }
}

/// What the program prints to stdout, and whether it succeeds; None where it takes too long.
fn run(program: OsString, key: &str, patience: Duration) -> io::Result<Option<(Vec<u8>, bool)>> {
    let start = Instant::now();
    let mut command = Command::new(program);
    command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = loop {
        match command.spawn() {
            // Just being installed.
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && start.elapsed() < BUSY_PATIENCE =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            child => break child?,
        }
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input will say so itself.
        let _ = stdin.write_all(format!("{key}\n").as_bytes());
    }
    let (sender, printed) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stdout.take(LONGEST_ANSWER).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    let bytes = printed.recv_timeout(patience);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((bytes.unwrap_or_default(), status.success())));
        }
        if bytes.is_err() || start.elapsed() >= patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn check(script: &str, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let patience = Duration::from_secs(2);
        let found = get_within("test", "a.test", directory.path().as_os_str(), patience);
        let shown = match found {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Secret::Password { user, password })) => format!("{user} {password}"),
            Ok(Some(Secret::Identity { token, .. })) => format!("identity {token}"),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(shown, expected, "{script}");
    }

    #[test]
    fn answers() {
        check(
            r#"read host; echo '{"ServerURL":"x","Username":"'$host-$1'","Secret":"pw"}'"#,
            "a.test-get pw",
        );
        check(
            r#"echo '{"Username":"<token>","Secret":"t"}'"#,
            "identity t",
        );
        check(
            "echo credentials not found in native keychain; exit 1",
            "nothing",
        );
        check("echo '{}'", "nothing");
    }

    #[test]
    fn faults() {
        check(
            "echo garbage",
            "docker-credential-test printed something that is no credential",
        );
        check(
            "true",
            "docker-credential-test printed something that is no credential",
        );
        check(
            "echo the keychain is locked; exit 3",
            "docker-credential-test failed: the keychain is locked",
        );
        check(
            "exec sleep 60",
            "docker-credential-test did not answer within 30 s",
        );
        let missing = get("none-such", "a.test", OsStr::new("/nonexistent"));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "docker-credential-none-such is not installed"
        );
        let path = get("../x", "a.test", OsStr::new("/bin"));
        assert_eq!(
            path.unwrap_err().to_string(),
            "docker-credential-../x has a name that is a path"
        );
    }
}
