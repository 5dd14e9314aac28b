//! Loads a TURN server on loopback, ours and coturn's in turn: packets per second of the server's
//! own CPU time, delay, memory per allocation, allocations per second.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -p twocan-bench-turn -- PATH/TO/twocan
//! [ALLOCATIONS [BYTES [PACKETS_PER_SECOND [SECONDS [ROUNDS]]]]]`
//!
//! Every client has an address of its own in 127.0.0.0/8 and sends ChannelData at the same pace;
//! one socket receives all of it and counts. What was not received does not count.
#![forbid(unsafe_code)]

mod client;
mod process;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use process::{Kind, Server};

/// How long the receiver waits for what is under way.
const LATE: Duration = Duration::from_millis(200);

struct Plan {
    twocan: String,
    allocations: usize,
    len: usize,
    rate: u64,
    seconds: u64,
    rounds: usize,
}

struct Outcome {
    received: u64,
    sent: u64,
    cpu: Duration,
    delays: Vec<u64>,
    memory: f64,
    allocations_per_second: f64,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(twocan) = arguments.next() else {
        println!("which twocan? see the top of bench/turn/src/main.rs");
        return Ok(());
    };
    let mut number = |default: u64| {
        let given = arguments.next().and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let plan = Plan {
        twocan,
        allocations: number(100) as usize,
        len: number(500) as usize,
        rate: number(20_000),
        seconds: number(5),
        rounds: number(3) as usize,
    };
    println!(
        "{} allocations, {} bytes, {} packets/s for {} s",
        plan.allocations, plan.len, plan.rate, plan.seconds
    );
    for round in 1..=plan.rounds {
        for kind in [Kind::Twocan, Kind::Coturn] {
            match measure(&plan, kind) {
                Ok(outcome) => report(round, kind, outcome),
                Err(error) => println!("{round} {kind:?}: NOT RUN: {error}"),
            }
        }
    }
    Ok(())
}

fn report(round: usize, kind: Kind, mut outcome: Outcome) {
    outcome.delays.sort_unstable();
    let at = |part: f64| {
        let place = (outcome.delays.len() as f64 * part) as usize;
        outcome
            .delays
            .get(place)
            .map_or(0.0, |nanos| *nanos as f64 / 1000.0)
    };
    println!(
        "{round} {kind:?}: {:.0} packets per CPU second ({} of {} received, {:.2} s), delay p50 {:.0} µs \
         p99 {:.0} µs, {:.1} KiB per allocation, {:.0} allocations/s",
        outcome.received as f64 / outcome.cpu.as_secs_f64().max(0.01),
        outcome.received,
        outcome.sent,
        outcome.cpu.as_secs_f64(),
        at(0.5),
        at(0.99),
        outcome.memory,
        outcome.allocations_per_second,
    );
}

fn measure(plan: &Plan, kind: Kind) -> io::Result<Outcome> {
    let server = Server::start(kind, &plan.twocan)?;
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    sink.set_read_timeout(Some(LATE))?;
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
    let sent = send(plan, &clients, started);
    std::thread::park_timeout(LATE);
    let cpu = server.cpu()?.saturating_sub(cpu_before);
    ends.store(true, Ordering::Relaxed);
    let delays = receiver
        .join()
        .map_err(|_| io::Error::other("the receiver panicked"))?;
    Ok(Outcome {
        received: delays.len() as u64,
        sent,
        cpu,
        delays,
        memory,
        allocations_per_second: plan.allocations as f64 / allocated_in.as_secs_f64(),
    })
}

/// Sends at the pace of the plan, one client after the other; answers how many.
fn send(plan: &Plan, clients: &[Client], started: Instant) -> u64 {
    let mut bytes = vec![0; 4 + plan.len.max(8)];
    let mut sent = 0;
    let total = plan.rate * plan.seconds;
    while sent < total {
        let due = (started.elapsed().as_secs_f64() * plan.rate as f64) as u64;
        if due <= sent {
            std::thread::park_timeout(Duration::from_micros(200));
            continue;
        }
        for _ in sent..due.min(total) {
            let now = started.elapsed().as_nanos() as u64;
            bytes[4..12].copy_from_slice(&now.to_be_bytes());
            clients[sent as usize % clients.len()].send(&mut bytes);
            sent += 1;
        }
    }
    sent
}

/// Receives until it is told to end; answers how long each took, in nanoseconds.
fn receive(sink: &UdpSocket, started: Instant, ends: &AtomicBool) -> Vec<u64> {
    let mut delays = Vec::new();
    let mut bytes = [0; 2048];
    loop {
        match sink.recv(&mut bytes) {
            Ok(8..) => {
                let mut stamp = [0; 8];
                stamp.copy_from_slice(&bytes[..8]);
                let now = started.elapsed().as_nanos() as u64;
                delays.push(now.saturating_sub(u64::from_be_bytes(stamp)));
            }
            Ok(_) => {}
            Err(_) if ends.load(Ordering::Relaxed) => return delays,
            Err(_) => {}
        }
    }
}
