//! Lost packets made again: what arrived of a stream, and the FEC packets that may still help.
//!
//! 1. Packets are kept from the first FEC packet on; before that, nobody pays for it.
//! 2. A FEC packet of which one protected packet is missing yields that one, and is done. With
//!    more missing it waits; with none it was of no use.
//! 3. What was made again counts as there, and may complete other FEC packets.
//!
//! Each FEC packet is used once at most: the work for a packet is that of looking through those
//! that wait, plus on average one recovery for each FEC packet that came.

use std::collections::{BTreeMap, VecDeque};

use twocan_wire::fec::flexfec::{self, Flexfec};
use twocan_wire::fec::ulpfec::{self, Ulpfec};
use twocan_wire::fec::{FecError, PacketMask};
use twocan_wire::ids::Ssrc;

/// Numbers below the newest in which packets are kept, and FEC packets wait: more than twice what
/// one FEC packet spans.
pub(crate) const WINDOW: u64 = 256;

/// FEC packets that wait; the oldest makes way for one more.
pub(crate) const PENDING_MAX: usize = 48;

/// The longest packet that is kept, or FEC payload that is taken, in bytes: more than any path
/// carries in one piece.
pub(crate) const PACKET_LEN_MAX: usize = 2048;

/// A FEC packet, with what it needs to be used.
#[derive(Debug)]
pub(crate) enum Parity {
    Ulpfec(Ulpfec),
    Flexfec(Flexfec),
}

impl Parity {
    /// Reads the payload of a FEC packet.
    pub(crate) fn ulpfec(payload: &[u8]) -> Result<Self, &'static str> {
        check_len(payload)?;
        let fec = Ulpfec::parse(payload).map_err(|error| reason(&error))?;
        Ok(Self::Ulpfec(fec))
    }

    /// Reads the payload of a FEC packet; also answers which source it protects.
    pub(crate) fn flexfec(payload: &[u8]) -> Result<(Self, Ssrc), &'static str> {
        check_len(payload)?;
        let fec = Flexfec::parse(payload).map_err(|error| reason(&error))?;
        let ssrc = fec.ssrc();
        Ok((Self::Flexfec(fec), ssrc))
    }

    /// The number from which masks count, near another.
    fn base(&self, near: u64) -> u64 {
        match self {
            Self::Ulpfec(fec) => fec.base().extend(near),
            Self::Flexfec(fec) => fec.base().extend(near),
        }
    }

    /// Which packets are protected; by ULPFEC, of whose bytes the first are.
    fn mask(&self) -> PacketMask {
        match self {
            Self::Ulpfec(fec) => {
                let first = fec.levels().first();
                first.map(|level| level.mask).unwrap_or_default()
            }
            Self::Flexfec(fec) => fec.mask(),
        }
    }

    fn span_max(&self) -> u64 {
        u64::from(match self {
            Self::Ulpfec(_) => ulpfec::SPAN_MAX,
            Self::Flexfec(_) => flexfec::SPAN_MAX,
        })
    }

    fn recover(&self, ssrc: Ssrc, packets: &[&[u8]]) -> Result<Vec<u8>, FecError> {
        match self {
            Self::Ulpfec(fec) => fec.recover(ssrc, packets),
            Self::Flexfec(fec) => fec.recover(packets),
        }
    }
}

fn check_len(payload: &[u8]) -> Result<(), &'static str> {
    match payload.len() <= PACKET_LEN_MAX {
        true => Ok(()),
        false => Err("rtp.fec_too_long"),
    }
}

fn reason(error: &FecError) -> &'static str {
    match error {
        FecError::TooShort | FecError::BadHeader | FecError::Empty | FecError::NotTogether => {
            "rtp.fec_malformed"
        }
        FecError::Unsupported | FecError::ManySources => "rtp.fec_unsupported",
        FecError::NotOneMissing => "rtp.fec_not_one_missing",
        FecError::BadLength => "rtp.fec_bad_length",
    }
}

#[derive(Debug)]
struct Pending {
    base: u64,
    missing: u32,
    parity: Parity,
}

impl Pending {
    fn protects(&self, number: u64) -> bool {
        let offset = number.checked_sub(self.base);
        offset
            .and_then(|offset| u16::try_from(offset).ok())
            .is_some_and(|offset| self.parity.mask().contains(offset))
    }
}

