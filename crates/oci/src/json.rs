//! Canonical JSON: keys sorted at every level, no spaces, one form for one value.
//!
//! A digest is taken over the bytes, so the bytes may not depend on a map's order or on the features
//! that some dependency switched on in `serde_json` (`preserve_order` is one such).

use serde::Serialize;
use serde_json::Value;

/// The canonical bytes of `document`.
///
/// # Panics
/// If `document` has a map whose keys are not strings; our documents have none.
pub fn canonical<T: Serialize>(document: &T) -> Vec<u8> {
    let value = serde_json::to_value(document).expect("image documents are representable as JSON");
    let mut out = Vec::new();
    write(&value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_bytes());
            list(out, b'{', b'}', entries, |(key, value), out| {
                out.extend(Value::from(key.as_str()).to_string().bytes());
                out.push(b':');
                write(value, out);
            });
        }
        Value::Array(items) => list(out, b'[', b']', items, write),
        scalar => out.extend(scalar.to_string().bytes()),
    }
}

fn list<T>(
    out: &mut Vec<u8>,
    open: u8,
    close: u8,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(open);
    for (n, value) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        item(value, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use serde_json::json;

    #[test]
    fn sorts_at_every_level_and_adds_no_space() {
        let document = json!({"b": [{"z": 1, "a": "é\"\n"}], "a": null, "B": {}});
        assert_eq!(
            String::from_utf8(canonical(&document)).unwrap(),
            r#"{"B":{},"a":null,"b":[{"a":"é\"\n","z":1}]}"#
        );
    }
}
