//! What participants say to each other over data channels by way of a server: who may, who gets it,
//! and what a slow reader costs the others.

use std::collections::BTreeMap;
use std::time::Duration;

use twocan_room::MediaPermissions;
use twocan_room::forward::Config;
use twocan_scenarios::conference::Conference;
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::room_data::{LOSSY_LEN_MAX, Message, RoomData};
use twocan_wire::units::Bitrate;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Of the limits of the forwarder: what waits for a reader, and how long others wait for it.
const FULL: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(2);

const SEEDS: u64 = 3;

fn few_seeds() -> Vec<u64> {
    match std::env::var_os("TWOCAN_SEED") {
        Some(_) => twocan_scenarios::seeds(),
        None => (1..=SEEDS).collect(),
    }
}

/// What somebody heard: of whom, and what; and what the server itself said.
#[derive(Debug, Default)]
struct Heard {
    messages: Vec<(String, String, Vec<u8>)>,
    lossy: Vec<(String, Vec<u8>)>,
    gaps: Vec<u32>,
    fences: Vec<u32>,
    /// The longest time without a message, up to the newest one.
    silence: Duration,
    last: Duration,
}

struct Room {
    conference: Conference,
    heard: BTreeMap<usize, Heard>,
    /// Who does not read.
    sleeps: Option<usize>,
}

impl Room {
    fn new(seed: u64, count: usize) -> Self {
        let mut conference = Conference::new(seed, |_: &mut Config| {});
        let link = LinkConfig {
            delay: MS(10),
            ..LinkConfig::default()
        };
        for _ in 0..count {
            conference.join(link, None, false);
        }
        conference.run_for(S(1));
        (0..count).for_each(|index| conference.open_data(index));
        let mut room = Self {
            conference,
            heard: BTreeMap::new(),
            sleeps: None,
        };
        room.run(S(2));
        room
    }

    /// Runs, while all who do not sleep read.
    fn run(&mut self, time: Duration) {
        let end = self.conference.elapsed() + time;
        self.run_until(end, |_| false);
    }

    fn run_until(&mut self, end: Duration, done: impl Fn(&Self) -> bool) -> bool {
        while self.conference.elapsed() < end {
            self.conference.run_for(MS(5));
            self.read();
            if done(self) {
                return true;
            }
        }
        false
    }

    fn read(&mut self) {
        let at = self.conference.elapsed();
        for index in 0..self.conference.attendees.len() {
            if self.sleeps == Some(index) {
                continue;
            }
            let channels = self.conference.attendees[index].channels;
            for (channel, bytes) in self.conference.take_data(index) {
                let heard = self.heard.entry(index).or_default();
                match RoomData::parse(&bytes) {
                    Ok(RoomData::Message(message)) => {
                        let [from] = message.names[..] else {
                            unreachable!("one who sent it: {:?}", message.names)
                        };
                        let (from, topic) = (from.to_owned(), message.topic.to_owned());
                        if Some(channel) == channels.map(|own| own[1]) {
                            heard.lossy.push((from, message.payload.to_vec()));
                            continue;
                        }
                        heard.silence = heard.silence.max(at.saturating_sub(heard.last));
                        heard.last = at;
                        heard.messages.push((from, topic, message.payload.to_vec()));
                    }
                    Ok(RoomData::Gap(missed)) => heard.gaps.push(missed),
                    Ok(RoomData::Fence(number)) => heard.fences.push(number),
                    Err(error) => unreachable!("{error}"),
                }
            }
        }
    }

    fn say(&mut self, from: usize, is_lossy: bool, names: &[&str], payload: &[u8]) {
        let message = RoomData::Message(Message {
            is_text: false,
            names: names.to_vec(),
            topic: "t",
            payload,
        });
        self.put(from, is_lossy, &message);
    }

    fn put(&mut self, from: usize, is_lossy: bool, data: &RoomData<'_>) {
        let mut bytes = Vec::new();
        data.write(&mut bytes);
        let channels = self.conference.attendees[from].channels;
        let channel = channels.map(|own| own[usize::from(is_lossy)]);
        let sent = channel.is_some_and(|channel| self.conference.send_data(from, channel, bytes));
        assert!(sent, "{from} cannot send");
    }

