//! What the frames of a stream with layers refer to, and how packets say so.
//!
//! The encoder says which mode it works in and to which layer a frame belongs; the rest follows from
//! the mode. From it come the dependency descriptor (AV1 payload format, appendix A) of any codec,
//! and the payload descriptors of VP8 and VP9.

mod mode;
#[cfg(test)]
mod tests;

use twocan_wire::payload::{vp8, vp9};
use twocan_wire::rtp::{DependencyDescriptor, DependencyStructure, DependencyTemplate, Resolution};

pub use mode::{InterLayer, ScalabilityMode, UnknownScalabilityMode};

/// Numbers of templates, which are written in six bits.
const TEMPLATE_IDS: u8 = 64;

/// The place of a frame in the layers of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayer {
    /// The mode that the encoder works in.
    pub mode: ScalabilityMode,
    /// The spatial layer, from 0 and below the mode's.
    pub spatial: u8,
    /// The temporal layer, from 0 and below the mode's.
    pub temporal: u8,
    /// Whether its picture is a key picture: no frame of it refers to earlier pictures.
    pub key_picture: bool,
    /// Whether no frame of an upper spatial layer of the same picture follows.
    pub last_of_picture: bool,
}

impl FrameLayer {
    /// Whether the mode has such a frame.
    pub(super) fn is_sound(&self) -> bool {
        self.spatial < self.mode.spatial_layers()
            && self.temporal < self.mode.temporal_layers()
            && !(self.key_picture && self.temporal > 0)
    }
}

/// A frame that others may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    number: u64,
    picture: u64,
    temporal: u8,
}

/// What a frame refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependencies {
    /// How far back each frame is.
    frames: Vec<u64>,
    /// How far back the picture of an earlier frame is.
    picture: Option<u64>,
    /// Whether that is of the lowest temporal layer.
    is_base: bool,
    /// How far back the frame before is in each chain, 0 for none.
    chains: Vec<u64>,
}

/// The frames of a stream so far, as far as later ones refer to them.
#[derive(Debug, Clone)]
struct History {
    mode: ScalabilityMode,
    frames: u64,
    pictures: u64,
    is_key: bool,
    /// The newest frame of each temporal layer, by spatial layer.
    newest: [[Option<Sent>; 3]; 3],
    /// The newest frame of each chain.
    chains: [Option<u64>; 3],
}

impl History {
    fn new(mode: ScalabilityMode) -> Self {
        Self {
            mode,
            frames: 0,
            pictures: 0,
            is_key: false,
            newest: [[None; 3]; 3],
            chains: [None; 3],
        }
    }

    /// Begins a picture.
    fn begin(&mut self, is_key: bool) {
        self.pictures += 1;
        self.is_key = is_key;
        if is_key {
            self.newest = [[None; 3]; 3];
            self.chains = [None; 3];
        }
    }

    /// Adds a frame to the picture.
    fn push(&mut self, spatial: u8, temporal: u8) -> Dependencies {
        self.frames += 1;
        let (number, picture) = (self.frames, self.pictures);
        let layer = |spatial: u8| {
            self.newest
                .get(usize::from(spatial))
                .copied()
                .unwrap_or_default()
        };
        let earlier = layer(spatial).into_iter().flatten();
        let earlier = earlier
            .filter(|own| own.picture < picture && (own.temporal < temporal || own.temporal == 0))
            .max_by_key(|own| own.number);
        let below = spatial.checked_sub(1).map(layer).into_iter().flatten();
        let below = below
            .flatten()
            .find(|own| own.picture == picture && self.mode.refers_down(spatial, self.is_key));
        let frames = earlier.iter().chain(&below);
        let chains = (0..self.mode.spatial_layers()).zip(self.chains);
        let dependencies = Dependencies {
            frames: frames.map(|own| number - own.number).collect(),
            picture: earlier.map(|own| picture - own.picture),
            is_base: earlier.is_some_and(|own| own.temporal == 0),
            chains: chains
                .map(|(_, last)| last.map_or(0, |last| number - last))
                .collect(),
        };
        let sent = Sent {
            number,
            picture,
            temporal,
        };
        let seats = self.newest.get_mut(usize::from(spatial));
        if let Some(seat) = seats.and_then(|own| own.get_mut(usize::from(temporal))) {
            *seat = Some(sent);
        }
        for (chain, last) in (0..self.mode.spatial_layers()).zip(&mut self.chains) {
            if self.mode.is_in_chain(chain, spatial, temporal, self.is_key) {
                *last = Some(number);
            }
        }
        dependencies
    }
}

