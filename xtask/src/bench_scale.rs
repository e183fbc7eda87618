//! `cargo xtask bench scale`: a hundred images that share a pool of wheels, and images of up to a thousand
//! small wheels.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::docker_registry::Registry;
use crate::made_wheel::{self, MadeWheel};
use crate::measure::{Usage, measure};
use crate::table::{self, mebi, median};
use crate::tools::{cache, which};
use crate::workbench::{self, Common, Workbench, forget_wheel_layers};

/// Changes with what the wheels hold.
const EDITION: &str = "scale-2";
/// Numbers of wheels in one image.
const NUMBERS: [usize; 4] = [125, 250, 500, 1000];
/// Images that share the wheels of the largest one.
const IMAGES: usize = 100;
/// Files of a wheel, and their bytes.
const FILES: (usize, usize) = (12, 8 << 10);

/// Measures, and prints two Markdown tables.
pub(crate) fn scale(options: &Common) -> anyhow::Result<()> {
    let tool = "docker-registry";
    which(tool).with_context(|| format!("`{tool}` is missing: install Debian's {tool}"))?;
    let bench = Bench::prepare(options)?;
    let rounds = options.rounds(|| {
        let sizes = NUMBERS.map(|number| bench.wheels(number));
        sizes.into_iter().collect::<anyhow::Result<Vec<_>>>()
    })?;
    let images = bench.images()?;
    print(&rounds, &images);
    Ok(())
}

struct Bench {
    workbench: Workbench,
    wheels: PathBuf,
    store: PathBuf,
    registry: Registry,
}

/// Building an image of wheels.
#[derive(Debug)]
struct Run {
    process: Usage,
    /// Building its layers alone.
    layers: f64,
}

/// Building and pushing one of the images that share their wheels.
#[derive(Debug)]
struct Image {
    seconds: f64,
    uploaded: u64,
    stored: u64,
}

impl Bench {
    fn prepare(options: &Common) -> anyhow::Result<Self> {
        let wheels = pool()?;
        let beside = cache()?;
        let workbench = Workbench::empty(options, &beside)?;
        let bench = Self {
            registry: Registry::start(&workbench.path("registry"))?,
            store: workbench::store(None)?,
            workbench,
            wheels,
        };
        for number in NUMBERS {
            bench.project(&format!("wheels{number}"), number)?;
            // Locks, and has the wheels in the store.
            measure(&bench.oxcart(&format!("wheels{number}")), None)?;
        }
        Ok(bench)
    }

    /// A project with the first `number` wheels.
    fn project(&self, name: &str, number: usize) -> anyhow::Result<PathBuf> {
        let project = self.workbench.path(name);
        fs::create_dir_all(project.join("app"))?;
        fs::write(
            project.join("oxcart.toml"),
            "[image]\nname = \"scale\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
             base = \"debian:trixie\"\n[dependencies]\nrequirements = [\"requirements.txt\"]\n\
             [[app]]\nsource = \"app\"\ndestination = \"/app\"\n",
        )?;
        let mut requirements = String::new();
        for n in 0..number {
            let wheel = self.wheels.join(made_wheel::filename(&wheel_name(n)));
            writeln!(requirements, "{}", wheel.display())?;
        }
        fs::write(project.join("requirements.txt"), requirements)?;
        fs::write(project.join("app/main.py"), format!("print('{name}')\n"))?;
        Ok(project)
    }

    fn oxcart(&self, project: &str) -> Command {
        let mut command = Command::new(&self.workbench.oxcart);
        command
            .args(["build", "--quiet", "--project"])
            .arg(self.workbench.path(project))
            .arg("--store")
            .arg(&self.store)
            .arg("--metadata-file")
            .arg(self.metadata());
        command
    }

    fn metadata(&self) -> PathBuf {
        self.workbench.path("metadata.json")
    }

    fn wheels(&self, number: usize) -> anyhow::Result<Run> {
        forget_wheel_layers(&self.store)?;
        let mut command = self.oxcart(&format!("wheels{number}"));
        let process = measure(command.arg("--locked"), None)?;
        let layers = workbench::layer_seconds(&self.metadata())?;
        Ok(Run { process, layers })
    }

