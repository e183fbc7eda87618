//! The files in which docker and podman keep credentials: containers-auth.json(5) and Docker's
//! `config.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::Error;
use crate::credentials::{HUB_KEY, plain_key};
use crate::error::AuthFileFault;
use crate::secret::Secret;

/// One such file.
pub(crate) struct AuthFile {
    path: PathBuf,
    document: Document,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// An `auth` that is not what it should be.
struct Undecodable;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl AuthFile {
    /// The file at `path`; None where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let fault = |fault| Error::AuthFile {
            path: path.to_owned(),
            fault,
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(fault(AuthFileFault::Read(error))),
        };
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        // Where it is wrong, not what stands there: it may be a secret.
        let document = serde_json::from_slice(&text).map_err(|error| {
            fault(AuthFileFault::Form {
                line: error.line(),
                column: error.column(),
            })
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            document,
        }))
    }

    /// The helpers to ask, and by which name each of them knows the registry. `keys` has the longest
    /// name of the repository first and the registry's host last.
    pub(crate) fn helpers(&self, keys: &[String]) -> Vec<(String, String)> {
        let mut helpers = Vec::new();
        if let Some(of_registries) = &self.document.helpers {
            let own = keys.iter().find_map(|key| {
                of_registries
                    .iter()
                    .find(|(of, _)| plain_key(of) == *key)
                    .map(|(of, helper)| (helper.clone(), of.clone()))
            });
            helpers.extend(own);
        }
        let host = keys.last().map(String::as_str);
        if let (Some(store), Some(host)) = (&self.document.store, host) {
            helpers.push((store.clone(), host.to_owned()));
        }
        helpers.retain(|(helper, _)| !helper.is_empty());
        for (_, key) in &mut helpers {
            if plain_key(key) == "docker.io" {
                HUB_KEY.clone_into(key);
            }
        }
        helpers
    }

    /// The secret in the file itself for the first of `keys` that has one, and that key as it is
    /// written.
    pub(crate) fn entry(&self, keys: &[String]) -> Result<Option<(Secret, &str)>, Error> {
        let Some(entries) = &self.document.auths else {
            return Ok(None);
        };
        for key in keys {
            for (of, entry) in entries.iter().filter(|(of, _)| plain_key(of) == *key) {
                let secret = entry.secret().map_err(|Undecodable| Error::AuthFile {
                    path: self.path.clone(),
                    fault: AuthFileFault::Entry { key: of.clone() },
                })?;
                if let Some(secret) = secret {
                    return Ok(Some((secret, of)));
                }
            }
        }
        Ok(None)
    }
}

impl Entry {
    /// The secret, if the entry holds one: with a helper in use entries are empty.
    fn secret(&self) -> Result<Option<Secret>, Undecodable> {
        let filled = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let mut user = filled(&self.username);
        let mut password = filled(&self.password);
        if let Some(auth) = filled(&self.auth) {
            let (left, right) = decode(&auth).ok_or(Undecodable)?;
            user = Some(left);
            password = Some(right);
        }
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Secret::Identity { user, token }));
        }
        Ok(match (user, password) {
            (Some(user), Some(password)) => Some(Secret::new(&user, &password)),
            _ => None,
        })
    }
}

/// User and password of `auth`: base64 of `user:password`, with or without padding.
fn decode(auth: &str) -> Option<(String, String)> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, config)
        .decode(auth.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Old versions of docker pad with zero bytes.
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}
