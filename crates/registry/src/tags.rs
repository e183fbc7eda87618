//! Listing tags (distribution-spec, "Listing Tags"), and other lists that come in pages.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::address::follow;
use crate::answer::Refusal;
use crate::header::next_link;
use crate::registry::{Ask, Redirects};
use crate::{Error, Repository};

/// Tags asked for at once. Registries give fewer if they like.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let action = format!("list the tags of {}", self.name());
        let mut url = self.url(&["tags", "list"], &action).await?;
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut tags = Vec::new();
        let pages = self
            .pages(url, &action, |page: Tags, _| {
                tags.extend(page.tags.unwrap_or_default());
            })
            .await?;
        match pages {
            Ok(()) => Ok(tags),
            Err(refusal) => Err(self.host().refused(refusal, self.to_pull(&action)).await),
        }
    }

    /// Reads a list page by page.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        mut url: Url,
        action: &str,
        mut take: impl FnMut(T, &HeaderMap),
    ) -> Result<Result<(), Refusal>, Error> {
        let mut seen = Vec::new();
        loop {
            let mut ask = Ask::new(Method::GET, url.clone(), self.to_pull(action));
            ask.redirects = Redirects::All;
            let what = format!("the answer to `{action}`");
            let page = match self.read(&ask, &what).await? {
                Ok(page) => page,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let list = serde_json::from_slice(&page.bytes)
                .map_err(|source| Error::Document { what, source })?;
            take(list, &page.headers);
            let Some(link) = next_link(&page.headers) else {
                return Ok(Ok(()));
            };
            let next = follow(&url, &link).filter(|next| self.host().is_own(next));
            seen.push(url);
            url = next
                .filter(|next| !seen.contains(next))
                .ok_or_else(|| Error::Location {
                    action: action.to_owned(),
                    location: link,
                })?;
        }
    }
}
