//! Every command that the README shows is run by a test.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::docker_registry::{Asks, DockerRegistry};
use crate::samples::{Sample, store, succeed, workspace};
use crate::skip::{Need, left_out};

/// What the first command stands for, less `cargo run --`; [`crate::samples`] builds `hello` by it.
pub(crate) fn first_command() -> Vec<String> {
    let commands = commands();
    let first = commands.first().expect("a command");
    let arguments = first
        .strip_prefix("cargo run -- ")
        .expect("`cargo run -- …`");
    arguments.split(' ').map(str::to_owned).collect()
}

#[test]
fn begins_with_the_two_commands_that_matter() {
    let commands = commands();
    // The first builds the image of `Sample::Hello`; the second runs this.
    assert_eq!(
        commands[0],
        "cargo run -- build --project images/hello --output oci:hello-image"
    );
    assert_eq!(commands[1], "cargo xtask test");
    assert!(
        commands[2..]
            .iter()
            .all(|command| !command.starts_with("cargo ")),
        "{commands:?}"
    );
}

/// The others are run as they stand, where the first command has left its image.
#[test]
fn commands_of_other_tools_work() {
    if left_out(Need::Network) {
        return;
    }
    let hello = Sample::Hello.built();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(hello.layout(), directory.path().join("hello-image")).unwrap();
    let storage = directory.path().join("storage.conf");
    let at = directory.path().display();
    let text =
        format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{at}/root\"\nrunroot = \"{at}/run\"\n");
    fs::write(&storage, text).unwrap();
    let registry = DockerRegistry::start(Asks::Nothing);
    let program = Path::new(env!("CARGO_BIN_EXE_oxcart")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for command in &commands()[2..] {
        let command = command.replace("localhost:5000", &registry.host());
        let mut shell = Command::new("sh");
        shell.args(["-euc", &command]).current_dir(directory.path());
        shell.env("PATH", &path).env("OXCART_STORE", store());
        succeed(shell.env("CONTAINERS_STORAGE_CONF", &storage));
    }
}

fn commands() -> Vec<String> {
    commands_of("README.md")
}

/// The lines of a document's `sh` blocks, without comments.
pub(crate) fn commands_of(document: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(document)).expect(document);
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                let command = line.split("  #").next().unwrap_or_default().trim();
                if !command.is_empty() && !command.starts_with('#') {
                    commands.push(command.to_owned());
                }
            }
            _ => {}
        }
    }
    commands
}
