//! `cargo xtask bench layers`: the layers of the `ml` profile's arm64 wheels, by oxcart and by the
//! tools one would use otherwise, from the same wheel files, in the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::measure::{Usage, measure};
use crate::packages;
use crate::table::{self, Table, median, mega};
use crate::tools::{run, which};
use crate::workbench::{self, Common, PROFILE, PROJECT, Workbench};

const PLATFORM: &str = "linux/arm64";

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// The store with the wheels; what is missing in it is downloaded first.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Leave out `gzip -6`, which takes half a minute a round.
    #[arg(long)]
    no_gzip: bool,
}

/// Measures, and prints a Markdown table.
pub(crate) fn layers(options: &Options) -> anyhow::Result<()> {
    let bench = Bench::prepare(options)?;
    let rounds = options.common.rounds(|| bench.round(options))?;
    bench.print(&rounds)
}

/// Everything that the rounds use, made before any clock runs.
struct Bench {
    workbench: Workbench,
    uv: PathBuf,
    store: PathBuf,
    wheels: Vec<PathBuf>,
    threads: usize,
}

/// One round's figures.
#[derive(Debug)]
struct Round {
    /// The whole process: reading the lock, building the wheels' layers, writing the layout.
    oxcart: Usage,
    /// `seconds.layers` of the metadata file: building the wheels' layers alone.
    oxcart_layers: f64,
    /// The whole process where it proves that the image would load, which the others do not.
    oxcart_proven: Usage,
    /// The whole process where it builds the base's layer from Debian packages too.
    oxcart_all: Usage,
    oxcart_bytes: u64,
    /// What the store has of the wheels' layers, and of what they hold.
    records: u64,
    limit: Usage,
    uv_cold: Usage,
    uv_warm: Usage,
    tar: Usage,
    pigz: Usage,
    pigz_bytes: u64,
    gzip: Option<(Usage, u64)>,
}

