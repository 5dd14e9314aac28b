//! The load itself: who sends, who receives.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use crate::client::Client;
use crate::plan::Plan;
use crate::process::{Kind, Server};

/// How long the receiver waits for what is under way, in milliseconds.
const LATE: u16 = 200;

/// The header of a channel, and the time at which a packet was sent.
const HEADER_LEN: usize = 4;
const STAMP_LEN: usize = 8;

/// Room for what the system hands over at once.
const SLOTS: usize = 8;
const SLOT_LEN: usize = 64 * 1024;

/// What came of a load.
#[derive(Debug, Clone)]
pub struct Outcome {
    received: u64,
    sent: u64,
    cpu: Duration,
    /// In microseconds, half and 99 of a hundred at most.
    pub p50: f64,
    pub p99: f64,
    /// In KiB.
    pub memory_per_allocation: f64,
    pub allocations_per_second: f64,
}

impl Outcome {
    /// Of the server's own time.
    pub fn packets_per_cpu_second(&self) -> f64 {
        self.received as f64 / self.cpu.as_secs_f64().max(0.01)
    }

    /// In hundredths.
    pub fn lost(&self) -> f64 {
        100.0 * (1.0 - self.received as f64 / self.sent.max(1) as f64)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} packets per CPU second ({} of {} received, {:.2} s), delay p50 {:.0} µs p99 {:.0} µs, \
             {:.1} KiB per allocation, {:.0} allocations/s",
            self.packets_per_cpu_second(),
            self.received,
            self.sent,
            self.cpu.as_secs_f64(),
            self.p50,
            self.p99,
            self.memory_per_allocation,
            self.allocations_per_second,
        )
    }
}

/// Starts a server, loads it, and ends it.
pub fn measure(plan: &Plan, kind: Kind, twocan: &str) -> io::Result<Outcome> {
    let server = Server::start(kind, twocan)?;
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let peer = sink.local_addr()?;
    let before = server.memory()?;
    let began = Instant::now();
    let clients: Vec<Client> = (0..plan.allocations)
        .map(|number| Client::open(number, server.address, peer))
        .collect::<io::Result<_>>()?;
    let allocated_in = began.elapsed();
    let memory = (server.memory()? - before) / plan.allocations as f64;
    let started = Instant::now();
    let ends = Arc::new(AtomicBool::new(false));
    let receiver = {
        let ends = ends.clone();
        std::thread::spawn(move || receive(&sink, started, &ends))
    };
    let cpu_before = server.cpu()?;
    let sent = send(plan, &clients, started)?;
    std::thread::park_timeout(Duration::from_millis(LATE.into()));
    let cpu = server.cpu()?.saturating_sub(cpu_before);
    ends.store(true, Ordering::Relaxed);
    let mut delays = receiver
        .join()
        .map_err(|_| io::Error::other("the receiver panicked"))??;
    delays.sort_unstable();
    let at = |part: f64| {
        let place = (delays.len() as f64 * part) as usize;
        delays
            .get(place)
            .map_or(0.0, |nanos| *nanos as f64 / 1000.0)
    };
    Ok(Outcome {
        received: delays.len() as u64,
        sent,
        cpu,
        p50: at(0.5),
        p99: at(0.99),
        memory_per_allocation: memory,
        allocations_per_second: plan.allocations as f64 / allocated_in.as_secs_f64(),
    })
}

/// Sends at the pace of the plan, one client after the other; answers how many packets.
fn send(plan: &Plan, clients: &[Client], started: Instant) -> io::Result<u64> {
    let packet_len = HEADER_LEN + plan.bytes.max(STAMP_LEN);
    let mut train = vec![0; packet_len * plan.train];
    Client::address(&mut train, packet_len);
    let mut sent = 0;
    let total = plan.rate * plan.seconds;
    let mut turns = clients.iter().cycle();
    while sent < total {
        let due = (started.elapsed().as_secs_f64() * plan.rate as f64) as u64;
        if due < sent + plan.train as u64 {
            std::thread::park_timeout(Duration::from_micros(200));
            continue;
        }
        while sent + plan.train as u64 <= due.min(total) {
            let now = (started.elapsed().as_nanos() as u64).to_be_bytes();
            for packet in train.chunks_mut(packet_len) {
                packet[HEADER_LEN..HEADER_LEN + STAMP_LEN].copy_from_slice(&now);
            }
            let Some(client) = turns.next() else {
                return Err(io::Error::other("nobody sends"));
            };
            client.send(&train, packet_len);
            sent += plan.train as u64;
        }
        if total - sent < plan.train as u64 {
            break;
        }
    }
    Ok(sent)
}

/// Receives until it is told to end; answers how long each took, in nanoseconds.
fn receive(sink: &UdpSocket, started: Instant, ends: &AtomicBool) -> io::Result<Vec<u64>> {
    let state = UdpSocketState::new(UdpSockRef::from(sink))?;
    // What is meant for one socket must not be lost by its buffer.
    let _ = state.set_recv_buffer_size(UdpSockRef::from(sink), 4 << 20);
    // A call that waits would wait until all slots are full, and what had come would seem late.
    sink.set_nonblocking(true)?;
    let mut delays = Vec::new();
    let mut slots = vec![0; SLOTS * SLOT_LEN];
    let mut metas = [RecvMeta::default(); SLOTS];
    loop {
        let mut chunks = slots.chunks_mut(SLOT_LEN);
        let mut buffers: [IoSliceMut<'_>; SLOTS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let received = match state.recv(UdpSockRef::from(sink), &mut buffers, &mut metas) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waited = poll(&mut [PollFd::new(sink.as_fd(), PollFlags::POLLIN)], LATE)?;
                if waited == 0 && ends.load(Ordering::Relaxed) {
                    return Ok(delays);
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        let now = started.elapsed().as_nanos() as u64;
        for (meta, slot) in metas.iter().zip(slots.chunks(SLOT_LEN)).take(received) {
            let bytes = slot.get(..meta.len).unwrap_or_default();
            for packet in bytes.chunks(meta.stride.max(1)) {
                if let Some(stamp) = packet.first_chunk::<STAMP_LEN>() {
                    delays.push(now.saturating_sub(u64::from_be_bytes(*stamp)));
                }
            }
        }
    }
}
