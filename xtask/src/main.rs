//! The project's own commands, as `cargo xtask COMMAND`: what CI runs is what a developer runs.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command-line tool of the project"
)]

mod bench;
mod bench_lock;
mod bench_push;
mod ci;
mod golden;
mod limit;
mod measure;
mod packages;
mod record_pins;
mod table;
mod test;
mod tools;
mod workbench;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Everything that must pass: fmt, clippy, doc, deny, and the tests.
    Ci,
    /// Installs what the end-to-end tests need, then runs all tests.
    Test {
        /// Only the tests whose names contain one of these.
        filters: Vec<String>,
    },
    /// Measures.
    #[command(subcommand)]
    Bench(Bench),
    /// Writes the golden files and snapshots anew; read the difference before committing it.
    Golden,
    /// Records what uv and pip choose for the sets of fixtures/pins, from the real index.
    RecordPins {
        /// Keep what is recorded, and add what oxcart's own tests ask for.
        #[arg(long)]
        more: bool,
    },
    /// Names the Debian packages that the end-to-end tests use.
    E2ePackages,
    /// Runs a command and writes what it used as JSON: `bench` calls itself with this.
    #[command(hide = true)]
    Measure {
        report: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Inflates and hashes wheels: the `limit` row of `bench layers`.
    #[command(hide = true)]
    Limit { directory: PathBuf, threads: usize },
}

#[derive(Subcommand)]
enum Bench {
    /// Layer building against `uv pip install; tar; pigz`, as a Markdown table.
    Layers(bench::Options),
    /// Locking against `uv pip compile`, as a Markdown table.
    Lock(workbench::Common),
    /// Pushing to docker-registry on the loopback interface against skopeo, as a Markdown table.
    Push(bench_push::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Ci => ci::run_all(),
        Command::Test { filters } => test::run(&filters),
        Command::Bench(Bench::Layers(options)) => bench::layers(&options),
        Command::Bench(Bench::Lock(options)) => bench_lock::lock(&options),
        Command::Bench(Bench::Push(options)) => bench_push::push(&options),
        Command::Golden => golden::write(),
        Command::RecordPins { more } => record_pins::record(more),
        Command::E2ePackages => {
            println!("{}", packages::DEBIAN.join(" "));
            Ok(())
        }
        Command::Measure { report, command } => measure::child(&report, &command),
        Command::Limit { directory, threads } => limit::run(&directory, threads),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Command::command().debug_assert();
    }
}
