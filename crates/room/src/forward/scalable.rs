//! Layers within one stream: what a packet says of them, and which of them a viewer gets.
//!
//! 1. A [`Target`] is all up to a spatial and a temporal layer. What of a frame belongs to which
//!    target is told by the dependency descriptor (AV1 payload format, appendix A) in every codec
//!    that has layers in space, else by the descriptor of VP8 (RFC 7741) or VP9 (RFC 9628).
//! 2. By the dependency descriptor a viewer changes to another target at a frame that says so, and
//!    of which it has what it refers to.
//! 3. By the descriptor of VP9 it changes to a higher spatial layer at a key picture, and to a lower
//!    one at any picture, if it was sent the lower layers until then.

use std::collections::VecDeque;
use std::sync::Arc;

use twocan_proto::wire::rtp::{
    DecodeTargetIndication, DependencyDescriptor, DependencyStructure, Resolution,
};

use super::frames::{Frames, REMEMBERED};
use super::track::{Format, Seen};

/// Spatial layers that are told apart: AV1 has four.
pub(super) const SPATIAL_MAX: u8 = 4;

/// Temporal layers that are told apart.
pub(super) const TEMPORAL_MAX: u8 = 8;

/// Frames referred to that are looked at; encoders for calls name no more.
const REFERENCES_MAX: usize = 8;

/// All of a stream up to a spatial and a temporal layer: a decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(super) struct Target {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
}

impl Target {
    fn is_within(self, other: Self) -> bool {
        self.spatial <= other.spatial && self.temporal <= other.temporal
    }
}

/// What the dependency descriptor says of a frame. Sets of targets have a bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) number: u16,
    /// Where it stands in the layers.
    pub(super) layer: Target,
    ends_frame: bool,
    /// The targets of its stream.
    targets: Arc<[Target]>,
    /// Those that it is a part of.
    present: u32,
    /// Those that a viewer may change to here.
    switches: u32,
    references: References,
}

impl Described {
    /// Whether an upper spatial layer needs it as well.
    pub(super) fn serves_upper(&self) -> bool {
        let mut targets = self.targets.iter().enumerate();
        targets.any(|(at, own)| own.spatial > self.layer.spatial && self.present >> at & 1 != 0)
    }

    /// The place of the target next to `wanted`, from below.
    fn next_to(&self, wanted: Target) -> Option<usize> {
        let targets = self.targets.iter().enumerate();
        let within = targets.filter(|(_, own)| own.is_within(wanted));
        within.max_by_key(|(_, own)| **own).map(|(at, _)| at)
    }

    fn is_in(&self, set: u32, target: Target) -> Option<bool> {
        let at = self.next_to(target)?;
        Some(set >> at & 1 != 0)
    }
}

/// How far back the frames are that one refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct References {
    back: [u16; REFERENCES_MAX],
    /// More than are kept: more than `REFERENCES_MAX`.
    count: usize,
}

impl References {
    fn new<N: Copy + Into<u16>>(differences: &[N]) -> Self {
        let mut back = [0; REFERENCES_MAX];
        for (seat, own) in back.iter_mut().zip(differences) {
            *seat = (*own).into();
        }
        Self {
            back,
            count: differences.len(),
        }
    }

    /// Whether `holds` of all.
    fn all(&self, holds: impl Fn(u16) -> bool) -> bool {
        let known = self.back.get(..self.count);
        known.is_some_and(|known| known.iter().all(|back| holds(*back)))
    }
}

/// Reads the dependency descriptors of one stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    structure: DependencyStructure,
    targets: Arc<[Target]>,
    /// Of every template: the targets that its frames are a part of, those that may be changed to,
    /// and what they refer to.
    templates: Vec<(u32, u32, References)>,
    /// Targets that the encoder makes at present.
    active: u32,
}

impl Reader {
    /// What a descriptor says; `None` of one that cannot be read, as before the first key frame.
    ///
    /// One that comes late, not `is_newest`, changes nothing of what is known.
    pub(super) fn read(&mut self, value: &[u8], is_newest: bool) -> Option<Described> {
        let last = self.known.as_ref().map(|own| &own.structure);
        let mut descriptor = DependencyDescriptor::parse(value, last).ok()?;
        if let Some(structure) = descriptor.structure.take() {
            let is_known = last == Some(&structure);
            if !is_newest && self.known.is_some() && !is_known {
                return Known::new(structure).describe(&descriptor);
            }
            match self.known.as_mut().filter(|_| is_known) {
                // All are there with a new structure.
                Some(known) if is_newest => known.active = u32::MAX,
                Some(_) => {}
                None => self.known = Some(Known::new(structure)),
            }
        }
        let known = self.known.as_mut()?;
        if let Some(active) = descriptor.active_decode_targets.filter(|_| is_newest) {
            known.active = active;
        }
        known.describe(&descriptor)
    }

