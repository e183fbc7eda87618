//! Every command that the README shows is run by a test.

use std::fs;
use std::process::Command;

use crate::samples::{Sample, succeed, workspace};
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
    for command in &commands()[2..] {
        let mut shell = Command::new("sh");
        shell.args(["-euc", command]).current_dir(directory.path());
        succeed(shell.env("CONTAINERS_STORAGE_CONF", &storage));
    }
}

/// The lines of the README's `sh` blocks, without comments.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(workspace().join("README.md")).expect("README.md");
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
