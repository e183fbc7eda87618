//! The command line as it is typed: raw options, checked by what uses them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use oci::Platform;

use crate::buffers::MaxMemory;
use crate::output::Destination;

/// Builds multi-architecture OCI images for Python applications straight from wheels.
///
/// Results go to stdout; progress, warnings and errors to stderr. Exit status: 0 done, 1 something
/// that you can mend, 2 a defect of oxcart.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The directory with oxcart.toml, or with a pyproject.toml that has [tool.oxcart]
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
    /// Where downloads and layer records are kept [default: the user's cache directory]
    #[arg(long, global = true, value_name = "DIR", env = "OXCART_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more: each file that is fetched, each layer that is built; -vv: each request to a registry
    #[arg(short, long, global = true, conflicts_with = "quiet", action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    #[command(flatten)]
    pub(crate) network: Network,
}

/// How registries are reached.
#[expect(clippy::doc_markdown, reason = "these are help texts")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Network {
    /// A file with certificates (PEM) that registries may be signed by, besides the system's and those
    /// of SSL_CERT_FILE; may be given again
    #[arg(long = "ca", global = true, value_name = "FILE")]
    pub(crate) authorities: Vec<PathBuf>,
    /// A registry that may be spoken to without TLS; may be given again [default: loopback only]
    #[arg(long = "insecure-registry", global = true, value_name = "HOST[:PORT]")]
    pub(crate) insecure: Vec<String>,
    /// The environment variable that has the registry's credentials, as USER:PASSWORD or as
    /// HOST=USER:PASSWORD[,...] [default: OXCART_AUTH]
    #[arg(long = "creds-env", global = true, value_name = "NAME")]
    pub(crate) credentials: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write an oxcart.toml from what is there (pyproject.toml, requirements*.txt)
    Init,
    /// Resolve everything that enters the image, and pin it by sha256 in oxcart.lock
    Lock(LockArgs),
    /// Show what a build would do: base, layers with sizes, config
    Plan(PlanArgs),
    /// Build the image for every platform, and print the digest of its index
    Build(BuildArgs),
    /// Print the digest that a build gives, from the lock and the project's files alone
    Digest(DigestArgs),
    /// Push an image from a layout, an archive or another registry
    Push(PushArgs),
    /// Build the image again from lock and sources, and compare an image with it, layer by layer
    Verify(VerifyArgs),
    /// Join the images of several platforms under one name
    #[command(subcommand)]
    Index(IndexCommand),
    /// Prove that an image would load: architectures, libraries, entry points, requirements
    Check(CheckArgs),
    /// Show what is in an image: platforms, layers, packages, files, config
    Inspect(InspectArgs),
    /// Show what tells two images apart, and why their digests differ
    Diff(DiffArgs),
    /// Gather all that a build without a network needs in one OCI layout
    Vendor(VendorArgs),
    /// Look after the store of downloads and layer records
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Take the newest versions that are allowed: of everything, or of the package NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) upgrade: Option<String>,
    /// Write nothing; exit with 1 when the lock is missing or stale
    #[arg(long)]
    pub(crate) check: bool,
    /// State every layer in it: build those that neither an earlier lock states nor the store knows
    #[arg(long, conflicts_with = "check")]
    pub(crate) layers: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Only this platform; may be given again [default: all of the configuration's]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag as it is typed"
)]
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Only this platform; may be given again [default: all of the configuration's]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Where the image goes: oci:DIR, oci-archive:FILE, docker-archive:FILE, or - for an
    /// oci-archive on stdout; may be given again
    #[arg(short, long = "output", value_name = "DEST")]
    pub(crate) outputs: Vec<Destination>,
    /// Push the image to the registry of its name, under each --tag
    #[arg(long)]
    pub(crate) push: bool,
    /// Push into what the tags name already: other platforms in there stay
    #[arg(long, requires = "push")]
    pub(crate) join: bool,
    /// The image's name, instead of the configuration's
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) name: Option<String>,
    /// The image's tag; may be given again [default: latest]
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A repository that may have layers of the image, besides the configuration's cache-from; may be
    /// given again
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) cache_from: Vec<String>,
    /// Fail where the lock is missing or stale or states other layers, instead of writing it
    #[arg(long)]
    pub(crate) locked: bool,
    /// Use no network: everything comes from the store or from --vendor, and the lock must be up to date
    #[arg(long, conflicts_with_all = ["push", "join"])]
    pub(crate) offline: bool,
    /// What `oxcart vendor` gathered: a layout directory, or an archive of one
    #[arg(long, value_name = "DIR", requires = "offline")]
    pub(crate) vendor: Option<PathBuf>,
    /// Write a JSON account of the build to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Threads that build layers [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
    /// Keep nothing: everything lies in a temporary directory (TMPDIR), from which a wheel goes as soon as
    /// its layers are pushed or written
    #[arg(long)]
    pub(crate) no_store: bool,
    /// Memory for the buffers that layers are built in, as in 32M or 1G [default: 64M]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<MaxMemory>,
    /// Build every layer again from what is stored
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Write and push the image without proof that it would load
    #[arg(long)]
    pub(crate) no_check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Only this platform; may be given again [default: all of the configuration's]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A reference to an image in a registry; or oci:DIR, oci-archive:FILE, docker-archive:FILE, or a
    /// path to one of them
    pub(crate) image: String,
    /// Only this platform; may be given again [default: those that the image and the project have]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VendorArgs {
    /// The layout's directory: what it has stays, what is missing is added
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Only this platform; may be given again [default: all of the configuration's]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// Use [profile.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// oci:DIR, oci-archive:FILE, docker-archive:FILE, a path to one of them (each with :TAG where it
    /// holds several images), or a reference to an image in a registry
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Where to push it: a reference with a tag
    #[arg(value_name = "REF", required = true)]
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Put the images of SOURCE... under REF; platforms that REF has besides stay
    Create(IndexCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IndexCreateArgs {
    /// The name of the whole: a reference with a tag
    #[arg(value_name = "REF")]
    pub(crate) target: String,
    /// An image or index: a reference, or oci:DIR, oci-archive:FILE, docker-archive:FILE
    #[arg(value_name = "SOURCE", required = true)]
    pub(crate) sources: Vec<String>,
    /// Begin anew: platforms that REF has now do not stay
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A reference to an image in a registry; or oci:DIR, oci-archive:FILE, docker-archive:FILE, or a
    /// path to one of them
    pub(crate) image: String,
    /// Only this platform; may be given again [default: all that the image has]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<Platform>,
    /// In a project: what [profile.NAME] overrides and excludes is no fault
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Without options the image's documents tell all that is shown, and no layer is read. What is read of a layer
/// is kept in the store, so that no layer is read twice.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag as it is typed"
)]
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A reference to an image in a registry; or oci:DIR, oci-archive:FILE, docker-archive:FILE, or a
    /// path to one of them
    pub(crate) image: String,
    /// Only this platform; may be given again [default: all that the image has]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<String>,
    /// List the packages too, with their versions, sizes and layers
    #[arg(long)]
    pub(crate) packages: bool,
    /// Print the files as a tree with their sizes instead, the largest first; with --json, list them all
    #[arg(long)]
    pub(crate) tree: bool,
    /// Levels of directories that the tree shows; 0 for all, and every file
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) depth: usize,
    /// A tree for each layer, what upper layers hide included
    #[arg(long)]
    pub(crate) by_layer: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with treemaps and tables to this file; it needs no network and no other file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Read no layer, whatever else is asked for
    #[arg(long, conflicts_with_all = ["packages", "tree", "by_layer", "html"])]
    pub(crate) documents: bool,
}

/// Of layers, those are read that only one of the images has; none, where the digests are equal.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The first image: a reference, or oci:DIR, oci-archive:FILE, docker-archive:FILE, or a path
    #[arg(value_name = "A")]
    pub(crate) a: String,
    /// The second image
    #[arg(value_name = "B")]
    pub(crate) b: String,
    /// Only this platform; may be given again [default: all that the images have]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(crate) platforms: Vec<String>,
    /// Compare every file: content, mode, owner, mtime
    #[arg(long)]
    pub(crate) files: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 1 where the images differ
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Print the bytes that the store takes, by kind
    Size {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what has not been used lately
    Prune {
        /// How long something must have been unused: 30d, 12h, 0d for all
        #[arg(long, value_name = "AGE", default_value = "30d")]
        older_than: crate::store::Age,
    },
}
