//! The event log tells what happened, and changes nothing.

use std::time::Duration;

use twocan_proto::congestion::Decision;
use twocan_proto::peer::{ConnectionState, KeyFrame, LogEntry, LogEvent, Sample};
use twocan_scenarios::media::{Plan, Scene};
use twocan_sim::Loss;
use twocan_wire::units::Bitrate;

const RTT: Duration = Duration::from_millis(100);

/// A call whose link falls from 3 to 0.5 Mbit/s and loses some packets later on; what caller and
/// callee wrote down.
fn fall(seed: u64, logged: bool) -> (Scene, [Vec<LogEntry>; 2]) {
    let mut scene = Scene::new(&Plan {
        adjust: match logged {
            true => |config| config.event_log = true,
            false => |_| {},
        },
        ..Plan::new("log", seed, RTT)
    });
    let mut logs = [Vec::new(), Vec::new()];
    for second in 0..30 {
        match second {
            0 => scene.limit(Bitrate::kbps(3000), Duration::from_millis(300)),
            10 => scene.limit(Bitrate::kbps(500), Duration::from_millis(300)),
            20 => scene.link().config.loss = Loss::Independent { per_mille: 50 },
            _ => {}
        }
        scene.run(Duration::from_secs(1));
        for (peer, log) in logs.iter_mut().enumerate() {
            log.extend(scene.take_log(peer));
        }
    }
    (scene, logs)
}

fn samples(log: &[LogEntry]) -> Vec<(Duration, Sample)> {
    let samples = log.iter().filter_map(|entry| match entry.event {
        LogEvent::Sample(sample) => Some((entry.at, sample)),
        _ => None,
    });
    samples.collect()
}

fn key_frames(log: &[LogEntry], wanted: KeyFrame) -> usize {
    let is_wanted = |entry: &&LogEntry| matches!(entry.event, LogEvent::KeyFrame { what, .. } if what == wanted);
    log.iter().filter(is_wanted).count()
}

#[test]
fn a_log_agrees_with_the_call_that_it_is_of() {
    let (mut scene, [caller, callee]) = fall(1, true);
    for log in [&caller, &callee] {
        assert!(matches!(log[0].event, LogEvent::Began(_)));
        let missing = log
            .iter()
            .any(|own| matches!(own.event, LogEvent::LeftOut(_)));
        assert!(!missing, "nothing is left out");
        assert!(log.is_sorted_by_key(|own| own.at));
        let states = log.iter().filter_map(|own| match own.event {
            LogEvent::ConnectionState(state) => Some(state),
            _ => None,
        });
        let expected = [ConnectionState::Connecting, ConnectionState::Connected];
        assert_eq!(states.collect::<Vec<_>>(), expected);
        let routes = log
            .iter()
            .filter(|own| matches!(own.event, LogEvent::Route { .. }));
        assert!(routes.count() >= 1);
    }

    // The last target is the one that holds, and every sample's is the one before it.
    let mut target = None;
    for entry in &caller {
        match entry.event {
            LogEvent::Decision(Decision::Target { rate, .. }) => {
                target = Some(Bitrate::bps(rate as u64));
            }
            LogEvent::Sample(sample) if target.is_some() => assert_eq!(sample.target, target),
            _ => {}
        }
    }
    assert_eq!(target, scene.call.peer(0).available_outgoing_bitrate());

    // The fall shows: in the target, in the round trip, and as overuse.
    let all = samples(&caller);
    let within = |from: u64, to: u64| {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        all.iter().filter(move |(at, _)| (from..to).contains(at))
    };
    let most = |from, to| {
        within(from, to)
            .filter_map(|(_, own)| own.target)
            .max()
            .unwrap()
    };
    assert!(most(8, 10) > Bitrate::kbps(1500) && most(15, 20) < Bitrate::kbps(600));
    let longest = within(10, 14)
        .filter_map(|(_, own)| own.round_trip_time)
        .max();
    assert!(longest.unwrap() > RTT * 2, "{longest:?}");
    let sent: u64 = within(5, 10).map(|(_, own)| own.sent.as_bps()).sum();
    let mean = sent / within(5, 10).count() as u64;
    assert!((1_500_000..3_000_000).contains(&mean), "{mean}");

    let decisions = || {
        caller.iter().filter_map(|own| match own.event {
            LogEvent::Decision(decision) => Some((own.at, decision)),
            _ => None,
        })
    };
    let probes = decisions()
        .filter(|(_, own)| matches!(own, Decision::Probe { .. }))
        .count();
    let probed = decisions()
        .filter(|(_, own)| matches!(own, Decision::Probed { .. }))
        .count();
    assert!(
        probes >= 2 && (1..=probes).contains(&probed),
        "{probes} {probed}"
    );

    // What is reported as missing over the last ten seconds is what the link lost.
    let (mut packets, mut missing) = (0, 0);
    for (at, decision) in decisions() {
        if let Decision::Feedback {
            packets: all,
            missing: lost,
        } = decision
            && at > Duration::from_secs(21)
        {
            packets += all;
            missing += lost;
        }
    }
    let share = missing as f64 / packets as f64;
    assert!((0.02..0.1).contains(&share), "{missing} of {packets}");

    let made = scene.flows[0].encoder.key_frames as usize;
    assert_eq!(key_frames(&caller, KeyFrame::Sent), made);
    let asked = key_frames(&callee, KeyFrame::Asked);
    assert!(key_frames(&caller, KeyFrame::Requested) <= asked);
    let arrived = scene.call.peer(1).inbound_stats();
    let of_video = arrived
        .iter()
        .map(|own| own.key_frames_received)
        .min()
        .unwrap();
    assert_eq!(key_frames(&callee, KeyFrame::Received) as u64, of_video);
    let frames = callee.iter().rev().find_map(|own| match &own.event {
        LogEvent::Inbound(inbound) if inbound.buffer.is_some() => Some(inbound.frames_received),
        _ => None,
    });
    assert!(frames.unwrap() > 800, "{frames:?}");
    scene.run(Duration::from_secs(5));
    assert!(scene.take_log(0).len() > 100);
}

#[test]
fn a_call_is_the_same_with_and_without_a_log() {
    let (logged, [log, _]) = fall(2, true);
    let (plain, [nothing, _]) = fall(2, false);
    assert!(!log.is_empty() && nothing.is_empty());
    for peer in 0..2 {
        let stats = [&logged, &plain].map(|own| own.call.peer(peer).outbound_stats());
        assert_eq!(stats[0], stats[1]);
        let stats = [&logged, &plain].map(|own| own.call.peer(peer).inbound_stats());
        assert_eq!(stats[0], stats[1]);
    }
    assert_eq!(logged.flows[0].captured, plain.flows[0].captured);
}
