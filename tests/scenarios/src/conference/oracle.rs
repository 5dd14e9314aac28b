//! What has to hold in a conference whatever happens in it, held against all that arrives. It shares
//! nothing with the forwarder: it knows what was sent and when, what the hall decided, and what a decoder
//! would see.

use std::collections::BTreeMap;
use std::time::Duration;

use twocan_proto::rtp::Frame;
use twocan_room::{Act, Notice, PermissionChange, Source, Tracks};
use twocan_sim::{LinkConfig, LinkStats, Loss};
use twocan_wire::ids::Ssrc;

use super::marks::{marks, origin};
use super::{Conference, QUALITIES, SOUND_LEN, layer_marks};

/// How long something is on its way at most after the server has decided to pass it on: what waits in a
/// queue, and is lost and sent again.
const ON_ITS_WAY: Duration = Duration::from_secs(3);
/// How far the clock of what is shown may jump, in its units: 40 s of pictures.
const JUMP_MAX: i32 = 3_600_000;
/// How many pictures a key frame may be older than what was shown before it: who has another quality, or
/// a picture anew, begins with one that is kept, of the last 1.5 s.
const BACK_MAX: u32 = 45;
/// How long everything has to have been as it is before something is expected of it.
const SETTLED: Duration = Duration::from_secs(10);
/// After that, how long nothing may come of somebody who sends.
const SILENCE_MAX: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(6)];
/// Between two looks at the links.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The part of what the server sends to somebody that may be too much for its way, in percent, once it
/// had the time to find out what that carries.
const TOO_MUCH_PERCENT: u64 = 25;
/// How many key frames one may be asked for in a second, of all qualities of its picture.
const KEY_FRAMES_PER_SECOND: u32 = 24;
/// Lines for sound, and for pictures, as a forwarder has them.
const SLOTS: [usize; 2] = [16, 25];
/// Faults that are written down.
const FAULTS_MAX: usize = 20;

/// Something that holds from some moments on, and does not from others on.
#[derive(Debug, Clone, Default)]
struct Course(Vec<(Duration, bool)>);

impl Course {
    fn set(&mut self, at: Duration, holds: bool) {
        if self.last() != holds {
            self.0.push((at, holds));
        }
    }

    fn last(&self) -> bool {
        self.0.last().is_some_and(|(_, holds)| *holds)
    }

    /// Whether it held at some time, or just before it stopped.
    fn held(&self, at: Duration) -> bool {
        let before = self.0.iter().rev().find(|(since, _)| *since <= at);
        before.is_some_and(|(_, holds)| *holds)
    }

    fn changed_at(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |(at, _)| *at)
    }
}

/// The last that came on a section.
#[derive(Debug, Clone, Copy)]
struct Last {
    from: usize,
    quality: usize,
    number: u32,
    packet: u64,
    ssrc: Ssrc,
    timestamp: u32,
}

/// What is known of somebody.
#[derive(Debug, Default)]
struct Person {
    room: String,
    /// By the number of what was made: when.
    made_at: [Vec<Duration>; 2],
    /// The pictures of each quality that went out.
    chain: [Vec<u32>; 3],
    is_layered: bool,
    sends: [Course; 2],
    gets: Course,
    grants: [bool; 2],
    subscribes: bool,
    is_muted: [bool; 2],
    is_there: bool,
    /// Sections on which something came.
    sections: BTreeMap<String, Last>,
    /// When something of somebody came last, by kind.
    latest: BTreeMap<(usize, usize), Duration>,
    /// When its link was changed last.
    link_since: Duration,
    /// Whether nothing was ever lost on its way.
    is_clean: bool,
    is_narrow: bool,
    carries_all: bool,
    /// Whether it said which pictures it wants.
    is_choosy: bool,
    /// What its link had done when it was looked at last, at times.
    looks: Vec<(Duration, LinkStats)>,
    key_requests: Vec<(Duration, u32)>,
}

impl Person {
    fn settle(&mut self, at: Duration) {
        for kind in 0..2 {
            let may = self.is_there && self.grants[kind] && !self.is_muted[kind];
            self.sends[kind].set(at, may);
        }
        self.gets.set(at, self.is_there && self.subscribes);
    }
}

