//! Joining a room by one offer, with the signaling on a data channel of that connection.

use std::time::Duration;

use twocan_room::{Allowed, MediaPermissions};
use twocan_scenarios::conference::Conference;
use twocan_sim::LinkConfig;
use twocan_wire::units::Bitrate;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

const SEEDS: u64 = 3;

fn few_seeds() -> Vec<u64> {
    match std::env::var_os("TWOCAN_SEED") {
        Some(_) => twocan_scenarios::seeds(),
        None => (1..=SEEDS).collect(),
    }
}

fn link() -> LinkConfig {
    LinkConfig {
        delay: MS(10),
        ..LinkConfig::default()
    }
}

fn sees_and_hears(room: &Conference, viewer: usize, from: usize) -> bool {
    !room.pictures(viewer, from).is_empty() && !room.sounds(viewer, from).is_empty()
}

fn count(room: &Conference, name: &str) -> u64 {
    let counters = room.forwarder().counters();
    let mut all = counters.iter();
    all.find(|(own, _)| *own == name)
        .map_or(0, |(_, count)| count)
}

/// Somebody who says something to it over its channel, as the hall does.
fn tell(room: &mut Conference, index: usize, text: &str) {
    let name = room.attendees[index].name.clone();
    room.server(|server, now| server.say(now, &name, text.to_owned()));
}

#[test]
fn who_joins_by_an_offer_sees_those_who_are_there_and_those_who_come() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        let bob = room.join_by_offer(link(), true, true);
        let seen = room.run_until(S(5), |room| {
            sees_and_hears(room, bob, 0) && sees_and_hears(room, 0, bob)
        });
        assert!(seen, "seed {seed}: {}", room.explain());
        // It has one line for pictures: for another one the server offers it over the channel.
        let eve = room.join(link(), None, true);
        let dan = room.join_by_offer(link(), true, true);
        let all = [0, bob, eve, dan];
        let seen = room.run_until(S(8), |room| {
            all.iter().all(|viewer| {
                let mut others = all.iter().filter(|other| *other != viewer);
                others.all(|other| sees_and_hears(room, *viewer, *other))
            })
        });
        assert!(seen, "seed {seed}: {}", room.explain());
        assert!(
            room.attendees.iter().all(|own| own.errors.is_empty()),
            "seed {seed}"
        );
        // What the client wants is said over the channel as well.
        let before = room.pictures(bob, eve).len();
        let data =
            serde_json::json!({"tracks": [{"stream": format!("picture-{eve}"), "max_height": 0}]});
        room.say(bob, "subscribe", &data);
        room.run_for(S(2));
        let since = room.pictures(bob, eve).len() - before;
        assert!(
            since < 30,
            "seed {seed}: {since} pictures that it did not want"
        );
    }
}

#[test]
fn who_opens_no_channel_leaves() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let ada = room.join(link(), None, true);
        let bob = room.join_by_offer(link(), true, false);
        assert!(room.run_until(S(5), |room| sees_and_hears(room, ada, bob)));
        let left = MS(19_500).saturating_sub(room.elapsed());
        room.run_for(left);
        assert_eq!(room.by_channel(bob).ended, None, "seed {seed}");
        room.run_for(S(1));
        assert_eq!(room.by_channel(bob).ended, Some(true), "seed {seed}");
        assert_eq!(room.forwarder().participant_count(), 1);
        assert_eq!(count(&room, "forward.no_signaling_channel"), 1);
        // One on which something may be lost is none.
        let eve = room.join_by_offer(link(), false, false);
        room.open_signaling(eve, false);
        room.run_for(S(25));
        assert_eq!(room.by_channel(eve).ended, Some(true), "seed {seed}");
    }
}

