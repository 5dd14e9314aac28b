//! Either end of a call as a node of the world.

use std::net::{IpAddr, SocketAddr};

use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Rtc};
use twocan_proto::contract::{
    Batch, Datagram, Destination, Dscp, Ecn, Output, Path, Request, SocketId, StreamEvent,
};
use twocan_proto::peer::{Event, Peer};
use twocan_proto::time::{Deadline, Now};
use twocan_sim::Node;

/// What either end reports.
pub(crate) enum Report {
    Ours(Box<Event>),
    Theirs(Box<str0m::Event>),
}

/// Either end.
pub(crate) enum End {
    Ours(Box<Peer>),
    Theirs(Box<Theirs>),
}

/// `str0m` on one socket.
pub(crate) struct Theirs {
    pub(crate) rtc: Rtc,
    local: Option<SocketAddr>,
    wanted: Option<Request>,
}

/// Turns that `str0m` may want at one moment.
const TURNS_MAX: usize = 1000;

impl Theirs {
    /// Asks for a socket on `ip`, whose address becomes its one candidate.
    pub(crate) fn new(rtc: Rtc, ip: IpAddr) -> Self {
        Self {
            rtc,
            local: None,
            wanted: Some(Request::Bind {
                socket: SocketId(0),
                ip,
            }),
        }
    }

    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Report> {
        if let Some(request) = self.wanted.take() {
            return Output::Request(request);
        }
        for _ in 0..TURNS_MAX {
            match self.rtc.poll_output().unwrap() {
                str0m::Output::Timeout(at) if at <= now.monotonic => self.wake(now),
                str0m::Output::Timeout(at) => {
                    return Output::Wait(Some(Deadline::new(at, "str0m")));
                }
                str0m::Output::Event(event) => {
                    return Output::Event(Report::Theirs(Box::new(event)));
                }
                str0m::Output::Transmit(transmit) => {
                    let destination = Destination {
                        path: Path {
                            socket: SocketId(0),
                            local: transmit.source,
                        },
                        remote: transmit.destination,
                        ecn: Ecn::NotEct,
                        dscp: Dscp::DEFAULT,
                    };
                    batch.push(destination, &mut Vec::new(), |out| {
                        out.extend_from_slice(&transmit.contents);
                    });
                    return Output::Transmit;
                }
            }
        }
        panic!("str0m runs in circles");
    }

    fn wake(&mut self, now: Now) {
        self.rtc
            .handle_input(Input::Timeout(now.monotonic))
            .unwrap();
    }

    fn handle_bound(&mut self, local: SocketAddr) {
        self.local = Some(local);
        let candidate = Candidate::host(local, "udp").unwrap();
        self.rtc.add_local_candidate(candidate).unwrap();
    }

    fn handle_datagram(&mut self, now: Now, datagram: &Datagram<'_>) {
        let local = datagram.path.local;
        // What is none of its protocols is refused here, before the machine.
        let Ok(receive) = Receive::new(Protocol::Udp, datagram.remote, local, datagram.bytes)
        else {
            return;
        };
        let input = Input::Receive(now.monotonic, receive);
        self.rtc.handle_input(input).unwrap();
    }
}

impl Node for End {
    type Event = Report;

    fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        match self {
            Self::Ours(peer) => peer.handle_bound(now, socket, local),
            Self::Theirs(theirs) => theirs.handle_bound(local),
        }
    }

    fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        match self {
            Self::Ours(peer) => peer.handle_datagram(now, datagram),
            Self::Theirs(theirs) => theirs.handle_datagram(now, &datagram),
        }
    }

    fn handle_stream(&mut self, now: Now, socket: SocketId, event: StreamEvent<'_>) {
        if let Self::Ours(peer) = self {
            peer.handle_stream(now, socket, event);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::Ours(peer) => peer.handle_timeout(now),
            Self::Theirs(theirs) => theirs.wake(now),
        }
    }

    fn handle_resolved(&mut self, now: Now, name: &str, addresses: &[IpAddr]) {
        if let Self::Ours(peer) = self {
            peer.handle_resolved(now, name, addresses);
        }
    }

    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Report> {
        match self {
            Self::Theirs(theirs) => theirs.poll_output(now, batch),
            Self::Ours(peer) => match peer.poll_output(now, batch) {
                Output::Event(event) => Output::Event(Report::Ours(Box::new(event))),
                Output::Transmit => Output::Transmit,
                Output::Request(request) => Output::Request(request),
                Output::Wait(deadline) => Output::Wait(deadline),
            },
        }
    }
}
