//! The STUN and TURN servers of a peer: names, sockets and streams to them, and what fails.

use std::net::{IpAddr, SocketAddr};

use super::machine::{Peer, Socket, Wanted as Purpose};
use super::relay::Wanted;
use super::{Event, IceCandidateError, StunServer, TurnServer};
use crate::contract::{Lookup, Request, SocketId, StreamEvent};
use crate::ice;
use crate::locate::{Located, Service};
use crate::time::Now;

/// Names being resolved at a time: a peer may signal a `.local` name per interface and family.
const LOOKUPS_MAX: usize = 16;

impl Peer {
    /// Asks for the addresses of a name.
    pub(super) fn look_up(&mut self, name: String, how: Lookup, wanted: Purpose) {
        if self.note_lookup(name.clone(), wanted) {
            self.requests.push_back(Request::Resolve { name, how });
        }
    }

    /// Notes what a name is wanted for; whether it is to be asked for.
    fn note_lookup(&mut self, name: String, wanted: Purpose) -> bool {
        if self.lookups.len() >= LOOKUPS_MAX {
            self.counters.count("peer.too_many_names");
            return false;
        }
        let is_asked = self.lookups.iter().any(|(known, _)| *known == name);
        self.lookups.push((name, wanted));
        !is_asked
    }

    /// What a name was wanted for.
    pub(super) fn take_lookups(&mut self, name: &str) -> Vec<Purpose> {
        let all = std::mem::take(&mut self.lookups);
        let (taken, left) = all.into_iter().partition(|(asked, _)| asked == name);
        self.lookups = left;
        let taken: Vec<(String, Purpose)> = taken;
        taken.into_iter().map(|(_, wanted)| wanted).collect()
    }

    /// Begins to gather: binds every interface, resolves every server. Once only.
    pub(super) fn gather(&mut self, now: Now) {
        if self.gathering || self.closed {
            return;
        }
        self.gathering = true;
        self.bind_interfaces();
        for server in std::mem::take(&mut self.stun_servers) {
            match (server.host.parse::<IpAddr>(), server.service.clone()) {
                (Ok(ip), _) => self.add_literal(now, ip, Purpose::StunServer(server)),
                (Err(_), Some(service)) => self.locate(service, Purpose::StunServer(server)),
                (Err(_), None) => {
                    let host = server.host.clone();
                    self.look_up(host, Lookup::Dns, Purpose::StunServer(server));
                }
            }
        }
        for server in std::mem::take(&mut self.turn_servers) {
            match (server.host.parse::<IpAddr>(), server.service.clone()) {
                (Ok(ip), _) => self.add_literal(now, ip, Purpose::TurnServer(Box::new(server))),
                (Err(_), Some(service)) => {
                    self.locate(service, Purpose::TurnServer(Box::new(server)));
                }
                (Err(_), None) => {
                    let host = server.host.clone();
                    self.look_up(host, Lookup::Dns, Purpose::TurnServer(Box::new(server)));
                }
            }
        }
        self.seek_nat64();
        self.note_bases(now);
    }

    /// Keeps what is gathered before there is a description to tell it for.
    pub(super) fn pool(&mut self, event: ice::Event) -> Option<ice::Event> {
        let is_told = matches!(
            event,
            ice::Event::LocalCandidate(_)
                | ice::Event::Gathering(_)
                | ice::Event::ServerFailed { .. }
        );
        if !(is_told && self.pools) {
            return Some(event);
        }
        self.pooled.push(event);
        None
    }

    /// Tells what was gathered beforehand: there is a description.
    pub(super) fn empty_pool(&mut self, now: Now) {
        self.pools = false;
        for event in std::mem::take(&mut self.pooled) {
            if let ice::Event::LocalCandidate(candidate) = &event
                && !self.transport.ice.local_candidates().contains(candidate)
            {
                // Its address has gone in the meantime.
                continue;
            }
            self.take_ice_event(now, event);
        }
    }

