//! Data channels, in both directions.

use std::collections::BTreeMap;
use std::time::Duration;

use str0m::Event as TheirEvent;
use str0m::channel::{ChannelConfig, ChannelId as TheirId, Reliability as TheirReliability};
use twocan_proto::channel::{
    ChannelId, ChannelInit, CloseCause, Event, Message, ReadyState, Reliability,
};

use crate::call::{Call, Setting};
use crate::{BAD_LINK, bad_link};
use twocan_sim::seeds;

const LONG: Duration = Duration::from_secs(60);

const LENGTHS: [usize; 9] = [1, 2, 100, 1150, 1200, 5000, 16_384, 65_535, 65_536];

/// A message of a length, text or not.
fn message(len: usize, binary: bool) -> Vec<u8> {
    (0..len)
        .map(|at| {
            let byte = (at.wrapping_mul(31) ^ (at >> 7) ^ len) as u8;
            if binary { byte } else { b'a' + byte % 26 }
        })
        .collect()
}

fn ours(len: usize, binary: bool) -> Message {
    let bytes = message(len, binary);
    if binary {
        Message::Binary(bytes)
    } else {
        Message::Text(String::from_utf8(bytes).unwrap())
    }
}

/// Two channels that each side has made, by label.
struct Channels {
    ours: BTreeMap<String, ChannelId>,
    theirs: BTreeMap<String, TheirId>,
}

/// Both sides make an ordered and an unordered channel; each learns of the other's by DCEP.
fn channels(call: &mut Call) -> Channels {
    let mut ours = BTreeMap::new();
    for ordered in [true, false] {
        let init = ChannelInit {
            label: format!("our {ordered}"),
            protocol: "echo".into(),
            ordered,
            ..ChannelInit::default()
        };
        let id = call.us(|peer, _| peer.create_data_channel(init)).unwrap();
        ours.insert(format!("our {ordered}"), id);
    }
    let config = |ordered: bool| ChannelConfig {
        label: format!("their {ordered}"),
        protocol: "echo".into(),
        ordered,
        reliability: TheirReliability::Reliable,
        negotiated: None,
    };
    call.offer(|api| {
        api.add_channel_with_config(config(true));
    });
    call.connect();
    // Whoever did not offer adds its channels now; these need no negotiation.
    for ordered in [true, false] {
        let label = format!("their {ordered}");
        let known = call
            .their_events
            .iter()
            .any(|event| matches!(event, TheirEvent::ChannelOpen(_, open) if *open == label));
        let offered = call.setting().offerer == crate::Offerer::Them && ordered;
        if !known && !offered {
            call.them(|rtc, _| rtc.direct_api().create_data_channel(config(ordered)));
        }
    }
    let mut theirs = BTreeMap::new();
    let open = call.run_until(LONG, |call| {
        for event in call.their_events.drain(..) {
            if let TheirEvent::ChannelOpen(id, label) = event {
                theirs.insert(label, id);
            }
        }
        for event in std::mem::take(&mut call.our_channel_events) {
            if let Event::Announced(id) = event {
                let info = call.peer().channel_info(id).unwrap().clone();
                assert_eq!(info.protocol, "echo");
                assert_eq!(info.ordered, info.label.ends_with("true"));
                assert_eq!(info.reliability, Reliability::Reliable);
                ours.insert(info.label, id);
            }
        }
        let is_open = |id: &ChannelId| call.peer().channel_state(*id) == Some(ReadyState::Open);
        theirs.len() == 4 && ours.len() == 4 && ours.values().all(is_open)
    });
    assert!(open, "{ours:?} {theirs:?}: {}", call.explain());
    Channels { ours, theirs }
}

/// Sends on every channel, from us, and they send all of it back.
fn echo_by_them(call: &mut Call, channels: &Channels) {
    let messages: Vec<(usize, bool)> = LENGTHS
        .into_iter()
        .flat_map(|len| [(len, true), (len, false)])
        .collect();
    for id in channels.ours.values() {
        for (len, binary) in &messages {
            match ours(*len, *binary) {
                Message::Binary(bytes) => call.us(|peer, now| peer.send_binary(now, *id, bytes)),
                Message::Text(text) => call.us(|peer, now| peer.send_text(now, *id, text)),
            }
            .unwrap();
        }
    }
    let mut back: BTreeMap<ChannelId, Vec<Message>> = BTreeMap::new();
    let done = call.run_until(LONG, |call| {
        for event in std::mem::take(&mut call.their_events) {
            if let TheirEvent::ChannelData(data) = event {
                let written = call.them(|rtc, _| {
                    let mut channel = rtc.channel(data.id).unwrap();
                    channel.write(data.binary, &data.data).unwrap()
                });
                assert!(written, "their buffer is full");
            }
        }
        for event in call.our_channel_events.drain(..) {
            if let Event::Message(id, message) = event {
                back.entry(id).or_default().push(message);
            }
        }
        back.values().map(Vec::len).sum::<usize>() == 4 * messages.len()
    });
    assert!(done, "{:?}", call.explain());
    for (label, id) in &channels.ours {
        let mut expected: Vec<_> = messages
            .iter()
            .map(|(len, text)| ours(*len, *text))
            .collect();
        let mut got = back.remove(id).unwrap();
        if label.ends_with("false") {
            let key = |message: &Message| match message {
                Message::Text(text) => (true, text.as_bytes().to_vec()),
                Message::Binary(bytes) => (false, bytes.clone()),
            };
            expected.sort_by_cached_key(key);
            got.sort_by_cached_key(key);
        }
        assert!(got == expected, "{label}: {}", call.explain());
    }
}

