//! SCTP packets and chunks as WebRTC uses them (RFC 9260, with RFC 3758, 6525, 8260 and 9653).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |          source port          |       destination port        |
//! +-------------------------------+-------------------------------+
//! |                       verification tag                        |
//! +---------------------------------------------------------------+
//! |                      checksum (CRC-32C)                       |
//! +---------------------------------------------------------------+
//! |  chunks, each padded to a multiple of four bytes              |
//! ```
//!
//! Reading borrows: [`Packet::parse`] gives the header, [`Packet::chunks`] walks the chunks and
//! [`Chunk::parse`] gives one of them its meaning. Writing appends: [`PacketWriter`] adds a packet
//! to the end of a buffer, chunk by chunk, and never beyond a length.

mod checksum;
mod chunk;
mod control;
mod data;
mod error;
mod forward_tsn;
mod init;
mod list;
mod packet;
mod reconfig;
mod sack;

pub use checksum::crc32c;
pub use chunk::{Chunk, ChunkError, Chunks, RawChunk, WriteChunk, kind};
pub use control::ShutdownComplete;
pub use control::{CookieAck, CookieEcho, Heartbeat, HeartbeatAck, Shutdown, ShutdownAck};
pub use data::{DATA_HEADER_LEN, Data, DataFlags, I_DATA_HEADER_LEN, IData, Place, Ppid};
pub use error::{Abort, Cause, Causes, CausesBuf, Error};
pub use forward_tsn::{ForwardTsn, IForwardTsn, SkippedMessage, SkippedStream};
pub use init::{EDMID_DTLS, Init, InitAck, Parameter, Parameters, ParametersBuf};
pub use list::{Entry, List, ListBuf};
pub use packet::{
    CHUNK_HEADER_LEN, Checksum, HEADER_LEN, Header, Packet, PacketError, PacketWriter,
};
pub use reconfig::{Reconfig, ReconfigParameter, ReconfigParameters, ReconfigResult};
pub use sack::{GapBlock, Sack};

#[cfg(test)]
mod tests;
