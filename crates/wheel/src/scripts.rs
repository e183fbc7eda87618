//! The programs in `bin/`: launchers of entry points, and scripts of the `.data` directory whose
//! first line asks to be rewritten ("Binary distribution format", section Recommended installer
//! features).

use crate::EntryPoint;

/// What a script begins with to have its first line rewritten; `#!pythonw` does as well.
pub(crate) const PLACEHOLDER: &[u8] = b"#!python";

/// A program that calls `entry_point` with the interpreter at `python`, an absolute path.
pub(crate) fn launcher(python: &str, entry_point: &EntryPoint) -> String {
    let EntryPoint { module, function } = entry_point;
    let imported = function.split('.').next().unwrap_or_default();
    let shebang = shebang(python);
    // The name is shown in usage messages: without what Windows launchers add to it.
    format!(
        r#"{shebang}
# -*- coding: utf-8 -*-
import sys
from {module} import {imported}
if __name__ == "__main__":
    for suffix in ("-script.pyw", ".exe"):
        if sys.argv[0].endswith(suffix):
            sys.argv[0] = sys.argv[0][: -len(suffix)]
            break
    sys.exit({function}())
"#
    )
}

/// `script` with its first line replaced, if that is the placeholder.
pub(crate) fn rewrite(script: &[u8], python: &str) -> Option<Vec<u8>> {
    if !script.starts_with(PLACEHOLDER) {
        return None;
    }
    let end = script
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(script.len(), |at| at + 1);
    let mut rewritten = shebang(python).into_bytes();
    rewritten.push(b'\n');
    rewritten.extend(&script[end..]);
    Some(rewritten)
}

/// The first line for `python`, without the line feed.
///
/// Linux reads 127 bytes of it, the `#!` and the line feed included, and ends the path at white
/// space. Otherwise the shell starts Python on the same file: what is a command and its words to the
/// one is a string to the other.
fn shebang(python: &str) -> String {
    const LONGEST: usize = 127;
    let plain = format!("#!{python}");
    if plain.len() < LONGEST && !python.contains([' ', '\t', '\n', '\r']) {
        return plain;
    }
    let quoted = python.replace('\'', r#"'"'"'"#);
    format!("#!/bin/sh\n'''exec' '{quoted}' \"$0\" \"$@\"\n' '''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers() {
        let entry_point = EntryPoint {
            module: "foo.cli".to_owned(),
            function: "App.main".to_owned(),
        };
        insta::assert_snapshot!(launcher("/opt/venv/bin/python", &entry_point), @r#"
        #!/opt/venv/bin/python
        # -*- coding: utf-8 -*-
        import sys
        from foo.cli import App
        if __name__ == "__main__":
            for suffix in ("-script.pyw", ".exe"):
                if sys.argv[0].endswith(suffix):
                    sys.argv[0] = sys.argv[0][: -len(suffix)]
                    break
            sys.exit(App.main())
        "#);
    }

    #[test]
    fn long_paths_and_spaces_go_through_the_shell() {
        insta::assert_snapshot!(shebang("/opt/my venv/bin/python"), @r#"
        #!/bin/sh
        '''exec' '/opt/my venv/bin/python' "$0" "$@"
        ' '''
        "#);
        let path = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert_eq!(shebang(&path(124)), format!("#!{}", path(124)));
        assert!(shebang(&path(125)).starts_with("#!/bin/sh\n"));
    }

    #[test]
    fn the_shell_form_runs_under_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        for name in ["a b", "it's a \"$x\""] {
            let program = dir.path().join(name);
            std::os::unix::fs::symlink("/bin/echo", &program).unwrap();
            std::fs::write(&script, shebang(program.to_str().unwrap()) + "\nexit 1\n").unwrap();
            let output = std::process::Command::new("/bin/sh")
                .arg(&script)
                .arg("x y")
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed, format!("{} x y\n", script.display()));
        }
    }

    #[test]
    fn placeholders_are_replaced_to_the_end_of_the_line() {
        let check = |script: &str| {
            rewrite(script.as_bytes(), "/p").map(|script| String::from_utf8(script).unwrap())
        };
        for script in [
            "#!python\nx\n",
            "#!pythonw\nx\n",
            "#!python3 -E\nx\n",
            "#!python\r\nx\n",
        ] {
            assert_eq!(check(script).as_deref(), Some("#!/p\nx\n"), "{script:?}");
        }
        assert_eq!(check("#!python").as_deref(), Some("#!/p\n"));
        assert_eq!(check("#!/usr/bin/python\nx\n"), None);
        assert_eq!(check(" #!python\n"), None);
    }
}
