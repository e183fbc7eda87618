//! The project's own commands, as `cargo xtask COMMAND`: what CI runs is what a developer runs.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command-line tool of the project"
)]

mod bench;
mod bench_big;
mod bench_full;
mod bench_lock;
mod bench_page;
mod bench_push;
mod bench_scale;
mod ci;
mod docker_registry;
mod fuzz;
mod golden;
mod limit;
mod made_wheel;
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
    /// Everything that must pass: fmt, deny, clippy, doc, a little fuzzing, and the tests.
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
    /// Runs the fuzz targets; what they fail on is kept and named.
    Fuzz(fuzz::Options),
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
    /// All of them, as a page.
    All(bench_page::Options),
    /// One generated wheel of 500 MB on one thread and on all, as a Markdown table.
    Big(workbench::Common),
    /// Layer building against `uv pip install; tar; pigz`, as a Markdown table.
    Layers(bench::Options),
    /// `oxcart digest`, as a Markdown table.
    Digest(bench_full::Options),
    /// Pushing from an empty store with a full lock, as a Markdown table.
    Fresh(bench_full::Options),
    /// Locking against `uv pip compile`, as a Markdown table.
    Lock(workbench::Common),
    /// Pushing to docker-registry on the loopback interface against skopeo, as a Markdown table.
    Push(bench_push::Options),
    /// Pushing after a change of one file, as a Markdown table.
    Rebuild(bench_full::Options),
    /// A hundred images that share their wheels, and images of up to a thousand, as Markdown tables.
    Scale(workbench::Common),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Ci => ci::run_all(),
        Command::Test { filters } => test::run(&filters),
        Command::Bench(Bench::All(options)) => bench_page::all(&options),
        Command::Bench(Bench::Big(options)) => bench_big::big(&options),
        Command::Bench(Bench::Layers(options)) => bench::layers(&options),
        Command::Bench(Bench::Digest(options)) => bench_full::digest(&options),
        Command::Bench(Bench::Fresh(options)) => bench_full::fresh(&options),
        Command::Bench(Bench::Rebuild(options)) => bench_full::rebuild(&options),
        Command::Bench(Bench::Scale(options)) => bench_scale::scale(&options),
        Command::Bench(Bench::Lock(options)) => bench_lock::lock(&options),
        Command::Bench(Bench::Push(options)) => bench_push::push(&options),
        Command::Golden => golden::write(),
        Command::RecordPins { more } => record_pins::record(more),
        Command::Fuzz(options) => fuzz::fuzz(&options),
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
