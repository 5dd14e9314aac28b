//! The STUN server: Binding requests answered with the address they came from (RFC 8489 §6.3),
//! and from another address where the client asks for it (RFC 5780 §6).
//!
//! It keeps nothing. What is no sound Binding request gets no answer, so that a forged source is
//! never sent more than one answer of at most 3 times the request's length, headers counted. What
//! RFC 5780 adds changes nothing about that: it chooses from where the one answer comes and to
//! which port of the same host it goes, and padding never makes it longer than the request.

use std::net::SocketAddr;

use twocan_wire::stun::{Attribute, Builder, Class, ErrorCode, HEADER_LEN, Message, Method};

use crate::counters::Counters;

/// Most padding in an answer, in bytes: more than any link carries in one piece.
pub const PADDING_LEN_MAX: usize = 2048;

const ZEROS: [u8; PADDING_LEN_MAX] = [0; PADDING_LEN_MAX];

/// Types that mean nothing to a server with one address.
const CHANGE_REQUEST: u16 = 0x0003;
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;

/// One of the four addresses of a server for behaviour discovery: its two IP addresses with each
/// of its two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Of the alternate IP address.
    pub other_ip: bool,
    /// With the alternate port.
    pub other_port: bool,
}

impl Origin {
    /// All four; the first is the one that clients know.
    pub const ALL: [Self; 4] = [Self::at(0), Self::at(1), Self::at(2), Self::at(3)];

    const fn at(place: usize) -> Self {
        Self {
            other_ip: place & 2 != 0,
            other_port: place & 1 != 0,
        }
    }

    /// Its place among [`Self::ALL`].
    pub const fn place(self) -> usize {
        (self.other_ip as usize) << 1 | self.other_port as usize
    }

    fn changed(self, ip: bool, port: bool) -> Self {
        Self {
            other_ip: self.other_ip != ip,
            other_port: self.other_port != port,
        }
    }
}

/// The addresses of a server for behaviour discovery (RFC 5780 §6), as clients reach them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    primary: SocketAddr,
    other: SocketAddr,
}

impl Discovery {
    /// Both have one family; `other` differs in IP address and in port. `None` if they do not.
    pub fn new(primary: SocketAddr, other: SocketAddr) -> Option<Self> {
        let fit = primary.is_ipv4() == other.is_ipv4()
            && primary.ip() != other.ip()
            && primary.port() != other.port()
            && ![primary, other].iter().any(|own| own.ip().is_unspecified());
        fit.then_some(Self { primary, other })
    }

    /// One of the four addresses.
    pub fn address(&self, at: Origin) -> SocketAddr {
        let pick = |other| if other { self.other } else { self.primary };
        SocketAddr::new(pick(at.other_ip).ip(), pick(at.other_port).port())
    }
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The address of ours that it leaves from.
    pub from: Origin,
    /// To whom.
    pub to: SocketAddr,
}

/// Answers Binding requests.
#[derive(Debug, Default)]
pub struct StunServer {
    counters: Counters,
    discovery: Option<Discovery>,
}

/// What a request asks for beside its address.
#[derive(Default)]
struct Asked {
    change: Option<(bool, bool)>,
    port: Option<u16>,
    is_padded: bool,
}

impl Asked {
    /// Of attributes that are there more than once the first counts (RFC 8489 §14).
    fn of(request: &Message<'_>) -> Self {
        let mut asked = Self::default();
        for attribute in request.attributes() {
            match attribute {
                Attribute::ChangeRequest { ip, port } => {
                    asked.change.get_or_insert((ip, port));
                }
                Attribute::ResponsePort(port) => {
                    asked.port.get_or_insert(port);
                }
                Attribute::Padding(_) => asked.is_padded = true,
                _ => {}
            }
        }
        asked
    }

    /// The types that only a server with two addresses knows. A CHANGE-REQUEST that changes
    /// nothing is granted by all.
    fn kinds(&self) -> impl Iterator<Item = u16> {
        let changes = matches!(self.change, Some((ip, port)) if ip || port);
        [
            changes.then_some(CHANGE_REQUEST),
            self.port.map(|_| RESPONSE_PORT),
            self.is_padded.then_some(PADDING),
        ]
        .into_iter()
        .flatten()
    }
}

impl StunServer {
    /// A server that has answered nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, for behaviour discovery too where there are two addresses.
    pub fn with_discovery(discovery: Option<Discovery>) -> Self {
        Self {
            discovery,
            ..Self::default()
        }
    }