/// The packets of one stream from which others can be made.
#[derive(Debug)]
pub(crate) struct Recovery {
    ssrc: Ssrc,
    /// Whether a FEC packet has come.
    active: bool,
    newest: u64,
    media: BTreeMap<u64, Vec<u8>>,
    pending: VecDeque<Pending>,
    /// FEC packets that came to nothing: all was there, or too much was missing for too long.
    pub(crate) discarded: u64,
}

impl Recovery {
    pub(crate) fn new(ssrc: Ssrc) -> Self {
        Self {
            ssrc,
            active: false,
            newest: 0,
            media: BTreeMap::new(),
            pending: VecDeque::new(),
            discarded: 0,
        }
    }

    /// Notes a packet that arrived, in the clear and without RED.
    pub(crate) fn handle_media(&mut self, number: u64, packet: &[u8]) {
        self.newest = self.newest.max(number);
        if !self.active || packet.len() > PACKET_LEN_MAX || self.is_old(number) {
            return;
        }
        self.keep(number, packet.to_vec());
        self.forget_old();
    }

    /// Takes a FEC packet; `newest` is the highest number of the stream so far. Answers the last
    /// number that it protects.
    pub(crate) fn handle_parity(
        &mut self,
        newest: u64,
        parity: Parity,
    ) -> Result<u64, &'static str> {
        self.active = true;
        self.newest = self.newest.max(newest);
        let base = parity.base(self.newest);
        // One that protects nothing near what is there is a stray, or a lie.
        if self.is_old(base) || base > self.newest.saturating_add(parity.span_max()) {
            self.discarded += 1;
            return Err("rtp.fec_out_of_window");
        }
        let offsets = parity.mask().offsets();
        let numbers: Vec<u64> = offsets.map(|offset| base + u64::from(offset)).collect();
        let last = numbers.last().copied().unwrap_or(base);
        let has = |number: &&u64| self.media.contains_key(number);
        let missing = numbers.len() - numbers.iter().filter(has).count();
        if missing == 0 {
            self.discarded += 1;
            return Ok(last);
        }
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
            self.discarded += 1;
        }
        self.pending.push_back(Pending {
            base,
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
            parity,
        });
        Ok(last)
    }

    /// The next packet that could be made again, with its number; or why one that should have been
    /// could not.
    pub(crate) fn poll(&mut self) -> Option<Result<(u64, Vec<u8>), &'static str>> {
        let ready = self.pending.iter().position(|own| own.missing == 1)?;
        let Pending { base, parity, .. } = self.pending.remove(ready)?;
        // Further levels of ULPFEC may protect more packets than the first.
        let end = base + parity.span_max();
        let others = self.media.range(base..end);
        let others: Vec<&[u8]> = others.map(|(_, packet)| packet.as_slice()).collect();
        let mut offsets = parity.mask().offsets();
        let missing = offsets.find(|offset| {
            let number = base + u64::from(*offset);
            !self.media.contains_key(&number)
        });
        let recovered = parity.recover(self.ssrc, &others);
        Some(match (recovered, missing) {
            (Ok(packet), Some(offset)) => {
                let number = base + u64::from(offset);
                self.keep(number, packet.clone());
                Ok((number, packet))
            }
            (Ok(_), None) => Err(reason(&FecError::NotOneMissing)),
            (Err(error), _) => {
                self.discarded += 1;
                Err(reason(&error))
            }
        })
    }

    /// Packets kept, and FEC packets that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.media.len(), self.pending.len())
    }

    fn keep(&mut self, number: u64, packet: Vec<u8>) {
        if self.media.insert(number, packet).is_some() {
            return;
        }
        for pending in &mut self.pending {
            if pending.protects(number) {
                pending.missing = pending.missing.saturating_sub(1);
            }
        }
        let before = self.pending.len();
        self.pending.retain(|pending| pending.missing > 0);
        self.discarded += (before - self.pending.len()) as u64;
    }

    fn is_old(&self, number: u64) -> bool {
        number < self.newest.saturating_sub(WINDOW)
    }

    fn forget_old(&mut self) {
        let oldest = self.newest.saturating_sub(WINDOW);
        while self
            .media
            .first_key_value()
            .is_some_and(|(number, _)| *number < oldest)
        {
            self.media.pop_first();
        }
        let before = self.pending.len();
        self.pending.retain(|pending| pending.base >= oldest);
        self.discarded += (before - self.pending.len()) as u64;
    }
}