    /// The targets that there are at present, the lowest first; `None` where nothing is known.
    pub(super) fn targets(&self) -> Option<Vec<Target>> {
        let known = self.known.as_ref()?;
        let targets = known.targets.iter().enumerate();
        let active = targets.filter(|(at, _)| known.active >> at & 1 != 0);
        let mut active: Vec<Target> = active.map(|(_, own)| *own).collect();
        active.sort();
        active.dedup();
        Some(active)
    }

    /// Which targets are there: to see whether that changes.
    pub(super) fn active(&self) -> Option<u32> {
        self.known.as_ref().map(|own| own.active)
    }

    /// The size of a spatial layer, where the encoder states it.
    pub(super) fn resolution(&self, spatial: u8) -> Option<Resolution> {
        let known = self.known.as_ref()?;
        known
            .structure
            .resolutions
            .get(usize::from(spatial))
            .copied()
    }
}

impl Known {
    fn new(structure: DependencyStructure) -> Self {
        let target = |at: u8| {
            let at = usize::from(at);
            let present = |own: &DecodeTargetIndication| *own != DecodeTargetIndication::NotPresent;
            let templates = structure.templates.iter();
            let part = templates.filter(|own| own.indications.get(at).is_some_and(present));
            part.fold(Target::default(), |own, template| Target {
                spatial: own.spatial.max(template.spatial.min(SPATIAL_MAX - 1)),
                temporal: own.temporal.max(template.temporal.min(TEMPORAL_MAX - 1)),
            })
        };
        let template = |own: &twocan_proto::wire::rtp::DependencyTemplate| {
            let (present, switches) = sets(&own.indications);
            (present, switches, References::new(&own.frame_differences))
        };
        Self {
            targets: (0..structure.decode_targets).map(target).collect(),
            templates: structure.templates.iter().map(template).collect(),
            active: u32::MAX,
            structure,
        }
    }

    fn describe(&self, descriptor: &DependencyDescriptor) -> Option<Described> {
        let offset = self.structure.template_id_offset;
        let at = usize::from(descriptor.template_id.wrapping_sub(offset) & 0x3f);
        let template = self.structure.templates.get(at)?;
        let (mut present, mut switches, mut references) = *self.templates.get(at)?;
        if let Some(indications) = &descriptor.indications {
            (present, switches) = sets(indications);
        }
        if let Some(differences) = &descriptor.frame_differences {
            references = References::new(differences);
        }
        Some(Described {
            number: descriptor.frame_number,
            layer: Target {
                spatial: template.spatial.min(SPATIAL_MAX - 1),
                temporal: template.temporal.min(TEMPORAL_MAX - 1),
            },
            ends_frame: descriptor.end_of_frame,
            targets: self.targets.clone(),
            present,
            switches,
            references,
        })
    }
}

/// The targets that a frame is a part of, and those that may be changed to with it.
fn sets(indications: &[DecodeTargetIndication]) -> (u32, u32) {
    let mut sets = (0, 0);
    // There are no more than 32.
    for (at, indication) in indications.iter().enumerate().take(32) {
        let bit = 1 << at;
        match indication {
            DecodeTargetIndication::NotPresent => {}
            DecodeTargetIndication::Switch => {
                sets.0 |= bit;
                sets.1 |= bit;
            }
            DecodeTargetIndication::Discardable | DecodeTargetIndication::Required => sets.0 |= bit,
        }
    }
    sets
}

/// Which layers of a stream one viewer gets.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// What it is sent.
    target: Target,
    /// What it was sent before each frame of a change among the newest, the oldest first: what comes late
    /// is decided on as those were that refer to it.
    former: VecDeque<(u16, Target)>,
    /// Some frames of lower spatial layers were left out since the last key picture, so that
    /// those layers cannot be gone back to.
    skips_lower: bool,
    frames: Frames,
}

impl Selection {
    /// A stream begins, with a key frame.
    pub(super) fn begin(&mut self, target: Target) {
        *self = Self {
            target,
            ..Self::default()
        };
    }

    /// Whether only a key frame brings what is wanted.
    pub(super) fn needs_key_frame(&self, wanted: Target) -> bool {
        wanted.spatial > self.target.spatial
            || wanted.spatial < self.target.spatial && self.skips_lower
    }

