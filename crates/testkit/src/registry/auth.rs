//! Who may do what: Basic credentials (RFC 7617) and tokens with scopes (the token authentication of
//! the distribution project, by `GET` and by `OAuth2` `POST`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(super) const SERVICE: &str = "testkit registry";

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Open,
    Basic,
    Token,
}

#[derive(Debug)]
pub(super) struct Auth {
    pub(super) mode: Mode,
    accounts: BTreeMap<String, Account>,
    /// Repositories that no account sees.
    pub(super) private: BTreeSet<String>,
    pub(super) anonymous_pull: bool,
    pub(super) lifetime: Duration,
    tokens: BTreeMap<String, Token>,
    /// User by identity token.
    identities: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Account {
    password: String,
    access: Access,
}

#[derive(Debug)]
struct Token {
    grants: Grants,
    end: Instant,
    requests: Option<u32>,
}

/// What is asked or granted, by repository.
pub(super) type Grants = BTreeMap<String, Access>;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No or unknown credentials.
    Unknown,
    /// A token that has ended.
    Expired,
    /// Known credentials, not good enough.
    Insufficient,
}

impl Auth {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Open,
            accounts: BTreeMap::new(),
            private: BTreeSet::new(),
            anonymous_pull: false,
            lifetime: Duration::from_mins(5),
            tokens: BTreeMap::new(),
            identities: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, user: &str, password: &str, access: Access) {
        let password = password.to_owned();
        self.accounts
            .insert(user.to_owned(), Account { password, access });
    }

    pub(super) fn add_identity(&mut self, user: &str, token: &str) {
        self.identities.insert(token.to_owned(), user.to_owned());
    }

    /// Passwords and tokens, for tests that look for them where they must not be.
    pub(super) fn secrets(&self) -> Vec<String> {
        let passwords = self.accounts.iter().flat_map(|(user, it)| {
            let pair = STANDARD.encode(format!("{user}:{}", it.password));
            [it.password.clone(), pair]
        });
        passwords
            .chain(self.tokens.keys().cloned())
            .chain(self.identities.keys().cloned())
            .collect()
    }

    /// Ends all tokens.
    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Whether the value of `Authorization` is good for `needs`.
    pub(super) fn check(&mut self, given: Option<&str>, needs: &Grants) -> Result<(), Refused> {
        match self.mode {
            Mode::Open => Ok(()),
            Mode::Basic => {
                let user = match given {
                    Some(given) => Some(self.basic(given).ok_or(Refused::Unknown)?),
                    None => None,
                };
                let granted = self.grant(user.as_deref(), needs);
                match user {
                    _ if covers(&granted, needs) && (user.is_some() || !needs.is_empty()) => Ok(()),
                    Some(_) => Err(Refused::Insufficient),
                    None => Err(Refused::Unknown),
                }
            }
            Mode::Token => {
                let token = given.ok_or(Refused::Unknown)?;
                let (scheme, token) = token.split_once(' ').ok_or(Refused::Unknown)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(Refused::Unknown);
                }
                let token = self.tokens.get_mut(token).ok_or(Refused::Expired)?;
                if token.end <= Instant::now() || token.requests == Some(0) {
                    return Err(Refused::Expired);
                }
                if let Some(left) = &mut token.requests {
                    *left -= 1;
                }
                if covers(&token.grants, needs) {
                    Ok(())
                } else {
                    Err(Refused::Insufficient)
                }
            }
        }
    }

    /// The user of `Basic` credentials.
    pub(super) fn basic(&self, given: &str) -> Option<String> {
        let (scheme, encoded) = given.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        self.password(user, password)
    }

    /// The user, where the password is right. An identity token is as good, for whichever user.
    pub(super) fn password(&self, user: &str, password: &str) -> Option<String> {
        if let Some(user) = self.identity(password) {
            return Some(user);
        }
        let account = self.accounts.get(user)?;
        (account.password == password).then(|| user.to_owned())
    }

    /// The user of an identity token.
    pub(super) fn identity(&self, token: &str) -> Option<String> {
        self.identities.get(token).cloned()
    }

    /// What of `asked` a user, or anyone, is granted.
    pub(super) fn grant(&self, user: Option<&str>, asked: &Grants) -> Grants {
        let most = match user {
            Some(user) => self.accounts.get(user).map(|it| it.access),
            None => self.anonymous_pull.then_some(Access::Pull),
        };
        let Some(most) = most else {
            return Grants::new();
        };
        let visible = asked
            .iter()
            .filter(|(repository, _)| !self.private.contains(*repository));
        visible
            .map(|(repository, access)| (repository.clone(), most.min(*access)))
            .collect()
    }

    pub(super) fn issue(&mut self, text: &str, grants: Grants, requests: Option<u32>) {
        let end = Instant::now() + self.lifetime;
        let token = Token {
            grants,
            end,
            requests,
        };
        self.tokens.insert(text.to_owned(), token);
    }
}