#[test]
fn what_is_said_before_the_channel_is_open_arrives_in_its_order() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let bob = room.join_by_offer(link(), false, true);
        for number in 0..50 {
            tell(&mut room, bob, &format!("{number}"));
        }
        room.run_for(S(2));
        for number in 50..100 {
            tell(&mut room, bob, &format!("{number}"));
        }
        room.run_for(S(1));
        let all: Vec<String> = (0..100).map(|own| own.to_string()).collect();
        assert_eq!(room.by_channel(bob).texts, all, "seed {seed}");
        assert!(room.send_text(bob, "from me"));
        room.run_for(S(1));
        assert_eq!(room.by_channel(bob).said, ["from me"], "seed {seed}");
    }
}

#[test]
fn so_much_waits_and_no_more() {
    for seed in few_seeds() {
        // Of one who has not opened its channel, and of one who does not read it.
        for opens in [false, true] {
            let mut room = Conference::new(seed, |_| {});
            let bob = room.join_by_offer(link(), false, opens);
            room.run_for(S(2));
            room.by_channel_mut(bob).sleeps = true;
            let text = "x".repeat(60_000);
            let mut told = 0;
            while !room.by_channel(bob).is_behind && told < 200 {
                tell(&mut room, bob, &text);
                room.run_for(MS(20));
                told += 1;
            }
            // 1 MiB, and what the windows of SCTP take of one who has a channel.
            let most = if opens { 100 } else { 18 };
            assert!((17..=most).contains(&told), "seed {seed}: {told}");
            tell(&mut room, bob, "not told");
            assert_eq!(count(&room, "forward.signaling_behind"), 1);
            assert_eq!(count(&room, "forward.not_told"), 1);
        }
    }
}

#[test]
fn who_closes_its_channel_leaves_and_who_is_lost_as_well() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, false);
        let [bob, eve, dan] = [true; 3].map(|opens| room.join_by_offer(link(), true, opens));
        room.run_for(S(3));
        assert!(room.is_connected(), "seed {seed}: {}", room.explain());
        let channel = room.by_channel(bob).channel;
        room.with_peer(bob, |peer, _| {
            channel.map(|own| peer.close_data_channel(own))
        });
        room.with_peer(eve, |peer, now| peer.close(now));
        room.limit(dan, |link| {
            link.loss = twocan_sim::Loss::Independent { per_mille: 1000 }
        });
        room.run_for(S(2));
        assert_eq!(room.by_channel(bob).ended, Some(false), "seed {seed}");
        assert_eq!(room.by_channel(eve).ended, Some(false), "seed {seed}");
        assert_eq!(room.by_channel(dan).ended, None, "seed {seed}");
        room.run_for(S(45));
        assert_eq!(room.by_channel(dan).ended, Some(true), "seed {seed}");
        assert_eq!(room.forwarder().participant_count(), 1);
    }
}

#[test]
fn the_last_word_arrives_before_the_connection_ends() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let bob = room.join_by_offer(link(), false, true);
        room.run_for(S(2));
        room.limit(bob, |link| {
            link.rate = Some(Bitrate::kbps(500));
            link.queue_len = 100_000;
        });
        let name = room.attendees[bob].name.clone();
        let long = "x".repeat(30_000);
        tell(&mut room, bob, &long);
        tell(&mut room, bob, "goodbye");
        room.server(|server, now| server.leave(now, &name));
        assert_eq!(room.forwarder().participant_count(), 0);
        room.run_for(S(4));
        assert_eq!(
            room.by_channel(bob).texts,
            [long.as_str(), "goodbye"],
            "seed {seed}"
        );
        assert!(!room.is_connected(), "seed {seed}");
        assert_eq!(room.by_channel(bob).ended, None);
    }
}

