//! `cargo xtask test`: all tests, with what they need.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::packages;
use crate::tools::{cache, cargo, shown, succeeds};

/// Names what tests to leave out, comma-separated: `network` (whatever needs the package index, a
/// Debian mirror and the tools that read images), `emulation` (whatever runs arm64 programs).
const SKIP: &str = "OXCART_TEST_SKIP";

/// Prepares, then runs the tests whose names contain one of `filters`: all of them without one.
pub(crate) fn run(filters: &[String]) -> anyhow::Result<()> {
    let skipped = skipped()?;
    let skips = |name: &str| skipped.iter().any(|skipped| skipped == name);
    let mut environment = vec![("OXCART_TEST_CACHE", cache()?.into_os_string())];
    if !skips("network") {
        packages::install_debian()?;
        environment.push(("OXCART_TEST_ORACLES", packages::oracles()?.into_os_string()));
    }
    if !skips("network") && !skips("emulation") {
        packages::enable_emulation()?;
    }
    let mut tally = Tally::default();
    // The fuzz targets are programs of libFuzzer, which know nothing of tests. nextest runs no
    // documentation tests.
    let mut doc = cargo(["test", "--locked", "--workspace", "--doc"]);
    doc.arg("--")
        .args(filters)
        .envs(environment.iter().cloned());
    tally.run(&mut doc)?;
    let nextest = succeeds(&mut cargo(["nextest", "--version"]));
    let mut tests = if nextest {
        let mut command = cargo([
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--exclude=fuzz",
            "--no-fail-fast",
        ]);
        command.args(["--all-targets", "--"]).args(filters);
        command
    } else {
        let mut command = cargo([
            "test",
            "--locked",
            "--workspace",
            "--exclude=fuzz",
            "--no-fail-fast",
        ]);
        command.args(["--all-targets", "--"]).args(filters);
        command
    };
    tally.run(tests.envs(environment))?;
    for name in &skipped {
        println!("LEFT OUT by {SKIP}: the tests that need {name}");
    }
    println!("{tally}");
    if tally.failed > 0 || tally.passed == 0 {
        bail!("the tests did not pass");
    }
    Ok(())
}

fn skipped() -> anyhow::Result<Vec<String>> {
    let text = std::env::var(SKIP).unwrap_or_default();
    let names: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| !["network", "emulation"].contains(&name.as_str()))
    {
        bail!("{SKIP} names `{unknown}`: expected `network` or `emulation`");
    }
    Ok(names)
}

/// How many tests ended in what way, summed over test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        write!(
            f,
            "tests: {passed} passed, {failed} failed, {ignored} ignored"
        )
    }
}

impl Tally {
    /// Runs a test command, shows its output as it comes, and counts. That a test failed shows in
    /// the count; that the command failed for another reason is an error.
    fn run(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let line = shown(command);
        eprintln!("+ {line}");
        let failed_before = self.failed;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stdout = BufReader::new(stdout.context("no output")?);
        let stderr = BufReader::new(stderr.context("no output")?);
        let mut other = Self::default();
        std::thread::scope(|scope| {
            // libtest counts on stdout, nextest on stderr.
            scope.spawn(|| pass_on(stderr, |line| other.count(line), |line| eprintln!("{line}")));
            pass_on(stdout, |line| self.count(line), |line| println!("{line}"));
        });
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        let status = child.wait()?;
        if !status.success() && self.failed == failed_before {
            bail!("{line}: {status}");
        }
        Ok(())
    }

    fn count(&mut self, line: &str) {
        let line = without_colours(line);
        // nextest indents what a failed test printed, a result of libtest's among it.
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
            .or_else(|| {
                line.trim_start()
                    .strip_prefix("Summary ")?
                    .split_once(" run: ")
            })
        else {
            return;
        };
        for part in counts.split([';', ',']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" | "timed" => self.failed += count,
                "ignored" | "skipped" => self.ignored += count,
                _ => {}
            }
        }
    }
}

fn pass_on(from: impl BufRead, mut see: impl FnMut(&str), show: impl Fn(&str)) {
    for line in from.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        see(&line);
        show(&line);
        let _ = std::io::stdout().flush();
    }
}

/// The line without its ANSI escape sequences for colours.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        for line in lines {
            tally.count(line);
        }
        (tally.passed, tally.failed, tally.ignored)
    }

    #[test]
    fn counts_what_libtest_reports() {
        let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        let bad = "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(tally(&["running 12 tests", ok, bad]), (14, 3, 1));
    }

    #[test]
    fn counts_what_nextest_reports() {
        let coloured = "\x1b[32;1m     Summary\x1b[0m [   1.2s] \x1b[1m7\x1b[0m tests run: \x1b[1m7\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m2\x1b[0m skipped";
        assert_eq!(tally(&[coloured]), (7, 0, 2));
        let bad = "     Summary [   0.018s] 5/7 tests run: 3 passed (1 slow), 2 failed, 0 skipped";
        assert_eq!(tally(&[bad]), (3, 2, 0));
        assert_eq!(
            tally(&["    test result: FAILED. 0 passed; 1 failed"]),
            (0, 0, 0)
        );
    }
}
