//! The image configuration (image-spec `config.md`): what runs, as whom, with which environment.
//!
//! It is edited as a JSON value, on top of the base image's where there is one, so that fields this
//! program does not know are kept.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::{DiffId, ImageError, Platform};

/// Where programs are looked for when neither the base nor the project says: what container engines
/// assume then.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How containers of the image run. What is None or empty is the base image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// Absolute path of the working directory.
    pub workdir: Option<String>,
    /// Variables, in order. One that the base has is changed in its place.
    pub env: Vec<(String, String)>,
    /// Directories that `PATH` starts with.
    pub path_prefix: Vec<String>,
    /// The program. When it is given and `cmd` is not, the base's arguments are dropped: they were
    /// for another program.
    pub entrypoint: Option<Vec<String>>,
    /// The program's arguments, or the program where there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// Ports: `8000`, `8000/tcp`, `53/udp`.
    pub expose: Vec<String>,
    /// Labels; one that the base has is replaced.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the program to stop: `SIGTERM`, `15`.
    pub stop_signal: Option<String>,
}

impl Runtime {
    /// Sets what is given in `config`, the `config` object of an image configuration.
    pub(crate) fn apply(&self, config: &mut Map<String, Value>) -> Result<(), ImageError> {
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                config.insert(key.to_owned(), value);
            }
        };
        if let Some(path) = self.workdir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(ImageError::Workdir { path: path.clone() });
        }
        set("User", self.user.as_deref().map(Value::from));
        set("WorkingDir", self.workdir.as_deref().map(Value::from));
        set("StopSignal", self.stop_signal.as_deref().map(Value::from));
        set("Entrypoint", self.entrypoint.as_deref().map(Value::from));
        set("Cmd", self.cmd.as_deref().map(Value::from));
        if self.entrypoint.is_some() && self.cmd.is_none() {
            config.remove("Cmd");
        }
        self.apply_env(config)?;
        for port in &self.expose {
            object(config, "ExposedPorts").insert(exposed_port(port)?, json!({}));
        }
        for (name, value) in &self.labels {
            object(config, "Labels").insert(name.clone(), value.as_str().into());
        }
        Ok(())
    }

    fn apply_env(&self, config: &mut Map<String, Value>) -> Result<(), ImageError> {
        let mut env = Environment::of(config);
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(ImageError::Variable { name: name.clone() });
            }
            env.set(name, value);
        }
        if !self.path_prefix.is_empty() {
            let rest = env.get("PATH").unwrap_or(DEFAULT_PATH).to_owned();
            let path = self.path_prefix.iter().map(String::as_str).chain(
                rest.split(':')
                    .filter(|dir| !self.path_prefix.iter().any(|prefix| prefix == dir)),
            );
            env.set("PATH", &path.collect::<Vec<_>>().join(":"));
        }
        if !env.0.is_empty() {
            config.insert("Env".to_owned(), env.0.into());
        }
        Ok(())
    }
}

/// `NAME=value` texts in order.
struct Environment(Vec<String>);

impl Environment {
    fn of(config: &Map<String, Value>) -> Self {
        let texts = config.get("Env").and_then(Value::as_array);
        Self(
            texts
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|text| text.strip_prefix(name)?.strip_prefix('='))
    }

    fn set(&mut self, name: &str, value: &str) {
        let text = format!("{name}={value}");
        let is_it = |other: &&mut String| other.split('=').next() == Some(name);
        match self.0.iter_mut().find(is_it) {
            Some(other) => *other = text,
            None => self.0.push(text),
        }
    }
}

/// `8000` as `8000/tcp`: with the protocol written out, tools agree on what it means.
fn exposed_port(text: &str) -> Result<String, ImageError> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_port =
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    if !is_port || !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(ImageError::Port {
            text: text.to_owned(),
        });
    }
    Ok(format!("{port}/{protocol}"))
}

/// The object at `key`, made where there is none (or null, which Go programs write for empty).
pub(crate) fn object<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> &'a mut Map<String, Value> {
    let value = parent.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("was just made an object")
}

/// The facts of an existing image configuration that a build on top of it needs.
pub(crate) struct BaseConfig<'a>(pub(crate) &'a Map<String, Value>);

