//! SCTP alone: both ends in memory, no loss, one ordered stream.
//!
//! `twocan` and `dcsctp` offer the zero checksum (RFC 9653), as browsers do; `twocan-crc` computes
//! the CRC-32C of every packet at both ends, as the other two have to.

mod dcsctp;
mod ours;
mod rtc;
mod sctp_proto;

use crate::harness::{Engine, Options, compare};

/// Bytes that the sender keeps queued, so that it always has something and memory stays small.
const QUEUED: usize = 1 << 20;

pub(crate) fn run(options: &Options) {
    for (len, bytes) in [
        (64, 2 << 20),
        (1024, 16 << 20),
        (16 << 10, 32 << 20),
        (256 << 10, 32 << 20),
    ] {
        let count = bytes / len;
        let megabytes = bytes as f64 / 1e6;
        let work = |transfer: fn(usize, usize)| {
            move || {
                transfer(len, count);
                megabytes
            }
        };
        let engines = vec![
            Engine::whole("twocan", work(ours::transfer)),
            Engine::whole("twocan-crc", work(ours::transfer_with_checksum)),
            Engine::whole("rtc-sctp", work(rtc::transfer)),
            Engine::whole("dcsctp", work(dcsctp::transfer)),
            Engine::whole("sctp-proto", work(sctp_proto::transfer)),
        ];
        compare(&format!("messages of {len} B"), "MB", options, engines);
    }
}
