//! A plan, as it is carried out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;
use twocan_room::{Act, Config, Limits, PermissionChange, Topology, Tracks};
use twocan_scenarios::conference::Conference;
use twocan_sim::LinkConfig;
use twocan_wire::room_data::{LOSSY_LEN_MAX, Message, PAYLOAD_LEN_MAX, RoomData};

use crate::plan::{Dice, Happening, Plan, hostile};

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);
/// How long a session is kept.
const GRACE: Duration = Duration::from_secs(4);
/// How long it takes at most, after everything was mended, until all see and hear all.
const MENDS: Duration = Duration::from_secs(30);
/// What may wait for a reader at the server: as much as makes it full, and one message of each kind.
const WAITS_MAX: usize = (256 << 10) + (32 << 10) + PAYLOAD_LEN_MAX + LOSSY_LEN_MAX + 2_048;

/// Something that is taken back after a while.
#[derive(Debug)]
enum Later {
    Resume(usize),
    Lighten(usize, LinkConfig),
    Wake(usize),
}

/// What a reader has of a sender.
#[derive(Debug, Default)]
struct Heard {
    /// The number of the newest message.
    newest: BTreeMap<usize, u32>,
    /// Messages that did not come, between those that did.
    missing: BTreeMap<usize, u32>,
    /// What the server said that it missed.
    told: u32,
}

pub(crate) struct Run {
    plan: Plan,
    conference: Conference,
    later: Vec<(Duration, Later)>,
    storms: Vec<(Duration, usize)>,
    sleeps: BTreeSet<usize>,
    kicked: BTreeSet<usize>,
    strangers: Vec<usize>,
    heard: BTreeMap<usize, Heard>,
    said: BTreeMap<usize, u32>,
    faults: Vec<String>,
    waited_most: usize,
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Self {
        let limits = Limits {
            resume_grace: GRACE,
            peers_per_forwarded_room: plan.peers_max,
            ..Limits::default()
        };
        let config = Config {
            limits,
            topology: Topology::Sfu,
            ..Config::default()
        };
        Self {
            conference: Conference::with_hall(plan.seed, config, |_| {}),
            plan,
            later: Vec::new(),
            storms: Vec::new(),
            sleeps: BTreeSet::new(),
            kicked: BTreeSet::new(),
            strangers: Vec::new(),
            heard: BTreeMap::new(),
            said: BTreeMap::new(),
            faults: Vec::new(),
            waited_most: 0,
        }
    }

    /// Carries it out; then mends everything and looks whether all is well, and at last all go.
    pub(crate) fn go(&mut self) {
        let mut events: VecDeque<_> = std::mem::take(&mut self.plan.events).into();
        while self.conference.elapsed() < self.plan.end {
            let at = self.conference.elapsed();
            while events.front().is_some_and(|(due, _)| *due <= at) {
                if let Some((_, event)) = events.pop_front() {
                    self.happen(event);
                }
            }
            self.step();
        }
        self.mend();
        self.empty();
    }

