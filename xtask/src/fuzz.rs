//! `cargo xtask fuzz`: the fuzz targets with libFuzzer, on the stable compiler.
//!
//! Coverage counters are a pass of LLVM that rustc takes by name. What was found interesting is kept
//! below the target directory and is where the next run begins; an input that fails is written to
//! `fuzz/failures/TARGET` there and belongs into `fixtures/fuzz/TARGET`, which every run begins with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::tools::{self, cargo, run, target_directory};

/// The targets: `fuzz/targets/NAME.rs`.
const TARGETS: [&str; 3] = ["splice", "zip", "tar"];

/// What makes rustc count edges, as libFuzzer wants them.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How long to fuzz.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Only these targets: splice, zip, tar.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60, conflicts_with = "runs")]
    seconds: u64,
    /// Inputs for each target, always the same ones, in place of a time.
    #[arg(long)]
    runs: Option<u64>,
}

impl Options {
    /// What CI does: the same inputs each time, for each target some seconds.
    pub(crate) fn short() -> Self {
        Self {
            targets: Vec::new(),
            seconds: 0,
            runs: Some(20_000),
        }
    }
}

pub(crate) fn fuzz(options: &Options) -> anyhow::Result<()> {
    let targets: Vec<&str> = match &options.targets[..] {
        [] => TARGETS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = targets.iter().find(|name| !TARGETS.contains(name)) {
        bail!("`{unknown}` is no target: {}", TARGETS.join(", "));
    }
    let root = target_directory()?.join("fuzz");
    let programs = build(&root)?;
    let seeds = root.join("seeds");
    // With the whole workspace's features: what the tests need is compiled once.
    run(&mut cargo([
        "build",
        "--locked",
        "--workspace",
        "--example",
        "fuzz-seeds",
    ]))?;
    let maker = target_directory()?.join("debug/examples/fuzz-seeds");
    run(Command::new(maker).arg(&seeds))?;
    for target in targets {
        one(target, options, &root, &programs)
            .with_context(|| format!("the fuzz target {target}"))?;
    }
    Ok(())
}

/// Builds all targets; returns the directory that they are in.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let triple = host()?;
    // With --target the flags are not those of build scripts and macros.
    let mut build = cargo([
        "build", "--locked", "-p", "fuzz", "--bins", "--target", &triple,
    ]);
    build.arg("--target-dir").arg(root.join("build"));
    run(build.env("RUSTFLAGS", RUSTFLAGS))?;
    Ok(root.join("build").join(triple).join("debug"))
}

fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn one(target: &str, options: &Options, root: &Path, programs: &Path) -> anyhow::Result<()> {
    let failures = root.join("failures").join(target);
    let found = root.join("corpus").join(target);
    for directory in [&failures, &found] {
        std::fs::create_dir_all(directory)?;
    }
    let mut command = Command::new(programs.join(format!("fuzz-{target}")));
    match options.runs {
        // What earlier runs found would change which inputs these are.
        Some(runs) => command.args([format!("-runs={runs}"), "-seed=1".to_owned()]),
        None => command
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(&found),
    };
    command
        .args([
            "-rss_limit_mb=1024",
            "-timeout=20",
            "-max_len=131072",
            "-print_final_stats=1",
        ])
        .arg(format!("-artifact_prefix={}/", failures.display()));
    let kept = tools::root().join("fixtures/fuzz").join(target);
    let begin = [root.join("seeds").join(target), kept];
    command.args(begin.iter().filter(|directory| directory.is_dir()));
    run(&mut command).with_context(|| {
        format!(
            "what it fails on is in {}; give the program that file alone to see it again",
            failures.display()
        )
    })
}
