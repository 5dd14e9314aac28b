//! What is put around data on its way to the relay.

use std::net::SocketAddr;

use twocan_wire::stun::{Attribute, Builder, ChannelNumber, Class, Method, TransactionId};
use twocan_wire::turn::{CHANNEL_DATA_HEADER_LEN, channel_data_header, padding};

/// Puts data for one peer into the form in which the server takes it. Cheap to copy; good for as
/// long as nothing else happens to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    form: Form,
    /// On a stream everything is padded to four bytes.
    stream: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// ChannelData: 4 bytes more.
    Channel(ChannelNumber),
    /// A Send indication: 36 bytes more for IPv4, 48 for IPv6, and padding.
    Indication(SocketAddr, TransactionId),
}

impl Envelope {
    /// What an envelope adds to a datagram at most, in bytes.
    pub const LEN_MAX: usize = 51;

    pub(super) const fn channel(number: ChannelNumber, stream: bool) -> Self {
        let form = Form::Channel(number);
        Self { form, stream }
    }

    pub(super) const fn indication(peer: SocketAddr, id: TransactionId, stream: bool) -> Self {
        let form = Form::Indication(peer, id);
        Self { form, stream }
    }

    /// Appends what `write` appends, wrapped; nothing where that is nothing, or longer than
    /// 65,000 bytes.
    pub fn wrap(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        match self.form {
            Form::Channel(_) => out.extend_from_slice(&[0; CHANNEL_DATA_HEADER_LEN]),
            Form::Indication(peer, id) => {
                // Several may share a batch, and each is to have an identifier of its own.
                let mut id = id;
                for (byte, count) in id.0.iter_mut().zip((start as u32).to_be_bytes()) {
                    *byte ^= count;
                }
                let mut builder = Builder::new(out, Class::Indication, Method::SEND, id);
                builder.attribute(Attribute::XorPeerAddress(peer));
                builder.attribute(Attribute::Data(&[]));
            }
        }
        let data = out.len();
        write(out);
        let len = out.len().saturating_sub(data);
        let fits = u16::try_from(len)
            .ok()
            .filter(|len| (1..=65_000).contains(len));
        let Some(len) = fits else {
            return out.truncate(start);
        };
        let is_padded = self.stream || matches!(self.form, Form::Indication(..));
        if is_padded {
            out.extend(std::iter::repeat_n(0, padding(usize::from(len))));
        }
        match self.form {
            Form::Channel(number) => {
                let header = channel_data_header(number, len);
                if let Some(place) = out.get_mut(start..start + CHANNEL_DATA_HEADER_LEN) {
                    place.copy_from_slice(&header);
                }
            }
            Form::Indication(..) => {
                let body = out
                    .len()
                    .saturating_sub(start + twocan_wire::stun::HEADER_LEN);
                patch(out, start + 2, body as u16);
                patch(out, data - 2, len);
            }
        }
    }
}

fn patch(out: &mut [u8], at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twocan_wire::stun::Message;
    use twocan_wire::turn::ChannelData;

    #[test]
    fn what_is_wrapped_reads_back_and_nothing_adds_nothing() {
        let peers = ["192.0.2.7:40000", "[2001:db8::7]:40000"];
        for len in [1_usize, 2, 3, 4, 1199, 1200] {
            let data = vec![7; len];
            for stream in [false, true] {
                let mut out = vec![1, 2, 3];
                let number = ChannelNumber::MIN;
                let channel = Envelope::channel(number, stream);
                channel.wrap(&mut out, |out| out.extend_from_slice(&data));
                assert_eq!(
                    out.len() - 3,
                    4 + len + if stream { padding(len) } else { 0 }
                );
                let read = ChannelData::parse(&out[3..]).unwrap();
                assert_eq!((read.channel, read.data), (number, &data[..]));
                for peer in peers {
                    let peer: SocketAddr = peer.parse().unwrap();
                    let id = TransactionId([9; 12]);
                    let indication = Envelope::indication(peer, id, stream);
                    let mut out = vec![1; 8];
                    indication.wrap(&mut out, |out| out.extend_from_slice(&data));
                    assert!(out.len() - 8 <= len + Envelope::LEN_MAX);
                    let message = Message::parse(&out[8..]).unwrap();
                    assert_eq!(
                        (message.class, message.method),
                        (Class::Indication, Method::SEND)
                    );
                    assert_eq!(message.peer_address(), Some(peer));
                    assert!(
                        message
                            .attributes()
                            .any(|own| own == Attribute::Data(&data))
                    );
                    indication.wrap(&mut out, |_| {});
                    assert_eq!(out.len() % 4, 0);
                    Message::parse(&out[8..]).unwrap();
                }
            }
        }
    }
}