/// As [`echo_by_them`], from them.
fn echo_by_us(call: &mut Call, channels: &Channels) {
    let messages: Vec<(usize, bool)> = LENGTHS
        .into_iter()
        .flat_map(|len| [(len, true), (len, false)])
        .collect();
    for id in channels.theirs.values() {
        for (len, binary) in &messages {
            let bytes = message(*len, *binary);
            let written =
                call.them(|rtc, _| rtc.channel(*id).unwrap().write(*binary, &bytes).unwrap());
            assert!(written, "their buffer is full");
        }
    }
    let mut back: BTreeMap<usize, Vec<(bool, Vec<u8>)>> = BTreeMap::new();
    let ids: Vec<TheirId> = channels.theirs.values().copied().collect();
    let done = call.run_until(LONG, |call| {
        for event in std::mem::take(&mut call.our_channel_events) {
            if let Event::Message(id, message) = event {
                match message {
                    Message::Binary(bytes) => call.us(|peer, now| peer.send_binary(now, id, bytes)),
                    Message::Text(text) => call.us(|peer, now| peer.send_text(now, id, text)),
                }
                .unwrap();
            }
        }
        for event in call.their_events.drain(..) {
            if let TheirEvent::ChannelData(data) = event {
                let at = ids.iter().position(|id| *id == data.id).unwrap();
                back.entry(at).or_default().push((data.binary, data.data));
            }
        }
        back.values().map(Vec::len).sum::<usize>() == 4 * messages.len()
    });
    assert!(done, "{:?}", call.explain());
    for (at, label) in channels.theirs.keys().enumerate() {
        let mut expected: Vec<_> = messages
            .iter()
            .map(|(len, binary)| (*binary, message(*len, *binary)))
            .collect();
        let mut got = back.remove(&at).unwrap();
        if label.ends_with("false") {
            expected.sort();
            got.sort();
        }
        assert!(got == expected, "{label}: {}", call.explain());
    }
}

/// We close ours, they close theirs; each is told.
fn close(call: &mut Call, channels: &Channels) {
    for label in ["our true", "our false"] {
        let id = channels.ours[label];
        call.us(|peer, _| peer.close_data_channel(id));
    }
    for label in ["their true", "their false"] {
        let id = channels.theirs[label];
        call.them(|rtc, _| rtc.direct_api().close_data_channel(id));
    }
    let mut ours = 0;
    let mut theirs = Vec::new();
    let closed = call.run_until(LONG, |call| {
        for event in call.our_channel_events.drain(..) {
            match event {
                Event::Closed(_, CloseCause::Closed) => ours += 1,
                Event::Closing(_) => {}
                event => panic!("{event:?}"),
            }
        }
        for event in call.their_events.drain(..) {
            if let TheirEvent::ChannelClose(id) = event {
                theirs.push(id);
            }
        }
        ours == 4 && theirs.len() >= 2
    });
    assert!(closed, "{ours} and {theirs:?}: {}", call.explain());
    for label in ["our true", "our false"] {
        assert!(theirs.contains(&channels.theirs[label]), "{label}");
    }
}

#[test]
fn channels_of_both_carry_every_length_and_close() {
    for seed in seeds() {
        // In turn, so that twelve seeds have seen every combination.
        let all: Vec<_> = Setting::all(seed, bad_link()).collect();
        let mut call = Call::new(all[seed as usize % all.len()]);
        let channels = channels(&mut call);
        echo_by_them(&mut call, &channels);
        echo_by_us(&mut call, &channels);
        close(&mut call, &channels);
        call.check_counters(BAD_LINK);
    }
}

#[test]
fn a_restart_of_ice_by_either_keeps_the_channels() {
    for seed in seeds() {
        let all: Vec<_> = Setting::all(seed, bad_link()).collect();
        let mut call = Call::new(all[seed as usize % all.len()]);
        let channels = channels(&mut call);
        for by_us in [true, false, true] {
            let credentials = |call: &Call| {
                let description = call.peer().local_description().unwrap().sdp;
                let line = description
                    .lines()
                    .find(|line| line.starts_with("a=ice-ufrag:"));
                line.unwrap().to_owned()
            };
            let before = credentials(&call);
            if by_us {
                call.us(|peer, _| peer.restart_ice());
                call.offer_from_us();
            } else {
                call.offer_from_them(|api| {
                    api.ice_restart(true);
                });
            }
            call.run_for(Duration::from_secs(5));
            assert_ne!(credentials(&call), before, "{}", call.explain());
            call.connect();
            echo_by_them(&mut call, &channels);
        }
        call.check_counters(BAD_LINK);
    }
}
