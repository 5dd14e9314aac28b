//! Requests over HTTP, one connection each.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// For the whole of a request.
const WITHIN: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const ANSWER_LEN_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum RequestError {
    /// Not `http://host…` or `https://host…`.
    #[error("{0:?} is no http:// or https:// address")]
    Address(String),
    /// Nobody there.
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] std::io::Error),
    /// No system's authorities, or the like.
    #[error("TLS cannot be used")]
    Tls(#[source] std::io::Error),
    /// The other side speaks something else.
    #[error("no answer in HTTP")]
    Http(#[from] hyper::Error),
    /// The answer is too long, or was cut.
    #[error("the answer is not whole, or longer than 4 MiB")]
    Body,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// A request.
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Whether requests can go to that address.
pub(crate) fn is_address(url: &str) -> bool {
    target(url).is_ok()
}

fn target(url: &str) -> Result<(Uri, String, bool), RequestError> {
    let wrong = || RequestError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?.to_owned();
    let is_secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    Ok((uri, host, is_secure))
}

/// Asks, and waits for the answer for 10 s at most.
///
/// # Errors
/// The [`RequestError`].
pub(crate) async fn send(asked: Asked<'_>) -> Result<Answer, RequestError> {
    let mut request = Request::builder()
        .method(asked.method)
        .uri(asked.url)
        .header(USER_AGENT, concat!("twocan/", env!("CARGO_PKG_VERSION")));
    for (header, value) in asked.headers {
        request = request.header(header, value);
    }
    let request = request
        .body(Full::new(Bytes::from(asked.body)))
        .map_err(|_| RequestError::Address(asked.url.to_owned()))?;
    let (parts, body) = fetch(request, WITHIN).await?.into_parts();
    let status = parts.status.as_u16();
    Ok(Answer { status, body })
}

/// The same of a request whose address is whole (`https://…`), for the time that is given.
///
/// # Errors
/// The [`RequestError`].
pub(crate) async fn fetch(
    request: Request<Full<Bytes>>,
    within: Duration,
) -> Result<Response<Bytes>, RequestError> {
    let fetched = tokio::time::timeout(within, Box::pin(exchange(request))).await;
    fetched.map_err(|_| RequestError::Late(within))?
}

async fn exchange(mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, RequestError> {
    let url = request.uri().to_string();
    let (uri, host, is_secure) = target(&url)?;
    let name = host.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let unreachable = |error| RequestError::Unreachable(host.clone(), error);
    let wrong = || RequestError::Address(url.clone());
    let stream = TcpStream::connect((name, port))
        .await
        .map_err(unreachable)?;
    let authority = uri.authority().map_or(name, |own| own.as_str());
    let authority = HeaderValue::from_str(authority).map_err(|_| wrong())?;
    request.headers_mut().insert(HOST, authority);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| wrong())?;
    if !is_secure {
        return over(stream, request).await;
    }
    let server = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
    let connector = TlsConnector::from(trusted().await?);
    let stream = connector.connect(server, stream).await;
    over(stream.map_err(RequestError::Tls)?, request).await
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, RequestError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
    driver.abort();
    let body = body.map_err(|_| RequestError::Body)?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// The system's authorities, which are read once, where nobody waits for the disk: a request that is
/// tried again does not read hundreds of files again.
async fn trusted() -> Result<Arc<ClientConfig>, RequestError> {
    static TRUSTED: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let read = || async {
        let read = tokio::task::spawn_blocking(trust).await;
        let read = read.map_err(|error| RequestError::Tls(std::io::Error::other(error)))?;
        read.map(Arc::new)
    };
    TRUSTED.get_or_try_init(read).await.cloned()
}

/// The system's authorities, from where the system has them.
fn trust() -> Result<ClientConfig, RequestError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.into_iter().next();
        let why = why.map_or_else(|| "no authorities".to_owned(), |error| error.to_string());
        return Err(RequestError::Tls(std::io::Error::other(why)));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RequestError::Tls(std::io::Error::other(error)))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn authorities_are_read_once() {
        match (trusted().await, trusted().await) {
            (Ok(first), Ok(second)) => assert!(Arc::ptr_eq(&first, &second)),
            // A system without any is asked again.
            (first, second) => assert!(first.is_err() && second.is_err()),
        }
    }
}
