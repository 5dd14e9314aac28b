//! What a frame depends on: the dependency descriptor (AV1 payload format, appendix A).
//!
//! ```text
//! |S|E| template  |         frame number          |   S/E: begins/ends the frame
//! |D|A|T|F|C|  D: structure follows, A: active decode targets follow,
//!              T/F/C: indications, differences, chains of this frame's own
//! ```
//!
//! A key frame brings a [`DependencyStructure`]: templates, of which every later frame names one.
//! So a descriptor is read with the last structure of its stream, which the caller keeps.

mod structure;

#[cfg(test)]
mod tests;

pub use structure::{DecodeTargetIndication, DependencyStructure, DependencyTemplate, Resolution};

use thiserror::Error;

use crate::bits::{BitReader, BitWriter};
use crate::reader::TooShort;

/// Why a descriptor cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DependencyError {
    /// It ends inside of a field.
    #[error("descriptor ends inside of a field")]
    TooShort,
    /// It describes its frame by a structure, and neither brings one nor was one given.
    #[error("descriptor without a structure")]
    NoStructure,
    /// The template is not one of the structure, which has changed then.
    #[error("template is not one of the structure")]
    BadTemplate,
    /// A structure whose parts do not fit each other or their fields.
    #[error("dependency structure contradicts itself")]
    BadStructure,
    /// Indications, differences or chains that do not fit the structure or their fields.
    #[error("description of the frame does not fit the structure")]
    BadFrame,
    /// More than the 255 bytes of a header extension.
    #[error("descriptor is too long for a header extension")]
    TooLong,
}

impl From<TooShort> for DependencyError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// Longest value of a header extension, in bytes.
const LEN_MAX: usize = 255;

/// Length of a descriptor that only names its template.
const SHORT_LEN: usize = 3;

/// Largest difference of frame numbers to a frame referred to.
pub const FRAME_DIFFERENCE_MAX: u16 = 4096;

/// The descriptor of the packets of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// Whether the packet begins the frame.
    pub start_of_frame: bool,
    /// Whether it ends the frame.
    pub end_of_frame: bool,
    /// The template, 0 to 63, counted on from that of the structure before.
    pub template_id: u8,
    /// Counts frames in decoding order, wrapping.
    pub frame_number: u16,
    /// The structure from here on.
    pub structure: Option<DependencyStructure>,
    /// Which decode targets there are, the first as the lowest bit. Where this is absent they stay
    /// as they were, or are all with a new structure.
    pub active_decode_targets: Option<u32>,
    /// Instead of the template's: one for each decode target.
    pub indications: Option<Vec<DecodeTargetIndication>>,
    /// Instead of the template's: how far back each frame referred to is, 1 to 4096.
    pub frame_differences: Option<Vec<u16>>,
    /// Instead of the template's: how far back the frame before is in each chain, 0 for none.
    pub chain_differences: Option<Vec<u8>>,
}

/// What a descriptor and its structure say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameDependencies {
    /// The spatial layer.
    pub spatial: u8,
    /// The temporal layer.
    pub temporal: u8,
    /// One for each decode target.
    pub indications: Vec<DecodeTargetIndication>,
    /// How far back each frame referred to is; none for a frame that can be decoded alone.
    pub frame_differences: Vec<u16>,
    /// How far back the frame before is in each chain, 0 for none.
    pub chain_differences: Vec<u8>,
    /// The size of the spatial layer, where stated.
    pub resolution: Option<Resolution>,
}

impl DependencyDescriptor {
    /// Reads the value of the extension. `last` is the last structure of the stream; one that comes
    /// with this descriptor goes before it.
    ///
    /// # Errors
    /// [`DependencyError`]. Without any structure a descriptor can be read that only names its
    /// template.
    pub fn parse(
        value: &[u8],
        last: Option<&DependencyStructure>,
    ) -> Result<Self, DependencyError> {
        let mut bits = BitReader::new(value);
        let mut own = Self {
            start_of_frame: bits.flag()?,
            end_of_frame: bits.flag()?,
            template_id: bits.small(6)?,
            frame_number: bits.medium(16)?,
            structure: None,
            active_decode_targets: None,
            indications: None,
            frame_differences: None,
            chain_differences: None,
        };
        if value.len() <= SHORT_LEN {
            if let Some(last) = last {
                last.template(own.template_id)?;
            }
            return Ok(own);
        }
        let [
            has_structure,
            has_targets,
            has_indications,
            has_frames,
            has_chains,
        ] = [
            bits.flag()?,
            bits.flag()?,
            bits.flag()?,
            bits.flag()?,
            bits.flag()?,
        ];
        if has_structure {
            own.structure = Some(DependencyStructure::parse(&mut bits)?);
        }
        let structure = own.structure.as_ref().or(last);
        if structure.is_none() && !(has_targets || has_indications || has_frames || has_chains) {
            return Ok(own);
        }
        let structure = structure.ok_or(DependencyError::NoStructure)?;
        if has_targets {
            let count = u32::from(structure.decode_targets);
            // On the wire the last target comes first.
            own.active_decode_targets = Some(bits.bits(count)?);
        }
        structure.template(own.template_id)?;
        if has_indications {
            let all =
                (0..structure.decode_targets).map(|_| DecodeTargetIndication::parse(&mut bits));
            own.indications = Some(all.collect::<Result<_, _>>()?);
        }
        if has_frames {
            own.frame_differences = Some(parse_differences(&mut bits)?);
        }
        if has_chains {
            let all = structure.chains().map(|_| bits.small(8));
            own.chain_differences = Some(all.collect::<Result<_, _>>()?);
        }
        Ok(own)
    }

