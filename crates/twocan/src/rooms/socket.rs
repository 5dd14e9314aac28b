//! The WebSocket, with TLS where the address wants it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

use super::address::Address;
use super::error::JoinError;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The subprotocol of everything beyond the base.
const V1: &str = "twocan.v1";

/// An attempt to connect that takes longer is given up.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The longest frame that is taken from a server, in bytes: a roster of a full room.
const MESSAGE_LEN_MAX: usize = 1 << 20;

/// Opens the WebSocket; also whether the server speaks the base protocol only.
pub(super) async fn open(
    address: &Address,
    tls: Option<Arc<ClientConfig>>,
) -> Result<(Socket, bool), JoinError> {
    let attempt = async {
        match connect(address, tls.clone(), true).await {
            // Such a server does not answer to a name of a subprotocol.
            Err(WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(
                SubProtocolError::NoSubProtocol,
            ))) => connect(address, tls, false)
                .await
                .map(|socket| (socket, true)),
            outcome => outcome.map(|socket| (socket, false)),
        }
    };
    match tokio::time::timeout(CONNECT_WITHIN, attempt).await {
        Ok(outcome) => outcome.map_err(|error| why(&error)),
        Err(_) => Err(JoinError::NoAnswer(CONNECT_WITHIN.as_secs())),
    }
}

async fn connect(
    address: &Address,
    tls: Option<Arc<ClientConfig>>,
    with_subprotocol: bool,
) -> Result<Socket, WsError> {
    let mut request = address.url.as_str().into_client_request()?;
    if with_subprotocol {
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(V1));
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LEN_MAX))
        .max_frame_size(Some(MESSAGE_LEN_MAX));
    let connector = tls.map_or(Connector::Plain, Connector::Rustls);
    let connecting = tokio_tungstenite::connect_async_tls_with_config(
        request,
        Some(config),
        true,
        Some(connector),
    );
    Box::pin(connecting).await.map(|(socket, _)| socket)
}

fn why(error: &WsError) -> JoinError {
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(body);
            let line = text.lines().next().unwrap_or_default().trim();
            let reason = match line {
                "" => status.canonical_reason().unwrap_or("no reason given"),
                line => line,
            };
            JoinError::Refused {
                status: status.as_u16(),
                reason: reason.chars().take(200).collect(),
            }
        }
        // What begins a TLS handshake is no answer to an HTTP request.
        tungstenite::Error::Protocol(ProtocolError::HttparseError(_)) => JoinError::Tls(
            "the server does not answer in HTTP there: if it has HTTPS, the address begins with https://".into(),
        ),
        other => match tls_error(other) {
            Some(error) => JoinError::Tls(advice(error)),
            None => JoinError::Unreachable(other.to_string()),
        },
    }
}

fn tls_error(error: &WsError) -> Option<&rustls::Error> {
    match error {
        tungstenite::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn advice(error: &rustls::Error) -> String {
    use rustls::{CertificateError as C, Error as E, InvalidMessage as M};
    let advice = match error {
        E::InvalidCertificate(C::UnknownIssuer) => {
            "; a self-signed one is accepted where asked for (--accept-self-signed), on this machine only"
        }
        E::InvalidMessage(M::InvalidContentType) => {
            "; if the server has no HTTPS there, the address begins with http://"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

/// What is trusted: the authorities of the system; or, on this machine alone, any certificate.
pub(super) fn tls(address: &Address, any: bool) -> Result<Option<Arc<ClientConfig>>, JoinError> {
    if !address.is_tls {
        return Ok(None);
    }
    if any && !address.is_loopback {
        return Err(JoinError::Tls(
            "self-signed certificates are accepted from this machine (localhost) only".into(),
        ));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| JoinError::Tls(error.to_string()))?;
    let config = if any {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = "this system has no certificates of authorities (ca-certificates)";
            return Err(JoinError::Tls(reason.into()));
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    Ok(Some(Arc::new(config)))
}

/// Takes any certificate whose key the server has. Only used towards this very machine.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
