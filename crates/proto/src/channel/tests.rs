use std::time::{Duration, Instant};

use twocan_wire::dcep;
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::*;
use crate::random::Random;
use crate::sctp::{Association, CloseReason, Config, SendOptions};

/// Two ends whose packets arrive after 10 ms.
struct Pair {
    now: Instant,
    ends: [Channels; 2],
    on_the_way: Vec<(Instant, usize, Vec<u8>)>,
    events: [Vec<Event>; 2],
}

const A: usize = 0;
const B: usize = 1;

impl Pair {
    fn new() -> Self {
        let config = Config {
            remote_max_message_size: 262_144,
            ..Config::default()
        };
        let channels = |seed| Channels::new(config.clone(), Random::new([seed; 32]));
        Self {
            now: start(),
            ends: [channels(1), channels(2)],
            on_the_way: Vec::new(),
            events: [Vec::new(), Vec::new()],
        }
    }

    fn start(&mut self) {
        let now = self.now;
        self.ends[A].start(now, Role::Client);
        self.ends[B].start(now, Role::Server);
    }

    fn started() -> Self {
        let mut pair = Self::new();
        pair.start();
        pair.run(Duration::from_millis(500));
        assert!(pair.ends.iter().all(Channels::is_connected));
        for events in &mut pair.events {
            assert_eq!(events.drain(..).next(), Some(Event::Connected));
        }
        pair
    }

    fn open(&mut self, side: usize, label: &str) -> ChannelId {
        let init = ChannelInit {
            label: label.into(),
            ..ChannelInit::default()
        };
        self.ends[side].open(init).unwrap()
    }

    /// Opens a channel from A and answers its ids on both sides.
    fn opened(&mut self, label: &str) -> (ChannelId, ChannelId) {
        let a = self.open(A, label);
        self.run(Duration::from_millis(100));
        assert_eq!(self.take(A), [Event::Open(a)]);
        let events = self.take(B);
        let [Event::Announced(b)] = events[..] else {
            panic!("not announced: {events:?}");
        };
        (a, b)
    }

    fn take(&mut self, side: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[side])
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            let timers = self.ends.iter().filter_map(Channels::poll_timeout);
            let next = timers
                .map(|deadline| deadline.at)
                .chain(self.on_the_way.iter().map(|(at, ..)| *at))
                .min();
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    return;
                }
            }
        }
    }

    fn exchange(&mut self) {
        let now = self.now;
        let (due, later) = self.on_the_way.drain(..).partition(|(at, ..)| *at <= now);
        self.on_the_way = later;
        let due: Vec<(Instant, usize, Vec<u8>)> = due;
        for (_, to, packet) in due {
            self.ends[to].handle_packet(now, &packet);
        }
        for index in [A, B] {
            let end = &mut self.ends[index];
            if end.poll_timeout().is_some_and(|due| due.at <= now) {
                end.handle_timeout(now);
            }
            while let Some(event) = end.poll_event() {
                self.events[index].push(event);
            }
            let mut packet = Vec::new();
            while end.poll_transmit(now, &mut packet) {
                let arrives = now + Duration::from_millis(10);
                self.on_the_way
                    .push((arrives, 1 - index, std::mem::take(&mut packet)));
            }
        }
    }
}

fn start() -> Instant {
    crate::sctp::test_start()
}

#[test]
fn a_channel_made_before_dtls_opens_and_is_announced_with_all_it_is() {
    let mut pair = Pair::new();
    let init = ChannelInit {
        label: "chat ☃".into(),
        protocol: "p".into(),
        ordered: false,
        reliability: Reliability::MaxRetransmits(3),
        priority: Priority::High,
        ..ChannelInit::default()
    };
    let a = pair.ends[A].open(init).unwrap();
    assert_eq!(pair.ends[A].ready_state(a), Some(ReadyState::Connecting));
    assert_eq!(
        pair.ends[A].send_text(pair.now, a, "early"),
        Err(SendError::NotOpen)
    );
    pair.start();
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.take(A), [Event::Connected, Event::Open(a)]);
    let events = pair.take(B);
    let [Event::Connected, Event::Announced(b)] = events[..] else {
        panic!("{events:?}");
    };
    let info = pair.ends[B].info(b).unwrap();
    assert_eq!(
        (info.label.as_str(), info.protocol.as_str()),
        ("chat ☃", "p")
    );
    assert_eq!((info.ordered, info.id), (false, Some(0)));
    assert_eq!(info.reliability, Reliability::MaxRetransmits(3));
    assert_eq!(info.priority, Priority::High);
}