    /// Takes a datagram from `remote`, or a message of a stream, and appends the answer, if there
    /// is one, to `out`; it goes back to `remote` the way the request came. Answers whether there
    /// is one.
    pub fn respond(&mut self, remote: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        let way = (Origin::default(), None);
        self.answer(way, remote, datagram, out).is_some()
    }

    /// The same for a datagram that came to one of the addresses of [`Discovery`]; says where the
    /// answer goes.
    pub fn respond_at(
        &mut self,
        at: Origin,
        remote: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Reply> {
        self.answer((at, self.discovery), remote, datagram, out)
    }

    fn answer(
        &mut self,
        (at, discovery): (Origin, Option<Discovery>),
        remote: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Reply> {
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
        let asked = Asked::of(&request);
        let back = Reply {
            from: at,
            to: remote,
        };
        let strange = asked.kinds().filter(|_| discovery.is_none());
        // RFC 8489 §14.9 wants all of them; a request of nothing else is not worth a long answer.
        let unknown: Vec<u8> = request
            .unknown_required()
            .chain(strange)
            .take(8)
            .flat_map(u16::to_be_bytes)
            .collect();
        if !unknown.is_empty() {
            self.counters.count("stun_server.unknown_attribute");
            let mut builder = Builder::new(out, Class::Error, Method::BINDING, request.transaction);
            builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
            builder.attribute(Attribute::UnknownAttributes(&unknown));
            builder.finish();
            return Some(back);
        }
        // RFC 5780 §6.1: the two exclude each other, and nobody is at port 0.
        if asked.port == Some(0) || (asked.port.is_some() && asked.is_padded) {
            self.counters.count("stun_server.refused");
            let mut builder = Builder::new(out, Class::Error, Method::BINDING, request.transaction);
            builder.attribute(Attribute::ErrorCode(ErrorCode::BAD_REQUEST));
            builder.finish();
            return Some(back);
        }
        let (ip, port) = asked.change.unwrap_or_default();
        let reply = Reply {
            from: at.changed(ip, port),
            to: SocketAddr::new(remote.ip(), asked.port.unwrap_or(remote.port())),
        };
        self.counters.count("stun_server.answered");
        if reply != back {
            self.counters.count("stun_server.elsewhere");
        }
        let start = out.len();
        let mut builder = Builder::new(out, Class::Success, Method::BINDING, request.transaction);
        builder.attribute(Attribute::XorMappedAddress(remote));
        if let Some(discovery) = discovery {
            let origin = discovery.address(reply.from);
            builder.attribute(Attribute::ResponseOrigin(origin));
            // The one that differs in both from where the request arrived (RFC 5780 §7.4).
            let other = discovery.address(at.changed(true, true));
            builder.attribute(Attribute::OtherAddress(other));
            if asked.is_padded {
                let padding = padding(datagram.len(), remote);
                builder.attribute(Attribute::Padding(padding));
            }
        }
        builder.finish();
        debug_assert!(
            !asked.is_padded || out.len().saturating_sub(start) <= datagram.len().max(104)
        );
        Some(reply)
    }

    /// What was answered and dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn drop(&mut self, reason: &'static str) -> Option<Reply> {
        self.counters.count(reason);
        None
    }
}

/// As much as makes the answer as long as its request: RFC 5780 §6.1 would have it as long as the
/// link takes, which is more than a forged source deserves.
fn padding(request_len: usize, remote: SocketAddr) -> &'static [u8] {
    let address = if remote.is_ipv4() { 12 } else { 24 };
    // Three addresses, FINGERPRINT, and the head of PADDING itself.
    let others = HEADER_LEN + 3 * address + 8 + 4;
    let room = request_len.saturating_sub(others).min(PADDING_LEN_MAX);
    ZEROS.get(..room & !3).unwrap_or_default()
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

    fn discovery() -> Discovery {
        let primary = "192.0.2.10:3478".parse().unwrap();
        Discovery::new(primary, "192.0.2.11:3479".parse().unwrap()).unwrap()
    }

