//! Clients on DTLS (RFC 7350): what their records hold goes to the machine as datagrams do.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use twocan_io::clock;
use twocan_proto::contract::{Batch, Datagram, Path};
use twocan_proto::counters::Counters;
use twocan_proto::dtls::{Associations, Bounds, Certificate, Settings};
use twocan_proto::time::Now;
use twocan_proto::turn::server::{DTLS_LISTENERS_MIN, LISTENERS_MAX, Server};

use super::super::ServeError;
use super::super::settings::SettingsError;
use super::super::tls::Pair;

/// Longest datagram of a handshake, in bytes: it passes wherever IPv6 does.
const FLIGHT_LEN_MAX: usize = 1200;

/// The clients, and the certificate of the day.
#[derive(Debug)]
pub(super) struct Dtls {
    associations: Associations,
    settings: Settings,
    pair: watch::Receiver<Pair>,
    /// A record's data, and then a datagram of ours.
    scratch: Vec<u8>,
}

/// Whether a socket is one of DTLS.
pub(super) fn is_dtls(socket: u32) -> bool {
    (DTLS_LISTENERS_MIN..LISTENERS_MAX).contains(&socket)
}

/// Whether the engine takes a certificate.
pub(super) fn check(pair: &Pair) -> Result<(), ServeError> {
    let settings = Settings::of_server(FLIGHT_LEN_MAX).map_err(io::Error::other)?;
    admit(&settings, pair).map(drop).map_err(ServeError::from)
}

fn admit(settings: &Settings, pair: &Pair) -> Result<Certificate, SettingsError> {
    let Pair { certificate, key } = pair.clone();
    // Clients look at its end, and nobody here.
    let made = Certificate::from_der(certificate, key, Duration::MAX);
    match settings.can_prove(&made) {
        true => Ok(made),
        false => Err(SettingsError::TurnDtlsKey(kind_of_key(&pair.certificate))),
    }
}

/// What an operator calls the kind of a certificate's key.
fn kind_of_key(certificate: &[u8]) -> &'static str {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return "not to be read";
    };
    let algorithm = &parsed.public_key().algorithm.algorithm;
    match algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10045.2.1" => "ECDSA on another curve",
        "1.3.101.112" => "Ed25519",
        _ => "of another kind",
    }
}

impl Dtls {
    pub(super) fn new(mut pair: watch::Receiver<Pair>) -> io::Result<Self> {
        let settings = Settings::of_server(FLIGHT_LEN_MAX).map_err(io::Error::other)?;
        let first = pair.borrow_and_update().clone();
        let certificate = admit(&settings, &first).map_err(io::Error::other)?;
        Ok(Self {
            associations: Associations::new(settings.clone(), certificate, Bounds::default()),
            settings,
            pair,
            scratch: Vec::new(),
        })
    }

    /// Shows the certificate that there is by now. One that the engine does not take is reported, and
    /// the one before it stays.
    pub(super) fn look_at_certificate(&mut self) {
        if !self.pair.has_changed().unwrap_or(false) {
            return;
        }
        let pair = self.pair.borrow_and_update().clone();
        match admit(&self.settings, &pair) {
            Ok(certificate) => self.associations.set_certificate(certificate),
            Err(error) => tracing::error!(%error, "TURN over DTLS keeps the certificate before"),
        }
    }

    /// Takes a datagram, and hands on what it holds.
    pub(super) fn receive(&mut self, server: &mut Server, now: Now, datagram: Datagram<'_>) {
        let Datagram {
            path,
            remote,
            ecn,
            waited,
            bytes,
        } = datagram;
        let scratch = &mut self.scratch;
        let mut deliver = |data: &[u8]| {
            scratch.clear();
            scratch.extend_from_slice(data);
            let datagram = Datagram {
                path,
                remote,
                ecn,
                waited,
                bytes: scratch,
            };
            server.handle_datagram(now, datagram);
        };
        let associations = &mut self.associations;
        associations.handle_datagram(now.monotonic, (path, remote), bytes, &mut deliver);
        self.tell_who_left(server);
    }

