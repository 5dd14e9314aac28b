//! Interceptors on both ends of calls over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use twocan::interceptor::{
    Added, INTERCEPTED_LEN_MAX, Interceptor, InterceptorFactory, Now, RtpHeader, Verdict,
};
use twocan::{
    Configuration, Direction, EncodedFrame, Kind, PeerConnection, PeerConnectionEvent, RtpReceiver,
    RtpSender,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// Hides payloads from who does not know how, on both ends.
#[derive(Debug)]
struct Hides(Arc<AtomicUsize>);

impl Hides {
    fn apply(&self, packet: &mut [u8]) -> Verdict {
        let header_len = RtpHeader::parse(packet).unwrap().len;
        for byte in &mut packet[header_len..] {
            *byte ^= 0x5a;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Pass
    }
}

impl Interceptor for Hides {
    fn outgoing_rtp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
        self.apply(packet)
    }

    fn incoming_rtp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
        self.apply(packet)
    }
}

#[tokio::test]
async fn what_one_side_changes_the_other_changes_back() {
    let seen = [Arc::default(), Arc::default()];
    let [caller, callee] = seen.clone().map(|seen: Arc<AtomicUsize>| {
        connection(InterceptorFactory::new(move || Hides(Arc::clone(&seen))))
    });
    let (sender, receiver) = connect(&caller, &callee).await;
    let sending = tokio::spawn(send_pictures(sender, 20));
    receive_pictures(&receiver, 20).await;
    sending.await.unwrap();
    // Each picture takes three packets.
    assert!(seen.iter().all(|own| own.load(Ordering::Relaxed) >= 60));
    caller.close();
}

#[tokio::test]
async fn what_only_one_side_changes_does_not_make_pictures() {
    let seen: Arc<AtomicUsize> = Arc::default();
    let changed = Arc::clone(&seen);
    let caller = connection(InterceptorFactory::new(move || Hides(Arc::clone(&changed))));
    let callee = connection(InterceptorFactory::new(|| Passes));
    let (sender, receiver) = connect(&caller, &callee).await;
    send_pictures(sender, 1).await;
    let frame = tokio::time::timeout(WITHIN, receiver.next_frame());
    let arrived = async {
        while callee
            .get_stats()
            .inbound_rtp
            .iter()
            .all(|own| own.packets_received < 3)
        {
            tokio::task::yield_now().await;
        }
    };
    // What arrived was no VP8 any more: it is a frame of other content, or none.
    tokio::select! {
        frame = frame => assert_ne!(frame.unwrap().unwrap().data, picture(0)),
        () = arrived => {}
    }
    assert!(seen.load(Ordering::Relaxed) >= 3);
}

/// Sees everything and does nothing.
#[derive(Debug)]
struct Passes;

impl Interceptor for Passes {}

/// Loses what it is told to.
#[derive(Debug)]
struct Loses {
    every: usize,
    arrived: usize,
}

impl Interceptor for Loses {
    fn incoming_rtp(&mut self, _: Now, _: &mut Vec<u8>, _: &mut Added) -> Verdict {
        self.arrived += 1;
        match self.arrived.is_multiple_of(self.every) {
            true => Verdict::Drop,
            false => Verdict::Pass,
        }
    }
}

#[tokio::test]
async fn what_is_dropped_on_arrival_is_as_lost_and_comes_again() {
    let caller = connection(InterceptorFactory::new(|| Passes));
    let callee = connection(InterceptorFactory::new(|| Loses {
        every: 10,
        arrived: 0,
    }));
    let (sender, receiver) = connect(&caller, &callee).await;
    let sending = tokio::spawn(send_pictures(sender, 60));
    receive_pictures(&receiver, 60).await;
    sending.await.unwrap();
    let outbound = caller.get_stats().outbound_rtp;
    assert!(outbound[0].retransmitted_packets_sent > 0);
    let dropped = reason(&callee, "interceptor.incoming_dropped");
    let (sent, passed) = (
        outbound[0].packets_sent,
        callee.get_stats().inbound_rtp[0].packets_received,
    );
    assert!(dropped > 0 && passed < sent, "{dropped} {passed} {sent}");
}

/// Adds packets of its own to the first of media and later by its clock, and one that is too long.
#[derive(Debug)]
struct Adds {
    number: u16,
    at: Option<Instant>,
}

/// Nobody's source.
const OWN: u32 = 0xfeed_beef;

/// An application-defined packet (RFC 3550 §6.7).
const APP: [u8; 12] = [
    0x80, 204, 0, 2, 0xfe, 0xed, 0xbe, 0xef, b'n', b'o', b't', b'e',
];

