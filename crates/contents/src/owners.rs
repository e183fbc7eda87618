//! Which files package managers say that packages own. Paths have no slash before them.

/// Of `info/PACKAGE.list`: absolute paths, directories among them.
pub(crate) fn of_list(text: &str) -> Vec<String> {
    let paths = text.lines().filter_map(|line| line.strip_prefix('/'));
    paths
        .filter(|path| !path.is_empty() && *path != ".")
        .map(str::to_owned)
        .collect()
}

/// Of the field `Conffiles` of dpkg's status: a path and a checksum a line, then perhaps a flag.
pub(crate) fn of_conffiles(lines: &[&str]) -> Vec<String> {
    let paths = lines
        .iter()
        .filter_map(|line| line.split(' ').next()?.strip_prefix('/'));
    paths.map(str::to_owned).collect()
}

/// Of `status.d/PACKAGE.md5sums`: a checksum, two blanks and a path.
pub(crate) fn of_md5sums(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(_, path)| {
            path.trim_start_matches("./")
                .trim_start_matches('/')
                .to_owned()
        })
        .collect()
}
