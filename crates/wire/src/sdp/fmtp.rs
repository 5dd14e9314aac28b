//! Parameters of payload types, and those of H.264 and H.265 in particular.

use core::fmt;

/// Splits `a=fmtp` parameters into names and values: `apt=96;x` yields `("apt", "96")` and
/// `("x", "")`.
pub fn fmtp_parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.trim();
        (!name.is_empty()).then_some((name, value.trim()))
    })
}

/// The value of the parameter `name`, whose case does not matter.
pub fn fmtp_parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    fmtp_parameters(text)
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// What decides whether two H.264 payload types are the same (RFC 6184 §8.1, §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H264Parameters {
    /// The profile.
    pub profile: H264Profile,
    /// Ten times the level, for example 31; level 1b is [`LEVEL_1B`](Self::LEVEL_1B).
    pub level: u8,
    /// 0 (single NAL units), 1 (non-interleaved) or 2 (interleaved).
    pub packetization_mode: u8,
    /// Whether each direction may have a level of its own.
    pub level_asymmetry_allowed: bool,
}

/// The profiles of H.264 that peers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum H264Profile {
    /// Constrained Baseline.
    ConstrainedBaseline,
    /// Baseline.
    Baseline,
    /// Main.
    Main,
    /// High.
    High,
    /// Constrained High.
    ConstrainedHigh,
    /// Predictive High 4:4:4.
    PredictiveHigh444,
}

impl H264Parameters {
    /// Level 1b: above level 1 (10), below level 1.1 (11). Written as 9, as High profiles do.
    pub const LEVEL_1B: u8 = 9;

    /// Reads `a=fmtp` parameters; `None` for an unknown profile or a malformed value.
    pub fn parse(text: &str) -> Option<Self> {
        // RFC 6184 §8.1: without the parameter, Baseline at level 1.
        let profile_level_id = fmtp_parameter(text, "profile-level-id").unwrap_or("42000a");
        if profile_level_id.len() != 6 {
            return None;
        }
        let bits = u32::from_str_radix(profile_level_id, 16).ok()?;
        let [_, idc, iop, level] = bits.to_be_bytes();
        let profile = H264Profile::new(idc, iop)?;
        let level_1b = level == 11 && iop & 0x10 != 0 && !profile.is_high();
        let packetization_mode = match fmtp_parameter(text, "packetization-mode") {
            None => 0,
            Some(mode) => mode.parse().ok().filter(|mode| *mode <= 2)?,
        };
        Some(Self {
            profile,
            level: if level_1b { Self::LEVEL_1B } else { level },
            packetization_mode,
            level_asymmetry_allowed: fmtp_parameter(text, "level-asymmetry-allowed") == Some("1"),
        })
    }

    /// Whether both describe the same configuration: level apart, everything that RFC 6184
    /// §8.2.2 makes part of it.
    pub fn is_same_configuration(&self, other: &Self) -> bool {
        self.profile == other.profile && self.packetization_mode == other.packetization_mode
    }

    /// Whether this level is below `other`'s.
    pub fn is_level_below(&self, other: &Self) -> bool {
        // Twice the level, with 1b between 1 and 1.1.
        let rank = |level: u8| match level {
            Self::LEVEL_1B => 21,
            level => u16::from(level).saturating_mul(2),
        };
        rank(self.level) < rank(other.level)
    }

    /// The six hexadecimal digits of `profile-level-id`.
    pub fn profile_level_id(&self) -> String {
        let (idc, iop) = self.profile.bits();
        let (iop, level) = match self.level {
            Self::LEVEL_1B if !self.profile.is_high() => (iop | 0x10, 11),
            level => (iop, level),
        };
        format!("{idc:02x}{iop:02x}{level:02x}")
    }
}

