//! Uploads in pieces (distribution-spec, "Pushing a blob in chunks"), for registries that take no
//! blob whole. The only way in which a session is gone on with after a fault: each piece says where
//! it belongs.

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};

use crate::answer::Answer;
use crate::auth::Purpose;
use crate::header::received;
use crate::registry::Ask;
use crate::source::Source;
use crate::upload::{OCTETS, Outcome, Session, end_of};
use crate::{Error, Repository, Upload};

/// Bytes in a piece: what GHCR takes at most, and unless the registry wants more.
const PIECE: u64 = 4 << 20;

/// Pieces are in memory: none is larger, whatever the registry wants.
const LARGEST_PIECE: u64 = 32 << 20;

/// How often a registry may say that it has not moved.
const MOST_STANDSTILLS: u32 = 3;

impl Repository {
    pub(crate) async fn upload_pieces(
        &self,
        session: &mut Session,
        mut source: Source,
        blob: &Upload<'_>,
        purpose: Purpose<'_>,
    ) -> Result<Outcome, Error> {
        let least = session.least_piece.unwrap_or(0);
        let size = PIECE.max(least).min(LARGEST_PIECE);
        let mut start = 0;
        let mut spare = BytesMut::new();
        while let Some(piece) = fill(&mut source, &mut spare, size as usize).await? {
            let end = start + piece.len() as u64;
            if let Some(outcome) = self.send_piece(session, piece, start, purpose).await? {
                return Ok(outcome);
            }
            start = end;
        }
        let mut ask = end_of(&session.location, &blob.digest, 0, purpose);
        ask.body = Some(Bytes::new());
        match self.host().ask_once(self.shared(), &ask).await? {
            Ok(Answer::Success(success)) => self.ended(&success, blob, purpose).await,
            Ok(Answer::Refusal(refusal)) => self.sort(refusal, purpose).await,
            Err(fault) => Ok(Outcome::Lost(fault)),
        }
    }

    /// Sends the piece that belongs at `start`; an outcome where the session is at its end.
    async fn send_piece(
        &self,
        session: &mut Session,
        piece: Bytes,
        start: u64,
        purpose: Purpose<'_>,
    ) -> Result<Option<Outcome>, Error> {
        let end = start + piece.len() as u64;
        let mut at = start;
        let mut standstills = 0;
        while at < end {
            let rest = piece.slice((at - start) as usize..);
            let mut ask = Ask::new(Method::PATCH, session.location.clone(), purpose);
            let range = format!("{at}-{}", end - 1);
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static(OCTETS)),
                (CONTENT_LENGTH, HeaderValue::from(rest.len())),
            ];
            ask.headers
                .extend(headers.map(|(name, value)| (Some(name), value)));
            if let Ok(range) = HeaderValue::from_str(&range) {
                ask.headers.insert(CONTENT_RANGE, range);
            }
            ask.body = Some(rest);
            match self.host().ask_once(self.shared(), &ask).await? {
                Ok(Answer::Success(success)) => {
                    let response = &success.response;
                    let (url, headers) = (response.url(), response.headers());
                    session.location = self.location(url, headers, purpose.action)?;
                    // All of it, unless the registry says otherwise and still does when asked.
                    let has = received(headers).unwrap_or(end);
                    // `0-0` is what is said of one byte, too.
                    if has >= end || end == 1 {
                        return Ok(None);
                    }
                }
                Ok(Answer::Refusal(refusal))
                    if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE =>
                {
                    let from = session.location.clone();
                    if let Ok(location) = self.location(&from, &refusal.headers, purpose.action) {
                        session.location = location;
                    }
                }
                Ok(Answer::Refusal(refusal)) => return self.sort(refusal, purpose).await.map(Some),
                Err(fault) => return Ok(Some(Outcome::Lost(fault))),
            }
            let has = match self.standing(session, purpose).await? {
                Ok(has) => has,
                Err(outcome) => return Ok(Some(outcome)),
            };
            let moved = has > at;
            standstills = if moved { 0 } else { standstills + 1 };
            if has < start || has > end || standstills >= MOST_STANDSTILLS {
                return Ok(Some(Outcome::Stuck(has)));
            }
            at = has;
        }
        Ok(None)
    }

    /// Bytes that a session has.
    async fn standing(
        &self,
        session: &mut Session,
        purpose: Purpose<'_>,
    ) -> Result<Result<u64, Outcome>, Error> {
        let ask = Ask::new(Method::GET, session.location.clone(), purpose);
        let success = match self.host().ask(self.shared(), &ask).await? {
            Answer::Success(success) => success,
            Answer::Refusal(refusal) => return Ok(Err(self.sort(refusal, purpose).await?)),
        };
        let (url, headers) = (success.response.url(), success.response.headers());
        if let Ok(location) = self.location(url, headers, purpose.action) {
            session.location = location;
        }
        Ok(Ok(received(headers).unwrap_or(0)))
    }
}

/// The next piece; None behind the last one.
async fn fill(
    source: &mut Source,
    spare: &mut BytesMut,
    size: usize,
) -> Result<Option<Bytes>, Error> {
    while spare.len() < size {
        match source.next().await? {
            Some(chunk) => spare.extend_from_slice(&chunk),
            None => break,
        }
    }
    let piece = spare.split_to(spare.len().min(size)).freeze();
    Ok((!piece.is_empty()).then_some(piece))
}
