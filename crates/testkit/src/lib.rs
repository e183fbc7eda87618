//! Wheels, .debs, a package index, a Debian archive and a registry, made in memory for tests.

mod answer;
mod body;
mod context;
mod deb;
mod deb_member;
mod debian_archive;
mod debian_base;
mod elf_builder;
mod fault;
mod index;
mod materialise;
mod recorded;
mod registry;
mod sdist;
mod server;
mod signing;
mod wheel;
pub mod zip;

pub use context::{Context, Run, Running};
pub use deb::{Compression, DebBuilder};
pub use debian_archive::DebianArchive;
pub use debian_base::{GLIBC_VERSION, PYTHON_VERSION, elf, multiarch};
pub use elf_builder::ElfBuilder;
pub use fault::Fault;
pub use index::PackageIndex;
pub use materialise::{materialise, read_content};
pub use recorded::RecordedIndex;
pub use registry::{
    Access, Host, Kind, Profile, Registry, RegistryFault, RegistryRequest, RetryAfter, Site, When,
    profiles,
};
pub use sdist::SdistBuilder;
pub use server::{Served, Server};
pub use signing::ArchiveKey;
pub use wheel::WheelBuilder;
