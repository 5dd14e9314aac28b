//! Requests to the server, each on a connection of its own.

use std::io;
use std::net::SocketAddr;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;

/// Largest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("no connection")]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("malformed request")]
    Request(#[from] hyper::http::Error),
    #[error("no body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("{status} to {path}: {body}")]
    Status {
        status: StatusCode,
        path: String,
        body: String,
    },
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
}

/// Where requests go.
#[derive(Debug)]
pub(super) struct Host {
    authority: String,
    token: Option<String>,
}

impl Host {
    /// Of `http://HOST:PORT`, with or without a slash; port 80 where none is given.
    pub(super) fn parse(url: &str, token: Option<String>) -> Option<Self> {
        let authority = url.strip_prefix("http://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.is_empty() || authority.contains('/') {
            return None;
        }
        let last = authority.rsplit(']').next().unwrap_or_default();
        let authority = match last.contains(':') {
            true => authority.to_owned(),
            false => format!("{authority}:80"),
        };
        Some(Self { authority, token })
    }

    /// Its first address.
    pub(super) async fn resolve(&self) -> io::Result<SocketAddr> {
        let mut found = tokio::net::lookup_host(&self.authority).await?;
        found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Asks; the body of the answer. One without success is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        content: Option<(&str, String)>,
    ) -> Result<String, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match content {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                body
            }
            None => String::new(),
        };
        let request = request.body(Full::new(Bytes::from(body)))?;
        let stream = TcpStream::connect(self.resolve().await?).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its end is that of the request.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(HttpError::Body)?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        if !head.status.is_success() {
            return Err(HttpError::Status {
                status: head.status,
                path: path.to_owned(),
                body,
            });
        }
        Ok(body)
    }

    /// The same with JSON both ways.
    pub(super) async fn ask_json(&self, path: &str, content: &Value) -> Result<Value, HttpError> {
        let content = Some(("application/json", content.to_string()));
        let answer = self.ask(Method::POST, path, content).await?;
        Ok(serde_json::from_str(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let authority = |url: &str| Host::parse(url, None).map(|host| host.authority);
        assert_eq!(authority("http://a:8080").as_deref(), Some("a:8080"));
        assert_eq!(authority("http://a/").as_deref(), Some("a:80"));
        assert_eq!(authority("http://[::1]").as_deref(), Some("[::1]:80"));
        assert_eq!(authority("http://[::1]:9/").as_deref(), Some("[::1]:9"));
        for bad in ["https://a", "a:80", "http://", "http://a/b"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