/// What was seen, and what was wrong with it.
#[derive(Debug)]
pub(super) struct Oracle {
    people: Vec<Person>,
    faults: Vec<String>,
    looked_at: Duration,
    /// Frames that were held against it.
    frames: u64,
    switches: u64,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            people: Vec::new(),
            faults: Vec::new(),
            looked_at: Duration::ZERO,
            frames: 0,
            switches: 0,
        }
    }

    fn fault(&mut self, at: Duration, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(format!("at {at:?}: {what}"));
        }
    }

    /// Whether at some moment one might send and the other get what came.
    fn was_permitted(&self, viewer: usize, from: usize, kind: usize, span: [Duration; 2]) -> bool {
        let (Some(own), Some(other)) = (self.people.get(viewer), self.people.get(from)) else {
            return false;
        };
        let [first, last] = span;
        let changes = own.gets.0.iter().chain(&other.sends[kind].0);
        let changes = changes.map(|(at, _)| *at);
        let mut moments = changes
            .filter(|at| (first..=last).contains(at))
            .chain([first]);
        own.room == other.room && moments.any(|at| own.gets.held(at) && other.sends[kind].held(at))
    }
}

/// Whether all that is sent on a link arrives, in its order.
fn is_clean(link: &LinkConfig) -> bool {
    matches!(link.loss, Loss::None)
        && link.rate.is_none()
        && link.reorder_per_mille == 0
        && link.damage_per_mille == 0
}

impl Conference {
    pub(super) fn fault(&mut self, what: String) {
        let at = self.world.elapsed();
        if let Some(oracle) = &mut self.oracle {
            oracle.fault(at, what);
        }
    }

    /// What was wrong so far; nothing, where all is well.
    pub fn faults(&self) -> &[String] {
        self.oracle.as_ref().map_or(&[], |own| &own.faults)
    }

    /// Frames that were looked at, and changes of quality among them.
    pub fn figures(&self) -> (u64, u64) {
        let oracle = self.oracle.as_ref();
        oracle.map_or((0, 0), |own| (own.frames, own.switches))
    }

    fn person(&mut self, index: usize) -> Option<&mut Person> {
        self.oracle.as_mut()?.people.get_mut(index)
    }

    pub(super) fn note_arrival(&mut self, index: usize, link: &LinkConfig) {
        let at = self.world.elapsed();
        let own = &self.attendees[index];
        let permissions = own.seat.as_ref().map(|seat| &seat.admission.permissions);
        let may = |source| permissions.is_some_and(|own| own.may_publish(source));
        let person = Person {
            room: own
                .seat
                .as_ref()
                .map(|own| own.room.clone())
                .unwrap_or_default(),
            grants: [may(Source::Microphone), may(Source::Camera)],
            subscribes: permissions.is_some_and(|own| own.subscribe),
            is_layered: own.layers_within.is_some(),
            is_clean: is_clean(link),
            is_narrow: link.rate.is_some(),
            carries_all: is_clean(link),
            link_since: at,
            ..Person::default()
        };
        if let Some(oracle) = &mut self.oracle {
            oracle.people.push(person);
        }
    }

    /// Somebody knows its id; the hall had it in since.
    pub(super) fn note_entry(&mut self, index: usize) {
        let at = self.world.elapsed().saturating_sub(super::SIGNALING);
        if let Some(own) = self.person(index) {
            own.is_there = true;
            own.settle(at);
        }
    }

    /// Who is out is out as soon as the hall says so.
    pub(super) fn note_notice(&mut self, notice: &Notice) {
        let at = self.world.elapsed();
        let Notice::ParticipantLeft { participant, .. } = notice else {
            return;
        };
        let mut names = self.attendees.iter().map(|own| &own.name);
        let index = names.position(|own| *own == participant.id);
        if let Some(own) = index.and_then(|index| self.person(index)) {
            own.is_there = false;
            own.settle(at);
        }
    }

    /// What somebody said of its tracks is with the hall: what was muted is not any more.
    pub(super) fn note_announced(&mut self, index: usize) {
        let at = self.world.elapsed();
        if let Some(own) = self.person(index) {
            own.is_muted = [false; 2];
            own.settle(at);
        }
    }

