//! What the configuration runs: program, module, user and working directory (image-spec `config.md`).

use contents::{Body, Kind};
use facts::path::{name, relative};

use crate::image::Image;
use crate::modules;
use crate::report::{Code, Counts, Finding, Severity};
use crate::scripts;
use crate::search::Program;

/// Servers that are given an application as `module:attribute`, and their options that name the directory to
/// import it from.
const SERVERS: [(&str, &[&str]); 5] = [
    ("uvicorn", &["--app-dir"]),
    ("gunicorn", &["--chdir", "--pythonpath"]),
    ("hypercorn", &[]),
    ("daphne", &[]),
    ("granian", &["--working-dir"]),
];

/// Programs that run the rest of their arguments.
const WRAPPERS: [&str; 4] = ["tini", "dumb-init", "catatonit", "exec"];

pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    user(image, findings);
    directory(image, findings);
    let config = image.config;
    let words = config.entrypoint.iter().chain(&config.cmd);
    let words: Vec<&str> = words.map(String::as_str).collect();
    let field = if config.entrypoint.is_empty() {
        "Cmd"
    } else {
        "Entrypoint"
    };
    if words.is_empty() {
        return;
    }
    counts.entry_points += 1;
    run(image, field, &words, findings);
}

/// A finding on a field of the configuration.
fn on(severity: Severity, code: Code, field: &str, message: String) -> Finding {
    Finding {
        severity,
        code,
        path: field.to_owned(),
        owner: None,
        subject: None,
        message,
        hint: None,
    }
}

fn run(image: &Image<'_>, field: &str, words: &[&str], findings: &mut Vec<Finding>) {
    let Some((program, rest)) = words.split_first() else {
        return;
    };
    let fault = |code, message| on(Severity::Fault, code, field, message);
    let found = match image.program(program) {
        Program::Found(found) => found,
        Program::Missing => {
            let looked = if program.contains('/') {
                String::new()
            } else {
                format!(" in {}", image.path().collect::<Vec<_>>().join(":"))
            };
            findings.push(
                fault(
                    Code::MissingProgram,
                    format!("runs `{program}`, which is not there{looked}"),
                )
                .hint(
                    "correct [config] entrypoint or cmd, or add the package that has the program",
                ),
            );
            return;
        }
        Program::NotExecutable(path) => {
            findings.push(
                fault(
                    Code::MissingProgram,
                    format!("runs `{program}`, and /{path} is not an executable file"),
                )
                .hint("make it executable where it comes from"),
            );
            return;
        }
    };
    if let Some(Body::Script(line)) = found.entry.file().map(|file| &file.body)
        && let Err(why) = scripts::resolves(image, line)
    {
        let message = format!("runs `{program}`, which {why}");
        findings.push(
            fault(Code::MissingInterpreter, message).hint("use a base that has the interpreter"),
        );
    }
    let called = name(program);
    if WRAPPERS.contains(&called) {
        let start = rest
            .iter()
            .position(|word| !word.starts_with('-') || *word == "--");
        let inner = start.map_or(&[][..], |start| &rest[start..]);
        run(
            image,
            field,
            inner.strip_prefix(&["--"]).unwrap_or(inner),
            findings,
        );
    } else if called.starts_with("python") {
        python(image, field, rest, findings);
    } else {
        server(image, field, called, rest, findings);
    }
}

/// `-m MODULE` or a script.
fn python(image: &Image<'_>, field: &str, words: &[&str], findings: &mut Vec<Finding>) {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        match *word {
            "-m" => {
                if let Some((module, arguments)) = after.split_first() {
                    run_module(image, field, module, arguments, findings);
                }
                return;
            }
            "-c" => return,
            "-W" | "-X" => rest = after.get(1..).unwrap_or_default(),
            option if option.starts_with('-') => rest = after,
            script => {
                if image.contents.resolve(&image.in_workdir(script)).is_none() {
                    let message = format!("runs the script `{script}`, which is not there");
                    findings.push(
                        on(Severity::Fault, Code::MissingProgram, field, message).hint(
                            "correct the path, or [config] workdir, or add the file with [[app]]",
                        ),
                    );
                }
                return;
            }
        }
    }
}

