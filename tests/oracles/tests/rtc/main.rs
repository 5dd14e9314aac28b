//! Our peer against `str0m`: whole calls in the simulated world, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod call;
mod data;
mod media;
mod node;
mod rate;
mod simulcast;

use std::time::Duration;

use call::{Call, Offerer, Setting, bad_link};
use str0m::config::DtlsVersion;
use twocan_proto::channel::ChannelInit;
use twocan_proto::dtls::Version;
use twocan_sim::{LinkConfig, seeds};

/// Drops that a link explains which loses, repeats and reorders.
const BAD_LINK: &[&str] = &[
    "ice.response_without_request",
    // Their last flight was lost or late; their first media was not.
    "peer.media_before_keys",
    "sctp.duplicate_tsn",
    "sctp.old_sack",
    "srtp.replayed",
    // Reports that were lost on their way.
    "congestion.report_lost",
    XR,
];

/// They send extended reports (RFC 3611), which we have not asked for.
const XR: &str = "rtcp.not_negotiated";

#[test]
fn both_connect_whoever_offers_and_in_every_version() {
    for seed in seeds() {
        for setting in Setting::all(seed, LinkConfig::default()) {
            let mut call = Call::new(setting);
            let made = call.us(|peer, _| peer.create_data_channel(ChannelInit::default()));
            made.unwrap();
            call.offer(|api| {
                api.add_channel("theirs".into());
            });
            call.connect();
            let version = match (setting.version, setting.client) {
                (DtlsVersion::Dtls12, _) => Version::Dtls12,
                _ => Version::Dtls13,
            };
            assert_eq!(
                call.peer().dtls_version(),
                Some(version),
                "{}",
                call.explain()
            );
            call.run_for(Duration::from_secs(1));
            call.check_counters(&[]);
        }
    }
}
