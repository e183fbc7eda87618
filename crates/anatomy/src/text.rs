//! An inspection for a terminal.

use std::fmt::Write;

use serde_json::Value;

use crate::holdings::Holdings;
use crate::human;
use crate::inspection::{Inspection, LockReport, LockState, Platform};
use crate::table::{Table, count, grouped, plain, short, shortened};

/// Characters of a layer's title that are shown.
const TITLE: usize = 96;

/// What `inspection` says, in lines. With `packages`, one line for each package.
pub fn text(inspection: &Inspection, packages: bool) -> String {
    let mut out = plain(&inspection.name) + "\n";
    let mut facts = Table::new(&[]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("digest", inspection.digest.clone());
    for (key, value) in &inspection.annotations {
        fact("annotation", format!("{key} = {value}"));
    }
    if let Some(lock) = &inspection.lock {
        for line in lock_lines(lock) {
            fact("lock", line);
        }
    }
    for it in &inspection.attachments {
        let about = it.subject.as_deref().map(short).unwrap_or_default();
        fact(
            "beside",
            format!("{} {} about {about}", it.kind, short(&it.digest)),
        );
    }
    facts.write(&mut out, 2);
    for (n, platform) in inspection.platforms.iter().enumerate() {
        let mut told = inspection.platforms[..n].iter();
        let same = told.find(|it| it.config == platform.config);
        out.push('\n');
        of_platform(
            &mut out,
            platform,
            same.map(|it| it.platform.as_str()),
            packages,
        );
    }
    out
}

fn lock_lines(lock: &LockReport) -> Vec<String> {
    let file = lock.file.as_deref().unwrap_or("oxcart.lock");
    match lock.state {
        LockState::None => vec!["the project has none".to_owned()],
        LockState::Same => vec![format!("{file} has the same")],
        LockState::Different => {
            let differences = lock.differences.iter();
            differences
                .map(|it| format!("{file} differs: {it}"))
                .collect()
        }
    }
}

/// `same_config` is the platform that was told already and has the same configuration.
fn of_platform(out: &mut String, platform: &Platform, same_config: Option<&str>, packages: bool) {
    out.push_str(&plain(&platform.platform));
    out.push('\n');
    let mut facts = Table::new(&[]);
    let mut fact = |name: &str, value: String| facts.row([name.to_owned(), value]);
    fact("digest", platform.digest.clone());
    if let Some(created) = &platform.created {
        fact("created", created.clone());
    }
    if let Some(base) = &platform.base {
        let parts = [&base.name, &base.digest].map(|it| it.as_deref().unwrap_or_default());
        fact("base", parts.join(" "));
    }
    for (key, value) in &platform.annotations {
        if !key.starts_with("org.opencontainers.image.base.") {
            fact("annotation", format!("{key} = {value}"));
        }
    }
    let layers = count(platform.layers.len() as u64, "layer");
    fact(
        "size",
        format!("{} compressed in {layers}", human(platform.size)),
    );
    if let Some(contents) = &platform.contents {
        fact(
            "files",
            format!(
                "{} in {}",
                human(contents.size),
                count(contents.files, "file")
            ),
        );
        if let Some(os) = &contents.os {
            fact("system", os.clone());
        }
    }
    facts.write(out, 2);
    out.push_str("  layers\n");
    layer_table(platform).write(out, 4);
    let config = config_lines(&platform.config);
    if let Some(other) = same_config {
        let _ = writeln!(out, "  config as of {}", plain(other));
    } else if !config.is_empty() {
        out.push_str("  config\n");
        let mut table = Table::new(&[]);
        for (name, value) in config {
            table.row([name, value]);
        }
        table.write(out, 4);
    }
    if let (true, Some(contents)) = (packages, &platform.contents) {
        package_table(out, contents);
    }
}

fn layer_table(platform: &Platform) -> Table {
    let mut table = Table::new(&[0, 1, 2]);
    for (n, layer) in platform.layers.iter().enumerate() {
        let held = platform.contents.as_ref().and_then(|it| it.layers.get(n));
        let held = held.map(|it| human(it.size)).unwrap_or_default();
        let title = layer.title().trim_start_matches("/bin/sh -c #(nop) ");
        let title = shortened(&plain(title), TITLE);
        let number = layer.number.to_string();
        let digest = short(&layer.digest).to_owned();
        match held.as_str() {
            "" => table.row([number, human(layer.size), digest, title]),
            _ => table.row([number, human(layer.size), held, digest, title]),
        }
    }
    table
}

fn package_table(out: &mut String, contents: &Holdings) {
    out.push_str("  packages\n");
    let mut table = Table::new(&[3, 4]);
    for package in &contents.packages {
        table.row([
            format!("{:?}", package.ecosystem).to_lowercase(),
            package.name.clone(),
            package.version.clone(),
            human(package.weight.size),
            grouped(package.weight.files),
            format!("layer {}", package.layer),
        ]);
    }
    for rest in &contents.unowned {
        table.row([
            String::new(),
            "(of no package)".to_owned(),
            String::new(),
            human(rest.weight.size),
            grouped(rest.weight.files),
            format!("layer {}", rest.layer),
        ]);
    }
    table.write(out, 4);
}

/// The fields of a `config` object, lists and objects with a line for each entry.
fn config_lines(config: &Value) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        let name = || name.clone();
        match value {
            Value::Null => {}
            Value::Array(entries) if name() == "Env" => {
                lines.extend(entries.iter().map(|entry| (name(), shown(entry))));
            }
            Value::Object(entries) => lines.extend(entries.iter().map(|(key, value)| {
                let value = Some(shown(value)).filter(|text| text != "{}");
                let value = value.map(|text| format!(" = {text}")).unwrap_or_default();
                (name(), format!("{key}{value}"))
            })),
            other => lines.push((name(), shown(other))),
        }
    }
    lines
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
