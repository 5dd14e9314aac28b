//! The Real-time Transport Protocol (RFC 3550 §5) and its header extensions (RFC 8285).
//!
//! ```text
//!  0                   1                   2                   3
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |           synchronization source (SSRC) identifier            |
//! |            contributing source (CSRC) identifiers ...         |
//! |  extension profile and length, extension elements ...         |
//! ```

mod extension;
mod header;

pub use extension::{AudioLevel, ExtensionKind, ExtensionMap, ExtensionValues, abs_send_time};
pub use header::{Extensions, Header, HeaderFields, RtpError};