impl BaseConfig<'_> {
    pub(crate) fn diff_ids(&self) -> Result<Vec<DiffId>, ImageError> {
        let diff_ids = self
            .0
            .get("rootfs")
            .and_then(|rootfs| rootfs.get("diff_ids"));
        match diff_ids {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(value) => Vec::deserialize(value).map_err(|source| ImageError::BaseDocument {
                document: "configuration",
                source,
            }),
        }
    }

    /// Errors unless the configuration is for `platform`. A variant is compared only where both name
    /// one.
    pub(crate) fn check_platform(&self, platform: Platform) -> Result<(), ImageError> {
        let text = |key: &str| self.0.get(key).and_then(Value::as_str).unwrap_or_default();
        let variant = platform.variant().unwrap_or_default();
        let variants_agree = [text("variant"), variant].contains(&"") || text("variant") == variant;
        if text("os") == platform.os()
            && text("architecture") == platform.architecture()
            && variants_agree
        {
            return Ok(());
        }
        let mut found = format!("{}/{}", text("os"), text("architecture"));
        if !text("variant").is_empty() {
            found = format!("{found}/{}", text("variant"));
        }
        Err(ImageError::BasePlatform {
            wanted: platform,
            found,
        })
    }

    /// Its history, with one entry that is not `empty_layer` for each of `layers` layers. History is
    /// optional, and tools that show it pair entries with layers by counting: one that does not add
    /// up would shift the entries that follow, so it is replaced by blank ones.
    pub(crate) fn history(&self, layers: usize) -> Vec<Value> {
        let history = self
            .0
            .get("history")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let is_layer = |entry: &&Value| entry.get("empty_layer") != Some(&Value::Bool(true));
        if history.iter().filter(is_layer).count() == layers {
            return history;
        }
        vec![json!({"comment": "layer of the base image"}); layers]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(runtime: &Runtime, base: Value) -> Result<String, ImageError> {
        let Value::Object(mut config) = base else {
            panic!("not an object")
        };
        runtime.apply(&mut config)?;
        Ok(String::from_utf8(crate::json::canonical(&config)).unwrap())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn everything_on_scratch() {
        let runtime = Runtime {
            user: Some("nonroot".into()),
            workdir: Some("/app".into()),
            env: pairs(&[("VIRTUAL_ENV", "/opt/venv")]),
            path_prefix: vec!["/opt/venv/bin".into()],
            entrypoint: Some(vec!["/opt/venv/bin/uvicorn".into()]),
            cmd: Some(vec!["app:app".into()]),
            expose: vec!["8000".into(), "53/udp".into()],
            labels: BTreeMap::from([("a".into(), "b".into())]),
            stop_signal: Some("SIGINT".into()),
        };
        insta::assert_snapshot!(
            applied(&runtime, json!({})).unwrap(),
            @r#"{"Cmd":["app:app"],"Entrypoint":["/opt/venv/bin/uvicorn"],"Env":["VIRTUAL_ENV=/opt/venv","PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"ExposedPorts":{"53/udp":{},"8000/tcp":{}},"Labels":{"a":"b"},"StopSignal":"SIGINT","User":"nonroot","WorkingDir":"/app"}"#
        );
    }

    #[test]
    fn the_bases_environment_keeps_its_order_and_unknown_fields_stay() {
        let runtime = Runtime {
            env: pairs(&[("B", "2=3"), ("A", "1")]),
            path_prefix: vec!["/opt/venv/bin".into()],
            ..Runtime::default()
        };
        let base = json!({
            "Env": ["PATH=/usr/bin:/opt/venv/bin:/bin", "B=x", "BB=y"],
            "Healthcheck": {"Test": ["NONE"]}, "Labels": null, "Cmd": ["sh"],
        });
        insta::assert_snapshot!(
            applied(&runtime, base).unwrap(),
            @r#"{"Cmd":["sh"],"Env":["PATH=/opt/venv/bin:/usr/bin:/bin","B=2=3","BB=y","A=1"],"Healthcheck":{"Test":["NONE"]},"Labels":null}"#
        );
    }

    #[test]
    fn a_new_entrypoint_drops_the_bases_arguments_and_new_arguments_keep_its_entrypoint() {
        let base = json!({"Entrypoint": ["a"], "Cmd": ["b"]});
        let list = |text: &str| Some(vec![text.to_owned()]);
        let runtime = Runtime {
            entrypoint: list("x"),
            ..Runtime::default()
        };
        assert_eq!(
            applied(&runtime, base.clone()).unwrap(),
            r#"{"Entrypoint":["x"]}"#
        );
        let runtime = Runtime {
            cmd: list("y"),
            ..Runtime::default()
        };
        assert_eq!(
            applied(&runtime, base).unwrap(),
            r#"{"Cmd":["y"],"Entrypoint":["a"]}"#
        );
    }

    #[test]
    fn bad_settings_are_named() {
        let message = |runtime: Runtime| applied(&runtime, json!({})).unwrap_err().to_string();
        for port in ["0", "65536", "x", "", "80/http", "80-90", "+80"] {
            let error = message(Runtime {
                expose: vec![port.into()],
                ..Runtime::default()
            });
            assert!(error.contains(&format!("`{port}`")), "{error}");
        }
        for name in ["", "A=B", "A\0"] {
            message(Runtime {
                env: pairs(&[(name, "")]),
                ..Runtime::default()
            });
        }
        let error = message(Runtime {
            workdir: Some("app".into()),
            ..Runtime::default()
        });
        insta::assert_snapshot!(error, @"the working directory `app` is not an absolute path");
    }
}
