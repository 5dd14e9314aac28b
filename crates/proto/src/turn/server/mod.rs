//! The STUN and TURN server (RFC 8489, RFC 8656, RFC 6062, RFC 6156): Binding requests are answered to
//! anybody, everything else needs a long-term credential.
//!
//! - **No socket before it is needed.** A relayed address is a promise: the socket is asked for
//!   ([`Event::Bind`]) at the first permission for a peer that is neither a relayed address nor a
//!   media port of ours. Two clients of this server talk to each other without one, and with the
//!   server's own media ([`MEDIA_SOCKET`]).
//! - **Nothing is kept for a source that has proved nothing**, and it gets no more than three
//!   times what it sent, headers counted, up to a rate per prefix.
//! - **Safe by default**: peers are public addresses and our own relayed ones
//!   ([`AddressPolicy`]); everything else is refused unless it is allowed by name.
//!
//! An allocation goes with its client to another address, or to another stream, where the client
//! asked for that (RFC 8016).
//!
//! An allocation of a client on a stream can be for TCP (RFC 6062). What passes on a connection with
//! a peer is read at the machine's word alone ([`Event::Read`]): no more than [`CHUNK_LEN`] bytes wait
//! each way, within the bandwidth, and who reads slowly slows the other side.
//!
//! It can be in several parts, one for each thread ([`Server::parts`]).
//!
//! The driver owns the sockets. It passes in what arrives on listeners, relayed sockets and
//! streams, then calls [`Server::poll_output`] until it waits.

mod address;
mod allocate;
mod allocation;
mod auth;
mod bandwidth;
mod connection;
mod flow;
mod machine;
mod media;
mod meter;
mod mobility;
mod outbox;
mod parts;
mod permit;
mod ports;
mod quota;
mod relay;
mod stream;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::contract::{Ecn, Path, SocketId};
use crate::stun_server::Discovery;
#[cfg(doc)]
use crate::stun_server::Origin;

pub use address::{AddressPolicy, BadCidr, Cidr};
pub use machine::Server;
pub use media::MediaAddress;
pub use parts::PARTS_MAX;
pub use ports::RelayedPorts;

/// Sockets below this number are the driver's listeners; the machine names relayed ones above.
pub const LISTENERS_MAX: u32 = 1 << 16;

/// Listeners from this number on have clients on DTLS (RFC 7350). What their records hold goes in as
/// datagrams, and the driver encrypts what comes out for them. Like streams, they belong to the first
/// part of a server in several ([`Server::parts`]), wherever a client's allocation was before.
pub const DTLS_LISTENERS_MIN: u32 = 1 << 15;

/// What is sent on it is for a media port of this machine ([`MediaAddress`]): the driver hands it over
/// without a socket, `remote` being where that is bound and `local` the relayed address from which it
/// comes. What is answered arrives on it in the same way, with the same two addresses.
pub const MEDIA_SOCKET: SocketId = SocketId(u32::MAX);

/// What is sent on it is for a client of another part ([`Server::parts`]): `local` is the relayed
/// address from which it comes, and `remote` the one to which it goes. The driver hands it to the part
/// that has that port ([`RelayedPorts::part_of`]), where it arrives on this socket too, seen from the
/// other side: `local` is where it goes, `remote` is from whom.
pub const PART_SOCKET: SocketId = SocketId(u32::MAX - 1);

/// Seconds that an allocation lasts if its client asks for less, or for nothing (RFC 8656 §7.2).
pub const LIFETIME: Duration = Duration::from_secs(600);

/// Seconds that an allocation lasts at most without a refresh (RFC 8656 §7.2).
pub const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// How long a permission lasts (RFC 8656 §9).
pub const PERMISSION_LASTS: Duration = Duration::from_secs(300);

/// How long a channel lasts (RFC 8656 §12).
pub const CHANNEL_LASTS: Duration = Duration::from_secs(600);

/// Peer addresses that an allocation may have permissions for; 508 beyond.
pub const PERMISSIONS_MAX: usize = 128;

/// Channels of an allocation; 508 beyond.
pub const CHANNELS_MAX: usize = 128;

/// Ports kept for a second allocation at a time (RFC 8656 §14.6); 508 beyond.
pub const RESERVATIONS_MAX: usize = 1024;

/// How long such a port is kept (RFC 8656 §7.2).
pub const RESERVATION_LASTS: Duration = Duration::from_secs(30);

/// Longest message or ChannelData on a stream, in bytes; a longer one ends the stream.
pub const STREAM_FRAME_LEN_MAX: usize = 16 * 1024;

/// The same before there is an allocation: requests are short, and anybody can connect.
pub const STREAM_REQUEST_LEN_MAX: usize = 2 * 1024;

/// How long a stream may stay without an allocation, and how long one message may take.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(30);

