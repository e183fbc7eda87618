//! Figures as a Markdown table, and the machine they were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::measure::Usage;

/// Rows of figures, printed as they come.
pub(crate) struct Table<'a, R> {
    rounds: &'a [R],
    /// Seconds of the way that the others are compared with, in the same round.
    reference: fn(&R) -> f64,
}

impl<'a, R> Table<'a, R> {
    pub(crate) fn new(rounds: &'a [R], reference: fn(&R) -> f64) -> Self {
        Self { rounds, reference }
    }

    /// Prints the medians and the highest peak of one way.
    pub(crate) fn row(&self, way: &str, bytes: Option<u64>, usage: impl Fn(&R) -> Usage) {
        let seconds = median(self.rounds, |round| usage(round).seconds);
        let peak = self
            .rounds
            .iter()
            .map(|round| usage(round).peak_rss)
            .max()
            .unwrap_or(0);
        let bytes = bytes.map_or_else(String::new, |bytes| format!("{:.1} MB", mega(bytes)));
        let times = median(self.rounds, |round| {
            usage(round).seconds / (self.reference)(round)
        });
        println!(
            "| {way} | {seconds:.2} | {times:.1} | {bytes} | {:.0} MiB |",
            mebi(peak)
        );
    }
}

/// The middle one of the rounds' values.
pub(crate) fn median<R>(rounds: &[R], of: impl Fn(&R) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// Processor, threads and memory.
pub(crate) fn machine(threads: usize) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name").unwrap_or("unknown processor");
    let has_sha = cpu.contains("sha_ni") || cpu.contains("sha2");
    let sha = if has_sha { "with" } else { "without" };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = field(&memory, "MemTotal").and_then(|text| text.strip_suffix(" kB"));
    let gibibytes = kibibytes
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1_048_576.0;
    format!("{model}, {threads} threads, {sha} SHA instructions, {gibibytes:.0} GiB")
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The first line of what `--version` prints.
pub(crate) fn version(program: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Bytes as megabytes.
pub(crate) fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes as mebibytes.
pub(crate) fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