impl H264Profile {
    /// From `profile_idc` and the constraint flags (RFC 6184 §8.1, table 5).
    fn new(idc: u8, iop: u8) -> Option<Self> {
        Some(match (idc, iop) {
            (0x42, iop) if iop & 0x4f == 0x40 => Self::ConstrainedBaseline,
            (0x4d, iop) if iop & 0x8f == 0x80 => Self::ConstrainedBaseline,
            (0x58, iop) if iop & 0xcf == 0xc0 => Self::ConstrainedBaseline,
            (0x42, iop) if iop & 0x4f == 0 => Self::Baseline,
            (0x58, iop) if iop & 0xcf == 0x80 => Self::Baseline,
            (0x4d, iop) if iop & 0xaf == 0 => Self::Main,
            (0x64, 0x00) => Self::High,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            (0xf4, 0x00) => Self::PredictiveHigh444,
            _ => return None,
        })
    }

    fn is_high(self) -> bool {
        matches!(
            self,
            Self::High | Self::ConstrainedHigh | Self::PredictiveHigh444
        )
    }

    fn bits(self) -> (u8, u8) {
        match self {
            Self::ConstrainedBaseline => (0x42, 0xe0),
            Self::Baseline => (0x42, 0x00),
            Self::Main => (0x4d, 0x00),
            Self::High => (0x64, 0x00),
            Self::ConstrainedHigh => (0x64, 0x0c),
            Self::PredictiveHigh444 => (0xf4, 0x00),
        }
    }
}

/// What decides whether two H.265 payload types are the same (RFC 7798 §7.1, §7.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct H265Parameters {
    /// The context of the profile, 0 to 3.
    pub profile_space: u8,
    /// The profile, 0 to 31; 1 is Main.
    pub profile: u8,
    /// Whether the level is of the high tier.
    pub high_tier: bool,
    /// Thirty times the level, for example 93 for 3.1.
    pub level: u8,
    /// How streams and transports relate.
    pub transmission: H265Transmission,
}

/// The transmission mode of H.265 (RFC 7798 §7.1, `tx-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum H265Transmission {
    /// One stream on one transport: the one mode of WebRTC.
    Srst,
    /// Several streams on one transport.
    Mrst,
    /// Several streams on several transports.
    Mrmt,
}

impl H265Parameters {
    /// Reads `a=fmtp` parameters; `None` for a malformed value.
    pub fn parse(text: &str) -> Option<Self> {
        // The defaults are those of RFC 7798 §7.1: Main at level 3.1.
        let number = |name: &str, default: u8, max: u8| match fmtp_parameter(text, name) {
            None => Some(default),
            Some(value) => value.parse().ok().filter(|value| *value <= max),
        };
        let transmission = match fmtp_parameter(text, "tx-mode") {
            None => H265Transmission::Srst,
            Some(mode) => H265Transmission::new(mode)?,
        };
        Some(Self {
            profile_space: number("profile-space", 0, 3)?,
            profile: number("profile-id", 1, 31)?,
            high_tier: number("tier-flag", 0, 1)? == 1,
            level: number("level-id", 93, u8::MAX)?,
            transmission,
        })
    }

    /// Whether both describe the same configuration: everything but the level must be the same in
    /// both directions (RFC 7798 §7.2.2).
    pub fn is_same_configuration(&self, other: &Self) -> bool {
        let level = other.level;
        Self { level, ..*self } == *other
    }
}

impl fmt::Display for H265Parameters {
    /// As they stand in `a=fmtp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile_space != 0 {
            write!(f, "profile-space={};", self.profile_space)?;
        }
        write!(
            f,
            "level-id={};profile-id={};tier-flag={};tx-mode={}",
            self.level,
            self.profile,
            u8::from(self.high_tier),
            self.transmission.name(),
        )
    }
}

impl H265Transmission {
    fn new(name: &str) -> Option<Self> {
        let all = [Self::Srst, Self::Mrst, Self::Mrmt];
        all.into_iter().find(|own| own.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Srst => "SRST",
            Self::Mrst => "MRST",
            Self::Mrmt => "MRMT",
        }
    }
}