#[test]
fn what_clients_say_waits_with_them_where_nobody_takes_it() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let bob = room.join_by_offer(link(), false, true);
        room.run_for(S(2));
        room.server(|server, _| server.take_texts(false));
        let text = "x".repeat(10_000);
        let mut sent = 0;
        for number in 0..200 {
            sent += usize::from(room.send_text(bob, &format!("{number} {text}")));
            room.run_for(MS(10));
        }
        assert_eq!(
            (sent, room.by_channel(bob).said.len()),
            (200, 0),
            "seed {seed}"
        );
        let channel = room.by_channel(bob).channel;
        let waits = room.with_peer(bob, |peer, _| channel.map(|own| peer.buffered_amount(own)));
        assert!(
            waits.is_some_and(|own| own > 1_000_000),
            "seed {seed}: {waits:?}"
        );
        room.server(|server, _| server.take_texts(true));
        room.run_for(S(5));
        let said = &room.by_channel(bob).said;
        assert_eq!(said.len(), 200, "seed {seed}");
        let in_order = said.iter().enumerate();
        assert!(
            in_order
                .into_iter()
                .all(|(number, own)| own.starts_with(&format!("{number} ")))
        );
    }
}

#[test]
fn who_waits_to_be_let_in_gets_nothing_of_the_room() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let ada = room.join(link(), None, true);
        room.attendees[ada].level = 20;
        room.run_for(S(1));
        room.open_data(ada);
        for _ in 0..20 {
            room.run_for(MS(100));
            room.take_data(ada);
        }
        let waits = MediaPermissions {
            subscribe: false,
            audio: Allowed::Streams([].into()),
            video: Allowed::Streams([].into()),
            data: false,
            waits: true,
            ..MediaPermissions::default()
        };
        let bob = room.join_permitted(link(), true, true, &waits);
        room.run_for(S(2));
        let own = room.attendees[ada].channels.map(|own| own[0]);
        let mut bytes = Vec::new();
        let message = twocan_wire::room_data::Message {
            is_text: true,
            names: vec![],
            topic: "",
            payload: b"to all",
        };
        twocan_wire::room_data::RoomData::Message(message).write(&mut bytes);
        let taken = own.is_some_and(|own| room.send_data(ada, own, bytes));
        assert!(taken, "seed {seed}: {}", room.explain());
        room.run_for(S(2));
        assert_eq!(room.forwarder().data_figures().messages, 1);
        assert_eq!(room.forwarder().data_figures().messages_sent, 0);
        let bobs = &room.attendees[bob];
        assert!(
            bobs.forwards.is_empty() && bobs.speakers.is_empty(),
            "seed {seed}"
        );
        assert!(bobs.frames.is_empty(), "seed {seed}");
        room.permit(bob, &MediaPermissions::default());
        let seen = room.run_until(S(5), |room| {
            sees_and_hears(room, bob, ada) && sees_and_hears(room, ada, bob)
        });
        assert!(seen, "seed {seed}: {}", room.explain());
    }
}

#[test]
fn a_restart_by_a_fragment_moves_it_where_its_channel_does_not_get_through() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let ada = room.join(link(), None, true);
        let bob = room.join_by_offer(link(), true, true);
        room.run_for(S(3));
        // The server has offered since, and its offer was answered over the channel.
        let eve = room.join(link(), None, true);
        let both = |room: &Conference| {
            [ada, eve]
                .iter()
                .all(|other| sees_and_hears(room, bob, *other) && sees_and_hears(room, *other, bob))
        };
        assert!(
            room.run_until(S(8), both),
            "seed {seed}: {}",
            room.explain()
        );
        let before = room.pictures(bob, eve).len();
        room.restart_by_fragment(bob);
        room.run_for(S(3));
        assert!(room.is_connected(), "seed {seed}: {}", room.explain());
        let since = room.pictures(bob, eve).len() - before;
        assert!(since > 60, "seed {seed}: {since} pictures");
        // What is negotiated afterwards is, over the channel.
        let dan = room.join(link(), None, true);
        let seen = room.run_until(S(8), |room| sees_and_hears(room, bob, dan));
        assert!(seen, "seed {seed}: {}", room.explain());
        assert_eq!(room.by_channel(bob).ended, None);
        assert!(room.attendees[bob].errors.is_empty(), "seed {seed}");
    }
}
