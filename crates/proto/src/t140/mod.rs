//! Real-time text (ITU-T T.140) for data channels (RFC 8865): what is written goes while it is
//! written, in blocks of text, over an ordered and reliable channel whose subprotocol is `t140`.

mod receiver;
mod sender;

#[cfg(test)]
mod tests;

pub use receiver::{Change, Receiver, TEXT_CHARS_MAX};
pub use sender::{CPS_DEFAULT, Full, INTERVAL_DEFAULT, INTERVAL_MAX, Sender, WAITING_CHARS_MAX};

/// The subprotocol of the channel (RFC 8865 §4.1).
pub const PROTOCOL: &str = "t140";

/// Stands where text is missing (T.140 Addendum 1, RFC 8865 §5.4).
pub const MISSING: char = '\u{fffd}';

/// Begins a transmission, and means nothing anywhere else (T.140 §8).
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Erases the character before it.
const BACKSPACE: char = '\u{8}';

/// Begins a line; T.140 prefers it to others.
const LINE_SEPARATOR: char = '\u{2028}';