    pub(super) fn add_stun_server(&mut self, now: Now, server: &StunServer, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            self.server_failed(&server.url, None, None);
        }
        for ip in addresses {
            self.add_stun_address(now, server, SocketAddr::new(*ip, server.port));
        }
    }

    fn add_stun_address(&mut self, now: Now, server: &StunServer, address: SocketAddr) {
        self.stun_urls.push((address, server.url.clone()));
        self.transport.ice.add_stun_server(now.monotonic, address);
    }

    pub(super) fn add_turn_server(&mut self, now: Now, server: TurnServer, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            self.server_failed(&server.url, None, None);
        }
        let port = server.port;
        let addresses = addresses.iter().map(|ip| SocketAddr::new(*ip, port));
        let addresses = addresses.collect();
        self.transport
            .add_turn_server(now.monotonic, server, addresses);
    }

    /// A server that was to be found is found, or nowhere to be found. Each protocol by which it is
    /// reached is asked beside the others.
    pub fn handle_located(&mut self, now: Now, service: &Service, found: &[Located]) {
        if found.is_empty() {
            self.counters.count("peer.service_not_located");
        }
        for purpose in self.take_lookups(&service.to_string()) {
            match purpose {
                Purpose::StunServer(server) => {
                    if found.is_empty() {
                        self.server_failed(&server.url, None, None);
                    }
                    for own in found {
                        self.add_stun_address(now, &server, own.address);
                    }
                }
                Purpose::TurnServer(server) => self.add_located(now, *server, found),
                Purpose::Candidate(_) | Purpose::Nat64 => {}
            }
        }
        self.note_bases(now);
        self.settle(now);
    }

    fn add_located(&mut self, now: Now, server: TurnServer, found: &[Located]) {
        if found.is_empty() {
            self.server_failed(&server.url, None, None);
        }
        let mut protocols: Vec<_> = found.iter().map(|own| own.protocol).collect();
        // The order in which they were found is the domain's; each once.
        let mut seen = Vec::new();
        protocols.retain(|own| {
            let is_new = !seen.contains(own);
            seen.push(*own);
            is_new
        });
        for protocol in protocols {
            let own = found.iter().filter(|own| own.protocol == protocol);
            let addresses = own.map(|own| own.address).collect();
            let server = TurnServer {
                protocol,
                ..server.clone()
            };
            self.transport
                .add_turn_server(now.monotonic, server, addresses);
        }
    }

    fn locate(&mut self, service: Service, wanted: Purpose) {
        // No name has a colon: these are never mistaken for one.
        if self.note_lookup(service.to_string(), wanted) {
            self.requests.push_back(Request::Locate { service });
        }
    }

    /// A STUN server did not answer, refused, or has a name without an address.
    pub(super) fn server_failed(
        &mut self,
        url: &str,
        local: Option<SocketAddr>,
        refusal: Option<(u16, String)>,
    ) {
        // W3C webrtc-pc §4.8.3: silence is told once for each server.
        if refusal.is_none() && !self.silent_urls.insert(url.to_owned()) {
            return;
        }
        let (error_code, error_text) = refusal.unwrap_or_else(|| {
            let text = match local {
                Some(_) => "the server does not answer",
                None => "the server's name has no address",
            };
            (701, text.to_owned())
        });
        let local = local.filter(|_| !self.transport.ice.hides_host_addresses());
        self.events
            .push_back(Event::IceCandidateError(IceCandidateError {
                address: local.map(|local| local.ip()),
                port: local.map(|local| local.port()),
                url: url.to_owned(),
                error_code,
                error_text,
            }));
    }

    /// Asks for the sockets and streams that relays need, and notes when all have answered.
    pub(super) fn settle_relays(&mut self, now: Now) {
        for wanted in self.transport.relays.take_wanted() {
            let id = SocketId(self.socket_ids);
            self.socket_ids += 1;
            match wanted {
                Wanted::Socket { relay, ip } => {
                    self.sockets.push(Socket {
                        id,
                        ip,
                        local: None,
                        relay: Some(relay),
                    });
                    self.requests.push_back(Request::Bind { socket: id, ip });
                }
                Wanted::Stream {
                    relay,
                    local,
                    remote,
                    security,
                } => {
                    self.streams.push(id);
                    self.transport.name_stream(relay, id);
                    self.requests.push_back(Request::Open {
                        socket: id,
                        local,
                        remote,
                        security,
                    });
                }
                Wanted::Close(id) => {
                    self.streams.retain(|own| *own != id);
                    self.requests.push_back(Request::Close { socket: id });
                }
            }
        }
        self.note_bases(now);
    }

    /// Something happened to a stream that was asked for; bytes are decrypted in place.
    pub fn handle_stream(&mut self, now: Now, socket: SocketId, event: StreamEvent<'_>) {
        let known = self.streams.iter().position(|own| *own == socket);
        if let (StreamEvent::Closed, Some(index)) = (&event, known) {
            self.streams.remove(index);
            // What the driver has of it is of no more use.
            self.requests.push_back(Request::Close { socket });
        }
        if self.transport.handle_stream(now, socket, event) {
            self.settle(now);
        }
    }

    /// The URL of the server that a local candidate is from, and how its relay is reached.
    pub(super) fn origin(
        &self,
        candidate: &ice::Candidate,
    ) -> (Option<String>, Option<ice::RelayProtocol>) {
        let Some(server) = candidate.server else {
            return (None, None);
        };
        let relays = &self.transport.relays;
        if candidate.kind == ice::Kind::Relayed {
            let lender = relays.lender(candidate.address);
            return lender.map(|own| (own.url.clone(), own.protocol)).unzip();
        }
        let stun = self.stun_urls.iter().find(|(known, _)| *known == server);
        let url = stun.map(|(_, url)| url.clone());
        (
            url.or_else(|| relays.server_at(server).map(|own| own.url.clone())),
            None,
        )
    }
}
