//! What an `a=rid` line restricts its stream to (RFC 8851 §4 and §5).

use crate::ids::{PayloadType, Rid};

use super::rtp::rid;

/// The restrictions of an `a=rid` line. What is `None` or empty is not restricted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RidRestrictions {
    /// `pt`: the payload types that the stream may have.
    pub payload_types: Vec<PayloadType>,
    /// `max-width` in pixels.
    pub max_width: Option<u32>,
    /// `max-height` in pixels.
    pub max_height: Option<u32>,
    /// `max-fps` in frames per second.
    pub max_fps: Option<u32>,
    /// `max-fs` in pixels per frame.
    pub max_fs: Option<u64>,
    /// `max-br` in bit/s.
    pub max_br: Option<u64>,
    /// `max-pps` in pixels per second.
    pub max_pps: Option<u64>,
    /// `max-bpp` in bits per pixel, as it stands: a decimal number.
    pub max_bpp: Option<String>,
    /// `depend`: the streams that must be received with this one.
    pub depend: Vec<Rid>,
}

/// Why the restrictions of a line cannot be kept to. RFC 8851 §6.3 has such a line ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RidRestrictionError {
    /// The value does not have the form that its name asks for, or the name stands twice.
    #[error("malformed or repeated restriction of a rid")]
    Malformed,
    /// A restriction that we do not know.
    #[error("unknown restriction of a rid")]
    Unknown,
}

impl RidRestrictions {
    /// Reads [`RidLine::restrictions`](super::RidLine::restrictions).
    ///
    /// # Errors
    /// [`RidRestrictionError`].
    pub fn parse(text: &str) -> Result<Self, RidRestrictionError> {
        let mut own = Self::default();
        for item in text.split(';') {
            let (name, value) = match item.trim().split_once('=') {
                Some((name, value)) => (name.trim(), value.trim()),
                None if item.trim().is_empty() => continue,
                None => return Err(RidRestrictionError::Unknown),
            };
            own.take(name, value)?;
        }
        Ok(own)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), RidRestrictionError> {
        match name {
            "pt" => {
                let all = value.split(',').map(|word| word.trim().parse::<u8>());
                for payload_type in all {
                    let number = payload_type.ok().filter(|number| *number < 128);
                    let number = number.ok_or(RidRestrictionError::Malformed)?;
                    self.payload_types.push(PayloadType(number));
                }
            }
            "depend" => {
                for word in value.split(',') {
                    let depended = rid(word.trim()).ok_or(RidRestrictionError::Malformed)?;
                    self.depend.push(depended);
                }
            }
            "max-width" => set(&mut self.max_width, value)?,
            "max-height" => set(&mut self.max_height, value)?,
            "max-fps" => set(&mut self.max_fps, value)?,
            "max-fs" => set(&mut self.max_fs, value)?,
            "max-br" => set(&mut self.max_br, value)?,
            "max-pps" => set(&mut self.max_pps, value)?,
            "max-bpp" => {
                let is_number = value.split('.').count() <= 2
                    && value.split('.').all(|part| {
                        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
                    });
                if !is_number || self.max_bpp.is_some() {
                    return Err(RidRestrictionError::Malformed);
                }
                self.max_bpp = Some(value.into());
            }
            _ => return Err(RidRestrictionError::Unknown),
        }
        Ok(())
    }
}

fn set<T: core::str::FromStr>(
    seat: &mut Option<T>,
    value: &str,
) -> Result<(), RidRestrictionError> {
    let number = value.parse().map_err(|_| RidRestrictionError::Malformed)?;
    match seat.replace(number) {
        None => Ok(()),
        Some(_) => Err(RidRestrictionError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of RFC 8851 §10 and §11.
    #[test]
    fn restrictions_of_the_rfc_are_read() {
        let own = RidRestrictions::parse("pt=97;max-width=1280;max-height=720").unwrap();
        let expected = RidRestrictions {
            payload_types: vec![PayloadType(97)],
            max_width: Some(1280),
            max_height: Some(720),
            ..RidRestrictions::default()
        };
        assert_eq!(own, expected);
        let own = RidRestrictions::parse("pt=99,100;max-br=64000;max-width=640;max-fps=30");
        let own = own.unwrap();
        assert_eq!(own.payload_types, [PayloadType(99), PayloadType(100)]);
        assert_eq!((own.max_br, own.max_fps), (Some(64_000), Some(30)));
        let own = RidRestrictions::parse("max-fs=8040; max-pps=243000;max-bpp=0.5; depend=a,b");
        let own = own.unwrap();
        assert_eq!((own.max_fs, own.max_pps), (Some(8040), Some(243_000)));
        assert_eq!(own.max_bpp.as_deref(), Some("0.5"));
        assert_eq!(own.depend, [Rid::from("a"), Rid::from("b")]);
        assert_eq!(RidRestrictions::parse(""), Ok(RidRestrictions::default()));
    }

    #[test]
    fn what_cannot_be_kept_to_is_told_apart() {
        use RidRestrictionError as E;
        for (text, error) in [
            ("pt=128", E::Malformed),
            ("pt=", E::Malformed),
            ("max-br=", E::Malformed),
            ("max-width=-1", E::Malformed),
            ("max-width=1;max-width=1", E::Malformed),
            ("max-bpp=1.2.3", E::Malformed),
            ("depend=a,!", E::Malformed),
            ("max-wisdom=1", E::Unknown),
            ("bare", E::Unknown),
        ] {
            assert_eq!(RidRestrictions::parse(text), Err(error), "{text}");
        }
    }
}
