//! The Real-time Transport Protocol (RFC 3550 §5).

mod extension;

pub use extension::{ExtensionKind, ExtensionMap};