#[test]
fn texts_bytes_and_empty_messages_arrive_as_they_are() {
    let mut pair = Pair::started();
    let (a, b) = pair.opened("x");
    let now = pair.now;
    pair.ends[A].send_text(now, a, "hé").unwrap();
    pair.ends[A].send_text(now, a, "").unwrap();
    pair.ends[A].send_binary(now, a, vec![1, 2]).unwrap();
    pair.ends[A].send_binary(now, a, vec![]).unwrap();
    pair.ends[A].send_binary(now, a, vec![7; 262_144]).unwrap();
    pair.ends[B].send_text(now, b, "back").unwrap();
    pair.run(Duration::from_secs(2));
    let messages = [
        Message::Text("hé".into()),
        Message::Text(String::new()),
        Message::Binary(vec![1, 2]),
        Message::Binary(vec![]),
        Message::Binary(vec![7; 262_144]),
    ];
    let expected: Vec<Event> = messages
        .into_iter()
        .map(|message| Event::Message(b, message))
        .collect();
    let events: Vec<Event> = pair.take(B);
    let got: Vec<Event> = events
        .into_iter()
        .filter(|event| matches!(event, Event::Message(..)))
        .collect();
    assert_eq!(got, expected);
    assert!(
        pair.take(A)
            .contains(&Event::Message(a, Message::Text("back".into())))
    );
}

#[test]
fn ids_follow_the_dtls_role() {
    let mut pair = Pair::started();
    let a = [pair.open(A, "1"), pair.open(A, "2")];
    let b = [pair.open(B, "3"), pair.open(B, "4")];
    let id = |end: &Channels, id| end.info(id).unwrap().id.unwrap();
    assert_eq!(a.map(|channel| id(&pair.ends[A], channel)), [0, 2]);
    assert_eq!(b.map(|channel| id(&pair.ends[B], channel)), [1, 3]);
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.ends[A].iter().count(), 4);
    assert_eq!(pair.ends[B].iter().count(), 4);
}

#[test]
fn ids_are_known_as_soon_as_the_roles_are() {
    let mut pair = Pair::new();
    let [early, later] = [pair.open(A, "early"), pair.open(A, "later")];
    assert_eq!(pair.ends[A].info(early).unwrap().id, None);
    pair.ends[A].assign_ids(Role::Server);
    let ids = [early, later].map(|id| pair.ends[A].info(id).unwrap().id);
    assert_eq!(ids, [Some(1), Some(3)]);
    assert_eq!(
        pair.ends[A].ready_state(early),
        Some(ReadyState::Connecting)
    );
    let now = pair.now;
    pair.ends[A].start(now, Role::Server);
    pair.ends[B].start(now, Role::Client);
    pair.run(Duration::from_millis(500));
    assert_eq!(
        pair.take(A),
        [Event::Connected, Event::Open(early), Event::Open(later)]
    );
    assert_eq!(pair.ends[A].max_message_size(), Some(262_144));
    assert!(pair.ends[A].max_channels().is_some());
}

#[test]
fn negotiated_channels_need_no_announcement() {
    let mut pair = Pair::started();
    let init = ChannelInit {
        negotiated: true,
        id: Some(7),
        ..ChannelInit::default()
    };
    let a = pair.ends[A].open(init.clone()).unwrap();
    let b = pair.ends[B].open(init.clone()).unwrap();
    assert_eq!(pair.ends[A].open(init), Err(OpenError::IdInUse(7)));
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.take(A), [Event::Open(a)]);
    assert_eq!(pair.take(B), [Event::Open(b)]);
    pair.ends[A].send_text(pair.now, a, "hi").unwrap();
    pair.run(Duration::from_millis(100));
    assert_eq!(
        pair.take(B),
        [Event::Message(b, Message::Text("hi".into()))]
    );
}

