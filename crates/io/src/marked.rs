//! Sending with a codepoint for routers (RFC 2474): on Linux, where each call may have its own, at no
//! further system call. `quinn-udp` has no say in it.

#[cfg(target_os = "linux")]
pub(crate) use linux::send;

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSlice};
    use std::net::IpAddr;
    use std::os::fd::AsRawFd as _;

    use nix::libc;
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    use quinn_udp::Transmit;
    use tokio::net::UdpSocket;
    use twocan_proto::contract::Dscp;

    /// Sends what `quinn-udp` would, with a codepoint.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn send(socket: &UdpSocket, transmit: &Transmit<'_>, dscp: Dscp) -> io::Result<()> {
        let ecn = transmit.ecn.map_or(0, |ecn| ecn as u8);
        let class = dscp.value() << 2 | ecn;
        let wide_class = i32::from(class);
        let is_ipv4 = transmit.destination.ip().to_canonical().is_ipv4();
        let segment_len = transmit.segment_size.unwrap_or(transmit.contents.len());
        let segment_len = u16::try_from(segment_len).map_err(io::Error::other)?;
        let (v4, v6) = sources(transmit.src_ip);
        let mut said = Vec::with_capacity(3);
        said.push(match is_ipv4 {
            true => ControlMessage::Ipv4Tos(&class),
            false => ControlMessage::Ipv6TClass(&wide_class),
        });
        if transmit.contents.len() > usize::from(segment_len) {
            said.push(ControlMessage::UdpGsoSegments(&segment_len));
        }
        said.extend(v4.as_ref().map(ControlMessage::Ipv4PacketInfo));
        said.extend(v6.as_ref().map(ControlMessage::Ipv6PacketInfo));
        let to = SockaddrStorage::from(transmit.destination);
        let contents = [IoSlice::new(transmit.contents)];
        let descriptor = socket.as_raw_fd();
        sendmsg(descriptor, &contents, &said, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }

    /// The address to send from, in the words of its family.
    fn sources(from: Option<IpAddr>) -> (Option<libc::in_pktinfo>, Option<libc::in6_pktinfo>) {
        match from {
            None => (None, None),
            Some(IpAddr::V4(ip)) => {
                let address = |octets| libc::in_addr {
                    s_addr: u32::from_ne_bytes(octets),
                };
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: address(ip.octets()),
                    ipi_addr: address([0; 4]),
                };
                (Some(info), None)
            }
            Some(IpAddr::V6(ip)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                (None, Some(info))
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn send(
    _: &tokio::net::UdpSocket,
    _: &quinn_udp::Transmit<'_>,
    _: twocan_proto::contract::Dscp,
) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSliceMut;
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
    };
    use twocan_proto::contract::{Batch, Destination, Dscp, Ecn, Path, SocketId};

    use crate::udp::Socket;

    /// The byte of its header, and the length, of the next datagram.
    fn received(socket: &std::net::UdpSocket) -> (u8, usize) {
        let mut control = [0; 128];
        let mut bytes = [0; 2000];
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        let descriptor = socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(
            descriptor,
            &mut buffers,
            Some(&mut control),
            MsgFlags::empty(),
        )
        .unwrap();
        let class = message.cmsgs().unwrap().find_map(|said| match said {
            ControlMessageOwned::Ipv4Tos(class) => Some(class),
            ControlMessageOwned::Ipv6TClass(class) => u8::try_from(class).ok(),
            _ => None,
        });
        (class.unwrap(), message.bytes)
    }

    fn listening(ip: &str) -> Option<std::net::UdpSocket> {
        let address: SocketAddr = format!("{ip}:0").parse().unwrap();
        let socket = std::net::UdpSocket::bind(address).ok()?;
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::IpRecvTos, &true).unwrap(),
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvTClass, &true).unwrap(),
        }
        Some(socket)
    }

    #[tokio::test]
    async fn datagrams_have_the_codepoint_of_their_batch() {
        for (ip, any) in [("127.0.0.1", "0.0.0.0"), ("[::1]", "[::]")] {
            let Some(other) = listening(ip) else {
                assert_ne!(ip, "127.0.0.1");
                eprintln!("skipped: this host has no {ip}");
                continue;
            };
            let remote = other.local_addr().unwrap();
            for bound in [ip, any] {
                let bound: SocketAddr = format!("{bound}:0").parse().unwrap();
                let socket = Socket::bind_to(bound).unwrap();
                // Once something has arrived, the runtime knows that it can be written to.
                let local = SocketAddr::new(remote.ip(), socket.local().port());
                other.send_to(b"word", local).unwrap();
                poll_fn(|context| socket.poll_receive(context, |_| {}))
                    .await
                    .unwrap();
                for dscp in [
                    Dscp::EXPEDITED,
                    Dscp::DEFAULT,
                    Dscp::AF42,
                    Dscp::LOWER_EFFORT,
                ] {
                    for ecn in [Ecn::NotEct, Ecn::Ect0] {
                        let destination = Destination {
                            path: Path {
                                socket: SocketId(0),
                                local,
                            },
                            remote,
                            ecn,
                            dscp,
                        };
                        let mut batch = Batch::new();
                        for len in [700, 700, 700, 40] {
                            let write = |out: &mut Vec<u8>| out.extend(vec![7; len]);
                            assert!(batch.push(destination, &mut Vec::new(), write));
                        }
                        assert_eq!(socket.send(&batch), 0);
                        let class = dscp.value() << 2 | if ecn == Ecn::Ect0 { 2 } else { 0 };
                        for len in [700, 700, 700, 40] {
                            assert_eq!(received(&other), (class, len), "{bound} {dscp:?}");
                        }
                    }
                }
            }
        }
    }
}
