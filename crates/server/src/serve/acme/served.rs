//! What is served: the certificate of the day, and for moments what a CA asks to see.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

/// The protocol in which a CA sees that a name is ours (RFC 8737 §6.2).
const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// What is served.
#[derive(Debug)]
pub(super) struct Served {
    current: RwLock<Arc<CertifiedKey>>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// Certificates of RFC 8737, by name.
    certificates: HashMap<String, Arc<CertifiedKey>>,
    /// Key authorizations of RFC 8555 §8.3, by token.
    answers: HashMap<String, String>,
}

/// What a CA asks to see, which is shown until this is dropped.
#[derive(Debug)]
pub(super) struct Showing {
    of: Arc<Served>,
    names: Vec<String>,
    tokens: Vec<String>,
}

impl Served {
    pub(super) fn new(first: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self {
            current: RwLock::new(first),
            shown: Mutex::default(),
        })
    }

    /// From the next handshake on; connections that are open keep theirs.
    pub(super) fn replace(&self, certificate: Arc<CertifiedKey>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// Nothing is shown yet.
    pub(super) fn showing(self: &Arc<Self>) -> Showing {
        Showing {
            of: self.clone(),
            names: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// The configuration of HTTPS.
    pub(super) fn config(
        self: &Arc<Self>,
        provider: Arc<CryptoProvider>,
    ) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        // The server's order counts: the last is for those alone who have no other.
        config.alpn_protocols = [&b"h2"[..], b"http/1.1", CHALLENGE_PROTOCOL]
            .map(<[u8]>::to_vec)
            .to_vec();
        Ok(config)
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Showing {
    /// RFC 8737: by the certificate.
    pub(super) fn show_certificate(&mut self, name: String, certificate: CertifiedKey) {
        let mut shown = self.of.shown();
        shown
            .certificates
            .insert(name.clone(), Arc::new(certificate));
        self.names.push(name);
    }

    /// RFC 8555 §8.3: over HTTP.
    pub(super) fn show_answer(&mut self, token: String, answer: String) {
        self.of.shown().answers.insert(token.clone(), answer);
        self.tokens.push(token);
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        let mut shown = self.of.shown();
        for name in &self.names {
            shown.certificates.remove(name);
        }
        for token in &self.tokens {
            shown.answers.remove(token);
        }
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_only = |mut protocols: Box<dyn Iterator<Item = &[u8]> + '_>| {
            protocols.next() == Some(CHALLENGE_PROTOCOL) && protocols.next().is_none()
        };
        if hello.alpn().is_some_and(|own| is_only(Box::new(own))) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.shown().certificates.get(&name).cloned();
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

/// What answers on port 80.
#[derive(Clone)]
struct Plain {
    served: Arc<Served>,
    domains: Arc<[String]>,
}

/// Answers a CA over HTTP, and sends everybody else on to HTTPS.
pub(super) fn router(served: Arc<Served>, domains: &[String]) -> Router {
    let domains = domains.into();
    Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .fallback(onward)
        .with_state(Plain { served, domains })
}

async fn answer(State(own): State<Plain>, Path(token): Path<String>) -> Response {
    let answer = own.served.shown().answers.get(&token).cloned();
    match answer {
        Some(answer) => answer.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn onward(State(own): State<Plain>, request: Request) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    // To our own names alone: others would be sent wherever somebody likes.
    let own = own
        .domains
        .iter()
        .find(|own| own.eq_ignore_ascii_case(name));
    let Some(own) = own else {
        return (StatusCode::NOT_FOUND, "nothing here\n").into_response();
    };
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let to = format!("https://{own}{path}");
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Cursor;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

    fn made(name: &str) -> CertifiedKey {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap()
    }

    /// The certificate and the protocol that a client gets which offers these.
    fn handshake(
        served: &Arc<Served>,
        name: &str,
        protocols: &[&[u8]],
    ) -> Option<(CertificateDer<'static>, Option<Vec<u8>>)> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = served.config(provider.clone()).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let current = served.current.read().unwrap().clone();
        roots.add(current.cert[0].clone()).unwrap();
        for shown in served.shown().certificates.values() {
            roots.add(shown.cert[0].clone()).unwrap();
        }
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|own| own.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        for _ in 0..4 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut Cursor::new(bytes)).unwrap();
            server.process_new_packets().ok()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut Cursor::new(bytes)).unwrap();
            client.process_new_packets().ok()?;
        }
        let certificate = client.peer_certificates()?.first()?.clone().into_owned();
        Some((certificate, client.alpn_protocol().map(<[u8]>::to_vec)))
    }

    #[test]
    fn who_asks_for_the_challenge_alone_sees_it_while_it_is_shown() {
        let first = Arc::new(made("a.example.org"));
        let served = Served::new(first.clone());
        let ask = |protocols: &[&[u8]]| handshake(&served, "a.example.org", protocols);
        let (certificate, protocol) = ask(&[b"h2", b"http/1.1"]).unwrap();
        assert_eq!(certificate, first.cert[0]);
        assert_eq!(protocol.as_deref(), Some(&b"h2"[..]));
        assert!(ask(&[CHALLENGE_PROTOCOL]).is_none());

        let challenge = made("a.example.org");
        let expected = challenge.cert[0].clone();
        let mut showing = served.showing();
        showing.show_certificate("a.example.org".to_owned(), challenge);
        let (certificate, protocol) = ask(&[CHALLENGE_PROTOCOL]).unwrap();
        assert_eq!(certificate, expected);
        assert_eq!(protocol.as_deref(), Some(CHALLENGE_PROTOCOL));
        // A browser sees nothing of it.
        let (certificate, _) = ask(&[b"http/1.1"]).unwrap();
        assert_eq!(certificate, first.cert[0]);
        assert_eq!(ask(&[]).unwrap().0, first.cert[0]);
        drop(showing);
        assert!(ask(&[CHALLENGE_PROTOCOL]).is_none());

        let second = Arc::new(made("a.example.org"));
        served.replace(second.clone());
        let (certificate, _) = handshake(&served, "a.example.org", &[b"h2"]).unwrap();
        assert_eq!(certificate, second.cert[0]);
    }

    #[tokio::test]
    async fn port_80_answers_the_authority_and_sends_others_on() {
        let served = Served::new(Arc::new(made("a.example.org")));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = router(served.clone(), &["a.example.org".to_owned()]);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let get = async |path: &str| {
            let request = hyper::Request::get(format!("http://{at}{path}"));
            let request = request.body(http_body_util::Full::default()).unwrap();
            let within = std::time::Duration::from_secs(60);
            crate::requests::fetch(request, within).await.unwrap()
        };
        let challenge = "/.well-known/acme-challenge/token-1";
        assert_eq!(get(challenge).await.status(), 404);
        let mut showing = served.showing();
        showing.show_answer("token-1".to_owned(), "token-1.thumb".to_owned());
        let answer = get(challenge).await;
        assert_eq!(answer.body().as_ref(), b"token-1.thumb");
        drop(showing);
        assert_eq!(get(challenge).await.status(), 404);
        assert_eq!(get("/room").await.status(), 404);
    }

    #[tokio::test]
    async fn only_our_own_names_are_sent_on() {
        let served = Served::new(Arc::new(made("a.example.org")));
        let own = Plain {
            served,
            domains: ["a.example.org".to_owned()].as_slice().into(),
        };
        let ask = async |host: &str| {
            let request = Request::get("/room?a=b").header("host", host);
            let request = request.body(axum::body::Body::empty()).unwrap();
            let answer = onward(State(own.clone()), request).await;
            let to = answer.headers().get(header::LOCATION).cloned();
            (answer.status(), to)
        };
        let (status, to) = ask("A.example.org:80").await;
        assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(to.unwrap(), "https://a.example.org/room?a=b");
        for host in [
            "b.example.org",
            "",
            "[::1]:80",
            "a.example.org.evil.example",
        ] {
            assert_eq!(ask(host).await.0, StatusCode::NOT_FOUND, "{host}");
        }
    }
}