    /// Each with its own file, and the wheels and lock of the largest image.
    fn images(&self) -> anyhow::Result<Vec<Image>> {
        let largest = NUMBERS[NUMBERS.len() - 1];
        let lock = self.workbench.path(&format!("wheels{largest}"));
        let lock = lock.join("oxcart.lock");
        let images = (0..IMAGES).map(|n| {
            let name = format!("image{n}");
            let project = self.project(&name, largest)?;
            fs::copy(&lock, project.join("oxcart.lock"))?;
            let mut command = self.oxcart(&name);
            let repository = format!("127.0.0.1:{}/bench/scale", self.registry.port);
            command.args(["--locked", "--push", "--tag", &name, "--name", &repository]);
            let usage = measure(&command, None)?;
            let metadata: Value = serde_json::from_slice(&fs::read(self.metadata())?)?;
            if n > 0 {
                ensure!(metadata["bytes_downloaded"] == 0, "{metadata}");
            }
            Ok(Image {
                seconds: usage.seconds,
                uploaded: count(&metadata, "bytes_uploaded")?,
                stored: count(&metadata, "store_bytes_added")?,
            })
        });
        images.collect()
    }
}

fn print(rounds: &[Vec<Run>], images: &[Image]) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    println!(
        "Made-up wheels of {} files of {} KiB, linux/amd64 and linux/arm64; medians of {} rounds.\n{}.\n",
        FILES.0,
        FILES.1 >> 10,
        rounds.len(),
        table::machine(threads),
    );
    println!("| wheels | seconds for the layers | whole process | peak RSS |\n|--:|--:|--:|--:|");
    let mut points = Vec::new();
    for (n, number) in NUMBERS.into_iter().enumerate() {
        let seconds = median(rounds, |round| round[n].layers);
        let process = median(rounds, |round| round[n].process.seconds);
        let peak = rounds.iter().map(|round| round[n].process.peak_rss).max();
        println!(
            "| {number} | {seconds:.3} | {process:.3} | {:.0} MiB |",
            mebi(peak.unwrap_or(0))
        );
        points.push((number as f64, seconds));
    }
    let fit = Fit::of(&points);
    println!(
        "\nLayers: {:.3} s and {:.2} ms for each wheel, R² {:.4}.\n",
        fit.start,
        fit.slope * 1000.0,
        fit.r2
    );
    println!(
        "| image | seconds, with its push | bytes uploaded | bytes stored |\n|---|--:|--:|--:|"
    );
    let rest = &images[1..];
    let row = |name: &str, of: &[Image]| {
        println!(
            "| {name} | {:.3} | {:.0} | {:.0} |",
            median(of, |it| it.seconds),
            median(of, |it| it.uploaded as f64),
            median(of, |it| it.stored as f64)
        );
    };
    row("the first", &images[..1]);
    row("2 to 10 (median)", &rest[..9]);
    row("91 to 100 (median)", &rest[rest.len() - 10..]);
}

fn count(metadata: &Value, key: &str) -> anyhow::Result<u64> {
    metadata[key]
        .as_u64()
        .with_context(|| format!("no {key} in the metadata"))
}

fn wheel_name(n: usize) -> String {
    format!("pool{n:04}")
}

/// The wheels, made once.
fn pool() -> anyhow::Result<PathBuf> {
    let directory = cache()?.join("bench").join(EDITION);
    let last = NUMBERS[NUMBERS.len() - 1] - 1;
    if directory
        .join(made_wheel::filename(&wheel_name(last)))
        .is_file()
    {
        return Ok(directory);
    }
    fs::create_dir_all(&directory)?;
    for n in 0..=last {
        make(&directory, n).context("making a wheel")?;
    }
    Ok(directory)
}

fn make(directory: &Path, n: usize) -> anyhow::Result<()> {
    let name = wheel_name(n);
    let mut wheel = MadeWheel::create(directory, &name)?;
    for file in 0..FILES.0 {
        let seed = (n * FILES.0 + file) as u64;
        wheel.file(&format!("{name}/m{file}.py"), FILES.1, seed)?;
    }
    wheel.finish(&name)
}

/// A line through points, by least squares.
struct Fit {
    start: f64,
    slope: f64,
    /// How much of the variance it explains.
    r2: f64,
}

impl Fit {
    fn of(points: &[(f64, f64)]) -> Self {
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(|it| it.0), mean(|it| it.1));
        let sum = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>();
        let xx = sum(&|it| (it.0 - x).powi(2));
        let xy = sum(&|it| (it.0 - x) * (it.1 - y));
        let yy = sum(&|it| (it.1 - y).powi(2));
        let slope = xy / xx;
        Self {
            start: y - slope * x,
            slope,
            r2: xy * xy / (xx * yy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found() {
        let fit = Fit::of(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]);
        assert!((fit.start - 3.0).abs() < 1e-9 && (fit.slope - 2.0).abs() < 1e-9);
        assert!((fit.r2 - 1.0).abs() < 1e-9);
        assert!(Fit::of(&[(1.0, 1.0), (2.0, 4.0), (3.0, 1.0)]).r2 < 0.1);
    }
}
