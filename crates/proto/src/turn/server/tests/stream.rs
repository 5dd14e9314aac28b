use super::*;
use crate::turn::server::{Quotas, STREAM_FRAME_LEN_MAX, StreamId};

const STREAM: StreamId = StreamId(5);

fn path() -> Path {
    Path {
        socket: SocketId(1),
        local: address("198.51.100.1:3478"),
    }
}

fn connect(lab: &mut Lab, stream: StreamId, from: &str) {
    lab.server
        .handle_stream_connected(lab.now, stream, path(), address(from));
    lab.drain();
}

fn say(lab: &mut Lab, stream: StreamId, bytes: &[u8]) -> Vec<u8> {
    lab.events.clear();
    lab.server.handle_stream_bytes(lab.now, stream, bytes);
    lab.drain();
    let mut out = Vec::new();
    for event in &lab.events {
        match event {
            Event::Send { bytes, .. } => out.extend_from_slice(bytes),
            Event::Disconnect { .. } => out.extend_from_slice(b"disconnected"),
            _ => {}
        }
    }
    out
}

/// Allocates on a stream, its bytes cut into pieces of `piece`.
fn allocate(lab: &mut Lab, stream: StreamId, from: &str, piece: usize) -> (Client, SocketAddr) {
    let mut ann = Client::ann(from);
    let id = lab.id();
    let challenge = say(lab, stream, &plain(Method::ALLOCATE, id, &[UDP]));
    ann.nonce = nonce_of(&challenge);
    let request = ann.signed(Method::ALLOCATE, id, &[UDP]);
    let mut answer = Vec::new();
    for part in request.chunks(piece) {
        answer.extend(say(lab, stream, part));
    }
    let relayed = Message::parse(&answer).unwrap().relayed_address().unwrap();
    (ann, relayed)
}

#[test]
fn a_stream_in_any_pieces_is_a_client_like_others() {
    for piece in [1, 3, 7, 20, 1000] {
        let mut lab = Lab::new(config());
        connect(&mut lab, STREAM, "192.0.2.1:5000");
        let (ann, of_ann) = allocate(&mut lab, STREAM, "192.0.2.1:5000", piece);
        let mut bob = Client::bob("192.0.2.2:6000");
        let of_bob = bob.allocate(&mut lab);
        assert_eq!(bob.permit(&mut lab, of_ann), None);
        let number = ChannelNumber::MIN;
        let bind = [
            Attribute::ChannelNumber(number),
            Attribute::XorPeerAddress(of_bob),
        ];
        let id = lab.id();
        let answer = say(
            &mut lab,
            STREAM,
            &ann.signed(Method::CHANNEL_BIND, id, &bind),
        );
        assert_eq!(Message::parse(&answer).unwrap().class, Class::Success);
        // Two frames, the first of which is padded.
        let frames = [
            0x40, 0, 0, 1, b'a', 0, 0, 0, 0x40, 0, 0, 2, b'b', b'c', 0, 0,
        ];
        lab.sent.clear();
        for part in frames.chunks(piece) {
            say(&mut lab, STREAM, part);
        }
        let arrived: Vec<_> = lab
            .sent
            .iter()
            .map(|(_, _, sent)| data_indication(sent))
            .collect();
        assert_eq!(arrived, [(of_ann, b"a".to_vec()), (of_ann, b"bc".to_vec())]);
        lab.events.clear();
        lab.datagram(0, bob.at, &send_indication(of_ann, b"xyz"));
        let bytes = vec![0x40, 0, 0, 3, b'x', b'y', b'z', 0];
        let sent = Event::Send {
            stream: STREAM,
            bytes,
        };
        assert_eq!(lab.events, [sent]);
        // What is too long for a request is not for data.
        let long = [&[0x40, 0, 8, 4][..], &[7; 0x804]].concat();
        lab.sent.clear();
        assert_eq!(say(&mut lab, STREAM, &long), b"");
        assert_eq!(data_indication(&lab.sent[0].2), (of_ann, vec![7; 0x804]));
        // With the stream the allocation is gone.
        lab.server.handle_stream_closed(lab.now, STREAM);
        assert_eq!(
            (lab.server.allocation_count(), lab.server.stream_count()),
            (1, 0)
        );
    }
}

#[test]
fn what_is_neither_stun_nor_a_channel_ends_the_stream() {
    let too_long = (STREAM_FRAME_LEN_MAX as u16).to_be_bytes();
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x80, 0, 0, 0],
        vec![0, 1, 0, 3],
        vec![0, 1, too_long[0], too_long[1]],
        // Longer than a request before there is an allocation.
        vec![0x40, 0, 8, 0, 0],
    ] {
        for piece in [1, 100] {
            let mut lab = Lab::new(config());
            connect(&mut lab, STREAM, "192.0.2.1:5000");
            let mut said = Vec::new();
            for part in bytes.chunks(piece) {
                said.extend(say(&mut lab, STREAM, part));
            }
            assert_eq!(said, b"disconnected", "{bytes:?}");
            assert_eq!(lab.server.stream_count(), 0);
        }
    }
}

