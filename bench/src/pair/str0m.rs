//! `str0m`, driven with plain sockets by one loop as its examples do it.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use str0m::channel::ChannelId;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{Pair, QUEUED};

struct End {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    deadline: Instant,
    opened: Option<ChannelId>,
    received: usize,
    received_len: usize,
}

pub(super) struct Str0m {
    ends: [End; 2],
    buffer: Vec<u8>,
}

pub(super) fn connect() -> Str0m {
    let mut ends = [End::new(), End::new()];
    let mut change = ends[0].rtc.sdp_api();
    change.add_channel("bulk".into());
    let (offer, pending) = change.apply().expect("an offer");
    let answer = ends[1].rtc.sdp_api().accept_offer(offer).expect("accepted");
    ends[0]
        .rtc
        .sdp_api()
        .accept_answer(pending, answer)
        .expect("accepted");
    let mut pair = Str0m {
        ends,
        buffer: vec![0; 2000],
    };
    while pair.ends.iter().any(|end| end.opened.is_none()) {
        pair.turn();
    }
    pair
}

impl End {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("set");
        let local = socket.local_addr().expect("an address");
        let now = Instant::now();
        let mut rtc = RtcConfig::new().build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        Self {
            rtc,
            socket,
            local,
            deadline: now,
            opened: None,
            received: 0,
            received_len: 0,
        }
    }

    fn output(&mut self) {
        loop {
            match self.rtc.poll_output().expect("output") {
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Output::Transmit(transmit) => {
                    // What the kernel has no room for is lost, as on any network.
                    let _ = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::ChannelOpen(id, _)) => self.opened = Some(id),
                Output::Event(Event::ChannelData(data)) => {
                    self.received += 1;
                    self.received_len += data.data.len();
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Takes what has arrived, a burst at most; answers whether there was anything.
    fn input(&mut self, buffer: &mut [u8]) -> bool {
        for count in 0..32 {
            match self.socket.recv_from(buffer) {
                Ok((len, source)) => {
                    let receive = Receive::new(Protocol::Udp, source, self.local, &buffer[..len]);
                    let input = Input::Receive(Instant::now(), receive.expect("a datagram"));
                    self.rtc.handle_input(input).expect("taken");
                    self.output();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count > 0,
                Err(error) => unreachable!("{error}"),
            }
        }
        true
    }
}

impl Str0m {
    fn turn(&mut self) {
        let mut any = false;
        for end in &mut self.ends {
            let now = Instant::now();
            if end.deadline <= now {
                end.rtc.handle_input(Input::Timeout(now)).expect("taken");
            }
            end.output();
        }
        for end in &mut self.ends {
            any |= end.input(&mut self.buffer);
        }
        if !any {
            self.wait(Duration::from_secs(1));
        }
    }

    fn wait(&self, limit: Duration) {
        let deadline = self.ends[0].deadline.min(self.ends[1].deadline);
        let wait = deadline
            .saturating_duration_since(Instant::now())
            .min(limit);
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        };
        let mut sockets =
            [0, 1].map(|index: usize| PollFd::new(&self.ends[index].socket, PollFlags::IN));
        let _ = poll(&mut sockets, Some(&wait));
    }
}

impl Pair for Str0m {
    fn transfer(&mut self, message_len: usize, count: usize) {
        let message = vec![7; message_len];
        let id = self.ends[0].opened.expect("open");
        self.ends[1].received = 0;
        self.ends[1].received_len = 0;
        let mut sent = 0;
        while self.ends[1].received < count {
            while sent < count {
                let Some(mut channel) = self.ends[0].rtc.channel(id) else {
                    break;
                };
                if channel.buffered_amount() > QUEUED
                    || !channel.write(true, &message).expect("open")
                {
                    break;
                }
                sent += 1;
            }
            self.turn();
        }
        assert_eq!(self.ends[1].received_len, message_len * count);
    }

    fn idle(&mut self) {
        self.wait(Duration::from_millis(20));
        self.turn();
    }
}
