//! As much of a TURN client as a load needs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use twocan_proto::turn::LongTermKey;
use twocan_wire::stun::{Attribute, Builder, ChannelNumber, Class, Message, Method, TransactionId};
use twocan_wire::turn::channel_data_header;

const USER: &str = "u";
const PASSWORD: &str = "p";
const REALM: &str = "twocan";

/// An allocation with a channel to the peer.
pub struct Client {
    socket: UdpSocket,
    state: UdpSocketState,
    server: SocketAddr,
}

impl Client {
    /// Allocates at `server` and binds a channel to `peer`. Every client has an address of its
    /// own, in a prefix of its own.
    pub fn open(number: usize, server: SocketAddr, peer: SocketAddr) -> io::Result<Self> {
        let [_, _, high, low] = (number as u32 + 256).to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, high, low, 1), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // That made it one that does not block.
        socket.set_nonblocking(false)?;
        let client = Self {
            socket,
            state,
            server,
        };
        let udp = [Attribute::RequestedTransport(17)];
        let challenge = client.ask(&udp, Method::ALLOCATE, None)?;
        let nonce = Message::parse(&challenge)
            .ok()
            .and_then(|message| {
                message.attributes().find_map(|attribute| match attribute {
                    Attribute::Nonce(nonce) => Some(nonce.to_owned()),
                    _ => None,
                })
            })
            .ok_or_else(|| io::Error::other("no nonce"))?;
        client.ask(&udp, Method::ALLOCATE, Some(&nonce))?;
        let bind = [
            Attribute::ChannelNumber(ChannelNumber::MIN),
            Attribute::XorPeerAddress(peer),
        ];
        client.ask(&bind, Method::CHANNEL_BIND, Some(&nonce))?;
        Ok(client)
    }

    fn ask(
        &self,
        attributes: &[Attribute<'_>],
        method: Method,
        nonce: Option<&str>,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let id = TransactionId([method.number() as u8 + nonce.map_or(0, |_| 100); 12]);
        let mut builder = Builder::new(&mut bytes, Class::Request, method, id);
        for attribute in attributes {
            builder.attribute(*attribute);
        }
        match nonce {
            None => builder.finish(),
            Some(nonce) => {
                builder.attribute(Attribute::Username(USER));
                builder.attribute(Attribute::Realm(REALM));
                builder.attribute(Attribute::Nonce(nonce));
                LongTermKey::md5(USER, REALM, PASSWORD).finish(builder);
            }
        }
        self.socket.send(&bytes)?;
        let mut answer = vec![0; 2048];
        let len = self.socket.recv(&mut answer)?;
        answer.truncate(len);
        let refused = nonce.is_some()
            && !Message::parse(&answer).is_ok_and(|message| message.class == Class::Success);
        if refused {
            return Err(io::Error::other(format!("{method:?} was refused")));
        }
        Ok(answer)
    }

    /// Writes the header of the channel before each packet of `train`.
    pub fn address(train: &mut [u8], packet_len: usize) {
        for packet in train.chunks_mut(packet_len) {
            let len = u16::try_from(packet.len() - 4).unwrap_or(u16::MAX);
            packet[..4].copy_from_slice(&channel_data_header(ChannelNumber::MIN, len));
        }
    }

    /// Sends a train by one call of the system. What that has no room for is lost.
    pub fn send(&self, train: &[u8], packet_len: usize) {
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents: train,
            segment_size: (train.len() > packet_len).then_some(packet_len),
            src_ip: None,
        };
        let _ = self
            .state
            .try_send(UdpSockRef::from(&self.socket), &transmit);
    }
}