    /// An operator mutes somebody, takes that back, or changes what it may.
    pub fn order(&mut self, index: usize, act: &Act) {
        let room = self.seat(index).room.clone();
        let done = self.act(&room, act);
        if done.is_err() {
            return;
        }
        let at = self.world.elapsed();
        let Some(own) = self.person(index) else {
            return;
        };
        match act {
            Act::Mute { tracks, .. } | Act::Unmute { tracks, .. } => {
                let kinds = match tracks {
                    Tracks::Source(Source::Microphone) => [true, false],
                    Tracks::Source(Source::Camera) => [false, true],
                    _ => [true; 2],
                };
                for (muted, is_meant) in own.is_muted.iter_mut().zip(kinds) {
                    if is_meant {
                        *muted = matches!(act, Act::Mute { .. });
                    }
                }
            }
            Act::Permit { change, .. } => own.change(change),
            _ => {}
        }
        own.settle(at);
    }

    /// Somebody's link is changed.
    pub fn relink(&mut self, index: usize, change: impl Fn(&mut LinkConfig)) {
        self.limit(index, change);
        let at = self.world.elapsed();
        let link = self.world.site(self.attendees[index].site).downlink.config;
        if let Some(own) = self.person(index) {
            own.is_clean &= is_clean(&link);
            own.is_narrow = link.rate.is_some();
            own.carries_all = is_clean(&link);
            own.link_since = at;
            own.looks.clear();
        }
    }

    /// The link of somebody, from the server.
    pub fn link(&mut self, index: usize) -> LinkConfig {
        self.world.site(self.attendees[index].site).downlink.config
    }

    /// Whether somebody sends sound, and whether pictures.
    pub fn sends(&self, index: usize) -> [bool; 2] {
        let own = &self.attendees[index];
        [own.sound.is_some(), own.picture.is_some()]
    }

    /// Nothing is expected of somebody for a while.
    pub fn excuse(&mut self, index: usize) {
        let at = self.world.elapsed();
        if let Some(own) = self.person(index) {
            own.link_since = at;
        }
    }

    /// Somebody wants no more than some of the pictures, or all again.
    pub fn choose(&mut self, index: usize, tracks: &serde_json::Value) {
        self.excuse(index);
        if let Some(own) = self.person(index) {
            own.is_choosy = tracks.as_array().is_some_and(|own| !own.is_empty());
        }
        self.say(index, "subscribe", &serde_json::json!({ "tracks": tracks }));
    }

    /// When somebody had something of somebody last: a sound, and a picture.
    pub fn latest(&self, viewer: usize, from: usize) -> [Option<Duration>; 2] {
        let people = self.oracle.as_ref().and_then(|own| own.people.get(viewer));
        let latest = |kind| people.and_then(|own| own.latest.get(&(from, kind)).copied());
        [latest(0), latest(1)]
    }

    pub(super) fn note_made(&mut self, index: usize, kind: usize) {
        let at = self.world.elapsed();
        if let Some(own) = self.person(index) {
            own.made_at[kind].push(at);
        }
    }

    pub(super) fn note_sent(&mut self, index: usize, number: u32, went: [bool; 3]) {
        if let Some(own) = self.person(index) {
            for (chain, went) in own.chain.iter_mut().zip(went) {
                if went {
                    chain.push(number);
                }
            }
        }
    }

    /// A frame arrived.
    pub(super) fn note_frame(&mut self, at: Duration, viewer: usize, frame: &Frame) {
        if self.attendees[viewer].is_gone {
            return;
        }
        let Some(mut oracle) = self.oracle.take() else {
            return;
        };
        oracle.frames += 1;
        // One may have waited for what came before it.
        let waited = self
            .world
            .now()
            .monotonic
            .saturating_duration_since(frame.received_at);
        let at = at.saturating_sub(waited);
        if let Err(what) = oracle.judge(at, viewer, frame) {
            let mid = &frame.mid;
            oracle.fault(at, format!("{viewer} on section {mid}: {what}"));
        }
        self.oracle = Some(oracle);
    }

