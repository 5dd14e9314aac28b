//! Opening the association (RFC 9260 §5), and the peer's restart.
//!
//! Both sides send INIT at once. Each answers the other's INIT with its own tag and TSN, so both
//! cookies describe the same association, and whichever COOKIE ECHO arrives first completes it.
//!
//! The cookie protects a server from keeping state for strangers and from strangers' packets. Here
//! DTLS has authenticated the peer and an association has exactly one, so one [`Offer`] is kept and
//! the cookie is 16 random bytes that name it: no MAC, no lifetime, nothing to forge.

use std::time::Instant;

use twocan_wire::sctp::{EDMID_DTLS, Init, Parameter, Parameters, ParametersBuf, kind};
use twocan_wire::seq::SeqNo32;

use super::association::{Association, State};
use super::error::CloseReason;
use super::event::Event;
use super::output::{Alone, Control};
use super::reset::Reset;
use super::rx::Receiver;
use super::timers::Timer;
use super::tx::Format;

/// Longest cookie that is echoed; libraries use 40 to 400 bytes. A longer one is refused, since it
/// would not fit a packet.
const COOKIE_LEN_MAX: usize = 1024;

/// What a peer's INIT or INIT ACK said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) tag: u32,
    pub(super) initial_tsn: u32,
    pub(super) window: u32,
    pub(super) inbound_streams: u16,
    pub(super) has_forward_tsn: bool,
    pub(super) has_interleaving: bool,
    pub(super) has_reconfig: bool,
    pub(super) accepts_zero_checksum: bool,
}

/// An INIT that was answered.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) cookie: [u8; 16],
    pub(super) local_tag: u32,
    pub(super) local_tsn: u32,
    pub(super) peer: Peer,
}

impl Peer {
    fn of(init: &Init<'_>) -> Self {
        let mut peer = Self {
            tag: init.initiate_tag,
            initial_tsn: init.initial_tsn.0,
            window: init.a_rwnd,
            inbound_streams: init.inbound_streams,
            has_forward_tsn: false,
            has_interleaving: false,
            has_reconfig: false,
            accepts_zero_checksum: false,
        };
        for parameter in init.parameters.iter() {
            match parameter {
                Parameter::ForwardTsnSupported => peer.has_forward_tsn = true,
                Parameter::ZeroChecksumAcceptable(method) => {
                    peer.accepts_zero_checksum = method == EDMID_DTLS;
                }
                Parameter::SupportedExtensions(kinds) => {
                    peer.has_reconfig |= kinds.contains(&kind::RE_CONFIG);
                    peer.has_forward_tsn |= kinds.contains(&kind::FORWARD_TSN);
                    peer.has_interleaving |= kinds.contains(&kind::I_DATA);
                }
                Parameter::StateCookie(_)
                | Parameter::Unrecognized(_)
                | Parameter::Unknown { .. } => {}
            }
        }
        peer
    }
}

impl Association {
    /// The parameters of our INIT, or of the INIT ACK to an `offer`.
    ///
    /// An INIT ACK names optional extensions only where the peer's INIT did: Pion of 2022 drops a
    /// packet with a parameter that it does not know, and so never sees our INIT, but this.
    pub(super) fn parameters(&self, offer: Option<&Offer>) -> ParametersBuf {
        let mut parameters = ParametersBuf::new();
        let mut extensions = vec![kind::RE_CONFIG, kind::FORWARD_TSN];
        let wanted = |has: fn(&Peer) -> bool| offer.is_none_or(|offer| has(&offer.peer));
        if self.config.interleaving && wanted(|peer| peer.has_interleaving) {
            extensions.extend([kind::I_DATA, kind::I_FORWARD_TSN]);
        }
        if let Some(offer) = offer {
            parameters.push(&Parameter::StateCookie(&offer.cookie));
        }
        parameters.push(&Parameter::SupportedExtensions(&extensions));
        parameters.push(&Parameter::ForwardTsnSupported);
        if self.config.zero_checksum && wanted(|peer| peer.accepts_zero_checksum) {
            parameters.push(&Parameter::ZeroChecksumAcceptable(EDMID_DTLS));
        }
        parameters
    }

