//! Whether a request is allowed, and the challenge where it is not (RFC 9110, section 11.6.1).

use hyper::header;

use super::auth::{self, Access, Grants, Mode, Refused};
use super::exchange::{Exchange, Refusal};
use super::fault::RegistryFault as Fault;
use super::log::Kind;
use super::reply::{self, Reply};
use super::route;

impl Exchange<'_> {
    pub(super) fn authorize(&mut self) -> Result<(), Refusal> {
        if self.kind == Kind::Token {
            return Ok(());
        }
        let needs = self.needs();
        let given = self.header(header::AUTHORIZATION);
        let checked = self.inner().auth.check(given.as_deref(), &needs);
        let checked = match checked {
            Ok(()) if needs.values().any(|it| *it == Access::Push) => self.push_denied()?,
            other => other,
        };
        checked.map_err(|refused| self.challenge(&needs, &refused).into())
    }

    fn push_denied(&mut self) -> Result<Result<(), Refused>, Refusal> {
        let denied = self.pick(|it| match it {
            Fault::PushDenied { status } => Some(status),
            _ => None,
        });
        match denied {
            None => Ok(Ok(())),
            Some(401) => Ok(Err(Refused::Insufficient)),
            Some(status) => {
                let text = "permission_denied: write_package";
                Err(reply::error(status, "DENIED", text).into())
            }
        }
    }

    fn needs(&self) -> Grants {
        let Some(repository) = self.route.repository() else {
            return Grants::new();
        };
        let access = match self.kind {
            Kind::HeadBlob
            | Kind::GetBlob
            | Kind::HeadManifest
            | Kind::GetManifest
            | Kind::Tags
            | Kind::Referrers => Access::Pull,
            _ => Access::Push,
        };
        let from = route::values(&self.query, "from");
        let mut needs: Grants = from.into_iter().map(|it| (it, Access::Pull)).collect();
        needs.insert(repository.to_owned(), access);
        needs
    }

    /// 401, with what would be good enough.
    pub(super) fn challenge(&mut self, needs: &Grants, refused: &Refused) -> Reply {
        let mut reply = reply::error(401, "UNAUTHORIZED", "authentication required");
        let mut add = |value: &str| {
            let value = value.parse().expect("a visible text");
            reply.headers_mut().append(header::WWW_AUTHENTICATE, value);
        };
        let is_several = self.is(Fault::SeveralChallenges);
        if is_several {
            add("Negotiate");
        }
        let others = if is_several {
            "Digest realm=\"a, \\\"b\\\" = c\", nonce=abc, "
        } else {
            ""
        };
        let mode = self.inner().auth.mode;
        if mode == Mode::Token {
            let mut value = format!(
                "{others}Bearer realm=\"http://{}/token\",service=\"{}\"",
                self.shared.registry,
                auth::SERVICE
            );
            if !needs.is_empty() {
                value = format!("{value},scope=\"{}\"", auth::scopes(needs));
            }
            match refused {
                Refused::Unknown => {}
                Refused::Expired => value.push_str(",error=\"invalid_token\""),
                Refused::Insufficient => value.push_str(",error=\"insufficient_scope\""),
            }
            add(&value);
        } else {
            add(&format!("{others}Basic realm=\"testkit\""));
        }
        reply
    }
}
