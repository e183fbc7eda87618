//! What differs between two JSON documents, field by field.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A field with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `config.Env.PATH`, `annotations.org.opencontainers.image.source`.
    pub field: String,
    /// What A has; null where it has nothing.
    pub a: Value,
    /// What B has; null where it has nothing.
    pub b: Value,
}

impl Change {
    pub(crate) fn new(field: impl Into<String>, a: impl Into<Value>, b: impl Into<Value>) -> Self {
        Self {
            field: field.into(),
            a: a.into(),
            b: b.into(),
        }
    }
}

/// What differs between `a` and `b`, sorted by field. Objects are entered, and a list whose texts have the
/// form `NAME=value` as if it were one. What `skip` names is passed over.
pub(crate) fn changes(a: &Value, b: &Value, skip: &[&str]) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", a, b, skip, &mut found);
    found
}

fn compare(field: &str, a: &Value, b: &Value, skip: &[&str], found: &mut Vec<Change>) {
    if a == b || skip.contains(&field) {
        return;
    }
    match (fields(field, a), fields(field, b)) {
        (Some(mut a), Some(b)) => {
            for (key, value) in &b {
                let before = a.remove(key).unwrap_or_default();
                compare(&joined(field, key), &before, value, skip, found);
            }
            for (key, value) in a {
                compare(&joined(field, &key), &value, &Value::Null, skip, found);
            }
            found.sort_by(|a, b| a.field.cmp(&b.field));
        }
        _ => found.push(Change::new(field, a.clone(), b.clone())),
    }
}

fn joined(field: &str, key: &str) -> String {
    match field {
        "" => key.to_owned(),
        field => format!("{field}.{key}"),
    }
}

/// What is in an object, in an environment, or in a history; nothing is in null.
fn fields(field: &str, value: &Value) -> Option<BTreeMap<String, Value>> {
    match value {
        Value::Null if !field.is_empty() => Some(BTreeMap::new()),
        Value::Object(map) => Some(map.clone().into_iter().collect()),
        Value::Array(list) if field == "config.Env" => {
            let pairs = list.iter().map(|pair| pair.as_str()?.split_once('='));
            let pairs: Option<Vec<_>> = pairs.collect();
            let pairs = pairs?.into_iter();
            Some(pairs.map(|(k, v)| (k.to_owned(), v.into())).collect())
        }
        Value::Array(list) if field == "history" => {
            let lines = list.iter().enumerate();
            Some(
                lines
                    .map(|(n, line)| (format!("{:03}", n + 1), line.clone()))
                    .collect(),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn field_by_field() {
        let check = |a: Value, b: Value, expect: &[&str]| {
            let found = changes(&a, &b, &["rootfs"]);
            let found: Vec<_> = found
                .iter()
                .map(|it| format!("{} {} {}", it.field, it.a, it.b))
                .collect();
            assert_eq!(found, expect, "{a} {b}");
        };
        check(json!({"x": 1, "y": 2}), json!({"y": 2, "x": 1}), &[]);
        check(json!({"rootfs": 1}), json!({"rootfs": 2}), &[]);
        check(
            json!({"config": {"Env": ["A=1", "B=2=3"], "User": "a"}}),
            json!({"config": {"Env": ["B=3", "C=4"], "Cmd": ["x"]}}),
            &[
                r#"config.Cmd null ["x"]"#,
                r#"config.Env.A "1" null"#,
                r#"config.Env.B "2=3" "3""#,
                r#"config.Env.C null "4""#,
                r#"config.User "a" null"#,
            ],
        );
        check(
            json!({"config": {"Labels": null, "Env": null}}),
            json!({"config": {"Labels": {"a": "b"}, "Env": ["odd"]}}),
            &[r#"config.Env null ["odd"]"#, r#"config.Labels.a null "b""#],
        );
        check(
            json!({"history": [{"created": "1"}]}),
            json!({"history": [{"created": "2"}]}),
            &[r#"history.001.created "1" "2""#],
        );
        check(json!(1), json!([2]), &[" 1 [2]"]);
    }
}
