//! What forwarding cannot fall below: the packets of a picture, sealed once for each viewer and sent
//! by one call for each viewer, with nothing decided and nothing remembered.
//!
//! `twocan-bench-sfu [--viewers N] [--seconds N] [--bitrate KBITS] [--framerate N]`
//!
//! The packets are those of `twocan load` with the same numbers: so many of a picture, so long, so
//! many pictures a second. A thread beside receives all of them, coalesced as `twocan load` takes
//! them, and opens none. What counts is the CPU time of the sending thread alone.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a line is the result"
)]

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

/// A fixed header, and the extensions that a browser asks for: what is authenticated and not
/// encrypted.
const HEADER_LEN: usize = 12 + 4 + 16;

/// Of a payload, as in `twocan load`.
const PAYLOAD_LEN: usize = 1_100;

const BUFFER_LEN: usize = 4 << 20;

/// Descriptors that are looked at at a time.
const EVENTS: usize = 64;

struct Options {
    viewers: usize,
    seconds: u64,
    bitrate: usize,
    framerate: usize,
}

fn options() -> Option<Options> {
    let mut options = Options {
        viewers: 200,
        seconds: 10,
        bitrate: 2_500,
        framerate: 30,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value: usize = words.next()?.parse().ok().filter(|value| *value > 0)?;
        match word.as_str() {
            "--viewers" => options.viewers = value,
            "--seconds" => options.seconds = value as u64,
            "--bitrate" => options.bitrate = value,
            "--framerate" => options.framerate = value,
            _ => return None,
        }
    }
    Some(options)
}

struct Viewer {
    key: LessSafeKey,
    address: SocketAddr,
    number: u64,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("options: --viewers N, --seconds N, --bitrate KBITS, --framerate N");
        return ExitCode::FAILURE;
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("twocan-bench-sfu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bind() -> std::io::Result<(UdpSocket, UdpSocketState)> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    // A smaller buffer still works.
    let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER_LEN);
    let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER_LEN);
    Ok((socket, state))
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut receivers = Vec::new();
    let mut viewers = Vec::new();
    for index in 0..options.viewers {
        let receiver = bind()?;
        let mut key = [7; 16];
        key[..8].copy_from_slice(&(index as u64).to_be_bytes());
        viewers.push(Viewer {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?),
            address: receiver.0.local_addr()?,
            number: 0,
        });
        receivers.push(receiver);
    }
    let (count, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let receiving = {
        let (count, over) = (count.clone(), over.clone());
        thread::spawn(move || receive(&receivers, &count, &over))
    };
    let (sent, busy) = send(options, &mut viewers)?;
    over.store(true, Ordering::Relaxed);
    receiving.join().map_err(|_| "the receiver ended")??;
    let received = count.load(Ordering::Relaxed);
    println!(
        "{{\"packets_sent\":{sent},\"packets_received\":{received},\"cpu_seconds\":{:.3},\"packets_per_busy_core\":{:.0}}}",
        busy.as_secs_f64(),
        received as f64 / busy.as_secs_f64()
    );
    Ok(())
}

/// Sends as long as wanted; answers how many packets, and the CPU time that it took.
fn send(
    options: &Options,
    viewers: &mut [Viewer],
) -> Result<(u64, Duration), Box<dyn std::error::Error>> {
    let (socket, state) = bind()?;
    let bytes = (options.bitrate * 125 / options.framerate).max(200);
    let packets = bytes.div_ceil(PAYLOAD_LEN);
    let plain = vec![0x5a; HEADER_LEN + bytes / packets];
    let mut batch = Vec::new();
    let interval = Duration::from_secs(1) / options.framerate as u32;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut due = Instant::now();
    let mut sent = 0;
    let before = cpu_time();
    while Instant::now() < end {
        for viewer in &mut *viewers {
            batch.clear();
            let mut segment = 0;
            for _ in 0..packets {
                let start = batch.len();
                batch.extend_from_slice(&plain);
                viewer.number += 1;
                let mut nonce = [3; 12];
                nonce[4..].copy_from_slice(&viewer.number.to_be_bytes());
                let (header, payload) = batch[start..].split_at_mut(HEADER_LEN);
                let tag = viewer.key.seal_in_place_separate_tag(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(&*header),
                    payload,
                )?;
                batch.extend_from_slice(tag.as_ref());
                segment = batch.len() - start;
            }
            for contents in batch.chunks(segment * state.max_gso_segments().max(1)) {
                let transmit = Transmit {
                    destination: viewer.address,
                    ecn: None,
                    contents,
                    segment_size: Some(segment),
                    src_ip: None,
                };
                // What finds no room is lost, and is not counted as received.
                let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
            }
            sent += packets as u64;
        }
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok((sent, cpu_time() - before))
}

fn receive(
    sockets: &[(UdpSocket, UdpSocketState)],
    count: &AtomicU64,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, (socket, _)) in sockets.iter().enumerate() {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&poll, socket, data, epoll::EventFlags::IN)?;
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(EVENTS);
    let wait = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    while !over.load(Ordering::Relaxed) {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            let index = event.data.u64() as usize;
            let Some((socket, state)) = sockets.get(index) else {
                continue;
            };
            let mut meta = [RecvMeta::default()];
            let mut slots = [IoSliceMut::new(&mut buffer)];
            if state
                .recv(UdpSockRef::from(socket), &mut slots, &mut meta)
                .is_ok()
            {
                let packets = meta[0].len.div_ceil(meta[0].stride.max(1));
                count.fetch_add(packets as u64, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