fn covers(grants: &Grants, needs: &Grants) -> bool {
    needs
        .iter()
        .all(|(repository, need)| grants.get(repository).is_some_and(|it| it >= need))
}

/// `repository:acme/app:pull,push`, one for each repository, as a list.
pub(super) fn scopes(needs: &Grants) -> String {
    let scopes: Vec<_> = needs
        .iter()
        .map(|(repository, access)| {
            let actions = match access {
                Access::Pull => "pull",
                Access::Push => "pull,push",
            };
            format!("repository:{repository}:{actions}")
        })
        .collect();
    scopes.join(" ")
}

/// The grants that scopes ask for; None for a text that is no scope.
pub(super) fn parse_scopes<'a>(scopes: impl Iterator<Item = &'a str>) -> Option<Grants> {
    let mut asked = Grants::new();
    for scope in scopes.flat_map(str::split_whitespace) {
        let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let mut access = None;
        for action in actions.split(',') {
            access = access.max(Some(match action {
                "pull" => Access::Pull,
                "push" | "*" | "delete" => Access::Push,
                _ => return None,
            }));
        }
        let granted = asked.entry(repository.to_owned()).or_insert(access?);
        *granted = (*granted).max(access?);
    }
    Some(asked)
}

/// The answer of a token endpoint.
pub(super) fn document(token: &str, is_post: bool, expires_in: Option<u64>) -> Value {
    let mut document = json!({ "access_token": token });
    if !is_post {
        document["token"] = json!(token);
    }
    if let Some(seconds) = expires_in {
        document["expires_in"] = json!(seconds);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(scope: &str) -> Grants {
        parse_scopes([scope].into_iter()).unwrap()
    }

    #[test]
    fn scopes_are_parsed_and_printed() {
        let text = "repository:a/b:pull,push repository:c:pull";
        assert_eq!(scopes(&asks(text)), text);
        let twice = asks("repository:a:pull repository:a:push");
        assert_eq!(scopes(&twice), "repository:a:pull,push");
        for wrong in [
            "repository:a",
            "catalog",
            "repository:a:fly",
            "registry:a:*",
        ] {
            assert_eq!(parse_scopes([wrong].into_iter()), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_good_for_what_it_was_granted() {
        let mut auth = Auth::new();
        auth.mode = Mode::Token;
        auth.add("reader", "r", Access::Pull);
        auth.private.insert("secret".into());
        let asked = asks("repository:a:pull,push repository:secret:pull");
        let granted = auth.grant(Some("reader"), &asked);
        assert_eq!(scopes(&granted), "repository:a:pull");
        assert_eq!(auth.grant(None, &asked), Grants::new());
        auth.issue("t", granted, Some(3));
        let mut check = |given, scope| auth.check(given, &asks(scope));
        assert_eq!(check(None, ""), Err(Refused::Unknown));
        assert_eq!(check(Some("Bearer x"), ""), Err(Refused::Expired));
        let token = Some("Bearer t");
        assert_eq!(check(token, "repository:a:pull"), Ok(()));
        assert_eq!(
            check(token, "repository:b:pull"),
            Err(Refused::Insufficient)
        );
        assert_eq!(
            check(token, "repository:a:push"),
            Err(Refused::Insufficient)
        );
        assert_eq!(check(token, "repository:a:pull"), Err(Refused::Expired));
    }

    #[test]
    fn basic_credentials() {
        let mut auth = Auth::new();
        auth.mode = Mode::Basic;
        auth.add("reader", "r:1", Access::Pull);
        let given = format!("Basic {}", STANDARD.encode("reader:r:1"));
        let mut check = |given, scope| auth.check(given, &asks(scope));
        assert_eq!(check(Some(&given), "repository:a:pull"), Ok(()));
        assert_eq!(check(Some(&given), ""), Ok(()));
        assert_eq!(check(None, ""), Err(Refused::Unknown));
        let refused = check(Some(&given), "repository:a:push");
        assert_eq!(refused, Err(Refused::Insufficient));
        assert_eq!(check(Some("Basic eA=="), ""), Err(Refused::Unknown));
    }
}
