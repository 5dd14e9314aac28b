//! What happens in a conference, all of it from one number.

use std::time::Duration;

use serde_json::{Value, json};
use twocan_proto::rtp::ScalabilityMode;
use twocan_room::{Admission, PermissionChange, Permissions, Source};
use twocan_scenarios::conference::{Coming, Layered};
use twocan_sim::{LinkConfig, Loss, NatConfig};
use twocan_wire::units::Bitrate;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What somebody says of its tracks.
const ACTIONS: [&str; 3] = ["publish", "mute", "unmute"];

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// So many times in a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Something that happens. Whom it happens to is said by a number: of those who are there then.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Come(Box<Coming>),
    Leave(u64),
    /// A WebSocket breaks, and is opened again after a while.
    Cut(u64, Duration),
    Mute(u64, Option<Source>),
    Unmute(u64),
    Kick(u64),
    Permit(u64, PermissionChange),
    Announce(u64, &'static str),
    Relink(u64, LinkConfig),
    /// Nothing passes for a while.
    Darken(u64, Duration),
    /// Which pictures it wants, by how high, in turns.
    Choose(u64, Vec<u64>),
    /// It asks for key frames all the time, for a while.
    Storm(u64, Duration),
    Speak(u64, u8),
    /// Messages of such a length to all.
    Talk(u64, bool, u32, usize),
    /// It reads no messages for a while.
    Sleep(u64, Duration),
    Lock(bool),
    Lobby(bool),
    /// One whom nobody invited comes.
    Intrude,
    /// It says something: the kind, and the numbers of it.
    Hostile(u64),
}

/// A conference, before it is.
#[derive(Debug)]
pub(crate) struct Plan {
    pub seed: u64,
    /// Participants of a room at most.
    pub peers_max: usize,
    pub events: Vec<(Duration, Happening)>,
    pub end: Duration,
}

/// How many take part.
fn size(seed: u64, dice: &mut Dice) -> u64 {
    match seed % 20 {
        0 if seed.is_multiple_of(60) => dice.between(120, 200),
        0 => dice.between(40, 80),
        10 => dice.between(15, 35),
        5 | 15 => dice.between(7, 12),
        _ => dice.between(2, 5),
    }
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let size = size(seed, &mut dice);
        let is_large = size > 12;
        let rooms = if !is_large && size > 3 && dice.percent(30) {
            2
        } else {
            1
        };
        let end = match size {
            0..=5 => MS(dice.between(8_000, 22_000)),
            6..=12 => MS(dice.between(8_000, 14_000)),
            13..=40 => MS(dice.between(6_000, 9_000)),
            _ => MS(5_000),
        };
        let peers_max = match dice.percent(15) && !is_large {
            true => dice.between(2, size + 1) as usize,
            false => 500,
        };
        // Of many, few send: it is the number of those who look on that makes a room large.
        let senders = if is_large {
            (60 / size).clamp(1, 3)
        } else {
            size
        };
        let mut events = Vec::new();
        for number in 0..size {
            let span = end.as_millis() as u64 / 3;
            let at = if number < 2 { 0 } else { dice.below(span) };
            let coming = guest(&mut dice, rooms, number < senders, is_large);
            events.push((MS(at), Happening::Come(Box::new(coming))));
        }
        let count = match size {
            0..=5 => dice.between(6, 24),
            6..=12 => dice.between(10, 40),
            _ => dice.between(10, 30),
        };
        for _ in 0..count {
            let at = MS(dice.between(500, end.as_millis() as u64));
            events.push((at, happening(&mut dice, rooms, is_large)));
        }
        if dice.percent(60) {
            let at = dice.between(200, 3_000);
            events.push((MS(at), Happening::Intrude));
            for _ in 0..dice.between(5, 60) {
                let at = dice.between(at, end.as_millis() as u64);
                events.push((MS(at), Happening::Hostile(dice.next())));
            }
        }
        events.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            peers_max,
            events,
            end,
        }
    }
}

