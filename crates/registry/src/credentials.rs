//! Where user names, passwords and identity tokens come from.
//!
//! The first place that has one for a repository counts: the variable named by `--creds-env`, then
//! `OXCART_AUTH`; `GITHUB_TOKEN` for ghcr.io in GitHub Actions; then the files of podman and docker
//! (containers-auth.json(5), Docker's `config.json`): `REGISTRY_AUTH_FILE`,
//! `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json` and
//! `$DOCKER_CONFIG/config.json`, each with its helpers first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::auth_file::AuthFile;
use crate::helper;
use crate::secret::{Found, Secret};

/// Docker Hub's own name for itself in files and helpers.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The places to look for credentials. They are read when a registry first asks who is there.
/// Neither `Debug` nor any message shows a secret.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Host or host and namespace, and what is for it.
    fixed: Vec<(String, Secret)>,
    /// Names of variables with credentials, the first one first.
    variables: Vec<String>,
    /// The registry that a plain `user:password` is for.
    host: Option<String>,
    environment: Arc<BTreeMap<String, OsString>>,
}

impl Credentials {
    /// All places there are, by the environment of this process as it is now.
    pub fn from_environment() -> Self {
        Self::from_variables(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))),
        )
    }

    /// All places there are, by these environment variables instead of this process's.
    pub fn from_variables<V: Into<OsString>>(
        variables: impl IntoIterator<Item = (String, V)>,
    ) -> Self {
        let variables = variables.into_iter();
        Self {
            environment: Arc::new(
                variables
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
            ),
            variables: vec!["OXCART_AUTH".to_owned()],
            ..Self::default()
        }
    }

    /// None at all: every registry is spoken to anonymously.
    pub fn none() -> Self {
        Self::default()
    }

    /// A user and password for one registry, `HOST[:PORT][/NAMESPACE]`, and nothing else.
    pub fn fixed(host: &str, user: &str, password: &str) -> Self {
        Self::none().and(host, user, password)
    }

    /// A further user and password, which comes before all other places.
    #[must_use]
    pub fn and(mut self, host: &str, user: &str, password: &str) -> Self {
        self.fixed
            .push((host.to_owned(), Secret::new(user, password)));
        self
    }

    /// Looks into the environment variable `name` first (`--creds-env`): `user:password`, or
    /// `HOST=user:password`, several separated by commas. That it is not set is an error.
    #[must_use]
    pub fn with_variable(mut self, name: &str) -> Self {
        self.variables.insert(0, name.to_owned());
        self
    }

    /// The registry that a variable's plain `user:password` is for: the one the command is about.
    /// Without this such a value is for none, so that no other registry gets to see it.
    #[must_use]
    pub fn for_registry(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// What there is for `repository` of the registry `host`. May read files and run helpers.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Result<Found, Error> {
        let keys = keys(host, repository);
        let mut found = Found::default();
        let fixed = keys.iter().find_map(|key| {
            let (_, secret) = self.fixed.iter().find(|(of, _)| plain_key(of) == *key)?;
            Some((secret.clone(), format!("the options ({key})")))
        });
        found.secret = match fixed {
            None => self.in_variables(host, &keys)?,
            some => some,
        };
        if found.secret.is_none() && host == "ghcr.io" {
            found.secret = self.of_github();
        }
        for path in self.files() {
            if found.secret.is_some() {
                break;
            }
            self.in_file(&path, &keys, &mut found)?;
        }
        Ok(found)
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(name).filter(|value| !value.is_empty())
    }

    fn in_variables(&self, host: &str, keys: &[String]) -> Result<Option<(Secret, String)>, Error> {
        for (place, name) in self.variables.iter().enumerate() {
            let fault = |fault| Error::CredentialsVariable {
                name: name.clone(),
                fault,
            };
            let asked_for = place + 1 < self.variables.len() || name != "OXCART_AUTH";
            let Some(value) = self.variable(name) else {
                if asked_for {
                    return Err(fault("is not set"));
                }
                continue;
            };
            let value = value.to_str().ok_or_else(|| fault("is not text"))?;
            let entries = entries(value).ok_or_else(|| {
                fault("has neither the form `user:password` nor `HOST=user:password`")
            })?;
            let matching = |key: &String| {
                entries.iter().find(|entry| match &entry.host {
                    Some(of) => plain_key(of) == *key,
                    None => *key == keys[keys.len() - 1] && self.is_for(host),
                })
            };
            if let Some(entry) = keys.iter().find_map(matching) {
                let secret = Secret::new(entry.user, entry.password);
                return Ok(Some((secret, format!("the variable {name}"))));
            }
        }
        Ok(None)
    }

    fn is_for(&self, host: &str) -> bool {
        self.host
            .as_ref()
            .is_some_and(|of| plain_key(of) == plain_key(host))
    }

    /// The token of a GitHub Actions job.
    fn of_github(&self) -> Option<(Secret, String)> {
        if self.variable("GITHUB_ACTIONS")? != "true" {
            return None;
        }
        let token = self.variable("GITHUB_TOKEN")?.to_str()?;
        // GitHub does not look at the name, but there has to be one.
        let user = self.variable("GITHUB_ACTOR").and_then(|it| it.to_str());
        let secret = Secret::Password {
            user: user.unwrap_or("x-access-token").to_owned(),
            password: token.to_owned(),
        };
        Some((secret, "GITHUB_TOKEN".to_owned()))
    }

    fn files(&self) -> Vec<PathBuf> {
        let under = |name, rest: &str| {
            let directory = self.variable(name)?;
            Some(PathBuf::from(directory).join(rest))
        };
        [
            self.variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
            under("XDG_RUNTIME_DIR", "containers/auth.json"),
            under("HOME", ".config/containers/auth.json"),
            under("DOCKER_CONFIG", "config.json").or_else(|| under("HOME", ".docker/config.json")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn in_file(&self, path: &Path, keys: &[String], found: &mut Found) -> Result<(), Error> {
        let Some(file) = AuthFile::read(path)? else {
            return Ok(());
        };
        for (helper, key) in file.helpers(keys) {
            let search = self.variable("PATH").cloned().unwrap_or_default();
            match helper::get(&helper, &key, &search) {
                Ok(Some(secret)) => {
                    let origin =
                        format!("docker-credential-{helper} of {} ({key})", path.display());
                    found.secret = Some((secret, origin));
                    return Ok(());
                }
                Ok(None) => {}
                Err(fault) => found.faults.push(fault.to_string()),
            }
        }
        if let Some((secret, key)) = file.entry(keys)? {
            found.secret = Some((secret, format!("{} ({key})", path.display())));
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.fixed.iter().map(|(host, _)| host).collect();
        f.debug_struct("Credentials")
            .field("fixed", &hosts)
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

/// What a repository can be called by, the longest name first: `ghcr.io/acme/app`, `ghcr.io/acme`,
/// `ghcr.io`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{}/{repository}", plain_key(host));
    let mut keys = Vec::new();
    while let Some((shorter, _)) = key.rsplit_once('/') {
        let shorter = shorter.to_owned();
        keys.push(std::mem::replace(&mut key, shorter));
    }
    keys.push(key);
    keys
}

/// A key of an authentication file without its decoration: `https://index.docker.io/v1/` is
/// `docker.io`.
pub(crate) fn plain_key(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    let (host, rest) = key.split_once('/').unwrap_or((key, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    if rest.is_empty() {
        host.to_ascii_lowercase()
    } else {
        format!("{}/{rest}", host.to_ascii_lowercase())
    }
}

struct Entry<'a> {
    host: Option<&'a str>,
    user: &'a str,
    password: &'a str,
}

/// The credentials in a variable's value; None where it has another form. A comma is part of the
/// password before it, unless `HOST=` follows.
fn entries(value: &str) -> Option<Vec<Entry<'_>>> {
    let value = value.trim_end_matches(['\r', '\n']);
    let mut starts = vec![0];
    let commas = value.match_indices(',').map(|(at, _)| at + 1);
    starts.extend(commas.filter(|&at| host_of(&value[at..]).is_some()));
    if host_of(value).is_none() {
        starts.truncate(1);
    }
    let ends = starts.iter().skip(1).map(|&at| at - 1);
    let ends: Vec<usize> = ends.chain([value.len()]).collect();
    let parts = starts.iter().zip(ends).map(|(&start, end)| {
        let part = &value[start..end];
        let host = host_of(part);
        let secret = &part[host.map_or(0, |host| host.len() + 1)..];
        let (user, password) = secret.split_once(':')?;
        Some(Entry {
            host,
            user,
            password,
        })
    });
    parts.collect()
}

/// The registry at the start of `HOST=user:password`.
fn host_of(text: &str) -> Option<&str> {
    let (host, rest) = text.split_once('=')?;
    let (authority, _) = host.split_once('/').unwrap_or((host, ""));
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let is_port = port.bytes().all(|b| b.is_ascii_digit());
    let is_host = name.contains('.') || name == "localhost" || !port.is_empty();
    (is_name && is_port && is_host && rest.contains(':')).then_some(host)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