    /// INIT or the body of INIT ACK with our `tag` and `tsn`.
    pub(super) fn init<'a>(&self, tag: u32, tsn: u32, parameters: Parameters<'a>) -> Init<'a> {
        Init {
            initiate_tag: tag,
            a_rwnd: u32::try_from(self.config.receive_window).unwrap_or(u32::MAX),
            outbound_streams: self.config.outbound_streams,
            inbound_streams: self.config.inbound_streams,
            initial_tsn: SeqNo32(tsn),
            parameters,
        }
    }

    pub(super) fn on_init(&mut self, init: &Init<'_>) {
        if self.state == State::ShutdownAckSent {
            // RFC 9260 §9.2: the peer did not hear that this association is ending.
            self.push_control(Control::ShutdownAck);
            return;
        }
        let peer = Peer::of(init);
        if self.offer.as_ref().is_none_or(|offer| offer.peer != peer) {
            let is_new = match self.state {
                State::Closed | State::CookieWait | State::CookieEchoed => false,
                State::Established
                | State::ShutdownPending
                | State::ShutdownSent
                | State::ShutdownReceived
                | State::ShutdownAckSent
                | State::Ended => true,
            };
            // RFC 9260 §5.2.1: a colliding INIT is answered with what our own INIT said.
            // RFC 9260 §5.2.2: one in an association is answered with a new tag.
            let (local_tag, local_tsn) = if is_new {
                (self.random.u32().max(1), self.random.u32())
            } else {
                (self.local_tag, self.local_tsn)
            };
            let mut cookie = [0; 16];
            self.random.fill(&mut cookie);
            self.offer = Some(Offer {
                cookie,
                local_tag,
                local_tsn,
                peer,
            });
        }
        self.push_alone(Alone::InitAck);
    }

    pub(super) fn on_init_ack(&mut self, now: Instant, init: &Init<'_>) {
        if self.state != State::CookieWait {
            self.counters.count("sctp.unexpected_init_ack");
            return;
        }
        let cookie = init
            .parameters
            .iter()
            .find_map(|parameter| match parameter {
                Parameter::StateCookie(cookie) => Some(cookie),
                Parameter::Unrecognized(_)
                | Parameter::SupportedExtensions(_)
                | Parameter::ForwardTsnSupported
                | Parameter::ZeroChecksumAcceptable(_)
                | Parameter::Unknown { .. } => None,
            });
        let Some(cookie) = cookie.filter(|cookie| !cookie.is_empty()) else {
            self.counters.count("sctp.init_ack_without_cookie");
            return;
        };
        if cookie.len() > COOKIE_LEN_MAX.min(self.config.packet_len_max - 64) {
            self.counters.count("sctp.cookie_too_long");
            return;
        }
        self.cookie = cookie.to_vec();
        self.adopt(Peer::of(init));
        self.state = State::CookieEchoed;
        self.handshake_attempts = 0;
        self.push_alone(Alone::CookieEcho);
        self.timers
            .set(Timer::Handshake, now + self.config.rto_initial);
    }

    pub(super) fn on_cookie_echo(&mut self, now: Instant, cookie: &[u8]) {
        let Some(offer) = self.offer.clone().filter(|offer| offer.cookie == *cookie) else {
            self.counters.count("sctp.unknown_cookie");
            return;
        };
        let is_opening = matches!(
            self.state,
            State::Closed | State::CookieWait | State::CookieEchoed
        );
        if is_opening {
            // RFC 9260 §5.2.4 B and D: the INITs crossed; or we only answered.
            self.adopt(offer.peer);
            self.establish(now);
        } else if offer.local_tag != self.local_tag {
            // RFC 9260 §5.2.4 A: the peer restarted.
            self.restart(now, offer);
        }
        self.push_control(Control::CookieAck);
    }

    pub(super) fn on_cookie_ack(&mut self, now: Instant) {
        if self.state == State::CookieEchoed {
            self.establish(now);
        }
    }

    /// Handshake chunks were not answered (T1).
    pub(super) fn repeat_handshake(&mut self, now: Instant) {
        let chunk = match self.state {
            State::CookieWait => Alone::Init,
            State::CookieEchoed => Alone::CookieEcho,
            State::Closed
            | State::Established
            | State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent
            | State::Ended => return,
        };
        self.handshake_attempts += 1;
        if self.handshake_attempts > self.config.init_retransmissions_max {
            self.fail(CloseReason::HandshakeTimeout);
            return;
        }
        self.push_alone(chunk);
        let doublings = self.handshake_attempts.min(16);
        let timeout = (self.config.rto_initial * (1 << doublings)).min(self.config.rto_max);
        self.timers.set(Timer::Handshake, now + timeout);
    }

    /// Takes what the peer said of itself.
    fn adopt(&mut self, peer: Peer) {
        if self.peer.as_ref() == Some(&peer) {
            return;
        }
        let format = if self.config.interleaving && peer.has_interleaving {
            Format::IData
        } else {
            Format::Data
        };
        self.tx.start(peer.window, format, peer.has_forward_tsn);
        self.rx = Receiver::new(&self.config, peer.initial_tsn);
        self.reset.start(self.local_tsn, peer.initial_tsn);
        self.peer = Some(peer);
    }

    pub(super) fn establish(&mut self, now: Instant) {
        self.state = State::Established;
        self.timers.clear(Timer::Handshake);
        self.alone.retain(|chunk| match chunk {
            Alone::Init | Alone::CookieEcho => false,
            Alone::InitAck | Alone::Abort(_) | Alone::ShutdownComplete(_) => true,
        });
        self.cookie = Vec::new();
        self.arm_heartbeat(now);
        self.events.push_back(Event::Connected);
    }

    /// The peer lost its state and opened anew: all of ours about it is void.
    fn restart(&mut self, now: Instant, offer: Offer) {
        if self.state != State::Established {
            self.push_control(Control::CookieWhileShuttingDown);
            return;
        }
        self.local_tag = offer.local_tag;
        self.local_tsn = offer.local_tsn;
        self.control.clear();
        self.tx.restart(&self.config, offer.local_tsn);
        self.reset = Reset::new(offer.local_tsn, offer.peer.initial_tsn);
        self.timers.clear(Timer::Reset);
        self.peer = None;
        self.adopt(offer.peer);
        self.arm_heartbeat(now);
        self.events.push_back(Event::Restarted);
    }
}
