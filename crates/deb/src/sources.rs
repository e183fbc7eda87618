//! The host's own apt sources, to find the mirror it uses: sources.list(5), in both formats.

use std::io;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::control::Stanzas;

/// What names Debian's suites, besides their being updates of one; other archives share the files.
const SUITES: [&str; 13] = [
    "stretch",
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// One entry for binary packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Where the archives are; `/` at their ends is cut off.
    pub uris: Vec<String>,
    /// Suites, or directories with a `/` at their end.
    pub suites: Vec<String>,
    /// `main`, `contrib`…; none for directories.
    pub components: Vec<String>,
}

/// Where to fetch a suite from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Of the suite and its updates.
    pub main: Option<String>,
    /// Of its security updates.
    pub security: Option<String>,
}

/// The entries of a host, from its `/etc/apt`: `sources.list`, then those of `sources.list.d` by
/// name. Files that are not there, or not readable as what they should be, are no sources.
pub fn of_host(etc_apt: &Path) -> Vec<AptSource> {
    let mut paths = vec![etc_apt.join("sources.list")];
    paths.append(&mut directory(&etc_apt.join("sources.list.d")).unwrap_or_default());
    let mut sources = Vec::new();
    for path in paths {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.append(&mut parse_list(&text)),
            Some("sources") => {
                let file = path.display().to_string();
                sources.append(&mut parse_deb822(&text, &file).unwrap_or_default());
            }
            _ => {}
        }
    }
    for source in &mut sources {
        source.uris = source.uris.iter().flat_map(|uri| listed(uri)).collect();
    }
    sources
}

