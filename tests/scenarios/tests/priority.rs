//! Datagrams are marked for routers by the priority of what they carry (RFC 8837).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use twocan_proto::channel::{self, ChannelInit, ReadyState};
use twocan_proto::ice::RelayProtocol;
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::{EncodingParameters, Priority, TransceiverInit};
use twocan_proto::rtp::{FrameTimes, OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Carried, Setting};
use twocan_sim::NatConfig;
use twocan_wire::sdp::Direction;

/// What was sent by the caller, as kind and codepoint.
type Seen = BTreeMap<(&'static str, u8), u64>;

/// The same as its node counts it.
type Sent = BTreeMap<(Carried, u8), u64>;

fn sent(call: &Call) -> Sent {
    call.world.node(call.hosts[0]).sent.clone()
}

fn sender(kind: Kind, encoding: EncodingParameters) -> (Kind, TransceiverInit) {
    let init = TransceiverInit {
        direction: Direction::SendOnly,
        streams: vec!["camera".to_owned()],
        send_encodings: vec![encoding],
    };
    (kind, init)
}

fn with_priority(priority: Priority) -> EncodingParameters {
    EncodingParameters {
        priority,
        ..EncodingParameters::default()
    }
}

fn connected(
    setting: &Setting,
    senders: [(Kind, TransceiverInit); 2],
    data: channel::Priority,
) -> (Call, [TransceiverId; 2], Sent) {
    let mut call = Call::new(3, setting);
    let ids = senders.map(|(kind, init)| {
        call.with(0, |peer, _| peer.add_transceiver_with(kind, &init))
            .unwrap()
    });
    let init = ChannelInit {
        label: "chat".to_owned(),
        priority: data,
        ..ChannelInit::default()
    };
    let channel = call
        .with(0, |peer, _| peer.create_data_channel(init))
        .unwrap();
    call.offer(0);
    let is_open = |call: &Call| {
        call.is_connected() && call.peer(0).channel_state(channel) == Some(ReadyState::Open)
    };
    assert!(
        call.run_until(Duration::from_secs(10), is_open),
        "{}",
        call.explain()
    );
    let before = sent(&call);
    for number in 0..50 {
        send(&mut call, ids[0], "opus", number);
        send(&mut call, ids[1], "VP8", number);
        call.with(0, |peer, now| peer.send_text(now, channel, "word"))
            .unwrap();
        call.run_for(Duration::from_millis(20));
    }
    (call, ids, before)
}

fn send(call: &mut Call, id: TransceiverId, codec: &str, number: u32) {
    let agreed = call.peer(0).negotiated(id).unwrap();
    let payload_type = agreed.codec(codec).unwrap().payload_type_send;
    // A key frame of VP8, 16 by 16.
    let mut data = vec![0x10, 2, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0];
    data.resize(2500, number as u8);
    let is_picture = codec == "VP8";
    let frame = OutgoingFrame {
        rid: None,
        payload_type,
        timestamp: number * if is_picture { 1800 } else { 960 },
        marker: false,
        data: if is_picture { &data } else { &data[..60] },
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: FrameTimes::default(),
        contributing: &[],
    };
    call.with(0, |peer, now| peer.send_frame(now, id, &frame))
        .unwrap();
}

/// What was sent since.
fn seen(call: &Call, ids: [TransceiverId; 2], before: &Sent) -> Seen {
    let sources = ids.map(|id| {
        let mid = call.peer(0).mid(id).unwrap();
        let stats = call.peer(0).outbound_stats();
        let own = stats.iter().find(|own| own.mid.as_str() == mid);
        own.unwrap().ssrc
    });
    let mut seen = Seen::new();
    for ((carried, dscp), count) in sent(call) {
        let count = count - before.get(&(carried, dscp)).copied().unwrap_or_default();
        if count == 0 {
            continue;
        }
        let kind = match carried {
            Carried::Rtp(source) if source == sources[0] => "sound",
            Carried::Rtp(_) => "picture",
            Carried::Rtcp => "report",
            Carried::Dtls => "data",
            Carried::Stun => "check",
            Carried::Other => "other",
        };
        *seen.entry((kind, dscp)).or_default() += count;
    }
    seen
}

/// The codepoints of each kind.
fn codepoints(seen: &Seen, kind: &str) -> Vec<u8> {
    let own = seen.keys().filter(|(own, _)| *own == kind);
    own.map(|(_, dscp)| *dscp).collect()
}

#[test]
fn each_kind_is_marked_by_its_priority_where_that_is_asked_for() {
    use Priority as P;
    use channel::Priority as D;
    let rows = [
        (P::VeryLow, P::VeryLow, D::VeryLow, [1, 1, 1, 1]),
        (P::Low, P::Low, D::Low, [0, 0, 0, 0]),
        (P::Medium, P::Medium, D::Medium, [46, 36, 10, 46]),
        (P::High, P::High, D::High, [46, 34, 18, 46]),
        // Reports go as the most important stream, data by itself.
        (P::Low, P::High, D::Low, [0, 34, 0, 34]),
        (P::Medium, P::VeryLow, D::Other(700), [46, 1, 10, 46]),
    ];
    for (audio, video, data, [sound, picture, word, report]) in rows {
        for is_asked_for in [true, false] {
            let setting = Setting {
                adjust: match is_asked_for {
                    true => |config| config.dscp = true,
                    false => |_| {},
                },
                ..Setting::default()
            };
            let senders = [
                sender(Kind::Audio, with_priority(audio)),
                sender(Kind::Video, with_priority(video)),
            ];
            let (call, ids, before) = connected(&setting, senders, data);
            let seen = seen(&call, ids, &before);
            let expected = |dscp: u8| vec![if is_asked_for { dscp } else { 0 }];
            let name = format!("{audio:?} {video:?} {data:?} {is_asked_for}: {seen:?}");
            assert_eq!(codepoints(&seen, "sound"), expected(sound), "{name}");
            assert_eq!(codepoints(&seen, "picture"), expected(picture), "{name}");
            assert_eq!(codepoints(&seen, "data"), expected(word), "{name}");
            assert_eq!(codepoints(&seen, "report"), expected(report), "{name}");
            assert!(
                codepoints(&seen, "check").iter().all(|dscp| *dscp == 0),
                "{name}"
            );
            assert!(seen[&("sound", expected(sound)[0])] >= 50, "{name}");
            assert!(seen[&("picture", expected(picture)[0])] >= 100, "{name}");
            let arrived = call.peer(1).inbound_stats();
            assert!(arrived.iter().all(|own| own.packets_lost <= 0), "{name}");
        }
    }
}

#[test]
fn what_is_set_for_the_network_counts_before_the_priority_and_can_change() {
    let setting = Setting {
        adjust: |config| config.dscp = true,
        ..Setting::default()
    };
    let encoding = EncodingParameters {
        network_priority: Some(Priority::High),
        ..with_priority(Priority::VeryLow)
    };
    let senders = [
        sender(Kind::Audio, with_priority(Priority::Low)),
        sender(Kind::Video, encoding),
    ];
    let (mut call, ids, before) = connected(&setting, senders, channel::Priority::Low);
    assert_eq!(codepoints(&seen(&call, ids, &before), "picture"), [34]);
    call.with(0, |peer, _| {
        let mut parameters = peer.parameters(ids[1]).unwrap();
        parameters.encodings[0].network_priority = Some(Priority::Medium);
        peer.set_parameters(ids[1], &parameters)
    })
    .unwrap();
    let before = sent(&call);
    for number in 50..60 {
        send(&mut call, ids[1], "VP8", number);
        call.run_for(Duration::from_millis(20));
    }
    let seen = seen(&call, ids, &before);
    assert_eq!(codepoints(&seen, "picture"), [36], "{seen:?}");
}

#[test]
fn what_goes_over_a_relay_is_marked_on_its_way_to_it() {
    let setting = Setting {
        nats: [Some(NatConfig::SYMMETRIC), Some(NatConfig::SYMMETRIC)],
        stun: true,
        turn: &[RelayProtocol::Udp],
        adjust: |config| {
            config.dscp = true;
            config.ice_transport_policy = twocan_proto::peer::IceTransportPolicy::Relay;
        },
        ..Setting::default()
    };
    let senders = [
        sender(Kind::Audio, with_priority(Priority::High)),
        sender(Kind::Video, with_priority(Priority::High)),
    ];
    let (call, ids, before) = connected(&setting, senders, channel::Priority::High);
    let seen = seen(&call, ids, &before);
    // Channel data of TURN, some of which are checks.
    let mut marked = codepoints(&seen, "other");
    marked.retain(|dscp| *dscp != 0);
    assert_eq!(marked, [18, 34, 46], "{seen:?}");
}
