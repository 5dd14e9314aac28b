//! Whether a frame can be decoded after those that were handed out before it.
//!
//! 1. While nothing has been missing since the last key frame, everything can.
//! 2. After a loss a payload may name the pictures that its frame refers to: VP9 in flexible mode
//!    or by its picture group, and the dependency descriptor.
//! 3. Or it tells its temporal layer and counts the pictures of the lowest one: VP8, and VP9
//!    without a picture group. A lower layer then goes on without an upper one.
//! 4. Or it counts pictures: then what was missing held none of them, or only such as nothing
//!    refers to.
//! 5. Else (H.264, H.265, AV1 without a descriptor) only what follows without a gap can.

use std::collections::VecDeque;

use twocan_wire::payload::vp9::{self, GroupPicture};
use twocan_wire::payload::{Inspection, vp8};
use twocan_wire::rtp::{DependencyDescriptor, DependencyStructure};

use super::Format;
use super::assemble::Piece;

/// Pictures remembered to which others may refer.
const RECENT_MAX: usize = 128;

/// References kept of one frame: eight spatial layers of VP9 name three each.
const REFERENCES_MAX: usize = 64;

/// All temporal layers but the lowest.
const UPPER_LAYERS: u8 = 0xfe;

/// What can be said of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Decodable,
    /// What it refers to was not handed out.
    Undecodable,
    /// It may refer to what is missing.
    Unknown,
}

/// A number of 7 or 15 bits, or 16 of the dependency descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    value: u16,
    mask: u16,
}

impl Number {
    fn back(self, steps: u16) -> u16 {
        self.value.wrapping_sub(steps) & self.mask
    }

    fn since(self, other: u16) -> u16 {
        self.value.wrapping_sub(other) & self.mask
    }
}

/// What the packets of a frame say about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    pub(super) key_frame: bool,
    pub(super) discardable: bool,
    pub(super) temporal_layer: u8,
    /// VP8: refers to nothing but the lowest layer.
    base_alone: bool,
    /// VP9: what follows in upper layers refers to none before it of those.
    switches_up: bool,
    picture: Option<Number>,
    tl0_picture_index: Option<u8>,
    /// The numbers by which others refer to it: one, or one of each spatial layer.
    numbers: Vec<Number>,
    references: Option<Vec<u16>>,
    structure: Option<DependencyStructure>,
    group: Option<Vec<GroupPicture>>,
}

/// What was handed out of a stream, as far as others may refer to it.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Nothing was missing since the last key frame.
    intact: bool,
    /// A bit for each temporal layer of which the newest picture is missing.
    broken: u8,
    last_picture: Option<u16>,
    last_tl0: Option<u8>,
    recent: VecDeque<u16>,
    structure: Option<DependencyStructure>,
    /// The pictures of a group of VP9, and the id of the first.
    group: Option<(Vec<GroupPicture>, u16)>,
}

fn bit(layer: u8) -> u8 {
    1 << (layer & 7)
}

/// The layers above one.
fn above(layer: u8) -> u8 {
    !(bit(layer) | (bit(layer) - 1))
}

/// What a payload says of its picture's number.
pub(super) fn picture_number(
    format: Format,
    payload: &[u8],
    inspection: &Inspection,
) -> Option<Number> {
    let field = match format {
        Format::Vp8 => 2,
        Format::Vp9 => 1,
        _ => return None,
    };
    let is_long = payload.get(field).is_some_and(|byte| byte & 0x80 != 0);
    inspection.picture_id.map(|value| Number {
        value,
        mask: if is_long { 0x7fff } else { 0x7f },
    })
}