    /// Takes a packet: whether it goes out, and, if so, whether it ends the picture for this viewer.
    /// `wanted` is given unless the stream is soon to be left.
    pub(super) fn take(&mut self, seen: &Seen, wanted: Option<Target>) -> Option<bool> {
        let ends = match &seen.described {
            Some(described) => {
                let is_sent = self.take_described(described, wanted);
                let target = self.target_at(described.number);
                let is_last = described.layer.spatial == target.spatial;
                is_sent.then_some(described.ends_frame && is_last)
            }
            None => {
                let is_sent = self.take_undescribed(seen, wanted);
                let spatial = seen.inspection.spatial_layer;
                let is_last = spatial.is_some_and(|own| own == self.target.spatial);
                is_sent.then_some(seen.inspection.ends_frame && is_last)
            }
        };
        ends.map(|ends| ends || seen.packet.marker)
    }

    fn take_described(&mut self, frame: &Described, wanted: Option<Target>) -> bool {
        if let Some(known) = self.frames.was_sent(frame.number) {
            return known;
        }
        if self.frames.is_newer(frame.number) {
            let is_old = |since: u16| frame.number.wrapping_sub(since) >= REMEMBERED;
            while self.former.front().is_some_and(|own| is_old(own.0)) {
                self.former.pop_front();
            }
            // A key picture: every layer begins with it, and it brings the structure, without which no
            // other frame can be read.
            if frame.references.count == 0 && frame.layer.spatial == 0 {
                self.change(frame.number, wanted);
                self.skips_lower = false;
                self.frames.note(frame.number, true);
                return true;
            }
            // Elsewhere an upper frame may refer to one before it, so that nothing leads upwards.
            let wanted = wanted.filter(|own| own.spatial <= self.target.spatial);
            let change = wanted.filter(|own| *own != self.target).filter(|own| {
                let reaches = |back| self.frames.was_sent(frame.number.wrapping_sub(back));
                frame.is_in(frame.switches, *own) == Some(true)
                    && frame.references.all(|back| reaches(back) == Some(true))
            });
            self.change(frame.number, change);
        }
        let target = self.target_at(frame.number);
        // What says nothing of this target goes to everybody.
        let is_sent = frame.is_in(frame.present, target).unwrap_or(true);
        let is_lower = frame.layer.spatial < self.target.spatial
            && frame.layer.temporal <= self.target.temporal;
        self.skips_lower |= !is_sent && is_lower;
        self.frames.note(frame.number, is_sent);
        is_sent
    }

    /// Goes over to another target with a frame.
    fn change(&mut self, number: u16, target: Option<Target>) {
        if let Some(target) = target.filter(|own| *own != self.target) {
            self.former.push_back((number, self.target));
            self.target = target;
        }
    }

    /// What is sent of a frame, which may be older than the newest.
    fn target_at(&self, number: u16) -> Target {
        let is_before = |since: u16| (number.wrapping_sub(since) as i16) < 0;
        let mut former = self.former.iter();
        let own = former.find(|own| is_before(own.0));
        own.map_or(self.target, |own| own.1)
    }

