//! The virtual environment in an image: its paths, and what is in it before any wheel is (Python's
//! `sysconfig` scheme "venv" on POSIX, and the documentation of `site` for `pyvenv.cfg`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use oci::{Content, Entry, Tree, TreePath};
use uv_normalize::PackageName;

/// A Python version, of which an environment needs the three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    /// 3
    pub major: u32,
    /// 13
    pub minor: u32,
    /// 5
    pub patch: u32,
}

/// A text that is no Python version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a full Python version such as 3.13.5")]
pub struct VersionError(pub String);

impl FromStr for PythonVersion {
    type Err = VersionError;

    /// Takes `3.13.5`, and `3.14.0rc1` as `3.14.0`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let parse = || {
            let mut parts = text.splitn(3, '.');
            let major = parts.next()?.parse().ok()?;
            let minor = parts.next()?.parse().ok()?;
            let patch = parts.next()?;
            let end = patch
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(patch.len());
            let (patch, suffix) = patch.split_at(end);
            let is_suffix = |c: char| c.is_ascii_digit() || "abrc+".contains(c);
            let patch = patch
                .parse()
                .ok()
                .filter(|_| suffix.chars().all(is_suffix))?;
            Some(Self {
                major,
                minor,
                patch,
            })
        };
        parse().ok_or_else(|| VersionError(text.to_owned()))
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Which Python it is; they differ in where they look for packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Implementation {
    /// CPython.
    #[default]
    CPython,
    /// CPython built without the global interpreter lock.
    FreeThreadedCPython,
    /// `PyPy`.
    PyPy,
}

/// A virtual environment in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venv {
    /// Its directory: `opt/venv`.
    pub prefix: TreePath,
    /// The version of the interpreter.
    pub python: PythonVersion,
    /// Absolute path of the base image's interpreter: `/usr/bin/python3.13`.
    pub interpreter: String,
    /// The kind of the interpreter.
    pub implementation: Implementation,
    /// Which packages programs see besides the environment's own.
    pub sees: Sees,
}

/// Which packages the programs of an environment see besides its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sees {
    /// None.
    #[default]
    Own,
    /// Those of the interpreter (`include-system-site-packages`): its own come first.
    System,
}

impl Venv {
    /// Absolute path of the environment's interpreter in the image, for first lines.
    pub fn executable(&self) -> String {
        format!("/{}/bin/python", self.prefix)
    }

    /// Where commands go.
    pub fn bin(&self) -> TreePath {
        self.at("bin")
    }

    /// Where packages go, pure and others alike.
    pub fn site_packages(&self) -> TreePath {
        self.at(&format!("lib/{}/site-packages", self.python_directory()))
    }

    /// Where the C headers of `project` go.
    pub fn headers(&self, project: &PackageName) -> TreePath {
        self.at(&format!(
            "include/site/{}/{project}",
            self.python_directory()
        ))
    }

    fn at(&self, path: &str) -> TreePath {
        self.prefix
            .join(path)
            .expect("these names have no empty or dot component")
    }

    fn python_directory(&self) -> String {
        let PythonVersion { major, minor, .. } = self.python;
        match self.implementation {
            Implementation::CPython => format!("python{major}.{minor}"),
            Implementation::FreeThreadedCPython => format!("python{major}.{minor}t"),
            Implementation::PyPy => format!("pypy{major}.{minor}"),
        }
    }