#[test]
fn the_wishes_that_the_w3c_forbids_are_refused_by_its_names() {
    let mut channels = Channels::new(Config::default(), Random::new([0; 32]));
    let check = |channels: &mut Channels, init, name: &str| {
        assert_eq!(channels.open(init).unwrap_err().name(), name);
    };
    let long = "x".repeat(65_536);
    check(
        &mut channels,
        ChannelInit {
            label: long.clone(),
            ..ChannelInit::default()
        },
        "TypeError",
    );
    check(
        &mut channels,
        ChannelInit {
            protocol: long,
            ..ChannelInit::default()
        },
        "TypeError",
    );
    for (id, name) in [(None, "TypeError"), (Some(65_535), "TypeError")] {
        check(
            &mut channels,
            ChannelInit {
                negotiated: true,
                id,
                ..ChannelInit::default()
            },
            name,
        );
    }
    channels.abort();
    while channels.poll_event().is_some() {}
    check(&mut channels, ChannelInit::default(), "InvalidStateError");
}

#[test]
fn closing_delivers_what_is_buffered_and_frees_the_id_on_both_sides() {
    let mut pair = Pair::started();
    for round in 0..5 {
        let (a, b) = pair.opened("again");
        assert_eq!(pair.ends[A].info(a).unwrap().id, Some(0), "round {round}");
        let now = pair.now;
        pair.ends[A].send_binary(now, a, vec![1; 200_000]).unwrap();
        let closer = if round % 2 == 0 { A } else { B };
        pair.ends[closer].close([a, b][closer]);
        assert_eq!(
            pair.ends[closer].ready_state([a, b][closer]),
            Some(ReadyState::Closing)
        );
        pair.run(Duration::from_secs(3));
        let events = pair.take(B);
        if closer == A {
            let message = Event::Message(b, Message::Binary(vec![1; 200_000]));
            assert!(events.contains(&message));
        }
        assert_eq!(events.last(), Some(&Event::Closed(b, CloseCause::Closed)));
        assert_eq!(
            pair.take(A).last(),
            Some(&Event::Closed(a, CloseCause::Closed))
        );
    }
    assert_eq!(pair.ends[A].iter().count(), 0);
}

#[test]
fn both_sides_may_close_at_once() {
    let mut pair = Pair::started();
    let (a, b) = pair.opened("x");
    pair.ends[A].close(a);
    pair.ends[B].close(b);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.take(A), [Event::Closed(a, CloseCause::Closed)]);
    assert_eq!(pair.take(B), [Event::Closed(b, CloseCause::Closed)]);
}

#[test]
fn a_full_buffer_refuses_and_reports_when_it_is_low() {
    let mut pair = Pair::started();
    let (a, _) = pair.opened("x");
    let now = pair.now;
    let mut sent = 0usize;
    loop {
        match pair.ends[A].send_binary(now, a, vec![0; 262_144]) {
            Ok(()) => sent += 262_144,
            Err(error) => {
                assert_eq!(error, SendError::WouldBlock);
                assert_eq!(error.name(), "OperationError");
                break;
            }
        }
    }
    assert_eq!(sent, 16 << 20);
    assert_eq!(pair.ends[A].buffered_amount(a), sent);
    pair.ends[A].set_buffered_amount_low_threshold(a, 1 << 20);
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.take(A), [Event::BufferedAmountLow(a)]);
    assert_eq!(pair.ends[A].buffered_amount(a), 0);
    assert_eq!(
        pair.ends[A].send_binary(pair.now, a, vec![0; 262_145]),
        Err(SendError::TooLarge {
            len: 262_145,
            max: 262_144
        })
    );
}

#[test]
fn the_end_of_the_association_closes_every_channel() {
    let mut pair = Pair::started();
    let (a, b) = pair.opened("x");
    pair.ends[A].abort();
    pair.run(Duration::from_secs(1));
    let aborted = CloseReason::Aborted;
    assert_eq!(
        pair.take(A),
        [
            Event::Closed(a, CloseCause::Ended(aborted)),
            Event::Ended(aborted)
        ]
    );
    let by_peer = CloseReason::AbortedByPeer(12);
    assert_eq!(
        pair.take(B),
        [
            Event::Closed(b, CloseCause::Ended(by_peer)),
            Event::Ended(by_peer)
        ]
    );
}

/// Two ends of which one is a bare association, to send what no channel would.
fn with_bare_peer() -> (Channels, Association, Instant) {
    let now = start();
    let mut channels = Channels::new(Config::default(), Random::new([1; 32]));
    let mut peer = Association::new(Config::default(), Random::new([2; 32]));
    channels.start(now, Role::Server);
    peer.connect(now);
    pass(&mut channels, &mut peer, now);
    assert_eq!(channels.poll_event(), Some(Event::Connected));
    (channels, peer, now)
}