/// Connections with peers that an allocation for TCP may have, those that are being opened counted;
/// 508 beyond.
pub const CONNECTIONS_MAX: usize = 32;

/// How long a peer may take to answer a Connect, and a client to claim a connection by
/// ConnectionBind (RFC 6062 §5.2, §5.3).
pub const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a connection with a peer that are read at once, and that wait to be written.
pub const CHUNK_LEN: usize = 8 * 1024;

/// Bytes that a client may send behind its ConnectionBind before it has the answer; more end the
/// stream.
pub const EARLY_LEN_MAX: usize = 64 * 1024;

/// How long an allocation with a ticket (RFC 8016) waits for its client when its stream has ended.
pub const ADRIFT_LASTS: Duration = Duration::from_secs(60);

/// Users without an allocation whose bandwidth is remembered; the one longest gone is forgotten.
pub const IDLE_USERS_MAX: usize = 1024;

/// Names a connection that the driver has accepted; it never uses a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Names a connection with a peer, as CONNECTION-ID does (RFC 6062 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// By what an allocation is relayed to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams (RFC 8656).
    Udp,
    /// Connections (RFC 6062).
    Tcp,
}

/// An address on which relayed ports are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// Where sockets are bound.
    pub bind: IpAddr,
    /// By which peers reach it: the same, or what a static address translator makes of it. It has
    /// the same family.
    pub external: IpAddr,
}

/// Bounds on what clients may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations of one user; 486 beyond. A browser makes one for each connection, URL and
    /// network interface. Default 128.
    pub per_user: usize,
    /// Allocations of one address, or one /64 of IPv6; 486 beyond. Default 1,000.
    pub per_address: usize,
    /// Allocations in all; 508 beyond. Default 10,000.
    pub total: usize,
    /// Bytes per second and direction of an allocation, of which a quarter may come at once; what
    /// is beyond is dropped. Zero means no limit. Default 6,250,000 (50 Mbit/s).
    pub bytes_per_second: u64,
    /// The same of all allocations of a user together. Default 12,500,000 (100 Mbit/s).
    pub bytes_per_second_of_user: u64,
    /// The same of all allocations of all users. Default 0: no limit.
    pub bytes_per_second_in_all: u64,
    /// Answers per second to sources of one prefix (/24 of IPv4, /56 of IPv6) that have proved
    /// nothing, twice as many at once; silence beyond. Default 200.
    pub unproven_per_second: u32,
    /// Streams in all; more are closed. Default 10,000.
    pub streams: usize,
    /// Streams of one address; more are closed. Default 1,000.
    pub streams_per_address: usize,
    /// Streams in all on which nothing has been allocated yet; more are closed. Default 2,000.
    pub unproven_streams: usize,
    /// The same of one address, or one /64 of IPv6. Default 64.
    pub unproven_streams_per_address: usize,
    /// Connections with peers in all, of allocations for TCP; 508 beyond. Default 10,000.
    pub connections: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            per_user: 128,
            per_address: 1000,
            total: 10_000,
            bytes_per_second: 6_250_000,
            bytes_per_second_of_user: 12_500_000,
            bytes_per_second_in_all: 0,
            unproven_per_second: 200,
            streams: 10_000,
            streams_per_address: 1000,
            unproven_streams: 2000,
            unproven_streams_per_address: 64,
            connections: 10_000,
        }
    }
}

/// Settings of a [`Server`].
#[derive(Clone)]
pub struct Config {
    /// The realm of the credentials: 1 to 32 bytes, so that a challenge is no more than three
    /// times a request. Default `twocan`.
    pub realm: String,
    /// Users by name and password.
    pub users: Vec<(String, String)>,
    /// Secrets of passwords for names `expiry:name` (draft-uberti-behave-turn-rest). Several, so
    /// that one can follow another.
    pub secrets: Vec<String>,
    /// Where relayed ports are opened, at most 64. Without any, nothing but Binding is answered.
    pub relays: Vec<RelayAddress>,
    /// Relayed ports. Default 49152 to 65535 (RFC 8656 §7.2).
    pub ports: RangeInclusive<u16>,
    /// Which peers are relayed to.
    pub policy: AddressPolicy,
    /// Bounds.
    pub quotas: Quotas,
    /// Whether allocations go with their clients to other addresses, where these ask for it
    /// (RFC 8016); if not, they get 405. Default `true`.
    pub mobility: bool,
    /// Whether TCP is relayed as well (RFC 6062); if not, who asks for it gets 442. Default `false`: it
    /// lets everybody with a credential reach any TCP port of the peers that are allowed.
    pub tcp_relay: bool,
    /// The addresses of behaviour discovery (RFC 5780). Where there are any, the first four
    /// listeners for datagrams have the places of [`Origin::ALL`] as [`SocketId`]s; of these only
    /// the first also relays. Others, such as those of the other address family, answer Binding as a
    /// server with one address does, and relay.
    pub discovery: Option<Discovery>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            realm: "twocan".to_owned(),
            users: Vec::new(),
            secrets: Vec::new(),
            relays: Vec::new(),
            ports: 49152..=65535,
            policy: AddressPolicy::default(),
            quotas: Quotas::default(),
            mobility: true,
            tcp_relay: false,
            discovery: None,
        }
    }
}