    /// What has to hold at any time, and is not seen of a frame.
    pub fn look(&mut self) {
        let at = self.world.elapsed();
        let due = |own: &Oracle| at >= own.looked_at + LOOK_EVERY;
        if !self.oracle.as_deref().is_some_and(due) {
            return;
        }
        for index in 0..self.attendees.len() {
            if self.attendees[index].is_gone {
                continue;
            }
            let site = self.world.site(self.attendees[index].site);
            let stats = site.downlink.stats();
            let requests = self.attendees[index].key_requests;
            if let Some(own) = self.person(index) {
                own.looks.push((at, stats));
                own.key_requests.push((at, requests));
            }
        }
        let there: Vec<bool> = self
            .attendees
            .iter()
            .map(|own| !own.is_gone && own.picture.is_some())
            .collect();
        let heard: Vec<bool> = self
            .attendees
            .iter()
            .map(|own| !own.is_gone && own.sound.is_some())
            .collect();
        if let Some(oracle) = &mut self.oracle {
            oracle.looked_at = at;
            oracle.look_at_rates(at);
            oracle.look_for_silence(at, [&heard, &there]);
        }
    }
}

impl Person {
    fn change(&mut self, change: &PermissionChange) {
        if let Some(may) = change.publish {
            self.grants = [may; 2];
        }
        if let Some(sources) = change
            .publish_sources
            .as_ref()
            .filter(|_| change.publish != Some(false))
        {
            self.grants = [Source::Microphone, Source::Camera].map(|own| sources.contains(&own));
        }
        self.subscribes = change.subscribe.unwrap_or(self.subscribes);
    }
}