    fn messages(&self, index: usize) -> &[(String, String, Vec<u8>)] {
        self.heard.get(&index).map_or(&[], |own| &own.messages)
    }

    fn lossy(&self, index: usize) -> usize {
        self.heard.get(&index).map_or(0, |own| own.lossy.len())
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.conference.forwarder().counters().get(reason)
    }

    /// What waits at the server for somebody, on both channels.
    fn waits(&self, index: usize) -> usize {
        let name = &self.conference.attendees[index].name;
        let peer = self.conference.forwarder().peer(name);
        // The client's numbers are those of the server: each has two channels.
        let channels = self.conference.attendees[index].channels;
        let (Some(peer), Some(channels)) = (peer, channels) else {
            return 0;
        };
        channels
            .map(|channel| peer.buffered_amount(channel))
            .iter()
            .sum()
    }
}

fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![0; len];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

fn numbers(messages: &[(String, String, Vec<u8>)]) -> Vec<u32> {
    let number = |payload: &[u8]| {
        payload
            .iter()
            .take(4)
            .fold(0, |all, byte| all << 8 | u32::from(*byte))
    };
    messages
        .iter()
        .map(|(_, _, payload)| number(payload))
        .collect()
}

#[test]
fn it_goes_to_all_or_to_those_who_are_named_and_says_of_whom_it_is() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 4);
        room.say(0, false, &[], b"to all");
        // Names of a message are of those who get it, whatever its sender means by them.
        room.say(0, false, &["p2", "p0", "nobody"], b"to one");
        room.say(1, true, &[], b"lossy");
        room.say(1, true, &["p3"], b"lossy to one");
        room.run(S(1));
        let said = |text: &str| ("p0".to_owned(), "t".to_owned(), text.as_bytes().to_vec());
        assert_eq!(room.messages(0), [], "seed {seed}");
        assert_eq!(room.messages(1), [said("to all")], "seed {seed}");
        assert_eq!(room.messages(2), [said("to all"), said("to one")]);
        assert_eq!(room.messages(3), [said("to all")], "seed {seed}");
        assert_eq!([0, 1, 2, 3].map(|index| room.lossy(index)), [1, 0, 1, 2]);
        let figures = room.conference.forwarder().data_figures();
        assert_eq!((figures.messages, figures.messages_sent), (4, 8));
        assert_eq!((figures.missed, figures.lossy_dropped), (0, 0));
    }
}

#[test]
fn who_may_say_nothing_is_not_heard() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 3);
        let forbid = MediaPermissions {
            data: false,
            ..MediaPermissions::default()
        };
        room.conference.permit(0, &forbid);
        room.say(0, false, &[], b"forbidden");
        room.say(0, true, &["p1"], b"forbidden");
        room.say(1, false, &["p0"], b"it still listens");
        room.run(S(1));
        assert_eq!((room.messages(1), room.messages(2)), (&[][..], &[][..]));
        assert_eq!(
            (room.lossy(1), room.messages(0).len()),
            (0, 1),
            "seed {seed}"
        );
        assert_eq!(room.dropped("forward.data_not_permitted"), 2, "seed {seed}");
        room.conference.permit(0, &MediaPermissions::default());
        room.say(0, false, &[], b"permitted");
        room.run(S(1));
        assert_eq!((room.messages(1).len(), room.messages(2).len()), (1, 1));
    }
}

#[test]
fn who_is_hidden_hears_what_all_hear_and_cannot_be_named() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 2);
        let hidden = MediaPermissions {
            data: false,
            hidden: true,
            ..MediaPermissions::default()
        };
        room.conference.permit(1, &hidden);
        room.say(0, false, &["p1"], b"are you there?");
        room.say(0, false, &[], b"to all");
        room.run(S(1));
        let heard: Vec<&[u8]> = room.messages(1).iter().map(|own| &own.2[..]).collect();
        assert_eq!(heard, [b"to all"], "seed {seed}");
    }
}

