//! How the packets of a stream say where they belong, and for how long.
//!
//! A receiver learns a source by the MID and the RID of its first packets (RFC 9143 §9.2, RFC 8852
//! §3). Once it has reported on one of them it knows, and the rest of the packets are shorter.

use twocan_wire::ids::{Mid, Rid};
use twocan_wire::rtp::ExtensionValues;
use twocan_wire::seq::SeqNo16;

/// The name of a stream, and who knows it.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
    /// The first number sent under this name.
    from: u64,
    known: bool,
    repairs_known: bool,
}

/// A packet of the media, or one that repairs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Media,
    Repair,
}

impl Name {
    /// The name of a stream whose next packet has the number `from`.
    pub(super) fn new(mid: Mid, rid: Option<Rid>, from: u64) -> Self {
        Self {
            mid,
            rid,
            from,
            known: false,
            repairs_known: false,
        }
    }

    /// Whether packets say it.
    pub(super) fn is_said(&self, role: Role) -> bool {
        match role {
            Role::Media => !self.known,
            Role::Repair => !self.repairs_known,
        }
    }

    /// The other side reports on the media up to a number near `newest`.
    pub(super) fn handle_report(&mut self, highest: SeqNo16, newest: u64) {
        self.known |= highest.extend(newest) >= self.from;
    }

    /// The other side reports on the repairs.
    pub(super) fn handle_repair_report(&mut self) {
        self.repairs_known = true;
    }

    /// The extensions that say it, if `is_said`.
    pub(super) fn values(&self, is_said: bool, role: Role) -> ExtensionValues<'_> {
        let mut values = ExtensionValues::default();
        if is_said {
            let rid = self.rid.as_ref().map(|own| own.as_str().as_bytes());
            values.mid = Some(self.mid.as_str().as_bytes());
            match role {
                Role::Media => values.rid = rid,
                Role::Repair => values.repaired_rid = rid,
            }
        }
        values
    }
}