/// The template that fits a frame, where its differences fit the fields of one.
fn template(
    mode: ScalabilityMode,
    (spatial, temporal, is_key): (u8, u8, bool),
    dependencies: &Dependencies,
) -> Option<DependencyTemplate> {
    let small = |all: &[u64], max: u64| -> Option<Vec<u8>> {
        let all = all.iter().map(|own| u8::try_from(*own).ok());
        all.map(|own| own.filter(|own| u64::from(*own) <= max))
            .collect()
    };
    Some(DependencyTemplate {
        spatial,
        temporal,
        indications: mode.indications(spatial, temporal, is_key),
        frame_differences: small(&dependencies.frames, 16)?,
        chain_differences: small(&dependencies.chains, 15)?,
    })
}

/// The structure of a mode: what its frames look like while none is left out.
fn structure(mode: ScalabilityMode, offset: u8, lowest: Option<Resolution>) -> DependencyStructure {
    let mut history = History::new(mode);
    let mut templates = Vec::new();
    let pattern: &[u8] = match mode.temporal_layers() {
        1 => &[0],
        2 => &[1, 0],
        _ => &[2, 1, 2, 0],
    };
    let pictures = std::iter::once(0).chain(pattern.iter().chain(pattern).copied());
    for (index, temporal) in pictures.enumerate() {
        let is_key = index == 0;
        history.begin(is_key);
        for spatial in 0..mode.spatial_layers() {
            let dependencies = history.push(spatial, temporal);
            let found = template(mode, (spatial, temporal, is_key), &dependencies);
            templates.extend(found.filter(|own| !templates.contains(own)));
        }
    }
    // The format tells layers apart by their order.
    templates.sort_by_key(|own| (own.spatial, own.temporal));
    let spatial = mode.spatial_layers();
    let targets = (0..spatial).flat_map(|own| (0..mode.temporal_layers()).map(move |_| own));
    DependencyStructure {
        template_id_offset: offset,
        decode_targets: spatial * mode.temporal_layers(),
        protected_by: targets.collect(),
        chain_count: spatial,
        templates,
        resolutions: lowest.map_or_else(Vec::new, |lowest| resolutions(mode, lowest)),
    }
}

/// The sizes of all spatial layers, from that of the lowest.
pub(super) fn resolutions(mode: ScalabilityMode, lowest: Resolution) -> Vec<Resolution> {
    const SIDE_MAX: u32 = 1 << 16;
    let (numerator, denominator) = mode.ratio();
    let wider = |side: u32| (side.min(SIDE_MAX) * numerator / denominator).clamp(1, SIDE_MAX);
    let sizes = std::iter::successors(Some(lowest), |own| {
        Some(Resolution {
            width: wider(own.width),
            height: wider(own.height),
        })
    });
    sizes.take(usize::from(mode.spatial_layers())).collect()
}

/// What the packets of a frame say of its layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Marks {
    /// The dependency descriptor of the first packet, of those in between, and of the last; for a
    /// frame of one packet [`Self::only`].
    pub(super) first: Vec<u8>,
    pub(super) middle: Vec<u8>,
    pub(super) last: Vec<u8>,
    pub(super) only: Vec<u8>,
    pub(super) vp8: Option<vp8::Layer>,
    pub(super) vp9: Option<vp9::Placement>,
}

impl Marks {
    /// The dependency descriptor of a packet.
    pub(super) fn descriptor(&self, is_first: bool, is_last: bool) -> &[u8] {
        match (is_first, is_last) {
            (true, true) => &self.only,
            (true, false) => &self.first,
            (false, false) => &self.middle,
            (false, true) => &self.last,
        }
    }

    /// Leaves the dependency descriptors out.
    pub(super) fn forget_descriptors(&mut self) {
        for own in [
            &mut self.first,
            &mut self.middle,
            &mut self.last,
            &mut self.only,
        ] {
            own.clear();
        }
    }

    /// The length of the longest descriptor.
    pub(super) fn descriptor_len(&self) -> usize {
        self.first.len().max(self.only.len())
    }
}

/// The layers of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    history: Option<History>,
    structure: Option<DependencyStructure>,
    resolution: Option<Resolution>,
    timestamp: Option<u32>,
    tl0_picture_index: u8,
    key_index: u8,
}

impl Layers {
    /// Whether a frame of that timestamp begins a picture.
    pub(super) fn begins_picture(&self, timestamp: u32) -> bool {
        self.timestamp != Some(timestamp)
    }