    fn step(&mut self) {
        self.conference.run_for(STEP);
        let at = self.conference.elapsed();
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|(due, _)| *due <= at);
        self.later = later;
        for (_, what) in due {
            self.undo(what);
        }
        self.storms.retain(|(until, _)| *until > at);
        for (_, index) in self.storms.clone() {
            self.conference.with_peer(index, |peer, _| {
                let lines = peer.transceivers().iter().map(|own| own.id());
                for line in lines.collect::<Vec<_>>() {
                    peer.request_key_frame(line, None);
                }
            });
        }
        self.read();
        self.conference.look();
    }

    /// Those who have not gone, in the order in which they came.
    fn present(&self) -> Vec<usize> {
        let all = 0..self.conference.attendees.len();
        all.filter(|index| self.is_in(*index)).collect()
    }

    fn is_in(&self, index: usize) -> bool {
        let seat = self.conference.seat(index);
        seat.reason.is_none() && seat.since.is_some()
    }

    fn someone(&self, who: u64) -> Option<usize> {
        let present = self.present();
        let place = who.checked_rem(present.len() as u64)?;
        present.get(place as usize).copied()
    }

    fn id(&self, index: usize) -> String {
        self.conference.attendees[index].name.clone()
    }

    fn room_of(&self, index: usize) -> String {
        self.conference.seat(index).room.clone()
    }

    fn happen(&mut self, event: Happening) {
        use Happening as H;
        let at = self.conference.elapsed();
        let room = || "room 0".to_owned();
        match event {
            H::Come(coming) => {
                // Frames say who made them in a byte.
                if self.conference.attendees.len() < 250 {
                    self.conference.come(*coming);
                }
            }
            // There may be no such room yet, or any more.
            H::Lock(locked) => {
                let _ = self.conference.act(&room(), &Act::Lock(locked));
            }
            H::Lobby(lobby) => {
                let _ = self.conference.act(&room(), &Act::Lobby(lobby));
            }
            H::Intrude => {
                let stranger = self.conference.intrude(&room());
                self.strangers.push(stranger);
            }
            H::Hostile(number) => self.offend(number),
            H::Leave(who)
            | H::Unmute(who)
            | H::Kick(who)
            | H::Cut(who, _)
            | H::Mute(who, _)
            | H::Permit(who, _)
            | H::Announce(who, _)
            | H::Relink(who, _)
            | H::Darken(who, _)
            | H::Choose(who, _)
            | H::Storm(who, _)
            | H::Speak(who, _)
            | H::Talk(who, ..)
            | H::Sleep(who, _) => {
                if let Some(index) = self.someone(who) {
                    self.happen_to(index, at, event);
                }
            }
        }
    }

    fn happen_to(&mut self, index: usize, at: Duration, event: Happening) {
        use Happening as H;
        let participant = self.id(index);
        match event {
            H::Leave(_) => self.conference.depart(index),
            H::Cut(_, time) if self.conference.has_socket(index) => {
                self.conference.excuse(index);
                self.conference.cut(index);
                self.later.push((at + time, Later::Resume(index)));
            }
            H::Mute(_, source) => {
                let tracks = source.map_or(Tracks::All, Tracks::Source);
                let act = Act::Mute {
                    participant,
                    tracks,
                };
                self.conference.order(index, &act);
            }
            H::Unmute(_) => {
                let tracks = Tracks::All;
                let act = Act::Unmute {
                    participant,
                    tracks,
                };
                self.conference.order(index, &act);
            }
            H::Kick(_) => {
                self.kicked.insert(index);
                let reason = "planned".to_owned();
                let act = Act::Remove {
                    participant,
                    reason,
                };
                self.conference.order(index, &act);
            }
            H::Permit(_, change) => {
                let act = Act::Permit {
                    participant,
                    change,
                };
                self.conference.order(index, &act);
            }
            H::Announce(_, action) => self.conference.announce(index, action),
            H::Relink(_, link) => self.conference.relink(index, |own| *own = link),
            H::Darken(_, time) => {
                let before = self.conference.link(index);
                let dark = twocan_sim::Loss::Independent { per_mille: 1_000 };
                self.conference.relink(index, |own| own.loss = dark);
                self.later.push((at + time, Later::Lighten(index, before)));
            }
            H::Choose(_, heights) => {
                let tracks: Vec<_> = (0..self.conference.attendees.len())
                    .zip(heights.iter().cycle())
                    .map(|(of, height)| json!({"stream": format!("picture-{of}"), "max_height": height}))
                    .collect();
                self.conference.choose(index, &tracks.into());
            }
            H::Storm(_, time) => self.storms.push((at + time, index)),
            H::Speak(_, level) => self.conference.attendees[index].level = level,
            H::Talk(_, is_lossy, count, len) => self.talk(index, is_lossy, count, len),
            H::Sleep(_, time) => {
                self.sleeps.insert(index);
                self.later.push((at + time, Later::Wake(index)));
            }
            _ => {}
        }
    }

    fn undo(&mut self, what: Later) {
        match what {
            Later::Resume(index) => {
                self.conference.excuse(index);
                self.conference.resume(index);
            }
            Later::Lighten(index, link) => self.conference.relink(index, |own| *own = link),
            Later::Wake(index) => {
                self.sleeps.remove(&index);
            }
        }
    }

    fn offend(&mut self, number: u64) {
        let mut dice = Dice::new(number);
        let Some(stranger) = self.strangers.last().copied() else {
            return;
        };
        let known = self.conference.stranger(stranger);
        if known.is_closed {
            let stranger = self.conference.intrude("room 0");
            return self.strangers.push(stranger);
        }
        let heard = known.heard.clone();
        let present = self.present();
        let ids: Vec<String> = present.iter().map(|index| self.id(*index)).collect();
        let offer = self.someone(dice.next()).and_then(|index| {
            let offer = self.conference.peer(index).local_description();
            offer.map(|own| own.sdp)
        });
        for text in hostile(number, &ids, &heard, &offer.unwrap_or_default()) {
            self.conference.stranger_says(stranger, text);
        }
    }

    /// Somebody says something to all: who it is, and which of what it said.
    fn talk(&mut self, index: usize, is_lossy: bool, count: u32, len: usize) {
        let Some(channels) = self.conference.attendees[index].channels else {
            return;
        };
        for _ in 0..count {
            let said = self.said.entry(index).or_default();
            let mut payload = vec![0; len];
            payload[..4].copy_from_slice(&(index as u32).to_be_bytes());
            payload[4..8].copy_from_slice(&said.to_be_bytes());
            let message = RoomData::Message(Message {
                is_text: false,
                names: vec![],
                topic: "t",
                payload: &payload,
            });
            let mut bytes = Vec::new();
            message.write(&mut bytes);
            let channel = channels[usize::from(is_lossy)];
            if self.conference.send_data(index, channel, bytes) && !is_lossy {
                *self.said.entry(index).or_default() += 1;
            }
        }
    }

    /// Those who are awake read, and what waits for whom is looked at.
    fn read(&mut self) {
        for index in self.present() {
            let Some(channels) = self.conference.attendees[index].channels else {
                continue;
            };
            let name = &self.conference.attendees[index].name;
            if let Some(peer) = self.conference.forwarder().peer(name) {
                let waits = channels.map(|own| peer.buffered_amount(own));
                let waits = waits.iter().sum();
                self.waited_most = self.waited_most.max(waits);
                if waits > WAITS_MAX {
                    self.fault(format!("{waits} bytes wait for {index}"));
                }
            }
            if self.sleeps.contains(&index) {
                continue;
            }
            for (channel, bytes) in self.conference.take_data(index) {
                if let Err(what) = self.hear(index, channel == channels[1], &bytes) {
                    self.fault(format!("{index} was told over a channel: {what}"));
                }
            }
        }
    }

    fn hear(&mut self, index: usize, is_lossy: bool, bytes: &[u8]) -> Result<(), String> {
        let data = RoomData::parse(bytes).map_err(|error| error.to_string())?;
        let message = match data {
            RoomData::Message(message) => message,
            RoomData::Gap(missed) => {
                self.heard.entry(index).or_default().told += missed;
                return Ok(());
            }
            RoomData::Fence(number) => return Err(format!("a fence, {number}")),
        };
        let number = |at: usize| {
            let bytes = message
                .payload
                .get(at..at + 4)
                .and_then(|own| own.try_into().ok());
            bytes
                .map(u32::from_be_bytes)
                .ok_or("a message that nobody sent")
        };
        let (from, number) = (number(0)? as usize, number(4)?);
        let name = self
            .conference
            .attendees
            .get(from)
            .map(|own| own.name.as_str());
        if message.names != [name.unwrap_or_default()] || from == index {
            return Err(format!("{:?} said what {from} said", message.names));
        }
        if self.room_of(from) != self.room_of(index) {
            return Err(format!("what {from} said in another room"));
        }
        if is_lossy {
            return Ok(());
        }
        let heard = self.heard.entry(index).or_default();
        if let Some(newest) = heard.newest.insert(from, number) {
            if number <= newest {
                return Err(format!("message {number} of {from} after {newest}"));
            }
            *heard.missing.entry(from).or_default() += number - newest - 1;
        }
        Ok(())
    }

    fn fault(&mut self, what: String) {
        let at = self.conference.elapsed();
        if self.faults.len() < 20 {
            self.faults.push(format!("at {at:?}: {what}"));
        }
    }

    /// All is well from now on: within a while all who are there see and hear all who send.
    fn mend(&mut self) {
        for room in ["room 0", "room 1"] {
            // There may be no such room any more.
            let _ = self.conference.act(room, &Act::Lock(false));
            let _ = self.conference.act(room, &Act::Lobby(false));
        }
        self.storms.clear();
        self.sleeps.clear();
        for (_, what) in std::mem::take(&mut self.later) {
            self.undo(what);
        }
        // Who came last is in, and who tries to resume has its answer.
        for _ in 0..25 {
            self.step();
        }
        let good = LinkConfig {
            delay: MS(10),
            ..LinkConfig::default()
        };
        for index in self.present() {
            let participant = self.id(index);
            let change = PermissionChange {
                publish: Some(true),
                subscribe: Some(true),
                ..PermissionChange::default()
            };
            self.conference.relink(index, |own| *own = good);
            self.conference.order(
                index,
                &Act::Permit {
                    participant,
                    change,
                },
            );
            self.conference.announce(index, "publish");
            self.conference.choose(index, &json!([]));
        }
        let since = self.conference.elapsed() + S(2);
        let until = self.conference.elapsed() + MENDS;
        while self.conference.elapsed() < until && !self.missing(since).is_empty() {
            self.step();
        }
        let missing = self.missing(since);
        if !missing.is_empty() {
            self.fault(format!(
                "without, {MENDS:?} after all was mended: {}",
                missing.join(", ")
            ));
        }
        self.check_places();
        self.check_messages();
    }

    /// Who has nothing of whom, though it might.
    fn missing(&self, since: Duration) -> Vec<String> {
        let present = self.present();
        let is_hidden = |index: usize| {
            let id = self.id(index);
            let all = self.conference.hall().participants(&self.room_of(index));
            let mut all = all.into_iter().flatten();
            all.any(|own| own.id == id && own.permissions.hidden)
        };
        let mut missing = Vec::new();
        for from in present.iter().filter(|from| !is_hidden(**from)) {
            let sends = self.conference.sends(*from);
            for viewer in &present {
                if viewer == from || self.room_of(*viewer) != self.room_of(*from) {
                    continue;
                }
                let latest = self.conference.latest(*viewer, *from);
                for (kind, sends) in sends.iter().enumerate() {
                    if *sends && latest[kind].is_none_or(|latest| latest < since) {
                        missing.push(format!("{viewer} of {from} kind {kind}"));
                    }
                }
            }
        }
        missing
    }

    /// Everybody is in or knows why not, and those who are in know of each other.
    fn check_places(&mut self) {
        for index in 0..self.conference.attendees.len() {
            let seat = self.conference.seat(index);
            let (reason, others) = (seat.reason.clone(), seat.others.clone());
            let was_kicked = reason.as_ref().is_some_and(|own| own.starts_with("kicked"));
            if was_kicked && !self.kicked.contains(&index) {
                self.fault(format!("{index} is gone: {reason:?}"));
            }
            if reason.is_some() {
                continue;
            }
            if !self.is_in(index) && !self.waits_for_a_place(index) {
                self.fault(format!("{index} is not in, and does not know why"));
            }
            if !self.is_in(index) {
                continue;
            }
            let id = self.id(index);
            let there = self.conference.hall().participants(&self.room_of(index));
            let there: BTreeSet<String> = there
                .into_iter()
                .flatten()
                .filter(|own| own.state == "joined" && !own.permissions.hidden && own.id != id)
                .map(|own| own.id)
                .collect();
            if others != there {
                self.fault(format!(
                    "{index} knows of {others:?}, and there are {there:?}"
                ));
            }
        }
        let rooms = self.conference.hall().rooms();
        let there: usize = rooms.iter().map(|own| own.participants).sum();
        let forwarded = self.conference.forwarder().participant_count();
        if forwarded != there {
            self.fault(format!(
                "the forwarder knows of {forwarded}, and {there} are there"
            ));
        }
    }

    /// Whether somebody waits in a room that is full.
    fn waits_for_a_place(&self, index: usize) -> bool {
        let room = self.conference.hall().room(&self.room_of(index));
        let is_full = room.is_some_and(|own| own.participants >= own.max_participants);
        is_full && self.conference.seat(index).waits
    }

    /// What a reader missed, it was told of.
    fn check_messages(&mut self) {
        let mut faults = Vec::new();
        for index in self.present() {
            let Some(heard) = self.heard.get(&index) else {
                continue;
            };
            let missing: u32 = heard.missing.values().sum();
            if missing > heard.told {
                let told = heard.told;
                faults.push(format!(
                    "{index} missed {missing} messages, and was told of {told}"
                ));
            }
        }
        faults.into_iter().for_each(|what| self.fault(what));
    }

    /// All go, and nothing is left of them.
    fn empty(&mut self) {
        for index in 0..self.conference.attendees.len() {
            if self.conference.seat(index).reason.is_none() {
                self.conference.depart(index);
            }
        }
        let until = self.conference.elapsed() + GRACE + S(2);
        for stranger in self.strangers.clone() {
            let leave = json!({"event": "leave"}).to_string();
            self.conference.stranger_says(stranger, leave);
        }
        while self.conference.elapsed() < until {
            self.step();
        }
        let strangers = self.strangers.iter();
        let stay = strangers.filter(|own| !self.conference.stranger(**own).is_closed);
        // Who never joined cannot leave; it was not there either.
        let stay = stay.count();
        let forwarder = self.conference.forwarder();
        let left = [
            forwarder.participant_count().saturating_sub(stay),
            self.conference.hall().peer_count().saturating_sub(stay),
        ];
        let (rooms, tracks) = (forwarder.room_count(), forwarder.track_count());
        if left != [0; 2] {
            self.fault(format!("{left:?} are left"));
        }
        if stay == 0 && rooms + tracks > 0 {
            self.fault(format!("{rooms} rooms and {tracks} tracks are left"));
        }
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let all = self.conference.faults().iter().chain(&self.faults);
        all.cloned().collect()
    }

    pub(crate) fn trace(&self) -> u64 {
        self.conference.trace()
    }

    pub(crate) fn summary(&self) -> String {
        let (frames, switches) = self.conference.figures();
        let come = self.conference.attendees.len();
        format!(
            "seed {}: {come} came, {frames} frames, {switches} changes of quality, {:?}, at most {} bytes \
             waited for a reader, {} faults",
            self.plan.seed,
            self.conference.elapsed(),
            self.waited_most,
            self.faults().len(),
        )
    }

    pub(crate) fn explain(&self) -> String {
        let mut text = self.conference.explain();
        for index in 0..self.conference.attendees.len() {
            let seat = self.conference.seat(index);
            text.push_str(&format!(
                "\n  {index}: in since {:?}, {:?}, refused {:?}, sends {:?}",
                seat.since,
                seat.reason,
                seat.refused,
                self.conference.sends(index)
            ));
        }
        text
    }
}
