//! Builds multi-architecture OCI images for Python applications straight from wheels: with no Docker,
//! no emulation, and no Python on the build machine.
//!
//! The flow: a [`project::Project`] is locked ([`lock::Lock`]), planned for each platform
//! ([`plan::Plan`]), its files are fetched ([`fetch`]) into the [`store::Store`], each step of the plan
//! becomes a layer ([`layers`]), layers become images and an index ([`build`]), and these go to their
//! destinations ([`output`]) or to a registry ([`push`]).

mod app;
mod archives;
mod asked;
mod base;
mod buffers;
mod build;
mod built;
mod cli;
mod clock;
mod commands;
mod credentials;
mod debian;
mod delivery;
mod diagnostics;
mod fetch;
mod full_lock;
mod github;
mod join;
mod layer_diff;
mod layering;
mod layers;
mod listings;
mod lock;
mod lock_diff;
mod lock_state;
mod look;
mod memory;
mod mend;
mod metadata;
mod mutex;
mod netrc;
mod notes;
mod output;
mod parts;
mod pipe;
mod place;
mod plan;
mod progress;
mod project;
mod project_wheel;
mod proof;
mod push;
mod registries;
mod remote;
mod resolving;
mod sources;
mod store;
mod system;
mod target;
mod vendor;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Color, Command};

fn main() -> ExitCode {
    memory::bound_heaps();
    resolve::before_threads();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; they go to stdout.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            diagnostics::report(&error);
            ExitCode::from(diagnostics::exit_status(&error))
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match &cli.command {
        Command::Init => commands::init::run(global)?,
        Command::Lock(args) => return commands::lock::run(global, args),
        Command::Plan(args) => commands::plan::run(global, args)?,
        Command::Build(args) => commands::build::run(global, args)?,
        Command::Digest(args) => commands::digest::run(global, args)?,
        Command::Push(args) => commands::push::run(global, args)?,
        Command::Index(cli::IndexCommand::Create(args)) => commands::index::create(global, args)?,
        Command::Diff(args) => return commands::diff::run(global, args),
        Command::Check(args) => return commands::check::run(global, args),
        Command::Inspect(args) => commands::inspect::run(global, args)?,
        Command::Vendor(args) => commands::vendor::run(global, args)?,
        Command::Verify(args) => return commands::verify::run(global, args),
        Command::Store(command) => commands::store::run(global, command)?,
    }
    Ok(ExitCode::SUCCESS)
}
