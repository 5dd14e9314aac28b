//! Structures: templates, decode targets, chains.

use super::DependencyError;
use crate::bits::{BitReader, BitWriter};

/// Templates of a structure at most: as many as there are numbers for.
const TEMPLATES_MAX: usize = 64;

/// Decode targets of a structure at most.
const TARGETS_MAX: u8 = 32;

/// Largest temporal and spatial layer. The format has no bound; AV1's are 7 and 3, VP9's 7 and 7.
const TEMPORAL_MAX: u8 = 7;
const SPATIAL_MAX: u8 = 7;

/// What the frames after a key frame may look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyStructure {
    /// The number of the first template, 0 to 63.
    pub template_id_offset: u8,
    /// How many decode targets, 1 to 32: sets of layers that a receiver may want.
    pub decode_targets: u8,
    /// For each decode target the chain that protects it. Empty when there are no chains; the
    /// chains are those below `chain_count`.
    pub protected_by: Vec<u8>,
    /// How many chains, at most as many as decode targets.
    pub chain_count: u8,
    /// The templates, 1 to 64, by spatial and then by temporal layer.
    pub templates: Vec<DependencyTemplate>,
    /// The size of each spatial layer; empty when not stated.
    pub resolutions: Vec<Resolution>,
}

/// One way in which a frame may depend on others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyTemplate {
    /// The spatial layer, 0 to 7.
    pub spatial: u8,
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// One for each decode target.
    pub indications: Vec<DecodeTargetIndication>,
    /// How far back each frame referred to is, 1 to 16.
    pub frame_differences: Vec<u8>,
    /// How far back the frame before is in each chain, 1 to 15; 0 for none.
    pub chain_differences: Vec<u8>,
}

/// What a frame is to a decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeTargetIndication {
    /// Not part of it.
    NotPresent,
    /// Part of it, and nothing refers to it.
    Discardable,
    /// Part of it, and a receiver may begin to want it here.
    Switch,
    /// Part of it.
    Required,
}

/// The size of a spatial layer, each 1 to 65536 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl DecodeTargetIndication {
    pub(super) fn parse(bits: &mut BitReader<'_>) -> Result<Self, DependencyError> {
        Ok(match bits.bits(2)? {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        })
    }

    pub(super) fn write(self, bits: &mut BitWriter<'_>) {
        let value = match self {
            Self::NotPresent => 0,
            Self::Discardable => 1,
            Self::Switch => 2,
            Self::Required => 3,
        };
        bits.bits(value, 2);
    }
}

impl DependencyStructure {
    /// The template of that number.
    pub(super) fn template(&self, id: u8) -> Result<&DependencyTemplate, DependencyError> {
        let index = id.wrapping_sub(self.template_id_offset) & 0x3f;
        let template = self.templates.get(usize::from(index));
        template.ok_or(DependencyError::BadTemplate)
    }

    /// The chains by number.
    pub(super) fn chains(&self) -> core::ops::Range<usize> {
        0..usize::from(self.chain_count)
    }

    pub(super) fn parse(bits: &mut BitReader<'_>) -> Result<Self, DependencyError> {
        let mut own = Self {
            template_id_offset: bits.small(6)?,
            decode_targets: bits.small(5)?.saturating_add(1),
            protected_by: Vec::new(),
            chain_count: 0,
            templates: parse_layers(bits)?,
            resolutions: Vec::new(),
        };
        for template in &mut own.templates {
            for _ in 0..own.decode_targets {
                let indication = DecodeTargetIndication::parse(bits)?;
                template.indications.push(indication);
            }
        }
        for template in &mut own.templates {
            while bits.flag()? {
                let difference = bits.small(4)?.saturating_add(1);
                template.frame_differences.push(difference);
            }
        }
        own.chain_count = bits.non_symmetric(own.decode_targets.saturating_add(1))?;
        if own.chain_count > 0 {
            for _ in 0..own.decode_targets {
                own.protected_by.push(bits.non_symmetric(own.chain_count)?);
            }
            for template in &mut own.templates {
                for _ in 0..own.chain_count {
                    template.chain_differences.push(bits.small(4)?);
                }
            }
        }
        if bits.flag()? {
            for _ in 0..own.spatial_layers() {
                own.resolutions.push(Resolution {
                    width: bits.bits(16)?.saturating_add(1),
                    height: bits.bits(16)?.saturating_add(1),
                });
            }
        }
        Ok(own)
    }

    fn spatial_layers(&self) -> usize {
        let highest = self.templates.iter().map(|own| own.spatial).max();
        highest.map_or(0, |highest| usize::from(highest).saturating_add(1))
    }