    fn take_undescribed(&mut self, seen: &Seen, wanted: Option<Target>) -> bool {
        let inspection = &seen.inspection;
        let layer = Target {
            spatial: inspection.spatial_layer.unwrap_or(0),
            temporal: inspection.temporal_layer.unwrap_or(0),
        };
        if let Some(wanted) = wanted {
            let begins_picture = inspection.starts_frame && layer.spatial == 0;
            let goes_down = wanted.spatial < self.target.spatial && !self.skips_lower;
            if seen.begins {
                self.target = wanted;
                self.skips_lower = false;
            } else if begins_picture && goes_down {
                self.target.spatial = wanted.spatial;
            }
            if inspection.starts_frame {
                self.target.temporal = self.target.temporal.min(wanted.temporal);
            }
            // RFC 9628 §4.2: what follows in upper layers reaches back to nothing before it.
            let is_open = seen.format == Format::Vp9 && inspection.switching_point;
            if is_open && begins_picture && layer.temporal <= self.target.temporal {
                self.target.temporal = wanted.temporal;
            }
        }
        // A key picture brings the structure of all.
        if inspection.key_frame && layer.spatial == 0 && layer.spatial < self.target.spatial {
            return true;
        }
        if layer.spatial > self.target.spatial {
            return false;
        }
        if layer.spatial < self.target.spatial && inspection.not_inter_layer_reference {
            self.skips_lower = true;
            return false;
        }
        if layer.temporal <= self.target.temporal {
            return true;
        }
        let rises = wanted.is_some_and(|wanted| layer.temporal <= wanted.temporal)
            && layer.temporal == self.target.temporal + 1
            && inspection.starts_frame
            && inspection.switching_point;
        if rises {
            self.target.temporal = layer.temporal;
        }
        rises
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// What Chromium sent as AV1 with three spatial and three temporal layers, recorded by LiveKit
    /// (`dependencydescriptorextension_test.go`): a key frame, and the frames after it, from which on
    /// the third spatial layer rests.
    const CAPTURED: [&str; 13] = [
        "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877530077004200ef008601df010d",
        "86017340fc",
        "46017340fc",
        "c3017540fc",
        "88017640fc",
        "48017640fc",
        "c2017840fc",
        "860173",
        "460173",
        "8b0174",
        "0b0174",
        "0b0174",
        "c30175",
    ];

    fn target(spatial: u8, temporal: u8) -> Target {
        Target { spatial, temporal }
    }

    #[test]
    fn what_chromium_says_of_its_layers_is_understood() {
        let mut reader = Reader::default();
        assert_eq!(
            reader.read(&bytes(CAPTURED[1]), true),
            None,
            "no structure yet"
        );
        let all: Vec<Described> = CAPTURED
            .iter()
            .map(|hex| reader.read(&bytes(hex), true).unwrap())
            .collect();
        assert_eq!(reader.resolution(2).map(|own| own.height), Some(270));
        let first = &all[0];
        assert_eq!((first.layer, first.references.count), (target(0, 0), 0));
        assert_eq!(first.switches, 0x1ff);
        assert!(first.ends_frame && first.serves_upper());
        let targets = reader.targets().unwrap();
        assert_eq!(targets.len(), 6, "the third spatial layer rests");
        assert_eq!(targets.last(), Some(&target(1, 2)));
        // Layer 1 of the key picture refers to layer 0 of it.
        assert_eq!(all[1].layer, target(1, 0));
        assert!(all[1].references.all(|back| back == 1));
    }

    fn described(
        number: u16,
        layer: Target,
        present: u32,
        switches: u32,
        back: &[u16],
    ) -> Described {
        Described {
            number,
            layer,
            ends_frame: true,
            targets: [target(0, 0), target(1, 0)].into(),
            present,
            switches,
            references: References::new(back),
        }
    }

    /// Two spatial layers, of which only key pictures refer to the lower one: what is sent of `pictures`
    /// pictures after the one at `number`, of two frames each.
    fn pass(own: &mut Selection, number: u16, pictures: u16, wanted: Target) -> Vec<(u16, bool)> {
        let frames = (0..pictures).flat_map(|picture| {
            let number = number.wrapping_add(2 * picture);
            let lower = described(number, target(0, 0), 0b01, 0b01, &[2]);
            let upper = described(number.wrapping_add(1), target(1, 0), 0b10, 0b10, &[2]);
            [lower, upper]
        });
        let sent = frames.map(|frame| (frame.number, own.take_described(&frame, Some(wanted))));
        sent.collect()
    }

    fn key(own: &mut Selection, number: u16, wanted: Target) -> [bool; 2] {
        let lower = described(number, target(0, 0), 0b11, 0b11, &[]);
        let upper = described(number.wrapping_add(1), target(1, 0), 0b10, 0b10, &[1]);
        [lower, upper].map(|frame| own.take_described(&frame, Some(wanted)))
    }

    #[test]
    fn without_the_lower_layers_only_a_key_picture_leads_down() {
        let (low, high) = (target(0, 0), target(1, 0));
        let mut own = Selection::default();
        own.begin(high);
        // The numbers wrap on the way.
        assert_eq!(key(&mut own, 65_532, high), [true, true]);
        assert!(!own.needs_key_frame(low), "nothing was left out yet");
        let sent = pass(&mut own, 65_534, 2, high);
        assert_eq!(
            sent,
            [(65_534, false), (65_535, true), (0, false), (1, true)]
        );
        assert!(own.needs_key_frame(low));
        let sent = pass(&mut own, 2, 1, low);
        assert_eq!(sent, [(2, false), (3, true)], "as before until then");
        assert_eq!(key(&mut own, 4, low), [true, false]);
        assert!(own.needs_key_frame(high) && !own.needs_key_frame(low));
        let sent = pass(&mut own, 6, 2, high);
        assert_eq!(sent, [(6, true), (7, false), (8, true), (9, false)]);
        assert_eq!(key(&mut own, 10, high), [true, true]);
    }

    #[test]
    fn packets_of_a_frame_are_decided_on_alike() {
        let (low, high) = (target(0, 0), target(1, 0));
        let mut own = Selection::default();
        own.begin(low);
        assert_eq!(key(&mut own, 0, low), [true, false]);
        let upper = described(1, high, 0b10, 0b10, &[1]);
        // More of both frames comes, while another target is wanted already.
        assert!(!own.take_described(&upper, Some(high)));
        let lower = described(0, low, 0b11, 0b11, &[]);
        assert!(own.take_described(&lower, Some(high)));
        // One that comes late is no place to change at.
        assert_eq!(key(&mut own, 6, low), [true, false]);
        let late = described(4, low, 0b11, 0b11, &[]);
        assert!(own.take_described(&late, Some(high)));
        assert_eq!(own.target, low);
    }
}
