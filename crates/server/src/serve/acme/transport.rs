//! The CA over HTTPS, by our own client: the system's authorities, bounds on time and length.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::requests;

/// For one answer. Signing a certificate may take a while.
const WITHIN: Duration = Duration::from_secs(30);

/// Most bytes of an answer that are quoted.
const QUOTED_MAX: usize = 200;

/// The way to a CA.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    told: Arc<Mutex<Option<Duration>>>,
}

impl Transport {
    /// How long the CA asked to be left alone, since this was last asked (RFC 8555 §6.6).
    pub(super) fn take_told(&self) -> Option<Duration> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let told = self.told.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // RFC 8555 §6.1: who asks, and by what.
            let name = concat!("twocan/", env!("CARGO_PKG_VERSION"), " instant-acme");
            parts
                .headers
                .insert(USER_AGENT, HeaderValue::from_static(name));
            let Ok(body) = body.collect().await;
            let body = body.to_bytes();
            let request = Request::from_parts(parts, Full::new(body));
            let answer = requests::fetch(request, WITHIN).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            if matches!(answer.status().as_u16(), 429 | 503) {
                let pause = retry_after(answer.headers(), SystemTime::now());
                *told.lock().unwrap_or_else(PoisonError::into_inner) = pause;
            }
            understandable(&answer).map_err(Error::Other)?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse::from(Response::from_parts(
                parts,
                Full::new(body),
            )))
        })
    }
}

/// Refusals are JSON (RFC 8555 §6.7); what else answers, such as a proxy, is quoted.
fn understandable(answer: &Response<Bytes>) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(answer.body()).is_ok();
    if answer.status().is_success() || is_json() {
        return Ok(());
    }
    let start = answer.body().get(..QUOTED_MAX).unwrap_or(answer.body());
    let start = String::from_utf8_lossy(start);
    Err(format!("HTTP {}: {:?}", answer.status(), start.trim()).into())
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let by_date = || {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok()
    };
    text.parse().ok().map(Duration::from_secs).or_else(by_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_told_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
        let told = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(told("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            told("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(77))
        );
        assert_eq!(told("Sun, 06 Nov 1970 08:49:37 GMT"), None);
        assert_eq!(told("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_is_no_answer_of_an_authority_is_quoted() {
        let answer = |status: u16, body: &str| {
            let body = Bytes::from(body.to_owned());
            let answer = Response::builder().status(status).body(body).unwrap();
            understandable(&answer).map_err(|error| error.to_string())
        };
        assert_eq!(answer(200, "PEM"), Ok(()));
        assert_eq!(answer(403, r#"{"type":"urn:x"}"#), Ok(()));
        let said = answer(502, &format!("<html>{}", "x".repeat(1000))).unwrap_err();
        assert!(said.contains("502") && said.contains("<html>") && said.len() < 300);
    }
}
