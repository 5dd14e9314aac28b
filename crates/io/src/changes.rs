//! When the addresses of this machine change, told by the system: on Linux by netlink
//! (rtnetlink(7)).

/// A word for each time that an address has come or gone, or may have.
#[derive(Debug, Clone)]
pub struct Changes {
    #[cfg(target_os = "linux")]
    told: tokio::sync::watch::Receiver<()>,
}

impl Changes {
    /// Follows the changes from now on. Needs a tokio runtime; all connections of the process share
    /// one socket. `None` where the system does not tell of changes, so that they have to be looked
    /// for.
    ///
    /// The addresses are those of the network namespace of the thread that was first to call this.
    pub fn follow() -> Option<Self> {
        #[cfg(target_os = "linux")]
        return linux::follow().map(|told| Self { told });
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Whether addresses may have changed since the last call of this or of [`Self::next`]: for those
    /// who have no time to wait.
    pub fn take(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        {
            let has_changed = self.told.has_changed().unwrap_or(false);
            if has_changed {
                self.told.mark_unchanged();
            }
            has_changed
        }
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Waits until addresses may have changed since the last call. Several changes at once may be
    /// told as one, and [`list`](crate::interfaces::list) says what they came to. `false` once
    /// nothing more will be told: the runtime that listened has ended, or its socket has failed.
    pub async fn next(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        return self.told.changed().await.is_ok();
        #[cfg(not(target_os = "linux"))]
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::libc;
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };
    use tokio::io::Interest;
    use tokio::net::UdpSocket;
    use tokio::sync::watch;

    use crate::interfaces;

    /// Both families, as a mask of multicast groups.
    const GROUPS: u32 = (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;

    /// The first change is told at once, what follows it after this: a network that is joined brings
    /// several addresses, and somebody may send us messages of its own.
    const PAUSE: Duration = Duration::from_millis(50);

    /// Messages taken in a row.
    const MESSAGES_MAX: usize = 64;

    /// Of the process.
    static SHARED: Mutex<Option<watch::Receiver<()>>> = Mutex::new(None);

    pub(super) fn follow() -> Option<watch::Receiver<()>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = &*shared
            && told.has_changed().is_ok()
        {
            let mut told = told.clone();
            told.mark_unchanged();
            return Some(told);
        }
        let opened = open().inspect_err(|error| {
            tracing::debug!(%error, "the system does not tell of changes of addresses");
        });
        let socket = opened.ok()?;
        let (tell, told) = watch::channel(());
        tokio::spawn(listen(socket, tell));
        *shared = Some(told.clone());
        Some(told)
    }

    /// The type is that of another family: what tokio has for descriptors of any kind takes `unsafe`
    /// to make, and of a socket nothing is wanted but when it can be read.
    fn open() -> io::Result<UdpSocket> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        UdpSocket::from_std(std::net::UdpSocket::from(socket))
    }

    /// Whatever is said, it is time to list the addresses again.
    async fn listen(socket: UdpSocket, tell: watch::Sender<()>) {
        while socket.readable().await.is_ok() {
            match socket.try_io(Interest::READABLE, || take(&socket)) {
                Ok(()) => {
                    interfaces::forget();
                    tell.send_replace(());
                    tokio::time::sleep(PAUSE).await;
                }
                // Nothing after all.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!(%error, "changes of addresses");
                    return;
                }
            }
        }
    }

    /// Takes all that waits, or what is much of it: fails with `WouldBlock` where that is nothing.
    fn take(socket: &UdpSocket) -> io::Result<()> {
        // What does not fit is cut off, and nobody reads it.
        let mut message = [0; 512];
        for taken in 0..MESSAGES_MAX {
            match recv(socket.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                // Some were lost, as there were too many.
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(Errno::EAGAIN) if taken > 0 => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
