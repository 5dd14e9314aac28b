//! Identifiers, each a type of its own so that two never change places.

use core::fmt;
use std::sync::Arc;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The characters of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

number! {
    /// A synchronisation source of RTP (RFC 3550 §3).
    Ssrc(u32)
}
number! {
    /// An RTP payload type, 0 to 127 (RFC 3550 §5.1).
    PayloadType(u8)
}
number! {
    /// An SCTP stream identifier, which is also the id of a data channel (RFC 8831 §6.4).
    StreamId(u16)
}
token! {
    /// The identification of a media section, `a=mid` (RFC 5888 §4).
    Mid
}
token! {
    /// The identification of an RTP stream within a media section, `a=rid` (RFC 8851).
    Rid
}