    fn find<T>(bytes: &[u8], pick: impl Fn(Attribute<'_>) -> Option<T>) -> Option<T> {
        let message = Message::parse(bytes).unwrap();
        message.attributes().find_map(pick)
    }

    #[test]
    fn answers_come_from_where_the_client_wants_them() {
        let mut server = StunServer::with_discovery(Some(discovery()));
        let remote: SocketAddr = "203.0.113.1:5000".parse().unwrap();
        for at in Origin::ALL {
            assert_eq!(Origin::ALL[at.place()], at);
            for (ip, port) in [(false, false), (false, true), (true, false), (true, true)] {
                let asked = request(|builder| {
                    builder.attribute(Attribute::ChangeRequest { ip, port });
                });
                let mut out = Vec::new();
                let reply = server.respond_at(at, remote, &asked, &mut out).unwrap();
                assert_eq!(reply.to, remote);
                assert_eq!(reply.from.other_ip, at.other_ip ^ ip);
                assert_eq!(reply.from.other_port, at.other_port ^ port);
                let origin = find(&out, |attribute| match attribute {
                    Attribute::ResponseOrigin(address) => Some(address),
                    _ => None,
                });
                assert_eq!(origin, Some(discovery().address(reply.from)));
                let other = find(&out, |attribute| match attribute {
                    Attribute::OtherAddress(address) => Some(address),
                    _ => None,
                });
                let own = discovery().address(at);
                assert!(other.unwrap().ip() != own.ip() && other.unwrap().port() != own.port());
            }
        }
        // As many as were not answered from the address that was asked, to the port that asked.
        assert_eq!(server.counters().get("stun_server.elsewhere"), 12);
    }

    #[test]
    fn another_port_of_the_same_host_may_be_answered_and_padding_is_as_long_as_the_request() {
        let mut server = StunServer::with_discovery(Some(discovery()));
        let at = Origin::default();
        for remote in ["203.0.113.1:5000", "[2001:db8::7]:5000"] {
            let remote: SocketAddr = remote.parse().unwrap();
            let mut ask = |fill: &dyn Fn(&mut Builder<'_>)| {
                let asked = request(fill);
                let mut out = Vec::new();
                let reply = server.respond_at(at, remote, &asked, &mut out).unwrap();
                let headers = if remote.is_ipv4() { 28 } else { 48 };
                assert!(out.len() + headers <= 3 * (asked.len() + headers));
                (asked.len(), reply, out)
            };
            let (_, reply, _) = ask(&|builder| builder.attribute(Attribute::ResponsePort(7)));
            assert_eq!(reply.to, SocketAddr::new(remote.ip(), 7));
            for len in [0, 4, 100, 1500, 1501, 9000] {
                let (asked, reply, out) = ask(&|builder| {
                    builder.attribute(Attribute::Padding(&vec![0; len]));
                });
                assert_eq!(reply.to, remote);
                assert!(out.len() <= asked.max(HEADER_LEN + 3 * 24 + 8 + 4), "{len}");
                let padded = find(&out, |attribute| match attribute {
                    Attribute::Padding(bytes) => Some(bytes.len()),
                    _ => None,
                });
                assert!(len != 1500 || padded.unwrap() > 1400);
            }
            for contradiction in [Some(9), None] {
                let (_, reply, out) = ask(&|builder| {
                    builder.attribute(Attribute::ResponsePort(contradiction.unwrap_or(0)));
                    if contradiction.is_some() {
                        builder.attribute(Attribute::Padding(&[0; 64]));
                    }
                });
                assert_eq!(Message::parse(&out).unwrap().error_code(), Some(400));
                assert_eq!(reply.to, remote);
            }
        }
    }

    #[test]
    fn a_server_with_one_address_says_that_it_cannot_answer_from_another() {
        let remote: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let refused = |attribute: Attribute<'_>| {
            let asked = request(|builder| builder.attribute(attribute));
            let mut out = Vec::new();
            assert!(StunServer::new().respond(remote, &asked, &mut out));
            // The same on a stream of a server that has two.
            let mut on_stream = Vec::new();
            StunServer::with_discovery(Some(discovery())).respond(remote, &asked, &mut on_stream);
            assert_eq!(out, on_stream);
            Message::parse(&out).unwrap().error_code()
        };
        let change = |ip, port| Attribute::ChangeRequest { ip, port };
        assert_eq!(refused(change(true, true)), Some(420));
        assert_eq!(refused(change(false, true)), Some(420));
        assert_eq!(refused(Attribute::ResponsePort(4)), Some(420));
        assert_eq!(refused(Attribute::Padding(&[0; 8])), Some(420));
        assert_eq!(refused(change(false, false)), None);
        let own = discovery().primary;
        assert_eq!(Discovery::new(own, own), None);
        for wrong in [
            "192.0.2.10:3479",
            "192.0.2.11:3478",
            "[2001:db8::1]:1",
            "0.0.0.0:1",
        ] {
            assert_eq!(Discovery::new(own, wrong.parse().unwrap()), None, "{wrong}");
        }
    }
}
