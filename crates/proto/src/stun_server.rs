//! The STUN server: Binding requests answered with the address they came from (RFC 8489 §6.3).
//!
//! It keeps nothing. What is no sound Binding request gets no answer, so that a forged source is
//! never sent more than one answer of at most 3 times the request's length.

use std::net::SocketAddr;

use twocan_wire::stun::{Attribute, Builder, Class, ErrorCode, Message, Method};

use crate::counters::Counters;

/// Answers Binding requests.
#[derive(Debug, Default)]
pub struct StunServer {
    counters: Counters,
}

impl StunServer {
    /// A server that has answered nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a datagram from `remote` and appends the answer, if there is one, to `out`.
    /// Answers whether it did.
    pub fn respond(&mut self, remote: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        let request = match Message::parse(datagram) {
            Ok(message) => message,
            Err(_) => return self.drop("stun_server.malformed"),
        };
        if request.class != Class::Request {
            return self.drop("stun_server.not_a_request");
        }
        if request.method != Method::BINDING {
            return self.drop("stun_server.other_method");
        }
        let unknown: Vec<u8> = request
            .unknown_required()
            .flat_map(u16::to_be_bytes)
            .collect();
        if unknown.is_empty() {
            self.counters.count("stun_server.answered");
            let mut builder =
                Builder::new(out, Class::Success, Method::BINDING, request.transaction);
            builder.attribute(Attribute::XorMappedAddress(remote));
            builder.finish();
        } else {
            self.counters.count("stun_server.unknown_attribute");
            let mut builder = Builder::new(out, Class::Error, Method::BINDING, request.transaction);
            builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
            // RFC 8489 §14.9 wants all of them; a request of nothing else is not worth a long answer.
            let listed = unknown.get(..unknown.len().min(16)).unwrap_or(&unknown);
            builder.attribute(Attribute::UnknownAttributes(listed));
            builder.finish();
        }
        true
    }

    /// What was answered and dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn drop(&mut self, reason: &'static str) -> bool {
        self.counters.count(reason);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twocan_wire::stun::TransactionId;

    fn request(fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut builder = Builder::new(
            &mut bytes,
            Class::Request,
            Method::BINDING,
            TransactionId([3; 12]),
        );
        fill(&mut builder);
        builder.finish();
        bytes
    }

    #[test]
    fn tells_the_address_it_sees() {
        let remote: SocketAddr = "[2001:db8::7]:4242".parse().unwrap();
        let mut out = Vec::new();
        assert!(StunServer::new().respond(remote, &request(|_| {}), &mut out));
        let answer = Message::parse(&out).unwrap();
        assert_eq!(answer.transaction, TransactionId([3; 12]));
        assert_eq!(answer.mapped_address(), Some(remote));
        assert!(out.len() <= 3 * request(|_| {}).len());
    }

    #[test]
    fn names_what_it_does_not_understand_and_is_silent_to_nonsense() {
        let remote: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let mut server = StunServer::new();
        let mut out = Vec::new();
        let odd = request(|builder| {
            builder.attribute(Attribute::Unknown {
                kind: 0x7fff,
                value: &[],
            });
        });
        assert!(server.respond(remote, &odd, &mut out));
        assert_eq!(Message::parse(&out).unwrap().error_code(), Some(420));
        let answers = out.clone();
        assert!(!server.respond(remote, &[0; 20], &mut out));
        assert!(!server.respond(remote, &answers, &mut out));
        assert_eq!(out, answers);
        assert_eq!(server.counters().get("stun_server.malformed"), 1);
        assert_eq!(server.counters().get("stun_server.not_a_request"), 1);
    }
}