/// Shows no password and no secret.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("realm", &self.realm)
            .field("relays", &self.relays)
            .field("ports", &self.ports)
            .field("policy", &self.policy)
            .field("quotas", &self.quotas)
            .finish_non_exhaustive()
    }
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bind a UDP socket to `address` and report by [`Server::handle_bound`].
    Bind {
        /// The name the socket is to have.
        socket: SocketId,
        /// The address.
        address: SocketAddr,
    },
    /// Listen for TCP on `address`, so that sockets of [`Event::Connect`] can be bound to it as well,
    /// and report by [`Server::handle_bound`]; what connects by [`Server::handle_accepted`].
    Listen {
        /// The name the listener is to have.
        socket: SocketId,
        /// The address.
        address: SocketAddr,
    },
    /// Open a TCP connection and report by [`Server::handle_connected`].
    Connect {
        /// Its name.
        connection: ConnectionId,
        /// Where it is to come from, a relayed address.
        from: SocketAddr,
        /// The peer.
        to: SocketAddr,
    },
    /// Stop opening a connection; it is not reported any more.
    Abandon {
        /// Its name.
        connection: ConnectionId,
    },
    /// From here on, as from the first [`Event::Read`] on, read a stream only when it is asked for, drop
    /// nothing of what is sent on it, and report by [`Server::handle_stream_written`] what has been
    /// written: it carries a connection whose other end is not there yet.
    Hold {
        /// The stream of a client.
        stream: StreamId,
    },
    /// Read once on a stream that carries a connection with a peer: up to [`CHUNK_LEN`] bytes, for
    /// [`Server::handle_stream_bytes`].
    Read {
        /// The stream: a client's, or a peer's.
        stream: StreamId,
    },
    /// Close a relayed socket, or a listener.
    Close {
        /// Its name.
        socket: SocketId,
    },
    /// Send on a stream. The driver drops it whole where the stream of a client has no room.
    Send {
        /// The stream.
        stream: StreamId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Hand to another part what a client sent, for [`Server::handle_passed_on`]. It may be dropped, as
    /// datagrams may be.
    PassOn {
        /// The part's place among [`Server::parts`].
        part: usize,
        /// Where it arrived.
        path: Path,
        /// The client.
        remote: SocketAddr,
        /// Its congestion mark.
        ecn: Ecn,
        /// What it sent.
        bytes: Vec<u8>,
    },
    /// Close a stream once it has been sent what it is to be sent; it is not reported as closed any
    /// more.
    Disconnect {
        /// The stream.
        stream: StreamId,
    },
}

/// What was relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams of clients sent on to peers.
    pub packets_to_peers: u64,
    /// Their data in bytes, and that of connections with peers.
    pub bytes_to_peers: u64,
    /// Datagrams of peers sent on to clients.
    pub packets_to_clients: u64,
    /// Their data in bytes, and that of connections with peers.
    pub bytes_to_clients: u64,
    /// Those datagrams to peers that were for media of this machine.
    pub packets_to_media: u64,
    /// Those datagrams to clients that came from media of this machine without a socket.
    pub packets_from_media: u64,
    /// Datagrams dropped by an allocation's bandwidth.
    pub over_quota: u64,
    /// Datagrams dropped by the bandwidth of all allocations of a user.
    pub over_user_quota: u64,
    /// Datagrams dropped by the bandwidth of all allocations of all users.
    pub over_total_quota: u64,
    /// Datagrams dropped as nobody wanted them: no permission, no channel, a port of ours on
    /// which nobody relays.
    pub unwanted: u64,
}

/// Of several parts.
impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        let Self {
            packets_to_peers,
            bytes_to_peers,
            packets_to_clients,
            bytes_to_clients,
            packets_to_media,
            packets_from_media,
            over_quota,
            over_user_quota,
            over_total_quota,
            unwanted,
        } = other;
        self.packets_to_peers += packets_to_peers;
        self.bytes_to_peers += bytes_to_peers;
        self.packets_to_clients += packets_to_clients;
        self.bytes_to_clients += bytes_to_clients;
        self.packets_to_media += packets_to_media;
        self.packets_from_media += packets_from_media;
        self.over_quota += over_quota;
        self.over_user_quota += over_user_quota;
        self.over_total_quota += over_total_quota;
        self.unwanted += unwanted;
    }
}