    /// `pyvenv.cfg`, the links to the interpreter, `lib64`, and the directories. There are no
    /// `activate` scripts: nothing in an image has a shell to activate.
    pub fn skeleton(&self) -> Tree {
        let origin: Arc<str> = "virtual environment".into();
        let PythonVersion { major, minor, .. } = self.python;
        let mut entries = vec![
            (self.at("pyvenv.cfg"), file(&self.pyvenv_cfg(), &origin)),
            (
                self.at("bin/python"),
                Entry::symlink(&self.interpreter, &origin),
            ),
            (self.at("lib64"), Entry::symlink("lib", &origin)),
            (self.site_packages(), Entry::directory(&origin)),
        ];
        let mut names = vec![format!("python{major}"), format!("python{major}.{minor}")];
        match self.implementation {
            Implementation::CPython => {}
            Implementation::FreeThreadedCPython => names.push(format!("python{major}.{minor}t")),
            Implementation::PyPy => names.extend(["pypy".to_owned(), format!("pypy{major}")]),
        }
        for name in names {
            entries.push((
                self.at(&format!("bin/{name}")),
                Entry::symlink("python", &origin),
            ));
        }
        let mut tree = Tree::new();
        for (path, entry) in entries {
            tree.insert(path, entry)
                .expect("these paths are different ones");
        }
        tree
    }

    fn pyvenv_cfg(&self) -> String {
        let home = self
            .interpreter
            .rsplit_once('/')
            .map_or("", |(home, _)| home);
        let implementation = match self.implementation {
            Implementation::CPython | Implementation::FreeThreadedCPython => "CPython",
            Implementation::PyPy => "PyPy",
        };
        format!(
            "home = {home}\nimplementation = {implementation}\nversion = {}\n\
             include-system-site-packages = {}\n",
            self.python,
            self.sees == Sees::System
        )
    }
}

fn file(text: &str, origin: &Arc<str>) -> Entry {
    Entry::file(Content::Bytes(text.as_bytes().into()), false, origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Kind;

    fn venv(implementation: Implementation) -> Venv {
        Venv {
            prefix: TreePath::new("/opt/venv").unwrap(),
            python: "3.13.5".parse().unwrap(),
            interpreter: "/usr/bin/python3.13".to_owned(),
            implementation,
            sees: Sees::Own,
        }
    }

    fn listing(tree: &Tree) -> String {
        let line = |(path, entry): (&TreePath, &Entry)| match &entry.kind {
            Kind::Symlink(target) => format!("{path} -> {target}"),
            Kind::Directory => format!("{path}/"),
            _ => path.to_string(),
        };
        tree.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn versions() {
        let check = |text: &str| PythonVersion::from_str(text).map(|version| version.to_string());
        assert_eq!(check("3.13.5").as_deref(), Ok("3.13.5"));
        assert_eq!(check("3.14.0rc1").as_deref(), Ok("3.14.0"));
        assert_eq!(check("3.14.0b4+").as_deref(), Ok("3.14.0"));
        for text in ["", "3", "3.13", "3.13.x", "3.13.5 ", "3.13.5.1"] {
            assert_eq!(check(text), Err(VersionError(text.to_owned())));
        }
    }

    #[test]
    fn skeleton() {
        let tree = venv(Implementation::CPython).skeleton();
        insta::assert_snapshot!(listing(&tree), @"
        opt/
        opt/venv/
        opt/venv/bin/
        opt/venv/bin/python -> /usr/bin/python3.13
        opt/venv/bin/python3 -> python
        opt/venv/bin/python3.13 -> python
        opt/venv/lib/
        opt/venv/lib/python3.13/
        opt/venv/lib/python3.13/site-packages/
        opt/venv/lib64 -> lib
        opt/venv/pyvenv.cfg
        ");
        insta::assert_snapshot!(venv(Implementation::CPython).pyvenv_cfg(), @"
        home = /usr/bin
        implementation = CPython
        version = 3.13.5
        include-system-site-packages = false
        ");
    }

    #[test]
    fn other_implementations_have_their_own_directories() {
        let paths = |implementation| {
            let venv = venv(implementation);
            let headers = venv.headers(&PackageName::from_str("A_b").unwrap());
            [venv.site_packages(), headers].map(|path| path.to_string())
        };
        assert_eq!(
            paths(Implementation::FreeThreadedCPython),
            [
                "opt/venv/lib/python3.13t/site-packages",
                "opt/venv/include/site/python3.13t/a-b"
            ]
        );
        assert_eq!(
            paths(Implementation::PyPy)[0],
            "opt/venv/lib/pypy3.13/site-packages"
        );
    }
}
