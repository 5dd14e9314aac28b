//! Comfort noise (RFC 3389): how loud a silence is, and of which color.
//!
//! ```text
//! |0|   level     |  coefficient 1  |  coefficient 2  | …
//! ```
//!
//! It takes the place of sound in a codec that has no silence of its own, such as G.711: one
//! payload when the silence begins, with the timestamp of the first sample that is left out, and
//! others when the noise changes. In descriptions it is a codec, `CN`, with the clock of the sound.

use super::PayloadError;

/// The static payload type, for a clock of 8 kHz (RFC 3551 §6).
pub const PAYLOAD_TYPE: u8 = 13;

/// Coefficients that are read, and written; those beyond are left out, as a receiver may (RFC 3389
/// §3.3). Codecs use 10 or so.
pub const COEFFICIENTS_MAX: usize = 32;

/// The quietest level: 127 below the loudest there is.
const LEVEL_MAX: u8 = 127;

/// Stands for no coefficient (RFC 3389 §3.2).
const RESERVED: u8 = 255;

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComfortNoise {
    /// How loud it is, 0 to 127 for 0 to -127 dBov; written with 7 bits.
    pub level: u8,
    /// Its spectrum, as the reflection coefficients of an all-pole filter, the first one first; none for
    /// white noise.
    pub coefficients: Vec<Reflection>,
}

/// A reflection coefficient, quantised in steps of 258/32768 (RFC 3389 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reflection(u8);

impl Reflection {
    /// The nearest to a value, which is cut to what there is: a little less than 1 either way. No number
    /// (NaN) counts as 0.
    pub fn nearest(value: f64) -> Self {
        let steps = (value * 32_768.0 / 258.0).round().clamp(-127.0, 127.0);
        // Within 0 and 254 by the clamp; NaN becomes 0.
        Self((if steps.is_nan() { 127.0 } else { steps + 127.0 }) as u8)
    }

    /// Its value, between -1 and 1.
    pub fn value(self) -> f64 {
        258.0 * (f64::from(self.0) - 127.0) / 32_768.0
    }
}

impl ComfortNoise {
    /// White noise.
    pub fn white(level: u8) -> Self {
        Self {
            level: level.min(LEVEL_MAX),
            coefficients: Vec::new(),
        }
    }

    /// Reads a payload. The first bit is not looked at. From a coefficient on that is none (255), and
    /// after [`COEFFICIENTS_MAX`], the rest is left out: a filter of fewer is a coarser one.
    ///
    /// # Errors
    /// [`PayloadError::Empty`].
    pub fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        let (level, rest) = payload.split_first().ok_or(PayloadError::Empty)?;
        let known = rest.iter().take(COEFFICIENTS_MAX).copied();
        let known = known.take_while(|index| *index != RESERVED);
        Ok(Self {
            level: level & LEVEL_MAX,
            coefficients: known.map(Reflection).collect(),
        })
    }

    /// Appends the payload, with [`COEFFICIENTS_MAX`] coefficients at most.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.level & LEVEL_MAX);
        let coefficients = self.coefficients.iter().take(COEFFICIENTS_MAX);
        out.extend(coefficients.map(|own| own.0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_level_is_in_the_lower_seven_bits_and_the_rest_is_the_spectrum() {
        let noise = ComfortNoise::parse(&[0x80 | 70, 127, 0, 254]);
        let coefficients =
            [0.0, -127.0, 127.0].map(|steps| Reflection::nearest(steps * 258.0 / 32_768.0));
        let expected = ComfortNoise {
            level: 70,
            coefficients: coefficients.to_vec(),
        };
        assert_eq!(noise, Ok(expected));
        assert_eq!(ComfortNoise::parse(&[40]), Ok(ComfortNoise::white(40)));
        assert_eq!(ComfortNoise::parse(&[]), Err(PayloadError::Empty));
    }

    #[test]
    fn what_is_no_coefficient_ends_the_spectrum() {
        let noise = ComfortNoise::parse(&[1, 3, 255, 4]).map(|own| own.coefficients.len());
        assert_eq!(noise, Ok(1));
        let long = ComfortNoise::parse(&[9; 1200]).map(|own| own.coefficients.len());
        assert_eq!(long, Ok(COEFFICIENTS_MAX));
    }

    #[test]
    fn values_beyond_are_cut() {
        for (value, index) in [
            (7.0, 254),
            (f64::NEG_INFINITY, 0),
            (f64::NAN, 127),
            (0.0, 127),
            (0.5, 191),
        ] {
            assert_eq!(Reflection::nearest(value), Reflection(index), "{value}");
        }
    }

    proptest! {
        #[test]
        fn noise_is_read_back(level in 0u8..128, indexes in prop::collection::vec(0u8..255, 0..32)) {
            let noise = ComfortNoise {
                level,
                coefficients: indexes.into_iter().map(Reflection).collect(),
            };
            for own in &noise.coefficients {
                prop_assert!(own.value().abs() < 1.0);
                prop_assert_eq!(Reflection::nearest(own.value()), *own);
            }
            let mut payload = Vec::new();
            noise.write(&mut payload);
            prop_assert_eq!(ComfortNoise::parse(&payload), Ok(noise));
        }
    }
}
