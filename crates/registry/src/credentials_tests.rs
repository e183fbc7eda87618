//! Tests of where credentials are found, and in which order.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

/// A home directory, and variables that lead there.
struct Home {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path).to_str().unwrap().to_owned();
        let variables = [
            ("HOME", at("")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("PATH", format!("{}:/usr/bin:/bin", at("bin"))),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            directory,
        }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn helper(self, name: &str, script: &str) -> Self {
        let path = format!("bin/docker-credential-{name}");
        let this = self.file(&path, &format!("#!/bin/sh\n{script}\n"));
        let path = this.directory.path().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    fn credentials(&self) -> Credentials {
        Credentials::from_variables(self.variables.clone())
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What is found, with the home directory written as `~`.
    fn check(&self, host: &str, repository: &str, expected: &str) {
        let shown = show(&self.credentials(), host, repository);
        let shown = shown.replace(self.path().to_str().unwrap(), "~");
        assert_eq!(shown, expected, "{host}/{repository}");
    }
}

fn show(credentials: &Credentials, host: &str, repository: &str) -> String {
    match credentials.find(host, repository) {
        Ok(found) => {
            let secret = match found.secret() {
                Some(Secret::Password { password, .. }) => format!("{password}: "),
                Some(Secret::Identity { token, .. }) => format!("{token}: "),
                None => String::new(),
            };
            format!("{secret}{}", found.origin())
        }
        Err(error) => {
            let source = std::error::Error::source(&error);
            let source = source.map(|source| format!(": {source}"));
            format!("error: {error}{}", source.unwrap_or_default())
        }
    }
}

fn auths(entries: &[(&str, &str)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, secret)| format!(r#""{key}":{{"auth":"{}"}}"#, STANDARD.encode(secret)))
        .collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

#[test]
fn the_first_place_counts() {
    let home = Home::new()
        .file("docker/config.json", &auths(&[("a.test", "d:5")]))
        .file(".config/containers/auth.json", &auths(&[("a.test", "d:4")]))
        .file("run/containers/auth.json", &auths(&[("a.test", "d:3")]))
        .file("own.json", &auths(&[("a.test", "d:2")]));
    let docker = home.path().join("docker").to_str().unwrap().to_owned();
    let own = home.path().join("own.json").to_str().unwrap().to_owned();
    let home = home
        .set("DOCKER_CONFIG", &docker)
        .set("REGISTRY_AUTH_FILE", &own)
        .set("OXCART_AUTH", "a.test=d:1");
    home.check("a.test", "x", "1: user `d` from the variable OXCART_AUTH");
    let mut home = home.set("OXCART_AUTH", "");
    home.check("a.test", "x", "2: user `d` from ~/own.json (a.test)");
    home = home.set("REGISTRY_AUTH_FILE", "/nonexistent/auth.json");
    home.check(
        "a.test",
        "x",
        "3: user `d` from ~/run/containers/auth.json (a.test)",
    );
    home = home.set("XDG_RUNTIME_DIR", "");
    home.check(
        "a.test",
        "x",
        "4: user `d` from ~/.config/containers/auth.json (a.test)",
    );
    fs::remove_file(home.path().join(".config/containers/auth.json")).unwrap();
    home.check(
        "a.test",
        "x",
        "5: user `d` from ~/docker/config.json (a.test)",
    );
    home.check("b.test", "x", "no credentials found");
}

#[test]
fn the_longest_namespace_counts() {
    let home = Home::new().file(
        ".docker/config.json",
        &auths(&[
            ("ghcr.io", "u:host"),
            ("ghcr.io/acme", "u:acme"),
            ("ghcr.io/acme/x", "u:acme-x"),
            ("https://Quay.io/v2/", "u:quay"),
            ("https://index.docker.io/v1/", "u:hub"),
        ]),
    );
    let check = |host, repository, password: &str, key: &str| {
        home.check(
            host,
            repository,
            &format!("{password}: user `u` from ~/.docker/config.json ({key})"),
        );
    };
    check("ghcr.io", "acme/x", "acme-x", "ghcr.io/acme/x");
    check("ghcr.io", "acme/x/y", "acme-x", "ghcr.io/acme/x");
    check("ghcr.io", "acme/xy", "acme", "ghcr.io/acme");
    check("ghcr.io", "other/x", "host", "ghcr.io");
    check("quay.io", "x", "quay", "https://Quay.io/v2/");
    check(
        "docker.io",
        "library/python",
        "hub",
        "https://index.docker.io/v1/",
    );
}

#[test]
fn forms_of_entries() {
    let home = Home::new().file(
        ".docker/config.json",
        r#"{"auths":{
            "plain.test": {"username":"u","password":"p"},
            "identity.test": {"auth":"dTpw","identitytoken":"t"},
            "token.test": {"username":"<token>","password":"t"},
            "unpadded.test": {"auth":"dTpwcA"},
            "colon.test": {"auth":"dTpwOnE="},
            "empty.test": {}
        },"HttpHeaders":{"X":"y"}}"#,
    );
    let check = |host, expected: &str| {
        let from = format!(" from ~/.docker/config.json ({host})");
        home.check(host, "x", &format!("{expected}{from}"));
    };
    check("plain.test", "p: user `u`");
    check("identity.test", "t: an identity token");
    check("token.test", "t: an identity token");
    check("unpadded.test", "pp: user `u`");
    check("colon.test", "p:q: user `u`");
    home.check("empty.test", "x", "no credentials found");
}

#[test]
fn helpers_come_before_entries() {
    let home = Home::new()
        .file(
            ".docker/config.json",
            r#"{"auths":{"a.test":{"auth":"dTpw"},"b.test":{"auth":"dTpw"},"c.test":{"auth":"dTpw"}},
                "credHelpers":{"a.test":"own","c.test":"gone"},"credsStore":"store"}"#,
        )
        .helper("own", r#"read h; echo '{"Username":"own","Secret":"'$h'"}'"#)
        .helper(
            "store",
            r#"read h; case $h in c.test) echo credentials not found; exit 1;; esac
               echo '{"Username":"store","Secret":"'$h'"}'"#,
        );
    let file = "of ~/.docker/config.json";
    home.check(
        "a.test",
        "x",
        &format!("a.test: user `own` from docker-credential-own {file} (a.test)"),
    );
    home.check(
        "b.test",
        "x",
        &format!("b.test: user `store` from docker-credential-store {file} (b.test)"),
    );
    home.check(
        "docker.io",
        "library/x",
        &format!("{HUB_KEY}: user `store` from docker-credential-store {file} ({HUB_KEY})"),
    );
    // The one helper is missing and the other one knows nothing.
    home.check(
        "c.test",
        "x",
        "p: user `u` from ~/.docker/config.json (c.test)",
    );
}

#[test]
fn what_helpers_did_wrong_is_told() {
    let home = Home::new()
        .file(
            ".docker/config.json",
            r#"{"credHelpers":{"a.test":"gone"},"credsStore":"bad"}"#,
        )
        .helper("bad", "echo s3cret");
    home.check(
        "a.test",
        "x",
        "no credentials found; docker-credential-gone is not installed; docker-credential-bad \
         printed something that is no credential",
    );
}

#[test]
fn github_actions() {
    let home = Home::new().set("GITHUB_TOKEN", "t");
    home.check("ghcr.io", "acme/x", "no credentials found");
    let home = home.set("GITHUB_ACTIONS", "true").set("GITHUB_ACTOR", "me");
    home.check("ghcr.io", "acme/x", "t: user `me` from GITHUB_TOKEN");
    home.check("other.test", "acme/x", "no credentials found");
}

#[test]
fn variables() {
    let show = |value: &str, host: &str| {
        let variables = [("MINE".to_owned(), value)];
        let credentials = Credentials::from_variables(variables)
            .with_variable("MINE")
            .for_registry("a.test:5000");
        show(&credentials, host, "acme/app")
    };
    let check = |value: &str, host: &str, expected: &str| {
        assert_eq!(show(value, host), expected, "{value} {host}");
    };
    let mine = "from the variable MINE";
    check("u:p", "a.test:5000", &format!("p: user `u` {mine}"));
    check("u:p", "b.test", "no credentials found");
    check("u:p,=q", "a.test:5000", &format!("p,=q: user `u` {mine}"));
    let several = "b.test=u:p,q,localhost:5000=v:r,c.test/acme=w:s";
    check(several, "b.test", &format!("p,q: user `u` {mine}"));
    check(several, "localhost:5000", &format!("r: user `v` {mine}"));
    check(several, "c.test", &format!("s: user `w` {mine}"));
    check(several, "a.test:5000", "no credentials found");
    check(
        "s3cret",
        "a.test",
        "error: the variable MINE has neither the form `user:password` nor `HOST=user:password`",
    );
    check("", "a.test", "error: the variable MINE is not set");
}

#[test]
fn malformed_files_are_errors_that_name_them() {
    let check = |text: &str, expected: &str| {
        let home = Home::new().file(".docker/config.json", text);
        home.check("a.test", "x", expected);
    };
    check(
        r#"{"auths":{"a.test":{"auth": s3cret}}}"#,
        "error: cannot read the credentials in ~/.docker/config.json: it is not of the expected \
         form at line 1, column 29",
    );
    check(
        r#"{"auths":{"a.test":{"auth":"???"}}}"#,
        "error: cannot read the credentials in ~/.docker/config.json: the entry for a.test has an \
         `auth` that is not base64 of user:password",
    );
    check("", "no credentials found");
}

#[test]
fn secrets_are_not_shown() {
    let credentials = Credentials::fixed("a.test", "u", "s3cret");
    let found = credentials.find("a.test", "x").unwrap();
    let shown = format!("{credentials:?} {found:?} {}", found.origin());
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(found.secret().is_some());
}