#[test]
fn what_is_malformed_or_too_long_goes_nowhere() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 2);
        room.put(0, false, &RoomData::Gap(7));
        room.say(0, true, &[], &[0; LOSSY_LEN_MAX]);
        room.say(0, true, &[], &[0; LOSSY_LEN_MAX - 1]);
        let channels = room.conference.attendees[0].channels;
        for bytes in [vec![0], vec![1, 0, 9], vec![255; 400]] {
            let channel = channels.map(|own| own[0]);
            assert!(channel.is_some_and(|channel| room.conference.send_data(0, channel, bytes)));
        }
        room.run(S(1));
        assert_eq!(
            (room.messages(1).len(), room.lossy(1)),
            (0, 1),
            "seed {seed}"
        );
        assert_eq!(room.dropped("forward.data_malformed"), 4, "seed {seed}");
        assert_eq!(room.dropped("forward.data_too_long"), 1, "seed {seed}");
    }
}

#[test]
fn who_has_just_come_gets_what_was_said_before_it_had_a_channel() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 2);
        let link = LinkConfig {
            delay: MS(150),
            ..LinkConfig::default()
        };
        let late = room.conference.join(link, None, false);
        for number in 0..20 {
            room.say(0, false, &[], &numbered(number, 100));
        }
        room.run(S(1));
        room.conference.open_data(late);
        room.run(S(3));
        let all: Vec<u32> = (0..20).collect();
        assert_eq!(numbers(room.messages(late)), all, "seed {seed}");
        // Who never opens one is kept nothing after a while.
        let never = room.conference.join(link, None, false);
        room.say(0, false, &["p3"], b"kept");
        room.run(S(21));
        room.say(0, false, &["p3"], b"not kept");
        room.run(S(1));
        assert_eq!(room.dropped("forward.data_no_channel"), 2, "seed {seed}");
        assert_eq!(room.messages(never), []);
    }
}

/// Sends `count` messages of 4 KiB as fast as the way carries them.
fn pour(room: &mut Room, from: usize, count: u32) {
    for number in 0..count {
        room.say(from, false, &[], &numbered(number, 4096));
    }
}

#[test]
fn a_reader_that_is_somewhat_slower_slows_the_sender_and_misses_nothing() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 3);
        room.conference.limit(2, |link| {
            link.rate = Some(Bitrate::kbps(2_000));
            link.queue_len = 100_000;
        });
        pour(&mut room, 0, 500);
        let end = room.conference.elapsed() + S(40);
        let mut most = 0;
        while room.conference.elapsed() < end && room.messages(2).len() < 500 {
            room.run(MS(20));
            most = most.max(room.waits(2));
        }
        let all: Vec<u32> = (0..500).collect();
        for reader in [1, 2] {
            assert_eq!(numbers(room.messages(reader)), all, "seed {seed}, {reader}");
            assert!(room.heard[&reader].gaps.is_empty(), "seed {seed}");
        }
        assert!(
            (FULL / 2..FULL + 8192).contains(&most),
            "seed {seed}: {most}"
        );
    }
}

#[test]
fn a_reader_that_takes_too_little_is_told_what_it_missed_and_stops_nobody_for_long() {
    for seed in few_seeds() {
        for sleeps in [false, true] {
            let mut room = Room::new(seed, 3);
            let limit = |room: &mut Room, rate| {
                room.conference.limit(2, |link| {
                    link.rate = rate;
                    link.queue_len = 50_000;
                });
            };
            match sleeps {
                // Its page has stopped reading, as far as SCTP lets it.
                true => room.sleeps = Some(2),
                false => limit(&mut room, Some(Bitrate::kbps(100))),
            }
            const COUNT: u32 = 2_500;
            pour(&mut room, 0, COUNT);
            room.heard.entry(1).or_default().last = room.conference.elapsed();
            let end = room.conference.elapsed() + S(60);
            let mut most = 0;
            while room.conference.elapsed() < end && room.messages(1).len() < COUNT as usize {
                room.run(MS(20));
                most = most.max(room.waits(2));
            }
            let all: Vec<u32> = (0..COUNT).collect();
            assert_eq!(numbers(room.messages(1)), all, "seed {seed}");
            let silence = room.heard[&1].silence;
            assert!(silence < PATIENCE + MS(500), "seed {seed}: {silence:?}");
            assert!(most < FULL + 8192, "seed {seed}: {most} bytes wait");
            // It reads again, and hears how much it missed; then it gets what is said.
            room.sleeps = None;
            limit(&mut room, None);
            room.run(S(10));
            room.say(0, false, &[], &numbered(COUNT, 100));
            room.run(S(2));
            let heard = numbers(room.messages(2));
            assert!(
                heard.is_sorted() && heard.last() == Some(&COUNT),
                "seed {seed}"
            );
            let missed: u32 = room.heard[&2].gaps.iter().sum();
            assert!(missed > 0, "seed {seed}");
            assert_eq!(heard.len() as u32 + missed, COUNT + 1, "seed {seed}");
            assert_eq!(room.dropped("forward.data_missed"), u64::from(missed));
        }
    }
}