impl Tracker {
    /// Reads a complete frame, its packets in order.
    pub(super) fn read<'a>(
        &self,
        mut pieces: impl Iterator<Item = (&'a Piece, Inspection)> + Clone,
    ) -> Marks {
        let all = pieces.clone();
        let Some((first, inspection)) = pieces.find(|(piece, _)| !piece.payload.is_empty()) else {
            return Marks::default();
        };
        let picture = picture_number(first.format, &first.payload, &inspection);
        let mut marks = Marks {
            key_frame: inspection.key_frame,
            discardable: inspection.discardable,
            temporal_layer: inspection.temporal_layer.unwrap_or(0),
            picture,
            tl0_picture_index: inspection.tl0_picture_index,
            ..Marks::default()
        };
        match first.format {
            Format::Whole | Format::L16(_) => marks.key_frame = true,
            Format::H264(_) | Format::H265 => {
                let mut rest = all.clone();
                marks.key_frame = rest.any(|(_, inspection)| inspection.key_frame);
            }
            Format::Vp8 => {
                let layer = vp8::Descriptor::parse(&first.payload);
                let layer = layer.ok().and_then(|(own, _)| own.temporal_layer);
                marks.base_alone = layer.is_some_and(|(_, sync)| sync);
            }
            Format::Vp9 => {
                marks.switches_up = inspection.switching_point;
                self.read_vp9(all.clone().map(|(piece, _)| piece), &mut marks);
            }
            Format::Av1 => {}
        }
        if first.dependency_descriptor.is_some() {
            self.read_descriptors(all.map(|(piece, _)| piece), &mut marks);
        }
        marks
    }