fn run_module(
    image: &Image<'_>,
    field: &str,
    module: &str,
    arguments: &[&str],
    findings: &mut Vec<Finding>,
) {
    let directories = importable(image, &[]);
    let main = format!("{module}.__main__");
    let there = |name: &str| modules::find(image, &directories, name).is_some();
    let is_package = there(&format!("{module}.__init__"));
    // Of a package, its `__main__` is run.
    let runs = there(&main) || !is_package && there(module);
    if !runs {
        let message =
            format!("runs the module {module}, and there is no such module that can be run");
        findings.push(
            on(Severity::Fault, Code::MissingModule, field, message).hint(
                "add the package that has it to the requirements, or the module with [[app]]",
            ),
        );
        return;
    }
    server(image, field, module, arguments, findings);
}

/// The application of a known server is there as a file.
fn server(
    image: &Image<'_>,
    field: &str,
    called: &str,
    words: &[&str],
    findings: &mut Vec<Finding>,
) {
    let Some((_, options)) = SERVERS.iter().find(|(server, _)| *server == called) else {
        return;
    };
    let mut stated = Vec::new();
    let mut application = None;
    let mut before = "";
    for word in words {
        if options.contains(&before) {
            stated.push(*word);
        } else if let Some((option, value)) = word.split_once('=')
            && options.contains(&option)
        {
            stated.push(value);
        } else if let Some((module, _)) = word.split_once(':')
            && is_dotted(module)
            && application.is_none()
            && !takes_value(before)
        {
            application = Some((*word, module));
        }
        before = word;
    }
    let Some((word, module)) = application else {
        return;
    };
    if modules::find(image, &importable(image, &stated), module).is_none() {
        let message =
            format!("gives {called} the application `{word}`, and there is no module {module}");
        findings.push(
            on(Severity::Fault, Code::MissingModule, field, message).hint(format!(
                "it was looked for in {} and among the packages: correct the name, [config] workdir, or [[app]] destination",
                match image.config.working_dir.as_str() {
                    "" => "/",
                    directory => directory,
                }
            )),
        );
    }
}

/// Options of servers whose value looks like an application, or is of another kind.
fn takes_value(option: &str) -> bool {
    matches!(
        option,
        "--bind"
            | "-b"
            | "--host"
            | "--config"
            | "-c"
            | "--worker-class"
            | "-k"
            | "--loop"
            | "--http"
            | "--log-config"
    )
}

fn is_dotted(text: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(word)
}

/// Where the program looks for modules, the working directory first.
fn importable(image: &Image<'_>, stated: &[&str]) -> Vec<String> {
    let workdir = image.config.working_dir.trim_matches('/');
    let mut directories: Vec<String> = stated.iter().map(|path| image.in_workdir(path)).collect();
    directories.push(workdir.to_owned());
    if let Some(python) = &image.python {
        directories.extend(python.module_directories(image));
    }
    directories
}

fn user(image: &Image<'_>, findings: &mut Vec<Finding>) {
    let text = image.config.user.as_str();
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut look = |kind: &str, name: &str, file: &str| {
        let is_number = name.chars().all(|c| c.is_ascii_digit());
        let lines = image.contents.text(file).unwrap_or_default().lines();
        let mut names = lines.filter_map(|line| line.split(':').next());
        if !is_number && !names.any(|it| it == name) {
            let message = format!("names the {kind} `{name}`, which /{file} does not have");
            findings.push(
                on(Severity::Fault, Code::MissingUser, "User", message)
                    .hint("use a numeric id, or a base that has the account"),
            );
        }
    };
    look("user", user, "etc/passwd");
    if let Some(group) = group {
        look("group", group, "etc/group");
    }
}

fn directory(image: &Image<'_>, findings: &mut Vec<Finding>) {
    let Some(path) = relative(&image.config.working_dir) else {
        return;
    };
    let found = image.contents.resolve(&path);
    let (severity, message, hint) = match found {
        _ if path.is_empty() => return,
        Some(found) if found.entry.kind == Kind::Directory => return,
        Some(_) => (
            Severity::Fault,
            format!("is /{path}, which is no directory"),
            "correct [config] workdir",
        ),
        None => (
            Severity::Note,
            format!("is /{path}, which is not there"),
            "rule: container engines make it, empty and owned by root",
        ),
    };
    findings.push(on(severity, Code::MissingDirectory, "WorkingDir", message).hint(hint));
}