#[test]
fn what_may_be_lost_is_dropped_for_a_slow_reader_alone() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 3);
        room.conference.limit(2, |link| {
            link.rate = Some(Bitrate::kbps(100));
            link.queue_len = 20_000;
        });
        // 8 Mbit/s for 2 s.
        for _ in 0..400 {
            for _ in 0..5 {
                room.say(0, true, &[], &numbered(0, 1000));
            }
            room.run(MS(5));
        }
        room.run(S(1));
        assert!(room.lossy(1) > 1_900, "seed {seed}: {}", room.lossy(1));
        assert!(room.lossy(2) < 600, "seed {seed}: {}", room.lossy(2));
        let figures = room.conference.forwarder().data_figures();
        assert!(figures.lossy_dropped > 1_000, "seed {seed}: {figures:?}");
    }
}

#[test]
fn two_who_wait_for_each_other_go_on() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 2);
        for index in 0..2 {
            room.conference.limit(index, |link| {
                link.rate = Some(Bitrate::kbps(4_000));
                link.queue_len = 100_000;
            });
        }
        pour(&mut room, 0, 300);
        pour(&mut room, 1, 300);
        let end = room.conference.elapsed() + S(30);
        let done = |room: &Room| (0..2).all(|index| room.messages(index).len() == 300);
        assert!(room.run_until(end, done), "seed {seed}");
    }
}

#[test]
fn those_who_wait_for_a_slow_reader_have_their_turns() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 5);
        // One of them takes 2 Mbit/s, of which three want more each.
        room.conference.limit(4, |link| {
            link.rate = Some(Bitrate::kbps(2_000));
        });
        for number in 0..200 {
            for sender in 0..3 {
                room.say(sender, false, &[], &numbered(number, 65_536));
            }
        }
        let end = room.conference.elapsed() + S(12);
        room.run_until(end, |_| false);
        let of = |name: &str| {
            let messages = room.messages(3).iter();
            messages.filter(|(from, ..)| from == name).count()
        };
        let counts = ["p0", "p1", "p2"].map(of);
        let least = counts.iter().min().copied().unwrap_or(0);
        let most = counts.iter().max().copied().unwrap_or(0);
        assert!(least > 10 && most < 2 * least, "seed {seed}: {counts:?}");
    }
}

#[test]
fn a_fence_comes_back_when_everything_before_it_has_arrived() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 3);
        room.conference.limit(2, |link| {
            link.rate = Some(Bitrate::kbps(2_000));
            link.loss = Loss::Independent { per_mille: 20 };
        });
        pour(&mut room, 0, 100);
        room.put(0, false, &RoomData::Fence(42));
        let end = room.conference.elapsed() + S(30);
        let fenced = |room: &Room| room.heard.get(&0).is_some_and(|own| own.fences == [42]);
        assert!(room.run_until(end, fenced), "seed {seed}");
        assert_eq!((room.messages(1).len(), room.messages(2).len()), (100, 100));
    }
}

#[test]
fn who_leaves_is_waited_for_by_nobody() {
    for seed in few_seeds() {
        let mut room = Room::new(seed, 3);
        room.sleeps = Some(2);
        pour(&mut room, 0, 2_500);
        room.heard.entry(1).or_default().last = room.conference.elapsed();
        let end = room.conference.elapsed() + S(10);
        let stuck = |room: &Room| room.waits(2) >= FULL;
        assert!(room.run_until(end, stuck), "seed {seed}");
        let before = room.conference.elapsed();
        room.conference.leave(2);
        let all = |room: &Room| room.messages(1).len() == 2_500;
        assert!(room.run_until(before + S(20), all), "seed {seed}");
        let silence = room.heard[&1].silence;
        assert!(silence < S(1), "seed {seed}: {silence:?}");
    }
}
