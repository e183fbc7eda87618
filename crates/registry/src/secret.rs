//! Secrets, and what they came from. Only the latter is ever shown.

use std::fmt;

/// What a registry is told to know who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// A user's name and password (or access token).
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// An `OAuth2` refresh token, for the token server only.
    Identity {
        /// The name that came with it, if any.
        user: Option<String>,
        /// The token.
        token: String,
    },
}

impl Secret {
    /// `user:password`; a user named `<token>` has an identity token for a password.
    pub(crate) fn new(user: &str, password: &str) -> Self {
        if user == "<token>" {
            return Self::Identity {
                user: None,
                token: password.to_owned(),
            };
        }
        Self::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// User and password for HTTP's Basic scheme. Token servers that know no `OAuth2` take an identity
    /// token as a password.
    pub(crate) fn basic(&self) -> (&str, &str) {
        match self {
            Self::Password { user, password } => (user, password),
            Self::Identity { user, token } => (user.as_deref().unwrap_or("<token>"), token),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::Identity { .. } => "Identity(…)",
        })
    }
}

/// What was found for a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The secret and where it is from: `/root/.docker/config.json (ghcr.io)`.
    pub(crate) secret: Option<(Secret, String)>,
    /// Places that should have one but could not be asked.
    pub(crate) faults: Vec<String>,
}

impl Found {
    pub(crate) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref().map(|(secret, _)| secret)
    }

    /// Where the secret is from, as errors tell it.
    pub(crate) fn origin(&self) -> String {
        let mut text = match &self.secret {
            Some((Secret::Password { user, .. }, origin)) => {
                format!("user `{user}` from {origin}")
            }
            Some((Secret::Identity { .. }, origin)) => {
                format!("an identity token from {origin}")
            }
            None => "no credentials found".to_owned(),
        };
        if self.secret.is_none() && !self.faults.is_empty() {
            text = format!("{text}; {}", self.faults.join("; "));
        }
        text
    }
}