impl Bench {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        for tool in ["tar", "pigz", "gzip"] {
            which(tool).with_context(|| format!("`{tool}` is missing: install Debian's {tool}"))?;
        }
        let store = workbench::store(options.store.as_deref())?;
        let beside = store
            .parent()
            .context("the store has no parent directory")?;
        let mut bench = Self {
            workbench: Workbench::new(&options.common, beside)?,
            uv: packages::oracles()?.join("uv"),
            store: store.clone(),
            wheels: Vec::new(),
            threads: std::thread::available_parallelism()?.get(),
        };
        // Downloads what is missing, then leaves the given store alone.
        run(bench.oxcart(&[]).stdout(std::io::stderr()))?;
        let mut link = Command::new("cp");
        run(link.arg("-al").arg(&bench.store).arg(bench.path("store")))?;
        bench.store = bench.path("store");
        bench.wheels = bench.link_wheels()?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workbench.path(name)
    }

    fn oxcart(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.workbench.oxcart);
        command.args([
            "build",
            "--quiet",
            "--profile",
            PROFILE,
            "--platform",
            PLATFORM,
            "--project",
        ]);
        command
            .arg(self.path("project"))
            .arg("--store")
            .arg(&self.store);
        command
            .arg("--metadata-file")
            .arg(self.path("metadata.json"));
        command
            .arg("--output")
            .arg(format!("oci:{}", self.path("image").display()));
        command.args(options);
        command
    }

    /// The store's wheels under the file names that the lock gives them.
    fn link_wheels(&self) -> anyhow::Result<Vec<PathBuf>> {
        let lock = fs::read_to_string(self.path("project").join(format!("oxcart.{PROFILE}.lock")))?;
        let lock: toml::Value = toml::from_str(&lock)?;
        let platforms = lock.get("platform").and_then(toml::Value::as_array);
        let wheels = platforms
            .into_iter()
            .flatten()
            .find(|platform| platform.get("name").and_then(toml::Value::as_str) == Some(PLATFORM))
            .and_then(|platform| platform.get("wheel")?.as_array())
            .context("no wheels in the lock")?;
        fs::create_dir(self.path("wheels"))?;
        let mut links = Vec::new();
        for wheel in wheels {
            let text = |key| wheel.get(key).and_then(toml::Value::as_str).context(key);
            let digest = text("sha256")?.trim_start_matches("sha256:");
            let blob = self.store.join("blobs/sha256").join(digest);
            let link = self.path("wheels").join(text("filename")?);
            fs::hard_link(&blob, &link).with_context(|| blob.display().to_string())?;
            links.push(link);
        }
        Ok(links)
    }

    fn round(&self, options: &Options) -> anyhow::Result<Round> {
        let image = self.path("image");
        fs::remove_dir_all(&image)?;
        let bare = ["--locked", "--no-check"];
        let oxcart_all = measure(&self.oxcart(&[&bare[..], &["--no-cache"]].concat()), None)?;
        fs::remove_dir_all(&image)?;
        workbench::forget(&self.store, "listings")?;
        workbench::forget(&self.store, "proofs")?;
        workbench::forget_wheel_layers(&self.store)?;
        let oxcart_proven = measure(&self.oxcart(&["--locked"]), None)?;
        let records = self.metadata()?["peak_disk"]["records"]
            .as_u64()
            .context("no peak_disk.records in the metadata")?;
        fs::remove_dir_all(&image)?;
        workbench::forget_wheel_layers(&self.store)?;
        let oxcart = measure(&self.oxcart(&bare), None)?;
        let oxcart_layers = workbench::layer_seconds(&self.path("metadata.json"))?;
        let metadata = self.metadata()?;

        let mut limit = Command::new(std::env::current_exe()?);
        limit
            .arg("limit")
            .arg(self.path("wheels"))
            .arg(self.threads.to_string());
        let limit = measure(&limit, None)?;

        let _ = fs::remove_dir_all(self.path("uv-cache"));
        let uv_cold = measure(&self.uv(), None)?;
        let uv_warm = measure(&self.uv(), None)?;
        let (tar_file, out) = (self.path("layer.tar"), self.path("layer.tar.gz"));
        let mut tar = Command::new("tar");
        let tar = measure(
            tar.arg("-cf")
                .arg(&tar_file)
                .arg("-C")
                .arg(self.path("tree"))
                .arg("."),
            None,
        )?;
        let threads = self.threads.to_string();
        let mut pigz = Command::new("pigz");
        let pigz = measure(
            pigz.args(["-6", "-c", "-p", &threads]).arg(&tar_file),
            Some(&out),
        )?;
        let pigz_bytes = fs::metadata(&out)?.len();
        let gzip = if options.no_gzip {
            None
        } else {
            let usage = measure(
                Command::new("gzip").args(["-6", "-c"]).arg(&tar_file),
                Some(&out),
            )?;
            Some((usage, fs::metadata(&out)?.len()))
        };
        let oxcart_bytes = wheel_bytes(&metadata);
        Ok(Round {
            oxcart,
            oxcart_layers,
            oxcart_proven,
            oxcart_all,
            oxcart_bytes,
            records,
            limit,
            uv_cold,
            uv_warm,
            tar,
            pigz,
            pigz_bytes,
            gzip,
        })
    }

    fn metadata(&self) -> anyhow::Result<Value> {
        let text = fs::read(self.path("metadata.json"))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Bytes of all wheels.
    fn wheel_files(&self) -> anyhow::Result<u64> {
        let sizes = self
            .wheels
            .iter()
            .map(|wheel| Ok(fs::metadata(wheel)?.len()));
        sizes.sum()
    }

    /// Installs the wheels into an empty directory.
    fn uv(&self) -> Command {
        let _ = fs::remove_dir_all(self.path("tree"));
        let mut command = Command::new(&self.uv);
        command.args([
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--no-config",
        ]);
        command.args(["--only-binary", ":all:", "--python-version", "3.13"]);
        command.args(["--python-platform", "aarch64-manylinux_2_40"]);
        command.arg("--cache-dir").arg(self.path("uv-cache"));
        command
            .arg("--target")
            .arg(self.path("tree"))
            .args(&self.wheels);
        command
    }

    fn print(&self, rounds: &[Round]) -> anyhow::Result<()> {
        let first = rounds.first().context("no rounds")?;
        println!("{}\n", self.facts(rounds.len())?);
        println!("| way | seconds | times as long | bytes | peak RSS |\n|---|--:|--:|--:|--:|");
        let table = Table::new(rounds, |round| round.oxcart_layers);
        let bytes = Some(first.oxcart_bytes);
        table.row("**oxcart**, building the layers", bytes, |r| Usage {
            seconds: r.oxcart_layers,
            ..r.oxcart
        });
        table.row("oxcart `--no-check`, the whole process", bytes, |r| {
            r.oxcart
        });
        table.row("the same, and the proof that it loads", bytes, |r| {
            r.oxcart_proven
        });
        table.row(
            "oxcart `--no-cache`, the base's layer as well",
            bytes,
            |r| r.oxcart_all,
        );
        table.row("limit: inflate and hash only", None, |r| r.limit);
        let bytes = Some(first.pigz_bytes);
        let warm = "same, uv's cache holding the unpacked wheels";
        table.row("`uv pip install; tar; pigz -6`", bytes, |r| {
            r.uv_cold.then(r.tar).then(r.pigz)
        });
        table.row(warm, bytes, |r| r.uv_warm.then(r.tar).then(r.pigz));
        if let Some((_, bytes)) = first.gzip {
            let gzip = |r: &Round| r.gzip.map_or(r.tar, |(usage, _)| r.tar.then(usage));
            let way = "`uv pip install; tar; gzip -6`";
            table.row(way, Some(bytes), |r| r.uv_cold.then(gzip(r)));
            table.row(warm, Some(bytes), |r| r.uv_warm.then(gzip(r)));
            println!(
                "\nBytes against gzip -6: {:.3}.",
                first.oxcart_bytes as f64 / bytes as f64
            );
        }
        let alone = |of: fn(&Round) -> Usage| median(rounds, |round| of(round).seconds);
        println!(
            "\nThe steps alone: uv {:.2} s ({:.2} s with its cache), tar {:.2} s, pigz {:.2} s.",
            alone(|r| r.uv_cold),
            alone(|r| r.uv_warm),
            alone(|r| r.tar),
            alone(|r| r.pigz),
        );
        let (records, wheels) = (first.records as f64, self.wheel_files()? as f64);
        println!(
            "\nThe store keeps of these layers, beside the wheels, {:.2} MB: {:.2} % of the wheels.",
            records / 1e6,
            100.0 * records / wheels
        );
        Ok(())
    }

    /// What was measured, and on what.
    fn facts(&self, rounds: usize) -> anyhow::Result<String> {
        Ok(format!(
            "{} wheels ({:.0} MB) of `{PROJECT}`, profile `{PROFILE}`, {PLATFORM}; medians of \
             {rounds} rounds.\n{}, {}, {}, {}.",
            self.wheels.len(),
            mega(self.wheel_files()?),
            table::machine(self.threads),
            table::version(&self.uv)?,
            table::version(Path::new("tar"))?,
            table::version(Path::new("pigz"))?,
        ))
    }
}

/// The bytes of the layers that hold wheels.
fn wheel_bytes(metadata: &Value) -> u64 {
    let layers = metadata["platforms"][PLATFORM]["layers"].as_array();
    layers
        .into_iter()
        .flatten()
        .filter(|layer| {
            layer["kind"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("wheel"))
        })
        .filter_map(|layer| layer["size"].as_u64())
        .sum()
}