    fn read_vp9<'a>(&self, pieces: impl Iterator<Item = &'a Piece>, marks: &mut Marks) {
        let Some(picture) = marks.picture else { return };
        marks.numbers.push(picture);
        let mut references = Vec::new();
        let mut flexible = false;
        for piece in pieces {
            let Ok((descriptor, _)) = vp9::Descriptor::parse(&piece.payload) else {
                continue;
            };
            flexible |= descriptor.flexible_mode;
            if references.len() < REFERENCES_MAX && descriptor.frame_start {
                let differences = descriptor.references.as_slice().iter();
                references.extend(differences.map(|back| picture.back(u16::from(*back))));
            }
            let structure = descriptor.structure.filter(|own| !own.group.is_empty());
            marks.group = structure.map(|own| own.group).or(marks.group.take());
        }
        if flexible {
            marks.references = Some(references);
        } else if let (Some((group, start)), None) = (&self.group, &marks.group) {
            let index = usize::from(picture.since(*start)) % group.len().max(1);
            marks.references = group.get(index).map(|own| {
                let differences = own.references.as_slice().iter();
                let all = differences.map(|back| picture.back(u16::from(*back)));
                all.collect()
            });
        }
    }

    fn read_descriptors<'a>(&self, pieces: impl Iterator<Item = &'a Piece>, marks: &mut Marks) {
        marks.numbers.clear();
        marks.references = None;
        let mut references = Vec::new();
        let mut is_lowest = true;
        for piece in pieces {
            let Some(value) = &piece.dependency_descriptor else {
                continue;
            };
            let last = marks.structure.as_ref().or(self.structure.as_ref());
            let Ok(mut descriptor) = DependencyDescriptor::parse(value, last) else {
                return;
            };
            marks.structure = descriptor.structure.take().or(marks.structure.take());
            let structure = marks.structure.as_ref().or(self.structure.as_ref());
            let frame = structure.and_then(|structure| descriptor.frame(structure).ok());
            let Some(frame) = frame else { return };
            if !descriptor.start_of_frame || references.len() >= REFERENCES_MAX {
                continue;
            }
            let number = Number {
                value: descriptor.frame_number,
                mask: u16::MAX,
            };
            if std::mem::take(&mut is_lowest) {
                marks.temporal_layer = frame.temporal;
            }
            let differences = frame.frame_differences.iter();
            references.extend(differences.map(|back| number.back(*back)));
            marks.numbers.push(number);
        }
        if !marks.numbers.is_empty() {
            // An upper spatial layer refers to the lower one, which comes with it.
            references.retain(|own| marks.numbers.iter().all(|number| number.value != *own));
            marks.references = Some(references);
        }
    }

    /// Whether nothing that matters lies between what was handed out and this frame, by the
    /// numbers of pictures. `harmless` are those of which something arrived, and to which nothing
    /// refers.
    pub(super) fn follows(&self, marks: &Marks, harmless: &[u16]) -> bool {
        let (Some(picture), Some(last)) = (marks.picture, self.last_picture) else {
            return false;
        };
        let ahead = picture.since(last);
        // Most of the way round is a step back.
        (1..=picture.mask / 2).contains(&ahead)
            && usize::from(ahead) <= harmless.len() + 1
            && (1..ahead).all(|back| harmless.contains(&picture.back(back)))
    }

    /// Judges a frame. `follows` says that nothing is missing before it.
    pub(super) fn judge(&self, marks: &Marks, follows: bool) -> Verdict {
        if marks.key_frame || (follows && self.intact) {
            return Verdict::Decodable;
        }
        let otherwise = if follows {
            Verdict::Undecodable
        } else {
            Verdict::Unknown
        };
        if let Some(references) = &marks.references {
            let all = references.iter().all(|own| self.recent.contains(own));
            return if all {
                Verdict::Decodable
            } else {
                Verdict::Undecodable
            };
        }
        let (Some(index), Some(last)) = (marks.tl0_picture_index, self.last_tl0) else {
            return otherwise;
        };
        if marks.temporal_layer == 0 {
            return if index == last.wrapping_add(1) {
                Verdict::Decodable
            } else {
                Verdict::Undecodable
            };
        }
        if index != last {
            return Verdict::Undecodable;
        }
        let needed = !above(marks.temporal_layer);
        if marks.base_alone || (self.broken & needed == 0 && follows) {
            return Verdict::Decodable;
        }
        otherwise
    }

    /// Whether what is missing before a packet was of upper temporal layers alone.
    pub(super) fn has_base_of(&self, inspection: &Inspection) -> bool {
        inspection.temporal_layer.is_some_and(|layer| layer > 0)
            && self.last_tl0.is_some()
            && inspection.tl0_picture_index == self.last_tl0
    }

    /// Something of an upper temporal layer is missing.
    pub(super) fn lose_upper_layers(&mut self) {
        self.intact = false;
        self.broken |= UPPER_LAYERS;
    }

    /// A frame is handed out.
    pub(super) fn take(&mut self, marks: &mut Marks, follows: bool) {
        if marks.key_frame {
            self.intact = true;
            self.broken = 0;
            self.recent.clear();
        } else if !follows {
            self.lose_upper_layers();
        }
        self.broken &= !bit(marks.temporal_layer);
        if marks.switches_up {
            self.broken &= !above(marks.temporal_layer);
        }
        if marks.temporal_layer == 0 {
            self.last_tl0 = marks.tl0_picture_index;
        }
        if let Some(structure) = marks.structure.take() {
            self.structure = Some(structure);
        }
        match (marks.group.take(), marks.picture) {
            (Some(group), Some(picture)) => self.group = Some((group, picture.value)),
            _ if marks.key_frame => self.group = None,
            _ => {}
        }
        for number in &marks.numbers {
            // What is half a round back cannot be told from what is to come.
            self.recent
                .retain(|own| (1..=number.mask / 2).contains(&number.since(*own)));
            if self.recent.len() >= RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(number.value);
        }
        self.pass(marks.picture);
    }

    /// A frame to which nothing refers is left out, or one that cannot be decoded.
    pub(super) fn drop(&mut self, marks: &Marks) {
        if !marks.discardable {
            self.intact = false;
            self.broken |= bit(marks.temporal_layer) & UPPER_LAYERS;
        }
        self.pass(marks.picture);
    }

    /// The picture is done with, handed out or not.
    pub(super) fn pass(&mut self, picture: Option<Number>) {
        self.last_picture = picture.map(|own| own.value);
    }
}
