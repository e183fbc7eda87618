//! An inspection as one page that needs nothing else: no network, no file beside it, no server. All that
//! comes from the image is data for the page's script, which makes text of it and never markup.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oci::Digest;
use serde_json::Value;

use crate::inspection::Inspection;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page about `inspection`. What it shows is the document of `inspect --json`, without the list of all
/// files.
pub fn page(inspection: &Inspection) -> String {
    let mut document = serde_json::to_value(inspection).unwrap_or_default();
    for platform in document["platforms"].as_array_mut().into_iter().flatten() {
        if let Some(contents) = platform["contents"].as_object_mut() {
            contents.remove("all");
        }
    }
    // Only these very bytes are run, whatever else should get into the page.
    let hash = BASE64_STANDARD.encode(Digest::of(SCRIPT.as_bytes()).as_bytes());
    let parts = [
        ("%HASH%", hash),
        ("%STYLE%", STYLE.to_owned()),
        ("%TITLE%", escaped(&inspection.name)),
        ("%DATA%", embedded(&document)),
        ("%SCRIPT%", SCRIPT.to_owned()),
    ];
    let mut rest = TEMPLATE;
    let mut page = String::new();
    for (mark, text) in parts {
        // The template has every mark, in this order: see the test.
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(&text);
        rest = after;
    }
    page + rest
}

/// JSON that cannot end the element it is in, nor begin a comment there.
fn embedded(document: &Value) -> String {
    document.to_string().replace('<', "\\u003c")
}

/// Text of an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_template_has_its_marks_in_order() {
        let at = |mark| {
            assert_eq!(TEMPLATE.matches(mark).count(), 1, "{mark}");
            TEMPLATE.find(mark)
        };
        let marks = ["%HASH%", "%STYLE%", "%TITLE%", "%DATA%", "%SCRIPT%"];
        assert!(marks.map(at).is_sorted());
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
    }

    #[test]
    fn it_is_small_and_asks_for_nothing() {
        let all = [TEMPLATE, STYLE, SCRIPT].concat();
        assert!(all.len() < 60_000, "{} bytes", all.len());
        for word in [
            "http:", "https:", "//cdn", "@import", "url(", "fetch(", "src=",
        ] {
            assert!(!all.contains(word), "{word}");
        }
    }

    #[test]
    fn data_stays_data() {
        let text = embedded(&json!({"a": "</script><script>alert(1)</script><!-- %SCRIPT%"}));
        assert!(!text.contains('<'), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["a"], "</script><script>alert(1)</script><!-- %SCRIPT%");
        assert_eq!(escaped("<b>&"), "&lt;b&gt;&amp;");
    }
}