    /// Appends the value of the extension. `last` is the structure that the receiver has, if this
    /// does not bring one.
    ///
    /// # Errors
    /// [`DependencyError`]; `out` may have grown then.
    pub fn write(
        &self,
        last: Option<&DependencyStructure>,
        out: &mut Vec<u8>,
    ) -> Result<(), DependencyError> {
        let start = out.len();
        if self.template_id > 63 {
            return Err(DependencyError::BadTemplate);
        }
        let mut bits = BitWriter::new(out);
        bits.flag(self.start_of_frame);
        bits.flag(self.end_of_frame);
        bits.bits(u32::from(self.template_id), 6);
        bits.bits(u32::from(self.frame_number), 16);
        let structure = self.structure.as_ref().or(last);
        if let Some(structure) = structure {
            structure.template(self.template_id)?;
        }
        let flags = [
            self.structure.is_some(),
            self.active_decode_targets.is_some(),
            self.indications.is_some(),
            self.frame_differences.is_some(),
            self.chain_differences.is_some(),
        ];
        if !flags.contains(&true) {
            return Ok(());
        }
        let structure = structure.ok_or(DependencyError::NoStructure)?;
        flags.iter().for_each(|flag| bits.flag(*flag));
        if let Some(own) = &self.structure {
            own.write(&mut bits)?;
        }
        self.write_frame(structure, &mut bits)?;
        if out.len().saturating_sub(start) > LEN_MAX {
            return Err(DependencyError::TooLong);
        }
        Ok(())
    }

    fn write_frame(
        &self,
        structure: &DependencyStructure,
        bits: &mut BitWriter<'_>,
    ) -> Result<(), DependencyError> {
        let targets = usize::from(structure.decode_targets);
        if let Some(active) = self.active_decode_targets {
            let unknown = u64::from(active) >> structure.decode_targets;
            if unknown != 0 {
                return Err(DependencyError::BadFrame);
            }
            bits.bits(active, u32::from(structure.decode_targets));
        }
        if let Some(indications) = &self.indications {
            if indications.len() != targets {
                return Err(DependencyError::BadFrame);
            }
            indications.iter().for_each(|own| own.write(bits));
        }
        if let Some(differences) = &self.frame_differences {
            for difference in differences {
                let (1..=FRAME_DIFFERENCE_MAX) = *difference else {
                    return Err(DependencyError::BadFrame);
                };
                let value = difference.saturating_sub(1);
                let size = match value {
                    0..16 => 1,
                    16..256 => 2,
                    _ => 3u32,
                };
                bits.bits(size, 2);
                bits.bits(u32::from(value), size.saturating_mul(4));
            }
            bits.bits(0, 2);
        }
        if let Some(differences) = &self.chain_differences {
            if differences.len() != structure.chains().len() {
                return Err(DependencyError::BadFrame);
            }
            for difference in differences {
                bits.bits(u32::from(*difference), 8);
            }
        }
        Ok(())
    }

    /// What this and the structure in force say of the frame.
    ///
    /// # Errors
    /// [`DependencyError::BadTemplate`] when the template is not one of `structure`.
    pub fn frame(
        &self,
        structure: &DependencyStructure,
    ) -> Result<FrameDependencies, DependencyError> {
        let template = structure.template(self.template_id)?;
        let template_differences = || {
            let all = template.frame_differences.iter();
            all.map(|own| u16::from(*own)).collect()
        };
        let indications = self.indications.as_ref();
        let frame_differences = self.frame_differences.clone();
        let chain_differences = self.chain_differences.as_ref();
        Ok(FrameDependencies {
            spatial: template.spatial,
            temporal: template.temporal,
            indications: indications.unwrap_or(&template.indications).clone(),
            frame_differences: frame_differences.unwrap_or_else(template_differences),
            chain_differences: chain_differences
                .unwrap_or(&template.chain_differences)
                .clone(),
            resolution: structure
                .resolutions
                .get(usize::from(template.spatial))
                .copied(),
        })
    }
}

fn parse_differences(bits: &mut BitReader<'_>) -> Result<Vec<u16>, DependencyError> {
    let mut all = Vec::new();
    loop {
        let size = bits.bits(2)?;
        if size == 0 {
            return Ok(all);
        }
        let value = bits.medium(size.saturating_mul(4))?;
        all.push(value.saturating_add(1));
    }
}