fn directory(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<_>> = path.read_dir()?.collect();
    let mut paths: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// The mirrors in the file that a `mirror+file:` URI names, as cloud images have it; other URIs as
/// they are.
fn listed(uri: &str) -> Vec<String> {
    let Some(path) = uri.strip_prefix("mirror+file:") else {
        return vec![uri.to_owned()];
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let uris = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next());
    uris.filter(|uri| !uri.starts_with('#'))
        .map(plain)
        .collect()
}

fn plain(uri: &str) -> String {
    uri.trim_end_matches('/').to_owned()
}

/// The entries of a `.list` file: `deb [option=value…] uri suite component…`. Lines of another kind
/// are read over.
pub fn parse_list(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    Some(AptSource {
        uris: vec![plain(uri)],
        suites: vec![suite.to_owned()],
        components: words.map(str::to_owned).collect(),
    })
}

/// The entries of a `.sources` file, which messages call `file`; disabled ones are left out.
pub fn parse_deb822(text: &str, file: &str) -> Result<Vec<AptSource>, Error> {
    let mut sources = Vec::new();
    for stanza in Stanzas::new(text.as_bytes(), file) {
        let stanza = stanza?;
        let words = |field| {
            let words = stanza
                .get(field)
                .unwrap_or_default()
                .split_ascii_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let no = |value: &str| ["no", "false", "0", "off", "without", "disable"].contains(&value);
        let disabled = stanza
            .get("Enabled")
            .is_some_and(|value| no(&value.to_ascii_lowercase()));
        if !disabled && words("Types").iter().any(|kind| kind == "deb") {
            sources.push(AptSource {
                uris: words("URIs").iter().map(|uri| plain(uri)).collect(),
                suites: words("Suites"),
                components: words("Components"),
            });
        }
    }
    Ok(sources)
}

/// The mirrors of `codename` that these entries tell of. A mirror has all suites of Debian, so an
/// entry for another will do where there is none for this one.
pub fn mirrors(sources: &[AptSource], codename: &str) -> Mirrors {
    Mirrors {
        main: best(sources, codename, &["", "-updates", "-proposed-updates"]),
        security: best(sources, codename, &["-security", "/updates"]),
    }
}

fn best(sources: &[AptSource], codename: &str, endings: &[&str]) -> Option<String> {
    let suite_of = |suite: &str| {
        endings.iter().find_map(|ending| {
            match *ending {
                "" => Some(suite).filter(|suite| SUITES.contains(suite) || *suite == codename),
                ending => suite.strip_suffix(ending),
            }
            .map(str::to_owned)
        })
    };
    let usable = |source: &&AptSource| {
        source
            .components
            .iter()
            .any(|component| component == "main")
    };
    let mut found = None;
    for source in sources.iter().filter(usable) {
        let Some(uri) = source.uris.iter().find(|uri| is_http(uri)) else {
            continue;
        };
        let names: Vec<String> = source
            .suites
            .iter()
            .filter_map(|suite| suite_of(suite))
            .collect();
        if names.iter().any(|name| name == codename) {
            return Some(uri.clone());
        }
        if found.is_none() && names.iter().any(|name| SUITES.contains(&name.as_str())) {
            found = Some(uri.clone());
        }
    }
    found
}

fn is_http(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# The system's own.
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: trixie trixie-security
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: trixie
Components: main

Types: deb
URIs: https://vendor.example/apt
Suites: stable
Components: tools
";

    /// The mirrors, `-` where there is none.
    fn found(sources: &[AptSource], codename: &str) -> [String; 2] {
        let Mirrors { main, security } = mirrors(sources, codename);
        [main, security].map(|uri| uri.unwrap_or_else(|| "-".to_owned()))
    }

    #[test]
    fn finds_another_suites_mirror_in_deb822() {
        let sources = parse_deb822(DEB822, "debian.sources").unwrap();
        let expect = [
            "http://mirror.example/debian",
            "http://mirror.example/debian-security",
        ];
        assert_eq!(found(&sources, "trixie"), expect);
        assert_eq!(found(&sources, "bookworm"), expect);
    }

    #[test]
    fn finds_the_suites_own_mirror_first_in_lines() {
        let sources = parse_list(
            "# deb http://comment.example/debian trixie main\n\
             deb-src http://sources.example/debian trixie main\n\
             deb cdrom:[Debian]/ trixie main\n\
             deb http://old.example/debian buster main\n\
             deb http://old.example/debian-security buster/updates main\n\
             deb [arch=amd64 signed-by=/etc/a b] https://new.example/debian/ trixie main # mine\n\
             deb http://flat.example/ ./\n\
             deb\n",
        );
        assert_eq!(
            found(&sources, "trixie"),
            [
                "https://new.example/debian",
                "http://old.example/debian-security"
            ]
        );
        assert_eq!(found(&sources, "buster")[0], "http://old.example/debian");
    }

    #[test]
    fn other_distributions_are_no_mirrors() {
        let sources = parse_list(
            "deb http://archive.example/ubuntu noble main\n\
             deb http://archive.example/ubuntu noble-updates main\n\
             deb http://archive.example/ubuntu noble-security main\n\
             deb https://vendor.example/node nodistro main\n\
             deb file:/srv/debian trixie main\n",
        );
        assert_eq!(found(&sources, "trixie"), ["-", "-"]);
    }

    #[test]
    fn reads_a_hosts_files() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        assert_eq!(of_host(etc.path()), []);
        std::fs::create_dir(&parts).unwrap();
        let list = etc.path().join("mirrors.list");
        std::fs::write(
            &list,
            "# by region\nhttps://near.example/debian/\tpriority:1\n",
        )
        .unwrap();
        let uri = format!("mirror+file:{}", list.display());
        std::fs::write(parts.join("b.list"), format!("deb {uri} trixie main\n")).unwrap();
        std::fs::write(parts.join("a.sources"), DEB822).unwrap();
        std::fs::write(parts.join("c.sources"), "not a stanza\n").unwrap();
        std::fs::write(
            parts.join("d.list.save"),
            "deb http://saved.example/ trixie main\n",
        )
        .unwrap();
        let sources = of_host(etc.path());
        assert_eq!(sources.len(), 4);
        assert_eq!(
            found(&sources, "trixie"),
            [
                "https://near.example/debian",
                "http://mirror.example/debian-security"
            ]
        );
    }
}
