//! Environments as two installers leave them, compared file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Compares the environment in `ours` with the one that `uv` made in `theirs`, and returns every
/// difference but the intended ones:
/// - the environment itself: `pyvenv.cfg`, the `python` links, uv's `activate` scripts and marks;
/// - the files in `.dist-info` that say who installed it and from where (INSTALLER, REQUESTED,
///   `direct_url.json`, `uv_cache.json`);
/// - compiled Python files, which uv takes along;
/// - the wording of a command's launcher: only interpreter, import and call must be equal;
/// - RECORD's rows for all these, and its mode: some wheels make it executable.
pub fn compare_with_uv(ours: &Path, theirs: &Path) -> io::Result<Vec<String>> {
    let (ours, theirs) = (inventory(ours)?, inventory(theirs)?);
    let paths: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    Ok(paths
        .into_iter()
        .filter_map(|path| match (ours.get(path), theirs.get(path)) {
            (Some(ours), Some(theirs)) => ours
                .difference(theirs)
                .map(|what| format!("{path}: {what}")),
            (Some(_), None) => Some(format!("{path}: only ours")),
            (None, _) => Some(format!("{path}: only uv's")),
        })
        .collect())
}

/// What a comparison looks at.
#[derive(PartialEq, Eq)]
struct File {
    contents: Contents,
    executable: bool,
}

#[derive(PartialEq, Eq)]
enum Contents {
    Bytes(Vec<u8>),
    Launcher(Vec<String>),
    Record(BTreeSet<String>),
    Link(String),
}

impl File {
    fn difference(&self, other: &Self) -> Option<String> {
        if self.executable != other.executable {
            return Some(format!(
                "executable: {}, uv's: {}",
                self.executable, other.executable
            ));
        }
        match (&self.contents, &other.contents) {
            (ours, theirs) if ours == theirs => None,
            (Contents::Record(ours), Contents::Record(theirs)) => {
                let only = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>();
                Some(format!(
                    "only ours {:?}, only uv's {:?}",
                    only(ours, theirs),
                    only(theirs, ours)
                ))
            }
            (Contents::Launcher(ours), Contents::Launcher(theirs)) => {
                Some(format!("{ours:?}, uv's {theirs:?}"))
            }
            _ => Some("other contents".to_owned()),
        }
    }
}

/// All files below `dir` that a comparison looks at; directories count for nothing.
fn inventory(dir: &Path) -> io::Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    let mut launchers = BTreeSet::new();
    let mut pending = vec![String::new()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(dir.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if directory.is_empty() {
                name
            } else {
                format!("{directory}/{name}")
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(path);
            } else if !is_expected_to_differ(&path) {
                let contents = if kind.is_symlink() {
                    Contents::Link(fs::read_link(entry.path())?.to_string_lossy().into_owned())
                } else {
                    contents(&path, fs::read(entry.path())?)
                };
                if matches!(contents, Contents::Launcher(_)) {
                    launchers.insert(path.clone());
                }
                let executable = entry.metadata()?.permissions().mode() & 0o111 != 0
                    && !matches!(contents, Contents::Record(_));
                files.insert(
                    path,
                    File {
                        contents,
                        executable,
                    },
                );
            }
        }
    }
    for file in files.values_mut() {
        if let Contents::Record(rows) = &mut file.contents {
            *rows = rows
                .iter()
                .map(|row| without_launcher_hash(row, &launchers))
                .collect();
        }
    }
    Ok(files)
}

fn is_expected_to_differ(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let in_dist_info = path
        .rsplit('/')
        .nth(1)
        .is_some_and(|name| name.ends_with(".dist-info"));
    let environment = ["pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", ".lock"].contains(&path)
        || path.strip_prefix("bin/").is_some_and(|name| {
            name.starts_with("activate")
                || ["python", "python3", "deactivate.bat", "pydoc.bat"].contains(&name)
                || name
                    .strip_prefix("python3.")
                    .is_some_and(|minor| minor.parse::<u32>().is_ok())
        });
    let installers = ["INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"];
    let compiled = Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "pyc");
    environment || (in_dist_info && installers.contains(&name)) || compiled
}

fn contents(path: &str, bytes: Vec<u8>) -> Contents {
    if path.ends_with(".dist-info/RECORD") {
        let text = String::from_utf8_lossy(&bytes);
        let path = |row: &str| {
            row.split(',')
                .next()
                .unwrap_or_default()
                .trim_matches('"')
                .to_owned()
        };
        return Contents::Record(
            text.lines()
                .filter(|row| !is_expected_to_differ(&path(row)))
                .map(str::to_owned)
                .collect(),
        );
    }
    if path.starts_with("bin/")
        && let Ok(text) = std::str::from_utf8(&bytes)
        && text.contains("-script.pyw")
    {
        let kept = |line: &&str| {
            let line = line.trim_start();
            let beginnings = ["#!", "'''exec'", "' '''", "from ", "sys.exit("];
            beginnings
                .iter()
                .any(|beginning| line.starts_with(beginning))
        };
        return Contents::Launcher(text.lines().filter(kept).map(str::to_owned).collect());
    }
    Contents::Bytes(bytes)
}

fn without_launcher_hash(row: &str, launchers: &BTreeSet<String>) -> String {
    let path = row.split(',').next().unwrap_or_default();
    let in_prefix = path.trim_start_matches("../");
    if path.starts_with("../") && launchers.contains(in_prefix) {
        path.to_owned()
    } else {
        row.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "lib/x-1.dist-info/RECORD";
    const LAUNCHER: &str =
        "#!/v/bin/python\n{}\nfrom x import main\n# -script.pyw\nsys.exit(main())\n";

    fn environment(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn check(ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> Vec<String> {
        let (ours, theirs) = (environment(ours), environment(theirs));
        compare_with_uv(ours.path(), theirs.path()).unwrap()
    }

    #[test]
    fn intended_differences_are_none() {
        let ours = [
            ("bin/x", &*LAUNCHER.replace("{}", "ours")),
            (
                RECORD,
                "../../bin/x,sha256=1,1\nlib/a.py,sha256=3,3\nx-1.dist-info/INSTALLER,sha256=5,5\n",
            ),
            ("lib/x-1.dist-info/INSTALLER", "oxcart\n"),
        ];
        let theirs = [
            ("bin/x", &*LAUNCHER.replace("{}", "theirs")),
            ("bin/activate.fish", ""),
            (
                RECORD,
                "../../bin/x,sha256=2,2\nlib/a.py,sha256=3,3\nlib/__pycache__/a.pyc,sha256=4,4\n",
            ),
            ("lib/x-1.dist-info/uv_cache.json", "{}"),
            ("lib/__pycache__/a.pyc", ""),
        ];
        assert_eq!(check(&ours, &theirs), Vec::<String>::new());
    }

    #[test]
    fn other_differences_are_named() {
        let ours = [
            ("a", "1"),
            ("b", ""),
            (RECORD, "a,1,\n"),
            ("bin/x", LAUNCHER),
        ];
        let launcher = LAUNCHER.replace("main", "run");
        let theirs = [
            ("a", "2"),
            ("c", ""),
            (RECORD, "b,1,\n"),
            ("bin/x", &*launcher),
        ];
        let differences = check(&ours, &theirs);
        assert_eq!(differences.len(), 5, "{differences:?}");
        assert_eq!(differences[..2], ["a: other contents", "b: only ours"]);
    }
}