fn guest(dice: &mut Dice, rooms: u64, sends: bool, is_large: bool) -> Coming {
    let nats = [
        None,
        None,
        None,
        Some(NatConfig::SYMMETRIC),
        Some(NatConfig::PORT_RESTRICTED),
    ];
    let modes = [("VP9", "L3T3_KEY"), ("VP9", "L1T3"), ("AV1", "L3T3")];
    let kinds = match (sends, is_large) {
        (false, _) => [false, false],
        (true, true) => [true, true],
        (true, false) => *dice.of(&[
            [true, true],
            [true, true],
            [true, false],
            [false, true],
            [false, false],
        ]),
    };
    let (codec, mode) = *dice.of(&modes);
    let mode: Option<ScalabilityMode> = mode.parse().ok();
    let mode = mode.filter(|_| dice.percent(20) && kinds[1]);
    let mut permissions = Permissions::default();
    if dice.percent(10) {
        permissions.publish = match dice.below(3) {
            0 => [Source::Microphone].into(),
            1 => [Source::Camera].into(),
            _ => [].into(),
        };
    }
    permissions.subscribe = !dice.percent(5);
    permissions.moderate = dice.percent(10);
    permissions.hidden = kinds == [false; 2] && dice.percent(5);
    Coming {
        room: format!("room {}", dice.below(rooms)),
        link: link(dice),
        nat: *dice.of(&nats),
        sends: kinds,
        layers_within: mode.map(|mode| Layered {
            codec,
            mode,
            is_described: codec == "AV1" || dice.percent(50),
        }),
        admission: Admission {
            permissions,
            ..Admission::default()
        },
        talks: dice.percent(50) && !is_large,
    }
}

/// A way to the server: most are good.
pub(crate) fn link(dice: &mut Dice) -> LinkConfig {
    let mut link = LinkConfig {
        delay: MS(dice.between(2, 80)),
        ..LinkConfig::default()
    };
    match dice.below(10) {
        0 => {
            link.loss = Loss::Independent {
                per_mille: dice.between(1, 150) as u32,
            }
        }
        1 => {
            link.loss = Loss::Burst {
                enter_per_mille: 10,
                leave_per_mille: 300,
            }
        }
        2 | 3 => {
            let rate = Bitrate::kbps(dice.between(250, 4_000));
            link.rate = Some(rate);
            // Half a second of it.
            link.queue_len = (rate.as_bps() / 16) as usize;
        }
        4 => {
            link.jitter = MS(dice.between(1, 30));
            link.duplicate_per_mille = 20;
            link.reorder_per_mille = dice.between(0, 30) as u32;
        }
        _ => {}
    }
    link
}

fn happening(dice: &mut Dice, rooms: u64, is_large: bool) -> Happening {
    let who = dice.next();
    match dice.below(if is_large { 24 } else { 28 }) {
        0 | 1 => Happening::Come(Box::new(guest(dice, rooms, !is_large, is_large))),
        2 | 3 => Happening::Leave(who),
        // The grace is 4 s.
        4..=6 => Happening::Cut(who, MS(*dice.of(&[40, 300, 1_000, 3_000, 6_000]))),
        7 => Happening::Mute(
            who,
            *dice.of(&[None, Some(Source::Microphone), Some(Source::Camera)]),
        ),
        8 => Happening::Unmute(who),
        9 => Happening::Kick(who),
        10 | 11 => Happening::Permit(who, change(dice)),
        12 => Happening::Announce(who, ACTIONS[dice.below(3) as usize]),
        13 | 14 => Happening::Relink(who, link(dice)),
        15 => Happening::Darken(who, MS(dice.between(100, 4_000))),
        16 | 17 => {
            let heights = [0, 90, 180, 360, 720, 1_080];
            let count = dice.below(4);
            Happening::Choose(who, (0..count).map(|_| *dice.of(&heights)).collect())
        }
        18 | 19 => Happening::Storm(who, MS(dice.between(200, 3_000))),
        20 => Happening::Speak(who, *dice.of(&[10, 30, 127])),
        21 => Happening::Lock(dice.percent(40)),
        22 => Happening::Lobby(dice.percent(40)),
        23 => Happening::Hostile(dice.next()),
        24..=26 => {
            let is_lossy = dice.percent(30);
            let len = if is_lossy {
                dice.between(20, 1_000)
            } else {
                dice.between(20, 16_000)
            };
            Happening::Talk(who, is_lossy, dice.between(1, 60) as u32, len as usize)
        }
        _ => Happening::Sleep(who, MS(dice.between(500, 8_000))),
    }
}