fn pass(channels: &mut Channels, peer: &mut Association, now: Instant) {
    let mut packet = Vec::new();
    let mut moved = true;
    while moved {
        moved = false;
        while channels.poll_transmit(now, &mut packet) {
            peer.handle_packet(now, &std::mem::take(&mut packet));
            moved = true;
        }
        while peer.poll_transmit(now, &mut packet) {
            channels.handle_packet(now, &std::mem::take(&mut packet));
            moved = true;
        }
    }
}

fn send(peer: &mut Association, now: Instant, stream: u16, ppid: Ppid, payload: Vec<u8>) {
    peer.send(now, StreamId(stream), ppid, SendOptions::default(), payload)
        .unwrap();
}

fn open_message(label: &str) -> Vec<u8> {
    let mut message = Vec::new();
    dcep::Message::Open(dcep::Open {
        is_ordered: true,
        reliability: dcep::Reliability::Reliable,
        priority: 256,
        label,
        protocol: "",
    })
    .write(&mut message);
    message
}

#[test]
fn an_ack_that_data_has_overtaken_is_expected_once() {
    let (mut channels, mut peer, now) = with_bare_peer();
    let id = channels.open(ChannelInit::default()).unwrap();
    pass(&mut channels, &mut peer, now);
    let stream = channels.info(id).and_then(|info| info.id).unwrap();
    let mut ack = Vec::new();
    dcep::Message::Ack.write(&mut ack);
    send(&mut peer, now, stream, Ppid::BINARY, vec![1]);
    send(&mut peer, now, stream, Ppid::DCEP, ack.clone());
    send(&mut peer, now, stream, Ppid::DCEP, ack);
    pass(&mut channels, &mut peer, now);
    let events: Vec<Event> = std::iter::from_fn(|| channels.poll_event()).collect();
    let message = Event::Message(id, Message::Binary(vec![1]));
    assert_eq!(events, [Event::Open(id), message]);
    // The second one.
    assert_eq!(channels.counters().get("channel.unexpected_ack"), 1);
}

#[test]
fn what_the_peer_sends_against_the_rules_is_counted() {
    let (mut channels, mut peer, now) = with_bare_peer();
    send(&mut peer, now, 0, Ppid::BINARY, vec![1]);
    send(&mut peer, now, 2, Ppid::DCEP, vec![9, 9]);
    send(&mut peer, now, 4, Ppid::DCEP, vec![2]);
    send(&mut peer, now, 1, Ppid::DCEP, open_message("ours"));
    send(&mut peer, now, 6, Ppid::DCEP, open_message("good"));
    send(&mut peer, now, 6, Ppid::DCEP, open_message("twice"));
    send(&mut peer, now, 6, Ppid(99), vec![1]);
    send(&mut peer, now, 6, Ppid::STRING, vec![b'a', 0xff]);
    pass(&mut channels, &mut peer, now);
    let events: Vec<Event> = std::iter::from_fn(|| channels.poll_event()).collect();
    let [
        Event::Announced(id),
        Event::Message(with, Message::Text(text)),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((id, text.as_str()), (with, "a\u{fffd}"));
    let counters = channels.counters();
    for reason in [
        "channel.message_without_channel",
        "channel.bad_dcep",
        "channel.unexpected_ack",
        "channel.open_of_our_parity",
        "channel.open_of_used_stream",
        "channel.unknown_ppid",
        "channel.text_not_utf8",
    ] {
        assert_eq!(counters.get(reason), 1, "{reason}");
    }
}

#[test]
fn announced_channels_and_their_labels_have_a_bound() {
    let (mut channels, mut peer, now) = with_bare_peer();
    for stream in (0..2100).step_by(2) {
        send(&mut peer, now, stream, Ppid::DCEP, open_message("x"));
        pass(&mut channels, &mut peer, now);
        while channels.poll_event().is_some() {}
    }
    assert_eq!(channels.iter().count(), 1024);
    assert_eq!(channels.counters().get("channel.too_many_channels"), 26);

    let (mut channels, mut peer, now) = with_bare_peer();
    let label = "x".repeat(60_000);
    for stream in (0..40).step_by(2) {
        send(&mut peer, now, stream, Ppid::DCEP, open_message(&label));
        pass(&mut channels, &mut peer, now);
        while channels.poll_event().is_some() {}
    }
    assert_eq!(channels.iter().count(), (1 << 20) / 60_000);
    assert_eq!(channels.counters().get("channel.labels_too_long"), 3);
}