impl Oracle {
    fn judge(&mut self, at: Duration, viewer: usize, frame: &Frame) -> Result<(), String> {
        let kind = usize::from(frame.data.len() != SOUND_LEN);
        let (from, number) = origin(frame).ok_or("a frame that nobody made")?;
        let made_at = self
            .people
            .get(from)
            .and_then(|own| own.made_at[kind].get(number as usize));
        let made_at = *made_at.ok_or_else(|| format!("number {number} of {from}, not made"))?;
        if from == viewer {
            return Err(format!("number {number} of its own"));
        }
        // What was decided later than it can have been on its way does not count.
        let first = made_at.max(at.saturating_sub(ON_ITS_WAY));
        if !self.was_permitted(viewer, from, kind, [first, at]) {
            let gets = &self.people[viewer].gets;
            let sends = &self.people[from].sends[kind];
            return Err(format!(
                "number {number} of {from} (kind {kind}), made at {made_at:?}, without a \
                 permission: sends {sends:?}, gets {gets:?}"
            ));
        }
        let is_layered = self.people[from].is_layered;
        let (quality, number) = match (kind, is_layered) {
            (1, true) => layer_marks(frame),
            (1, false) => marks(frame),
            _ => (0, number),
        };
        let last = Last {
            from,
            quality,
            number,
            packet: frame.number,
            ssrc: frame.ssrc,
            timestamp: frame.timestamp,
        };
        let own = &mut self.people[viewer];
        own.latest.insert((from, kind), at);
        let before = own.sections.insert(frame.mid.to_string(), last);
        let is_clean = own.is_clean && self.people[from].is_clean;
        match before {
            Some(before) if before.ssrc == last.ssrc => {
                // What was lost of the one before is missed now.
                let is_clean = is_clean && self.people[before.from].is_clean;
                self.follows(&before, &last, frame, kind == 1 && !is_layered, is_clean)
            }
            _ if kind == 1 && is_clean && !frame.key_frame => Err(format!(
                "picture {number} of {from} came first, and is no key frame"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a decoder that had one frame can go on with the next, or knows that it cannot.
    fn follows(
        &mut self,
        before: &Last,
        last: &Last,
        frame: &Frame,
        is_chained: bool,
        is_clean: bool,
    ) -> Result<(), String> {
        let what = format!(
            "after {} of {} in quality {} came {} of {} in quality {} (key frame {}, lost {})",
            before.number,
            before.from,
            before.quality,
            last.number,
            last.from,
            last.quality,
            frame.key_frame,
            frame.lost_before
        );
        if last.packet <= before.packet {
            return Err(format!(
                "{what}: packet {} after {}",
                last.packet, before.packet
            ));
        }
        if is_clean && frame.lost_before > 0 {
            return Err(format!("{what}, though no link lost anything"));
        }
        let step = last.timestamp.wrapping_sub(before.timestamp) as i32;
        if !(1..=JUMP_MAX).contains(&step) {
            return Err(format!("{what}: the timestamp goes on by {step}"));
        }
        let is_same = before.from == last.from;
        let back = before.number.saturating_sub(last.number);
        if is_same && back > 0 && (!frame.key_frame || back > BACK_MAX) {
            return Err(format!("{what}: backwards"));
        }
        if is_same && before.quality != last.quality {
            self.switches += 1;
        }
        if !is_chained || frame.key_frame || frame.lost_before > 0 {
            return Ok(());
        }
        let chain = &self.people[last.from].chain[last.quality.min(QUALITIES.len() - 1)];
        let place = chain.binary_search(&last.number).ok();
        let needs = place
            .and_then(|place| place.checked_sub(1))
            .and_then(|at| chain.get(at));
        let has = is_same && before.quality == last.quality && needs == Some(&before.number);
        if has {
            Ok(())
        } else {
            Err(format!("{what}: it needs {needs:?}"))
        }
    }

    fn look_at_rates(&mut self, at: Duration) {
        let mut faults = Vec::new();
        for (index, own) in self
            .people
            .iter_mut()
            .enumerate()
            .filter(|(_, own)| own.is_there)
        {
            if let [.., (_, before), (_, now)] = own.key_requests[..]
                && now - before > KEY_FRAMES_PER_SECOND
            {
                let more = now - before;
                faults.push(format!(
                    "{index} was asked for {more} key frames in a second"
                ));
            }
            let (Some((_, newest)), true) = (own.looks.last(), own.is_narrow) else {
                continue;
            };
            let settled = own.link_since + SETTLED;
            let first = own.looks.iter().find(|(seen_at, _)| *seen_at >= settled);
            if let Some((seen_at, first)) = first
                && at >= *seen_at + Duration::from_secs(4)
            {
                let offered = newest.offered - first.offered;
                let dropped = newest.queue_full - first.queue_full;
                if offered > 100 && dropped * 100 > offered * TOO_MUCH_PERCENT {
                    faults.push(format!(
                        "of {offered} datagrams {dropped} were too many for {index}"
                    ));
                }
            }
        }
        for what in faults {
            self.fault(at, what);
        }
    }

    /// Who has been there for a while, with a way that carries it, has what the others send.
    fn look_for_silence(&mut self, at: Duration, present: [&[bool]; 2]) {
        let mut faults = Vec::new();
        let stands = |course: &Course| course.last() && at >= course.changed_at() + SETTLED;
        for (viewer, own) in self.people.iter().enumerate() {
            if !own.is_there || !stands(&own.gets) || at < own.link_since + SETTLED {
                continue;
            }
            // Where there are more than lines for them, not all are heard and seen.
            let others = |kind: usize| {
                let all = self.people.iter().zip(present[kind]);
                all.filter(|(other, sends)| **sends && other.room == own.room)
                    .count()
            };
            let crowded = [others(0) > SLOTS[0], others(1) > SLOTS[1]];
            for (from, other) in self.people.iter().enumerate() {
                for kind in 0..2 {
                    if crowded[kind] || (kind == 1 && own.is_choosy) {
                        continue;
                    }
                    let sends = present[kind][from] && stands(&other.sends[kind]);
                    let is_well = at >= other.link_since + SETTLED && other.carries_all;
                    if from == viewer
                        || own.room != other.room
                        || !own.carries_all
                        || !sends
                        || !is_well
                    {
                        continue;
                    }
                    let latest = own.latest.get(&(from, kind));
                    if latest.is_none_or(|latest| at > *latest + SILENCE_MAX[kind]) {
                        faults.push(format!(
                            "{viewer} has nothing of {from} (kind {kind}) since {latest:?}"
                        ));
                    }
                }
            }
        }
        for what in faults {
            self.fault(at, what);
        }
    }
}