    pub(super) fn write(&self, bits: &mut BitWriter<'_>) -> Result<(), DependencyError> {
        if !self.is_sound() {
            return Err(DependencyError::BadStructure);
        }
        bits.bits(u32::from(self.template_id_offset), 6);
        bits.bits(u32::from(self.decode_targets.saturating_sub(1)), 5);
        self.write_layers(bits)?;
        for indication in self.templates.iter().flat_map(|own| &own.indications) {
            indication.write(bits);
        }
        for template in &self.templates {
            for difference in &template.frame_differences {
                bits.flag(true);
                bits.bits(u32::from(difference.saturating_sub(1)), 4);
            }
            bits.flag(false);
        }
        bits.non_symmetric(self.chain_count, self.decode_targets.saturating_add(1));
        for chain in &self.protected_by {
            bits.non_symmetric(*chain, self.chain_count);
        }
        for difference in self.templates.iter().flat_map(|own| &own.chain_differences) {
            bits.bits(u32::from(*difference), 4);
        }
        bits.flag(!self.resolutions.is_empty());
        for resolution in &self.resolutions {
            bits.bits(resolution.width.saturating_sub(1), 16);
            bits.bits(resolution.height.saturating_sub(1), 16);
        }
        Ok(())
    }

    /// Whether everything fits its field and each other, but for the order of the layers.
    fn is_sound(&self) -> bool {
        let targets = usize::from(self.decode_targets);
        let template_is_sound = |own: &DependencyTemplate| {
            own.indications.len() == targets
                && own
                    .frame_differences
                    .iter()
                    .all(|own| (1..=16).contains(own))
                && own.chain_differences.len() == self.chains().len()
                && own.chain_differences.iter().all(|own| *own < 16)
        };
        let protected = if self.chain_count > 0 { targets } else { 0 };
        let pixels = 1..=0x1_0000;
        let resolution_is_sound =
            |own: &Resolution| pixels.contains(&own.width) && pixels.contains(&own.height);
        self.template_id_offset < 64
            && (1..=TARGETS_MAX).contains(&self.decode_targets)
            && self.chain_count <= self.decode_targets
            && self.protected_by.len() == protected
            && self.protected_by.iter().all(|own| *own < self.chain_count)
            && (1..=TEMPLATES_MAX).contains(&self.templates.len())
            && self.templates.iter().all(template_is_sound)
            && (self.resolutions.is_empty() || self.resolutions.len() == self.spatial_layers())
            && self.resolutions.iter().all(resolution_is_sound)
    }

    /// The layers of the templates, each as a step from the one before.
    fn write_layers(&self, bits: &mut BitWriter<'_>) -> Result<(), DependencyError> {
        let mut before: Option<(u8, u8)> = None;
        for template in &self.templates {
            let (spatial, temporal) = (template.spatial, template.temporal);
            let step = match before {
                None if (spatial, temporal) == (0, 0) => None,
                Some(before) if before == (spatial, temporal) => Some(0),
                Some((s, t)) if s == spatial && t.checked_add(1) == Some(temporal) => Some(1),
                Some((s, _)) if s.checked_add(1) == Some(spatial) && temporal == 0 => Some(2),
                _ => return Err(DependencyError::BadStructure),
            };
            if temporal > TEMPORAL_MAX || spatial > SPATIAL_MAX {
                return Err(DependencyError::BadStructure);
            }
            if let Some(step) = step {
                bits.bits(step, 2);
            }
            before = Some((spatial, temporal));
        }
        bits.bits(3, 2);
        Ok(())
    }
}

/// The templates with their layers, and nothing else yet.
fn parse_layers(bits: &mut BitReader<'_>) -> Result<Vec<DependencyTemplate>, DependencyError> {
    let (mut spatial, mut temporal) = (0u8, 0u8);
    let mut templates = Vec::new();
    loop {
        if templates.len() == TEMPLATES_MAX {
            return Err(DependencyError::BadStructure);
        }
        templates.push(DependencyTemplate {
            spatial,
            temporal,
            indications: Vec::new(),
            frame_differences: Vec::new(),
            chain_differences: Vec::new(),
        });
        match bits.bits(2)? {
            0 => {}
            1 => temporal = temporal.saturating_add(1),
            2 => (spatial, temporal) = (spatial.saturating_add(1), 0),
            _ => return Ok(templates),
        }
        if temporal > TEMPORAL_MAX || spatial > SPATIAL_MAX {
            return Err(DependencyError::BadStructure);
        }
    }
}
