//! The hooks of PEP 517, run on sources by the script `hooks.py` in an environment.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::build_system::BuildSystem;
use crate::environment::Environment;
use crate::error::{At, Error};
use crate::process;

const SCRIPT: &str = include_str!("hooks.py");

/// Sources with all that is needed to build them.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// What messages call them.
    pub what: &'a str,
    /// Their directory.
    pub directory: &'a Path,
    /// How they are built.
    pub system: &'a BuildSystem,
    /// Where.
    pub environment: &'a Environment,
    /// How long a hook may take.
    pub limit: Duration,
}

/// What the script writes.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    missing: bool,
    #[serde(default)]
    returned: Value,
}

/// Whether a backend must have a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

impl Sources<'_> {
    /// What the backend needs to build a wheel, beside what `[build-system]` says
    /// (`get_requires_for_build_wheel`).
    pub fn requires(&self) -> Result<Vec<String>, Error> {
        let hook = "get_requires_for_build_wheel";
        let returned = self.call(hook, Need::Optional, &json!([null]))?;
        let Some(returned) = returned else {
            return Ok(Vec::new());
        };
        serde_json::from_value(returned.clone()).map_err(|_| self.answer(hook, &returned))
    }

    /// The METADATA of the wheel that would be built (`prepare_metadata_for_build_wheel`). None where the
    /// backend can't tell without building it.
    pub fn metadata(&self) -> Result<Option<String>, Error> {
        let hook = "prepare_metadata_for_build_wheel";
        let output = self.environment.output();
        let returned = self.call(hook, Need::Optional, &json!([output, null]))?;
        let Some(returned) = returned else {
            return Ok(None);
        };
        let directory = self.named(hook, &returned, ".dist-info")?;
        let path = directory.join("METADATA");
        let text = fs::read_to_string(&path).at("read", &path)?;
        // `build_wheel` puts its own into the same directory.
        fs::remove_dir_all(&directory).at("remove", &directory)?;
        Ok(Some(text))
    }

    /// Builds the wheel; it goes with the environment (`build_wheel`).
    pub fn wheel(&self) -> Result<PathBuf, Error> {
        let hook = "build_wheel";
        let output = self.environment.output();
        let returned = self.call(hook, Need::Required, &json!([output, null, null]))?;
        self.named(hook, &returned.unwrap_or_default(), ".whl")
    }

    /// What a hook says it wrote.
    fn named(&self, hook: &'static str, returned: &Value, end: &str) -> Result<PathBuf, Error> {
        let name = returned.as_str().unwrap_or_default();
        let is_name = name.ends_with(end) && !name.contains('/');
        let path = self.environment.output().join(name);
        if !is_name || !path.exists() {
            return Err(self.answer(hook, returned));
        }
        Ok(path)
    }

    fn answer(&self, hook: &'static str, returned: &Value) -> Error {
        Error::Answer {
            what: self.what.to_owned(),
            hook,
            returned: returned.to_string(),
        }
    }

    /// What the hook returned; None where there is none.
    fn call(
        &self,
        hook: &'static str,
        need: Need,
        arguments: &Value,
    ) -> Result<Option<Value>, Error> {
        let path = self.environment.temporary().join("answer.json");
        let _ = fs::remove_file(&path);
        let request = json!({
            "source": self.directory,
            "backend": self.system.backend,
            "backend-path": self.system.backend_path,
            "hook": hook,
            "required": need == Need::Required,
            "arguments": arguments,
            "answer": path,
        });
        let request = request.to_string();
        let arguments = ["-I", "-u", "-c", SCRIPT, &request].map(OsStr::new);
        let interpreter = self.environment.interpreter();
        let variables = self.environment.variables(self.directory);
        let outcome = process::run(
            &interpreter,
            &arguments,
            self.directory,
            variables,
            self.limit,
        )
        .at("run", &interpreter)?;
        let failed = |output: &str| Error::Hook {
            what: self.what.to_owned(),
            backend: self.system.backend.clone(),
            hook,
            output: indented(output),
        };
        if outcome.took_too_long {
            return Err(Error::Late {
                what: self.what.to_owned(),
                backend: self.system.backend.clone(),
                hook,
                limit: self.limit,
                output: indented(&outcome.output),
            });
        }
        if !outcome.succeeded {
            return Err(failed(&outcome.output));
        }
        let Some(answer) = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice::<Answer>(&text).ok())
        else {
            return Err(failed(&outcome.output));
        };
        Ok((!answer.missing).then_some(answer.returned))
    }
}

fn indented(output: &str) -> String {
    let text = if output.is_empty() { "nothing" } else { output };
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