    /// Notes the next frame. Answers what its packets say; `None` before the first key picture, to
    /// which all others refer.
    pub(super) fn push(
        &mut self,
        timestamp: u32,
        layer: &FrameLayer,
        resolution: Option<Resolution>,
    ) -> Option<Marks> {
        let begins = self.begins_picture(timestamp);
        self.timestamp = Some(timestamp);
        if begins && layer.key_picture && layer.spatial == 0 {
            self.begin_structure(layer.mode, resolution);
        }
        let history = self.history.as_mut().filter(|own| own.mode == layer.mode)?;
        if begins {
            history.begin(layer.key_picture);
            self.key_index = self.key_index.wrapping_add(u8::from(layer.key_picture)) & 0x1f;
            let is_lowest = layer.temporal == 0;
            self.tl0_picture_index = self.tl0_picture_index.wrapping_add(u8::from(is_lowest));
        }
        let is_key = history.is_key;
        let dependencies = history.push(layer.spatial, layer.temporal);
        let number = (history.frames & 0xffff) as u16;
        let structure = self.structure.as_ref()?;
        let has_structure = begins && is_key && layer.spatial == 0;
        let mut marks = describe(
            structure,
            layer,
            is_key,
            number,
            &dependencies,
            has_structure,
        );
        marks.vp8 = (layer.mode.spatial_layers() == 1).then_some(vp8::Layer {
            temporal: layer.temporal,
            sync: layer.temporal > 0 && dependencies.is_base,
            tl0_picture_index: self.tl0_picture_index,
            key_index: self.key_index,
        });
        let mode = layer.mode;
        marks.vp9 = Some(vp9::Placement {
            temporal: layer.temporal,
            spatial: layer.spatial,
            switching_up_point: true,
            inter_layer_dependency: mode.refers_down(layer.spatial, is_key),
            referred_to_above: !layer.last_of_picture
                && mode.refers_down(layer.spatial + 1, is_key),
            picture_difference: dependencies
                .picture
                .map(|own| u8::try_from(own).unwrap_or(0x7f).min(0x7f)),
            structure: has_structure.then(|| vp9::Structure {
                spatial_layers: mode.spatial_layers(),
                resolutions: structure
                    .resolutions
                    .iter()
                    .map(|own| (short(own.width), short(own.height)))
                    .collect(),
                group: Vec::new(),
            }),
        });
        Some(marks)
    }

    /// A key picture: the structure is told anew. Its templates have new numbers where it is another.
    fn begin_structure(&mut self, mode: ScalabilityMode, resolution: Option<Resolution>) {
        let same_mode = self.history.as_ref().is_some_and(|own| own.mode == mode);
        if !same_mode {
            let frames = self.history.as_ref().map_or(0, |own| own.frames);
            let pictures = self.history.as_ref().map_or(0, |own| own.pictures);
            self.history = Some(History {
                frames,
                pictures,
                ..History::new(mode)
            });
        }
        if same_mode && self.structure.is_some() && self.resolution == resolution {
            return;
        }
        self.resolution = resolution;
        let offset = self.structure.as_ref().map_or(0, |old| {
            let count = u8::try_from(old.templates.len()).unwrap_or(0);
            (old.template_id_offset + count) % TEMPLATE_IDS
        });
        self.structure = Some(structure(mode, offset, resolution));
    }
}

fn short(side: u32) -> u16 {
    u16::try_from(side).unwrap_or(u16::MAX)
}

/// The dependency descriptors of a frame.
fn describe(
    structure: &DependencyStructure,
    layer: &FrameLayer,
    is_key: bool,
    number: u16,
    dependencies: &Dependencies,
    has_structure: bool,
) -> Marks {
    let exact = template(
        layer.mode,
        (layer.spatial, layer.temporal, is_key),
        dependencies,
    );
    let indications = layer
        .mode
        .indications(layer.spatial, layer.temporal, is_key);
    let position =
        |fits: &dyn Fn(&DependencyTemplate) -> bool| structure.templates.iter().position(fits);
    let found = exact.and_then(|exact| position(&|own| *own == exact));
    // After a picture was left out the differences are others: they are stated then.
    let near = || {
        position(&|own| {
            (own.spatial, own.temporal) == (layer.spatial, layer.temporal)
                && own.indications == indications
        })
    };
    let Some(index) = found.or_else(near) else {
        return Marks::default();
    };
    let is_exact = found.is_some();
    let write = |start_of_frame: bool, end_of_frame: bool| {
        let short = |own: &u64| u16::try_from(*own).unwrap_or(u16::MAX);
        let byte = |own: &u64| u8::try_from(*own).unwrap_or(u8::MAX);
        let own = DependencyDescriptor {
            start_of_frame,
            end_of_frame,
            template_id: (structure.template_id_offset + (index & 0x3f) as u8) % TEMPLATE_IDS,
            frame_number: number,
            structure: (has_structure && start_of_frame).then(|| structure.clone()),
            active_decode_targets: None,
            indications: None,
            frame_differences: (!is_exact).then(|| dependencies.frames.iter().map(short).collect()),
            chain_differences: (!is_exact).then(|| dependencies.chains.iter().map(byte).collect()),
        };
        let mut out = Vec::new();
        // What cannot be described is left out: receivers do without.
        match own.write(Some(structure), &mut out) {
            Ok(()) => out,
            Err(_) => Vec::new(),
        }
    };
    Marks {
        first: write(true, false),
        middle: write(false, false),
        last: write(false, true),
        only: write(true, true),
        vp8: None,
        vp9: None,
    }
}
