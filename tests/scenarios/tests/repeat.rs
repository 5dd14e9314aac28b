//! The same seed gives the same run, byte for byte.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelInit, ReadyState};
use twocan_proto::dtls::Version;
use twocan_proto::negotiate::Kind;
use twocan_proto::rtp::{OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

/// A whole call over a link that does everything to what it carries; answers the hash of every
/// datagram that was sent and delivered, with its time.
fn trace(seed: u64) -> u64 {
    let link = LinkConfig {
        jitter: Duration::from_millis(10),
        loss: Loss::Independent { per_mille: 50 },
        duplicate_per_mille: 20,
        reorder_per_mille: 50,
        damage_per_mille: 20,
        ..LinkConfig::default()
    };
    let setting = Setting {
        link,
        nats: [Some(NatConfig::PORT_RESTRICTED), None],
        stun: true,
        ..Setting::default()
    };
    let mut call = Call::new(seed, &setting);
    let made = call.with(0, |peer, _| {
        peer.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"])
    });
    let audio = made.unwrap();
    let made = call.with(0, |peer, _| {
        peer.create_data_channel(ChannelInit::default())
    });
    let channel = made.unwrap();
    call.offer(0);
    let open = call.run_until(Duration::from_secs(30), |call| {
        call.is_connected() && call.peer(0).channel_state(channel) == Some(ReadyState::Open)
    });
    assert!(open, "seed {seed}, {}", call.explain());
    assert_eq!(call.peer(0).dtls_version(), Some(Version::Dtls13));
    for number in 0..50u32 {
        let agreed = call.peer(0).negotiated(audio).unwrap();
        let payload_type = agreed.codec("opus").unwrap().payload_type_send;
        let frame = OutgoingFrame {
            rid: None,
            payload_type,
            timestamp: number * 960,
            marker: false,
            data: &[number as u8; 60],
            audio_level: None,
            layer: None,
            resolution: None,
            picture: PictureProperties::default(),
            times: twocan_proto::rtp::FrameTimes::default(),
            contributing: &[],
        };
        call.with(0, |peer, now| peer.send_frame(now, audio, &frame))
            .unwrap();
        call.with(0, |peer, now| peer.send_text(now, channel, "again"))
            .unwrap();
        call.run_for(Duration::from_millis(20));
    }
    call.with(0, |peer, _| peer.restart_ice());
    call.offer(0);
    call.run_for(Duration::from_secs(2));
    call.with(1, |peer, now| peer.close(now));
    call.run_for(Duration::from_secs(1));
    call.world.trace()
}

#[test]
fn a_seed_gives_the_same_bytes_at_the_same_times_and_another_seed_others() {
    let mut traces = Vec::new();
    for seed in seeds() {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        assert!(
            !traces.contains(&first),
            "seed {seed} gives an earlier one's"
        );
        traces.push(first);
    }
}