    pub(super) fn handle_timeout(&mut self, server: &Server, now: Now) {
        let mut is_wanted = |(path, remote): &(Path, _)| server.has_client(*path, *remote);
        self.associations
            .handle_timeout(now.monotonic, &mut is_wanted);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.associations.poll_timeout().map(|deadline| deadline.at)
    }

    /// Encrypts what is for a client; `send` is called with batches of it. Answers how many datagrams
    /// were for nobody.
    pub(super) fn encrypt(&mut self, plain: &Batch, mut send: impl FnMut(&Batch)) -> u64 {
        let Some(to) = plain.destination() else {
            return 0;
        };
        let now = clock::now().monotonic;
        let (mut batch, mut spill) = (Batch::new(), Vec::new());
        let mut for_nobody = 0;
        for piece in plain.iter() {
            self.scratch.clear();
            let of = (to.path, to.remote);
            if !self.associations.send(now, of, piece, &mut self.scratch) {
                for_nobody += 1;
                continue;
            }
            let len = self.scratch.len();
            let fits = batch.is_empty() || len <= batch.segment_len();
            if !fits || !batch.has_room(to, len) {
                send(&batch);
                batch.clear();
            }
            batch.push(to, &mut spill, |out| out.extend_from_slice(&self.scratch));
        }
        if !batch.is_empty() {
            send(&batch);
        }
        for_nobody
    }

    /// The next datagram of a handshake.
    pub(super) fn poll_transmit(&mut self, batch: &mut Batch) -> bool {
        self.scratch.clear();
        let Some((path, remote)) = self.associations.poll_transmit(&mut self.scratch) else {
            return false;
        };
        let to = twocan_proto::contract::Destination {
            path,
            remote,
            ecn: twocan_proto::contract::Ecn::NotEct,
            dscp: twocan_proto::contract::Dscp::DEFAULT,
        };
        batch.clear();
        batch.push(to, &mut Vec::new(), |out| {
            out.extend_from_slice(&self.scratch);
        })
    }

    /// Tells the machine of clients that have left; says whether there were any.
    pub(super) fn tell_who_left(&mut self, server: &mut Server) -> bool {
        let mut any = false;
        while let Some((path, remote)) = self.associations.poll_closed() {
            server.handle_client_left(path, remote);
            any = true;
        }
        any
    }

    pub(super) fn client_count(&self) -> usize {
        self.associations.len()
    }

    pub(super) fn counters(&self) -> &Counters {
        self.associations.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> Pair {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let asked = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        Pair {
            certificate: asked.self_signed(&key).unwrap().der().to_vec(),
            key: key.serialize_der(),
        }
    }

    #[test]
    fn a_certificate_that_dtls_does_not_take_is_called_by_its_key() {
        for taken in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ] {
            check(&pair(taken)).unwrap();
        }
        for (other, named) in [
            (&rcgen::PKCS_ED25519, "Ed25519"),
            (&rcgen::PKCS_RSA_SHA256, "RSA"),
            (&rcgen::PKCS_ECDSA_P521_SHA512, "ECDSA on another curve"),
        ] {
            let refused = check(&pair(other)).unwrap_err().to_string();
            assert!(
                refused.contains("--turn-dtls") && refused.contains(named),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn a_new_certificate_is_taken_where_it_can_be() {
        let (pairs, received) = watch::channel(pair(&rcgen::PKCS_ECDSA_P256_SHA256));
        let mut dtls = Dtls::new(received).unwrap();
        pairs.send_replace(pair(&rcgen::PKCS_ED25519));
        dtls.look_at_certificate();
        assert!(!dtls.pair.has_changed().unwrap(), "it was looked at");
        drop(pairs);
        dtls.look_at_certificate();
    }
}
