//! ICMP errors that come back for datagrams, where the system tells of them: on Linux, by the error
//! queue of a socket.

use std::net::SocketAddr;

/// An ICMP error that a datagram was answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the datagram was to go.
    pub remote: SocketAddr,
    /// ICMP type, of the version that goes with the address.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The MTU of the next hop where the datagram was too big, else 0.
    pub data: u32,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{keep, take};

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
    use std::os::fd::AsRawFd as _;

    use nix::libc;
    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
    };
    use tokio::net::UdpSocket;

    use super::IcmpError;

    /// Errors taken in a row.
    const ERRORS_MAX: usize = 64;

    /// Room for what the system says of one.
    const CONTROL_LEN: usize = 512;

    /// Has the system keep errors for a socket; answers whether it does.
    pub(crate) fn keep(socket: &UdpSocket, is_ipv4: bool) -> bool {
        let kept = if is_ipv4 {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)
        };
        kept.is_ok()
    }

    /// Takes what the system has kept.
    pub(crate) fn take(socket: &UdpSocket, mut each: impl FnMut(IcmpError)) {
        let mut control = [0; CONTROL_LEN];
        for _ in 0..ERRORS_MAX {
            // The datagram itself is not wanted.
            let mut start = [0; 1];
            let mut buffers = [IoSliceMut::new(&mut start)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let descriptor = socket.as_raw_fd();
            let taken =
                recvmsg::<SockaddrStorage>(descriptor, &mut buffers, Some(&mut control), flags);
            let Ok(message) = taken else {
                return;
            };
            let remote = message.address.as_ref().and_then(address);
            let Ok(said) = message.cmsgs() else {
                continue;
            };
            for (remote, said) in said.filter_map(|said| remote.zip(extended(&said))) {
                let (kind, code) = (said.ee_type, said.ee_code);
                let is_too_big = match remote {
                    SocketAddr::V4(_) => (kind, code) == (3, 4),
                    SocketAddr::V6(_) => kind == 2,
                };
                each(IcmpError {
                    remote,
                    kind,
                    code,
                    data: if is_too_big { said.ee_info } else { 0 },
                });
            }
        }
    }

    /// What is said of an ICMP error, and not of one that is the system's own.
    fn extended(said: &ControlMessageOwned) -> Option<libc::sock_extended_err> {
        let (error, origin) = match said {
            ControlMessageOwned::Ipv4RecvErr(error, _) => (error, libc::SO_EE_ORIGIN_ICMP),
            ControlMessageOwned::Ipv6RecvErr(error, _) => (error, libc::SO_EE_ORIGIN_ICMP6),
            _ => return None,
        };
        (error.ee_origin == origin).then_some(*error)
    }

    fn address(stored: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = stored
            .as_sockaddr_in()
            .map(|own| SocketAddrV4::from(*own).into());
        let v6 = || {
            stored
                .as_sockaddr_in6()
                .map(|own| SocketAddrV6::from(*own).into())
        };
        v4.or_else(v6)
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep(_: &tokio::net::UdpSocket, _: bool) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn take(_: &tokio::net::UdpSocket, _: impl FnMut(IcmpError)) {}