fn change(dice: &mut Dice) -> PermissionChange {
    let mut change = PermissionChange::default();
    match dice.below(5) {
        0 => change.publish = Some(false),
        1 => change.publish = Some(true),
        2 => {
            change.publish_sources = Some([*dice.of(&[Source::Microphone, Source::Camera])].into())
        }
        3 => change.subscribe = Some(false),
        _ => change.subscribe = Some(true),
    }
    change
}

/// A text that nobody who is well says: `ids` are those of the others, `heard` is what it was told last,
/// `offer` a description of somebody else's.
pub(crate) fn hostile(number: u64, ids: &[String], heard: &str, offer: &str) -> Vec<String> {
    let mut dice = Dice::new(number);
    let nobody = "nobody".to_owned();
    let id = if ids.is_empty() {
        nobody
    } else {
        dice.of(ids).clone()
    };
    let frame = |event: &str, to: Value, data: Value| {
        json!({"event": event, "to": to, "data": data}).to_string()
    };
    let server = || json!(["server"]);
    let text = match dice.below(22) {
        0 => "{".repeat(2_000),
        1 => format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        2 => "x".repeat(70_000),
        3 => frame(
            "moderate",
            Value::Null,
            json!({"action": "remove", "peer_id": id}),
        ),
        4 => frame("moderate", Value::Null, json!({"action": "close"})),
        5 => frame("kicked", json!([id]), json!({"reason": "as I say"})),
        6 => frame("forward", json!("all"), json!({"mid": "0", "peer_id": id})),
        7 => frame(
            "offer",
            server(),
            json!({"type": "offer", "sdp": damaged(&mut dice, offer)}),
        ),
        8 => frame("offer", server(), json!({"type": "offer", "sdp": offer})),
        9 => frame(
            "answer",
            server(),
            json!({"type": "answer", "sdp": damaged(&mut dice, offer)}),
        ),
        10 => frame(
            "candidate",
            server(),
            json!({"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host",
            "sdpMid": "0", "usernameFragment": null}),
        ),
        11 => frame(
            "candidate",
            server(),
            json!({"candidate": damaged(&mut dice, "candidate:1 1 udp 1 1.2.3.4 5 typ host")}),
        ),
        12 => frame(
            "subscribe",
            server(),
            json!({"tracks": [{"stream": 7, "max_height": -1}]}),
        ),
        13 => {
            let tracks: Vec<Value> = (0..2_000)
                .map(|own| json!({"stream": format!("s{own}")}))
                .collect();
            frame("subscribe", server(), json!({ "tracks": tracks }))
        }
        14 => {
            let track = |own: u64| {
                let told = json!({"id": format!("t{own}"), "kind": "video", "source": "camera",
                    "stream": format!("picture-{}", own % 4), "muted": false});
                frame(
                    "track",
                    Value::Null,
                    json!({"action": "publish", "track": told}),
                )
            };
            return (0..40).map(track).collect();
        }
        15 => return vec![frame("hand", Value::Null, json!({"raised": dice.percent(50)})); 300],
        16 => json!({"event": "resume", "data": {"token": id, "seq": u64::MAX}}).to_string(),
        17 => json!({"event": "leave", "seq": u64::MAX, "to": 7}).to_string(),
        18 => frame("settled", Value::Null, json!({"topology": "mesh"})),
        19 => frame(
            "metadata",
            Value::Null,
            json!({"name": "\u{202e}".repeat(400), "metadata": {"a": vec![1; 3_000]}}),
        ),
        20 => damaged(&mut dice, heard),
        _ => frame(
            "chat",
            json!([id, "server", "nobody"]),
            json!({"text": "hello"}),
        ),
    };
    let join = json!({"event": "join", "data": {"name": 7}}).to_string();
    if dice.percent(30) {
        vec![join, text]
    } else {
        vec![text]
    }
}

/// A text of which some characters are others, are missing, or come twice.
fn damaged(dice: &mut Dice, text: &str) -> String {
    let mut all: Vec<char> = text.chars().collect();
    for _ in 0..dice.between(1, 12) {
        if all.is_empty() {
            break;
        }
        let at = dice.below(all.len() as u64) as usize;
        match dice.below(3) {
            0 => all[at] = (dice.between(10, 126) as u8) as char,
            1 => drop(all.remove(at)),
            _ => {
                let piece: Vec<char> = all[at..].iter().take(40).copied().collect();
                all.splice(at..at, piece);
            }
        }
    }
    all.into_iter().collect()
}