#[test]
fn who_allocates_nothing_or_never_ends_a_message_is_let_go() {
    let mut lab = Lab::new(config());
    connect(&mut lab, STREAM, "192.0.2.1:5000");
    connect(&mut lab, StreamId(6), "192.0.2.1:5001");
    connect(&mut lab, StreamId(7), "192.0.2.1:5002");
    allocate(&mut lab, StreamId(6), "192.0.2.1:5001", 100);
    allocate(&mut lab, StreamId(7), "192.0.2.1:5002", 100);
    lab.wait(20);
    say(&mut lab, StreamId(7), &[0x40]);
    lab.wait(9);
    assert_eq!(lab.server.stream_count(), 3);
    lab.wait(1);
    assert_eq!(lab.server.stream_count(), 2);
    // A byte now and then does not keep a message open.
    say(&mut lab, StreamId(7), &[0]);
    lab.wait(29);
    lab.wait(1);
    assert_eq!(lab.server.stream_count(), 1);
    lab.wait(500);
    assert_eq!(lab.server.stream_count(), 1);
    assert_eq!(lab.server.allocation_count(), 1);
    lab.wait(100);
    assert_eq!(lab.server.allocation_count(), 0);
    lab.wait(60);
    assert_eq!(lab.server.stream_count(), 0);
}

#[test]
fn streams_are_limited_by_address_and_in_all() {
    let quotas = Quotas {
        streams: 3,
        streams_per_address: 2,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    for (id, ip) in [
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
    ]
    .into_iter()
    .enumerate()
    {
        connect(&mut lab, StreamId(id as u64), &format!("{ip}:{id}"));
    }
    let refused: Vec<u64> = lab
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Disconnect { stream } => Some(stream.0),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [2, 4]);
    assert_eq!(lab.server.stream_count(), 3);
}

#[test]
fn a_busy_stream_is_not_idle_wherever_its_segments_end() {
    let mut lab = Lab::new(config());
    connect(&mut lab, STREAM, "192.0.2.1:5000");
    allocate(&mut lab, STREAM, "192.0.2.1:5000", 100);
    let frame = [0x40, 0, 0, 4, 1, 2, 3, 4];
    // Half of a message is there whenever somebody looks, of another one each time.
    say(&mut lab, STREAM, &frame[..4]);
    for _ in 0..20 {
        lab.wait(5);
        let segment = [&frame[4..], &frame[..4]].concat();
        assert_eq!(say(&mut lab, STREAM, &segment), b"");
    }
    say(&mut lab, STREAM, &frame[4..]);
    // Quiet for long, then half a message: it has its time.
    lab.wait(29);
    lab.wait(29);
    say(&mut lab, STREAM, &frame[..4]);
    lab.wait(29);
    assert_eq!(lab.server.stream_count(), 1);
    lab.wait(29);
    lab.wait(29);
    assert_eq!(lab.server.stream_count(), 0);
}

#[test]
fn who_only_connects_takes_no_place_of_those_who_allocate() {
    let quotas = Quotas {
        unproven_streams: 3,
        unproven_streams_per_address: 2,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let open = |lab: &mut Lab, id: u64, ip: &str| {
        let before = lab.server.stream_count();
        connect(lab, StreamId(id), &format!("{ip}:{id}"));
        lab.server.stream_count() > before
    };
    assert!(open(&mut lab, 1, "192.0.2.1"));
    assert!(open(&mut lab, 2, "192.0.2.1"));
    assert!(!open(&mut lab, 3, "192.0.2.1"), "two of an address");
    allocate(&mut lab, StreamId(2), "192.0.2.1:2", 100);
    assert!(open(&mut lab, 4, "192.0.2.1"), "one of them allocated");
    assert!(!open(&mut lab, 5, "192.0.2.1"));
    assert!(open(&mut lab, 6, "192.0.2.2"));
    assert!(!open(&mut lab, 7, "192.0.2.3"), "three in all");
    lab.server.handle_stream_closed(lab.now, StreamId(4));
    assert!(open(&mut lab, 8, "192.0.2.3"));
    // The one that allocated gives back no place that it did not hold.
    lab.server.handle_stream_closed(lab.now, StreamId(2));
    assert!(!open(&mut lab, 9, "192.0.2.3"));
    lab.wait(30);
    assert_eq!(lab.server.stream_count(), 0);
    assert!(open(&mut lab, 10, "192.0.2.3"));
}
