//! The page of `inspect --html` by keyboard alone: keys are sent to a browser by the `DevTools` protocol, and
//! what they do is read from the page.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::project::Project;
use crate::skip::{Need, left_out};

/// Every control of the page.
const CONTROLS: &str = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')].filter((it) => it.checkVisibility())";

/// A page in a browser without a network.
struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The page's, once there is one.
    session: Option<String>,
    calls: u64,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The protocol is spoken on the descriptors 3 and 4.
        let pipes = r#"exec unshare --net chromium "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        command.args(["-c", pipes, "sh", "--headless=new", "--no-sandbox"]);
        command.args(["--disable-gpu", "--window-size=1400,1000"]);
        command.arg("--remote-debugging-pipe");
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium; `cargo xtask test` installs it");
        let mut browser = Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            session: None,
            calls: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": url}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        let begun = Instant::now();
        while browser.value("document.documentElement?.dataset.ready") != "true" {
            assert!(begun.elapsed() < Duration::from_mins(1), "{url}");
            std::thread::sleep(Duration::from_millis(50));
        }
        browser
    }

    /// The result of a method of the protocol.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.input.write_all(call.to_string().as_bytes()).unwrap();
        self.input.write_all(b"\0").unwrap();
        loop {
            let mut message = Vec::new();
            self.output.read_until(0, &mut message).unwrap();
            assert_eq!(message.pop(), Some(0), "the browser ended");
            let mut message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }

    /// What an expression gives in the page.
    fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true});
        let mut result = self.call("Runtime.evaluate", &params);
        assert!(result["exceptionDetails"].is_null(), "{result}");
        result["result"]["value"].take()
    }

    /// Presses a key by its name, or types a character.
    fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "/" => (191, "/"),
            character => (u32::from(character.to_uppercase().as_bytes()[0]), character),
        };
        let down = if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        };
        for kind in [down, "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &params);
        }
    }

    /// Presses Tab until `selector` is of the element that has the focus.
    fn tab_to(&mut self, selector: &str) {
        for _ in 0..300 {
            self.press("Tab");
            if self.value(&format!("document.activeElement.matches({selector:?})")) == true {
                return;
            }
        }
        panic!("Tab does not lead to {selector}");
    }
}

/// The page of an image for two platforms.
fn page() -> (Project, Browser) {
    let project = Project::standard();
    project.build(&[]);
    project
        .context
        .succeeds(["inspect", "oci:image", "--html", "page.html"]);
    let url = format!("file://{}", project.context.path("page.html").display());
    (project, Browser::open(&url))
}

#[test]
fn every_control_is_reached_and_seen() {
    if left_out(Need::Network) {
        return;
    }
    let (_project, mut browser) = page();
    let controls = browser.value(&format!("{CONTROLS}.length"));
    assert!(controls.as_u64() > Some(20), "{controls}");
    let mut stops = 0;
    loop {
        browser.press("Tab");
        if browser.value("document.activeElement === document.body") == true {
            break;
        }
        stops += 1;
        assert!(stops < 300, "Tab does not lead out of the page");
        let seen = browser.value(
            "(() => { const it = document.activeElement; it.dataset.seen = 'true'; \
             const { outlineStyle, outlineWidth } = getComputedStyle(it); const box = it.getBoundingClientRect(); \
             return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1 && box.bottom > 0 && box.top < innerHeight; })()",
        );
        let which = browser.value("document.activeElement.outerHTML");
        assert_eq!(seen, true, "it is not seen to have the focus: {which}");
    }
    // Arrows lead to the others of a group of radio buttons, and of a map.
    let missed = browser.value(&format!(
        "{CONTROLS}.filter((it) => !it.dataset.seen && !it.matches('[type=radio], .map button')).map((it) => it.outerHTML)"
    ));
    assert_eq!(missed, json!([]));
    let groups = "['#views', ...[...document.querySelectorAll('.map')].map((_, n) => `figure:nth-of-type(${n + 1}) .map`)]";
    let unseen = browser.value(&format!(
        "{groups}.filter((it) => document.querySelectorAll(`${{it}} [data-seen]`).length !== 1)"
    ));
    assert_eq!(unseen, json!([]), "one stop each");
}

#[test]
fn every_control_works() {
    if left_out(Need::Network) {
        return;
    }
    let (_project, mut browser) = page();
    // Tables are sorted.
    let sorted = "document.activeElement.parentElement.getAttribute('aria-sort')";
    let rows = "[...document.querySelectorAll('#packages tbody tr')].map((it) => it.dataset.key)";
    browser.tab_to("#packages thead th:first-child button");
    browser.press("Enter");
    assert_eq!(browser.value(sorted), "ascending");
    let ascending = browser.value(rows);
    browser.press(" ");
    assert_eq!(browser.value(sorted), "descending");
    let mut descending = browser.value(rows).as_array().unwrap().clone();
    descending.reverse();
    assert_eq!(ascending, json!(descending));
    assert!(descending.len() > 3, "{descending:?}");

    // Files are grouped in the other way.
    let chosen = "document.querySelector('input[name=view]:checked').value";
    let tiles = "document.querySelectorAll('.map button').length";
    browser.tab_to("#views input");
    let before = browser.value(tiles);
    browser.press("ArrowRight");
    assert_eq!(browser.value(chosen), "type");
    assert_ne!(browser.value(tiles), before);
    browser.press("ArrowLeft");
    assert_eq!(
        (browser.value(chosen), browser.value(tiles)),
        (json!("package"), before)
    );

    // In a map, arrows go from tile to tile, and each is told.
    let at = "[...document.querySelectorAll('.map')[1].querySelectorAll('button')].indexOf(document.activeElement)";
    let told = "document.querySelector('#told').textContent === document.activeElement.getAttribute('aria-label')";
    browser.tab_to("figure:nth-of-type(2) .map button");
    let expect = |browser: &mut Browser, key: &str, to: i64| {
        browser.press(key);
        let last = browser
            .value("document.querySelectorAll('.map')[1].querySelectorAll('button').length - 1");
        let to = if to < 0 { last } else { json!(to) };
        assert_eq!(browser.value(at), to, "{key}");
        assert_eq!(browser.value(told), true, "{key}");
    };
    expect(&mut browser, "ArrowRight", 1);
    expect(&mut browser, "ArrowDown", 2);
    expect(&mut browser, "ArrowUp", 1);
    expect(&mut browser, "End", -1);
    expect(&mut browser, "Home", 0);
    expect(&mut browser, "ArrowLeft", 0);
    browser.press("Enter");
    let wanted = browser.value("document.querySelector('#filter').value");
    assert!(!wanted.as_str().unwrap().is_empty());
    let matches = "document.querySelector('#matches').textContent";
    assert!(browser.value(matches).as_str().unwrap().contains(" of "));

    // The filter is a key away from everywhere.
    browser.press("/");
    assert_eq!(browser.value("document.activeElement.id"), "filter");
    browser.value("document.activeElement.select()");
    for key in ["h", "e", "l", "p"] {
        browser.press(key);
    }
    let shown = "[...document.querySelectorAll('#packages tbody tr')].filter((it) => !it.hidden).map((it) => it.dataset.key)";
    assert_eq!(browser.value(shown), json!(["python helper"]));
    browser.press("Tab");
    assert_eq!(browser.value("document.activeElement.id"), "different");
    browser.press(" ");
    assert_eq!(browser.value("document.activeElement.checked"), true);
    assert_eq!(browser.value(shown), json!([]), "it is the same on both");
}