impl Interceptor for Adds {
    fn outgoing_rtp(&mut self, now: Now, _: &mut Vec<u8>, added: &mut Added) -> Verdict {
        if self.number == 0 {
            added.outgoing_rtcp(APP.to_vec());
            added.outgoing_rtp(vec![0x80; INTERCEPTED_LEN_MAX + 1]);
            self.number = 1;
            self.at = Some(now.monotonic);
        }
        Verdict::Pass
    }

    fn deadline(&self) -> Option<Instant> {
        self.at
    }

    fn handle_timeout(&mut self, now: Now, added: &mut Added) {
        let [high, low] = self.number.to_be_bytes();
        let mut packet = vec![0x80, 0, high, low, 0, 0, 0, 0];
        packet.extend(OWN.to_be_bytes());
        packet.extend(b"added");
        added.outgoing_rtp(packet);
        self.number += 1;
        self.at = (self.number <= 3).then_some(now.monotonic);
    }
}

/// Keeps what is not of the stack's own making.
#[derive(Debug)]
struct Keeps(Arc<Mutex<Vec<Vec<u8>>>>);

impl Interceptor for Keeps {
    fn incoming_rtp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
        if RtpHeader::parse(packet).unwrap().ssrc.0 == OWN {
            self.0.lock().unwrap().push(packet.clone());
            return Verdict::Drop;
        }
        Verdict::Pass
    }

    fn incoming_rtcp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
        if *packet == APP {
            self.0.lock().unwrap().push(packet.clone());
        }
        Verdict::Pass
    }
}

#[tokio::test]
async fn packets_of_its_own_reach_the_other_side_and_bad_ones_are_counted() {
    let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let keeps = Arc::clone(&kept);
    let caller = connection(InterceptorFactory::new(|| Adds {
        number: 0,
        at: None,
    }));
    let callee = connection(InterceptorFactory::new(move || Keeps(Arc::clone(&keeps))));
    let (sender, receiver) = connect(&caller, &callee).await;
    let sending = tokio::spawn(send_pictures(sender, 5));
    receive_pictures(&receiver, 5).await;
    sending.await.unwrap();
    let all = async {
        while kept.lock().unwrap().len() < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, all).await.expect("four");
    let kept = kept.lock().unwrap();
    assert!(kept.contains(&APP.to_vec()));
    let numbers = kept.iter().filter(|own| own.ends_with(b"added"));
    assert!(numbers.map(|own| own[3]).eq(1..=3));
    assert_eq!(reason(&caller, "interceptor.too_long"), 1);
}

fn reason(connection: &PeerConnection, name: &str) -> u64 {
    let dropped = connection.get_stats().dropped;
    let mut own = dropped.iter().filter(|(reason, _)| *reason == name);
    own.next().map_or(0, |(_, count)| *count)
}

/// A picture by the first byte of VP8 (RFC 6386 §9.1), in three packets.
fn picture(number: u32) -> Vec<u8> {
    let mut data = vec![if number == 0 { 0x10 } else { 0x11 }; 10];
    data.resize(2500, number as u8);
    data
}

/// Sends pictures, each as soon as it is its turn: 30 a second would only take longer.
async fn send_pictures(sender: RtpSender, count: u32) {
    for number in 0..count {
        sender
            .send_frame(EncodedFrame {
                codec: "VP8",
                timestamp: number * 3000,
                data: &picture(number),
                ..EncodedFrame::default()
            })
            .unwrap();
        tokio::task::yield_now().await;
    }
}

async fn receive_pictures(receiver: &RtpReceiver, count: u32) {
    for number in 0..count {
        let next = tokio::time::timeout(WITHIN, receiver.next_frame()).await;
        let next = next.expect("a frame").expect("the track goes on");
        assert_eq!(next.timestamp, number * 3000);
        assert!(next.data == picture(number), "{number}");
    }
}

fn connection(interceptor: InterceptorFactory) -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        interceptor: Some(interceptor),
        ..Configuration::default()
    })
    .unwrap()
}

async fn connect(caller: &PeerConnection, callee: &PeerConnection) -> (RtpSender, RtpReceiver) {
    let line = caller
        .add_transceiver(Kind::Video, Direction::SendOnly, &["s"])
        .unwrap();
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    let receiver = loop {
        match callee.next_event().await {
            Some(PeerConnectionEvent::Track(track)) => break track.transceiver.receiver(),
            Some(_) => {}
            None => panic!("closed before a track came"),
        }
    };
    let sender = line.sender();
    assert!(sender.can_send().await);
    (sender, receiver)
}
