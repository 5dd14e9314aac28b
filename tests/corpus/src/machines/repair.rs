//! RED and FEC, from one session to another.

use std::collections::VecDeque;

use twocan_proto::random::Random;
use twocan_proto::rtp::{
    Class, Event, OutgoingFrame, PayloadTypes, PictureProperties, Repair, Session,
};
use twocan_proto::time::Now;
use twocan_wire::ids::{Mid, PayloadType, Ssrc};
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::rtcp::{ReceiverReport, ReportBlock};

use super::media::section;
use super::{OPERATIONS_MAX, PACKETS_MAX, begin, step};
use crate::Script;

/// Held back at a time, so that they arrive out of order.
const HELD_MAX: usize = 16;

const fn number(own: u8) -> Option<PayloadTypes> {
    Some(PayloadTypes {
        receive: PayloadType(own),
        send: PayloadType(own),
    })
}

/// Sound in RED, VP8 with ULPFEC, H.264 with FlexFEC.
fn session(seed: u8) -> Session {
    use twocan_proto::rtp::Format;
    let mut sound = section("0", Format::Whole, 111, 1);
    sound.repair = Repair {
        red: number(63),
        red_preferred: true,
        ..Repair::default()
    };
    let mut vp8 = section("1", Format::Vp8, 96, 11);
    vp8.repair = Repair {
        red: number(116),
        red_rtx: Some(PayloadType(117)),
        ulpfec: number(118),
        ..Repair::default()
    };
    let mode = PacketizationMode::NonInterleaved;
    let mut h264 = section("2", Format::H264(mode), 98, 21);
    h264.repair = Repair {
        flexfec: number(119),
        flexfec_source: Some((Ssrc(21), Ssrc(23))),
        ..Repair::default()
    };
    let mut session = Session::new(Random::new([seed; 32]));
    session.configure(vec![sound, vp8, h264]);
    session
}

fn frame(section: usize, index: u32, len: usize) -> Vec<u8> {
    let mut frame = match section {
        0 => Vec::new(),
        1 => vec![0x10],
        _ => vec![0, 0, 0, 1, 0x65],
    };
    // No start codes in it.
    frame.resize(frame.len() + 1 + len, (index % 251) as u8 + 4);
    frame
}

fn report(now: Now, session: &mut Session, loss: u8) {
    for ssrc in [1, 11, 21] {
        let block = ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost: loss,
            cumulative_lost: 0,
            extended_highest_sequence: 0,
            jitter: 0,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        let report = ReceiverReport {
            ssrc: Ssrc(1),
            reports: vec![block],
        };
        let mut bytes = Vec::new();
        report.write(&mut bytes);
        session.handle_rtcp(now, &bytes);
    }
}

/// Packets between two sessions, lost, late, repeated and damaged as the script says. Unless one was
/// damaged, what comes out is what went in, in order and once.
pub fn rtp_repair(data: &[u8]) {
    let mut script = Script::new(data);
    let (mut sender, mut receiver) = (session(3), session(4));
    let mut now = begin();
    let mut held: VecDeque<Vec<u8>> = VecDeque::new();
    let mut sent: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
    let mut newest: [Option<u32>; 3] = [None; 3];
    let mut is_damaged = false;
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.byte() else {
            break;
        };
        match operation % 8 {
            0 => {
                let Some(loss) = script.byte() else { break };
                report(now, &mut sender, loss);
            }
            1 => {
                let Some(byte) = script.byte() else { break };
                now = now.at(now.monotonic + step(byte));
                receiver.handle_timeout(now);
                let mut bytes = Vec::new();
                while receiver.poll_rtcp(now, &mut bytes) {
                    sender.handle_rtcp(now, &bytes);
                    bytes.clear();
                }
            }
            _ => {
                let Some(len) = script.byte() else { break };
                let section = usize::from(operation % 3);
                let index = sent[section].len() as u32;
                let scale = if section == 0 { 2 } else { 30 };
                let data = frame(section, index, usize::from(len) * scale);
                let outgoing = OutgoingFrame {
                    payload_type: PayloadType([111, 96, 98][section]),
                    timestamp: index * 960,
                    marker: false,
                    data: &data,
                    rid: None,
                    layer: None,
                    resolution: None,
                    audio_level: None,
                    picture: PictureProperties::default(),
                    times: twocan_proto::rtp::FrameTimes::default(),
                    contributing: &[],
                };
                let mid = Mid::from(["0", "1", "2"][section]);
                sender.send_frame(now, &mid, &outgoing).unwrap();
                sent[section].push(data);
            }
        }
        for _ in 0..PACKETS_MAX {
            let mut packet = Vec::new();
            let classes = [Class::Audio, Class::Retransmission, Class::Video];
            let mut classes = classes.into_iter();
            if !classes.any(|class| sender.poll_packet(now, class, &mut packet).is_some()) {
                break;
            }
            match script.byte().unwrap_or(0) % 16 {
                0..=9 => receiver.handle_rtp(now, &packet),
                10..=12 => {}
                13 if held.len() < HELD_MAX => held.push_back(packet),
                13 | 14 => {
                    receiver.handle_rtp(now, &packet);
                    if let Some(late) = held.pop_front() {
                        receiver.handle_rtp(now, &late);
                    }
                    receiver.handle_rtp(now, &packet);
                }
                _ => {
                    let before = packet.clone();
                    if script.mutate(&mut packet).is_none() {
                        break;
                    }
                    is_damaged |= packet != before;
                    receiver.handle_rtp(now, &packet);
                }
            }
        }
        while let Some(event) = receiver.poll_event() {
            let Event::Frame(frame) = event else { continue };
            if is_damaged {
                continue;
            }
            let section: usize = frame.mid.as_str().parse().unwrap();
            let index = frame.timestamp / 960;
            assert_eq!(sent[section][index as usize], frame.data);
            assert!(newest[section].is_none_or(|newest| newest < index));
            newest[section] = Some(index);
        }
    }
}
