//! Scripts' interpreters are there (execve(2), section Interpreter scripts), and links to Python lead to one.

use contents::{Body, Ecosystem, Found, Kind};
use facts::path::{join, name, parent};
use wheel::EntryPoints;

use crate::image::Image;
use crate::modules;
use crate::report::{Code, Counts, Finding, Severity};
use crate::search::{Program, is_executable};

pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let mut lacking = Vec::new();
    for found in image.contents.iter() {
        match &found.entry.kind {
            Kind::File(_) => {
                let Some(interpreter) = shebang(&found) else {
                    continue;
                };
                counts.scripts += 1;
                if let Err(why) = resolves(image, interpreter) {
                    lacking.push(broken(image, found.path, interpreter, &why));
                }
            }
            Kind::Symlink { target }
                if is_python_link(image, found.path)
                    && image.contents.file(found.path).is_none() =>
            {
                let message = format!("leads to {target}, where nothing is");
                let finding = image.finding(
                    Severity::Fault,
                    Code::DanglingInterpreter,
                    found.path,
                    message,
                );
                findings.push(finding.hint(
                        "the environment was made for another base: make it anew, or use the base that it was made with",
                    ));
            }
            _ => {}
        }
    }
    findings.extend(one_a_package(lacking));
    console_scripts(image, counts, findings);
}

/// Of a package's notes the first, which names the others: a dozen modules of the standard library begin with a
/// line that is used by nobody.
fn one_a_package(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<(Finding, Vec<String>)> = Vec::new();
    for finding in findings {
        let is_same = |first: &Finding| {
            let is_note = finding.severity == Severity::Note && first.severity == Severity::Note;
            is_note && finding.owner.is_some() && first.owner == finding.owner
        };
        match kept.iter_mut().find(|(first, _)| is_same(first)) {
            Some((_, others)) => others.push(finding.path),
            None => kept.push((finding, Vec::new())),
        }
    }
    let told = kept.into_iter().map(|(mut first, others)| {
        if !others.is_empty() {
            let others = others.join(", ");
            first.message = format!(
                "{}; others of the package lack theirs too: {others}",
                first.message
            );
        }
        first
    });
    told.collect()
}

/// `python…` in the `bin` of a virtual environment.
fn is_python_link(image: &Image<'_>, path: &str) -> bool {
    let bin = parent(path);
    name(path).starts_with("python")
        && name(bin) == "bin"
        && image
            .contents
            .get(&join(parent(bin), "pyvenv.cfg"))
            .is_some()
}

fn shebang<'a>(found: &Found<'a>) -> Option<&'a str> {
    match &found.entry.file()?.body {
        Body::Script(line) if is_executable(found) => Some(line),
        _ => None,
    }
}

/// Whether the kernel, and env(1) where that is asked, find the interpreter of a `#!` line.
pub(crate) fn resolves(image: &Image<'_>, line: &str) -> Result<(), String> {
    let mut words = line.split_ascii_whitespace();
    let Some(program) = words.next() else {
        return Err("names no interpreter".to_owned());
    };
    if !program.starts_with('/') {
        return Err(format!(
            "names the interpreter `{program}`, which is no absolute path"
        ));
    }
    found(image, program)?;
    if name(program) != "env" {
        return Ok(());
    }
    let asked = words.find(|word| !word.starts_with('-') && !word.contains('='));
    asked.map_or(Ok(()), |asked| found(image, asked))
}

fn found(image: &Image<'_>, program: &str) -> Result<(), String> {
    match image.program(program) {
        Program::Found(_) => Ok(()),
        Program::Missing => Err(format!("is run by {program}, which is not there")),
        Program::NotExecutable(path) => Err(format!(
            "is run by {program}, and /{path} is not executable"
        )),
    }
}

/// A script whose interpreter is not there. It is a fault where it was made to be run: a command of a wheel, or
/// a script for Python in a directory of `PATH`.
fn broken(image: &Image<'_>, path: &str, line: &str, why: &str) -> Finding {
    let directory = parent(path);
    let in_path = image.path().any(|it| {
        image
            .contents
            .follow(it)
            .is_some_and(|real| real == directory)
    });
    let wheel = image.owners.wheel_of(path);
    let for_python = line
        .split(['/', ' '])
        .any(|word| word.starts_with("python"));
    let is_dpkg = image.owners.of(path).is_some() && wheel.is_none();
    if in_path && for_python && !is_dpkg {
        let finding = image.finding(Severity::Fault, Code::MissingInterpreter, path, why);
        return finding.hint("install the wheel again for this image's environment");
    }
    let rule = if is_dpkg {
        "rule: a Debian package's own script; bases without a shell or perl do without it"
    } else {
        "rule: no command of a wheel and no script for Python in PATH: it is run only by who knows it"
    };
    image
        .finding(Severity::Note, Code::MissingInterpreter, path, why)
        .hint(rule)
}

/// The modules of wheels' commands are there.
fn console_scripts(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let Some(python) = &image.python else {
        return;
    };
    let directories = python.module_directories(image);
    for package in &image.owners.packages {
        let info = parent(&package.metadata);
        if package.ecosystem != Ecosystem::Python
            || !python.sites.iter().any(|it| it == parent(info))
        {
            continue;
        }
        let path = join(info, "entry_points.txt");
        let text = image.contents.text(&path).unwrap_or_default();
        // One that cannot be read has no commands: the wheel could not be installed otherwise.
        let points = EntryPoints::parse(text.as_bytes()).unwrap_or_default();
        for (command, point) in points.console_scripts.iter().chain(&points.gui_scripts) {
            counts.entry_points += 1;
            if modules::find(image, &directories, &point.module).is_some() {
                continue;
            }
            let message = format!(
                "has the command `{command}`, whose module {} is not there",
                point.module
            );
            // A command may be for who asked for an extra, and its module be of another package.
            let own = package.files.iter().any(|file| {
                let first = point.module.split('.').next().unwrap_or_default();
                file.contains(&format!("-packages/{first}"))
            });
            let severity = if own || package.files.is_empty() {
                Severity::Fault
            } else {
                Severity::Note
            };
            let finding = image.finding(severity, Code::MissingModule, &path, message);
            findings.push(match severity {
                Severity::Fault => finding.hint("the package lacks a part of itself: take another version"),
                Severity::Note => finding.hint(
                    "rule: a command whose module is not of its own package works only with what an extra would bring",
                ),
            });
        }
    }
}
