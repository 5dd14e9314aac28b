use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Attribute, Description, Direction, Fingerprint, Setup};

use super::*;
use crate::random::Random;

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/vectors/sdp/", $name, ".sdp"))
    };
}

const OFFERS: &[(&str, &str)] = &[
    ("aiortc.dc", vector!("aiortc.offer.dc")),
    ("aiortc.media", vector!("aiortc.offer.media")),
    ("chromium.dc", vector!("chromium.offer.dc")),
    ("chromium.media", vector!("chromium.offer.media")),
    ("chromium.simulcast", vector!("chromium.simulcast.offer")),
    ("ffmpeg.media", vector!("ffmpeg.offer.media")),
    ("firefox.dc", vector!("firefox.offer.dc")),
    ("firefox.media", vector!("firefox.offer.media")),
    ("firefox.simulcast", vector!("firefox.simulcast.offer")),
    ("gst.dc", vector!("gst.offer.dc")),
    ("gst.media", vector!("gst.offer.media")),
    ("ndc.dc", vector!("ndc.offer.dc")),
    ("pion3.dc", vector!("pion3.offer.dc")),
    ("werift.dc", vector!("werift.offer.dc")),
    ("wrtc.dc", vector!("wrtc.offer.dc")),
];

const ANSWERS: &[(&str, &str)] = &[
    ("aiortc.dc", vector!("aiortc.answer.dc")),
    ("aiortc.media", vector!("aiortc.answer.media")),
    ("chromium.dc", vector!("chromium.answer.dc")),
    ("chromium.media", vector!("chromium.answer.media")),
    ("firefox.dc", vector!("firefox.answer.dc")),
    ("firefox.media", vector!("firefox.answer.media")),
    ("gst.dc", vector!("gst.answer.dc")),
    ("gst.media", vector!("gst.answer.media")),
    ("ndc.dc", vector!("ndc.answer.dc")),
    ("pion3.dc", vector!("pion3.answer.dc")),
    ("pion3.media", vector!("pion3.answer.media")),
    ("werift.dc", vector!("werift.answer.dc")),
    ("wrtc.dc", vector!("wrtc.answer.dc")),
];

pub(super) fn offer_of(name: &str) -> &'static str {
    OFFERS.iter().find(|(own, _)| *own == name).unwrap().1
}

pub(super) fn answer_of(name: &str) -> &'static str {
    ANSWERS.iter().find(|(own, _)| *own == name).unwrap().1
}

pub(super) fn negotiator(seed: u8) -> Negotiator {
    let fingerprint = Fingerprint {
        hash: "sha-256".into(),
        bytes: vec![seed; 32],
    };
    let config = Config::new(vec![fingerprint], format!("cname{seed}"));
    Negotiator::new(config, Random::new([seed; 32]))
}

pub(super) fn ice(name: &str) -> IceParameters {
    IceParameters {
        username_fragment: format!("{name}ufrag"),
        password: format!("{name}passwordpasswordpassword"),
    }
}

/// Sets `offer` and answers it; the plan of the answer, and the answer.
pub(super) fn answer(negotiator: &mut Negotiator, offer: &str) -> (Plan, Description) {
    negotiator
        .set_remote_description(SdpType::Offer, offer)
        .unwrap();
    let answer = negotiator.create_answer(&ice("b")).unwrap();
    let plan = negotiator
        .set_local_description(SdpType::Answer, &answer)
        .unwrap();
    (plan, answer.parse().unwrap())
}

/// One round of offer and answer; the plans of both once it is done.
pub(super) fn round(offerer: &mut Negotiator, answerer: &mut Negotiator) -> (Plan, Plan) {
    let offer = offerer.create_offer(&ice("a")).unwrap();
    offerer
        .set_local_description(SdpType::Offer, &offer)
        .unwrap();
    let (theirs, _) = answer(answerer, &offer);
    let (_, answer) = answerer.local_description(&[], false).unwrap();
    let ours = offerer
        .set_remote_description(SdpType::Answer, &answer)
        .unwrap();
    (ours, theirs)
}

pub(super) fn error_of(result: Result<Plan, NegotiateError>) -> NegotiateError {
    result.expect_err("should have been refused")
}

#[test]
fn every_recorded_offer_is_answered() {
    for (name, offer) in OFFERS {
        let mut ours = negotiator(1);
        let (plan, answer) = answer(&mut ours, offer);
        let offered: Description = offer.parse().unwrap();
        assert_eq!(answer.media.len(), offered.media.len(), "{name}");
        assert_eq!(ours.signaling_state(), SignalingState::Stable, "{name}");
        let remote = plan.ice.remote.expect(name);
        assert_eq!(plan.ice.role, IceRole::Controlled, "{name}");
        let dtls = plan.dtls.expect(name);
        assert_eq!(dtls.role, DtlsRole::Client, "{name}");
        let fingerprints = if name.starts_with("aiortc") { 3 } else { 1 };
        assert_eq!(dtls.fingerprints.len(), fingerprints, "{name}");
        let has_data = !name.contains("simulcast") && !name.starts_with("ffmpeg");
        assert_eq!(plan.sctp.is_some(), has_data, "{name}");
        assert!(remote.candidates.iter().all(|c| c.component == 1));
        let media = plan.media.unwrap();
        let rtp = if name.ends_with(".dc") { 0 } else { 2 };
        assert_eq!(media.len(), rtp, "{name}");
        assert!(
            answer.media.iter().all(|media| !media.is_rejected()),
            "{name}"
        );
        for media in media {
            assert!(!media.codecs.is_empty(), "{name}");
            let sources = if *name == "chromium.simulcast" && media.kind == Kind::Video {
                0
            } else if *name == "firefox.simulcast" && media.kind == Kind::Video {
                3
            } else {
                1
            };
            assert_eq!(media.remote.len(), sources, "{name} {}", media.kind);
        }
    }
}

#[test]
fn every_recorded_answer_completes_an_offer_of_ours() {
    for (name, answer) in ANSWERS {
        let mut ours = negotiator(1);
        let mut answer = (*answer).to_owned();
        if name.ends_with("media") {
            ours.add_track(Kind::Audio, &["s"]).unwrap();
            ours.add_track(Kind::Video, &["s"]).unwrap();
            for (from, to) in [("audio0", "0"), ("video1", "1"), ("application2", "2")] {
                answer = answer.replace(from, to);
            }
        }
        answer = answer.replace("application0", "0");
        ours.want_data();
        let offer = ours.create_offer(&ice("a")).unwrap();
        ours.set_local_description(SdpType::Offer, &offer).unwrap();
        let plan = ours
            .set_remote_description(SdpType::Answer, &answer)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(plan.dtls.unwrap().role, DtlsRole::Server, "{name}");
        assert_eq!(plan.ice.role, IceRole::Controlling, "{name}");
        let sctp = plan.sctp.expect(name);
        let size = match name.split('.').next().unwrap() {
            "aiortc" | "ndc" => 262_144,
            "firefox" => 1_073_741_823,
            _ => 65_536,
        };
        assert_eq!(
            (sctp.remote_port, sctp.max_message_size),
            (5000, size),
            "{name}"
        );
        let media = plan.media.unwrap();
        let expected = match *name {
            "chromium.media" => 1,
            name if name.ends_with("media") => 2,
            _ => 0,
        };
        assert_eq!(media.len(), expected, "{name}");
        assert_eq!(ours.transceivers().len(), expected, "{name}");
        for media in media {
            assert_eq!(media.direction, Direction::SendRecv, "{name}");
            let codec = &media.codecs[0];
            let numbers = (codec.payload_type.0, codec.payload_type_send.0);
            match media.kind {
                Kind::Audio => assert_eq!(numbers, (111, 97), "{name}"),
                Kind::Video => {
                    assert_eq!(numbers, (96, 96), "{name}");
                    assert!(codec.feedback.nack_pli, "{name}");
                }
            }
        }
    }
}

#[test]
fn chromium_gets_codecs_feedback_and_extensions_that_both_know() {
    let mut ours = negotiator(1);
    ours.add_track(Kind::Audio, &["s"]).unwrap();
    ours.add_track(Kind::Video, &["s"]).unwrap();
    let (plan, answer) = answer(&mut ours, offer_of("chromium.media"));
    assert_eq!(ours.transceivers().len(), 2);
    let media = plan.media.unwrap();
    let names: Vec<(&str, u8, Option<u8>)> = media
        .iter()
        .flat_map(|media| &media.codecs)
        .map(|c| {
            (
                c.name.as_str(),
                c.payload_type.0,
                c.rtx_payload_type.map(|pt| pt.0),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("opus", 111, None),
            ("red", 63, None),
            ("G722", 9, None),
            ("PCMU", 0, None),
            ("PCMA", 8, None),
            ("telephone-event", 110, None),
            ("telephone-event", 126, None),
            ("VP8", 96, Some(97)),
            ("H264", 102, Some(103)),
            ("H264", 108, Some(109)),
            ("H264", 114, Some(115)),
            ("AV1", 45, Some(46)),
            ("VP9", 98, Some(99)),
            ("red", 118, Some(119)),
            ("ulpfec", 120, None),
        ]
    );
    let without_ccfb = Feedback {
        ack_ccfb: false,
        ..Feedback::VIDEO
    };
    assert_eq!(media[1].codecs[0].feedback, without_ccfb);
    let ids: Vec<_> = media[1].extensions_send.iter().collect();
    assert_eq!(
        ids,
        [
            (ExtensionKind::Mid, 4),
            (ExtensionKind::Rid, 10),
            (ExtensionKind::RepairedRid, 11),
            (ExtensionKind::AbsSendTime, 2),
            (ExtensionKind::TransportSequence, 3),
            (ExtensionKind::PlayoutDelay, 5),
            (ExtensionKind::VideoContentType, 6),
            (ExtensionKind::ColorSpace, 8),
        ]
    );
    assert_eq!(media[1].direction, Direction::SendRecv);
    assert_eq!(media[1].remote[0].ssrc.0, 351_883_274);
    assert_eq!(media[1].remote[0].rtx.unwrap().0, 3_589_671_368);
    assert!(answer.media[0].has(&Attribute::Setup(Setup::Active)));
    assert!(answer.to_string().contains("a=group:BUNDLE 0 1 2\r\n"));
    let origin = answer.origin;
    assert!(origin.session_id < 1 << 62 && origin.session_version == 2);
}

#[test]
fn ffmpeg_without_candidates_and_with_baseline_is_received() {
    let mut ours = negotiator(1);
    let (plan, answer) = answer(&mut ours, offer_of("ffmpeg.media"));
    let ice = plan.ice.remote.unwrap();
    assert!(ice.candidates.is_empty() && !ice.trickle && !ice.end_of_candidates);
    assert_eq!(plan.dtls.unwrap().role, DtlsRole::Client);
    let media = plan.media.unwrap();
    assert_eq!(media[1].codecs[0].name, "H264");
    assert_eq!(media[1].direction, Direction::RecvOnly);
    assert!(media[1].codecs[0].feedback.nack && !media[1].codecs[0].feedback.nack_pli);
    // Level 3.0 offered with asymmetry: we state what we take, 3.1.
    assert!(answer.to_string().contains("profile-level-id=42001f"));
}

#[test]
fn without_asymmetry_the_lower_level_is_answered() {
    let offer = offer_of("ffmpeg.media").replace("level-asymmetry-allowed=1;", "");
    let (_, answer) = answer(&mut negotiator(1), &offer);
    assert!(answer.to_string().contains("profile-level-id=42001e"));
}

#[test]
fn firefox_directions_of_extensions_are_turned() {
    let (plan, answer) = answer(&mut negotiator(1), offer_of("firefox.simulcast"));
    assert!(
        answer
            .to_string()
            .contains("a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n")
    );
    let media = plan.media.unwrap();
    assert_eq!(media[0].extensions_receive.id(ExtensionKind::Rid), Some(9));
    assert_eq!(media[0].extensions_send.id(ExtensionKind::Rid), None);
}

#[test]
fn two_of_us_agree_on_everything() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    a.want_data();
    let audio = a.add_track(Kind::Audio, &["cam"]).unwrap();
    a.add_transceiver(Kind::Video, Direction::SendOnly, &[])
        .unwrap();
    let (ours, theirs) = round(&mut a, &mut b);
    assert_eq!(ours.dtls.unwrap().role, DtlsRole::Server);
    assert_eq!(theirs.dtls.unwrap().role, DtlsRole::Client);
    assert_eq!(ours.sctp.unwrap().max_message_size, 262_144);
    let (ours, theirs) = (ours.media.unwrap(), theirs.media.unwrap());
    for (mine, peer) in ours.iter().zip(&theirs) {
        assert_eq!(mine.mid, peer.mid);
        assert_eq!(mine.direction, peer.direction.reversed());
        assert_eq!(mine.extensions_send, peer.extensions_receive);
        assert_eq!(mine.codecs.len(), peer.codecs.len());
        assert!(mine.rtcp_rsize);
        assert_eq!(peer.remote[0].ssrc, mine.encodings[0].ssrc);
        assert_eq!(peer.remote[0].cname.as_deref(), Some("cname1"));
    }
    assert_eq!(ours[0].direction, Direction::SendOnly);
    assert_eq!(
        a.transceiver(audio).unwrap().current_direction(),
        Some(Direction::SendOnly)
    );
    assert!(!a.is_negotiation_needed() && !b.is_negotiation_needed());
    // The other side adds its own track to the same section.
    b.add_track(Kind::Audio, &["mic"]).unwrap();
    assert!(b.is_negotiation_needed());
    let (theirs, ours) = round(&mut b, &mut a);
    assert_eq!(theirs.media.unwrap()[0].direction, Direction::SendRecv);
    assert_eq!(
        theirs.dtls.unwrap().role,
        DtlsRole::Client,
        "the role stays"
    );
    let added = ours.events.iter().find_map(|event| match event {
        NegotiationEvent::TrackAdded { streams, .. } => Some(streams.clone()),
        _ => None,
    });
    assert_eq!(added, None, "the offer had already told");
    assert!(!a.is_negotiation_needed() && !b.is_negotiation_needed());
}

#[test]
fn a_track_is_told_with_its_streams_and_told_gone() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    let id = a.add_track(Kind::Video, &["x", "y"]).unwrap();
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, "").unwrap();
    let plan = b.set_remote_description(SdpType::Offer, &offer).unwrap();
    let [
        NegotiationEvent::TrackAdded {
            streams,
            track,
            transceiver,
            ..
        },
    ] = &plan.events[..]
    else {
        panic!("{:?}", plan.events);
    };
    assert_eq!(streams, &["x", "y"]);
    assert_eq!(
        track.as_deref(),
        Some(a.transceiver(id).unwrap().track_id())
    );
    let peer = *transceiver;
    let answer = b.create_answer(&ice("b")).unwrap();
    b.set_local_description(SdpType::Answer, &answer).unwrap();
    a.set_remote_description(SdpType::Answer, &answer).unwrap();
    a.remove_track(id).unwrap();
    assert!(a.is_negotiation_needed());
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, "").unwrap();
    let plan = b.set_remote_description(SdpType::Offer, &offer).unwrap();
    assert_eq!(
        plan.events,
        [NegotiationEvent::TrackRemoved { transceiver: peer }]
    );
}

#[test]
fn a_stopped_section_is_rested_and_recycled() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    let first = a.add_track(Kind::Audio, &[]).unwrap();
    a.add_track(Kind::Video, &[]).unwrap();
    round(&mut a, &mut b);
    a.stop(first).unwrap();
    assert!(a.is_negotiation_needed());
    assert_eq!(
        error_of(
            a.set_direction(first, Direction::Inactive)
                .map(|()| unreachable!())
        )
        .name(),
        "InvalidStateError"
    );
    let (plan, _) = round(&mut a, &mut b);
    assert_eq!(
        plan.events,
        [NegotiationEvent::TransceiverStopped { transceiver: first }]
    );
    assert_eq!((a.transceivers().len(), b.transceivers().len()), (1, 1));
    assert_eq!(plan.media.unwrap()[0].mid.as_str(), "1");
    let again = b.add_track(Kind::Video, &[]).unwrap();
    let third = b.add_track(Kind::Video, &[]).unwrap();
    let (plan, _) = round(&mut b, &mut a);
    assert_eq!(
        plan.media.unwrap().len(),
        2,
        "the first track took the video section, the second the rested one"
    );
    assert_eq!(b.mid(again).unwrap().as_str(), "1");
    assert_eq!(b.mid(third).unwrap().as_str(), "2");
    let (_, text) = b.local_description(&[], false).unwrap();
    assert_eq!(text.matches("m=").count(), 2);
}

#[test]
fn an_ice_restart_is_seen_and_answered_with_new_credentials() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    a.want_data();
    round(&mut a, &mut b);
    a.restart_ice();
    assert!(a.wants_ice_restart() && a.is_negotiation_needed());
    let offer = a.create_offer(&ice("a2")).unwrap();
    a.set_local_description(SdpType::Offer, &offer).unwrap();
    let plan = b.set_remote_description(SdpType::Offer, &offer).unwrap();
    assert!(plan.ice.remote.unwrap().restarted && b.wants_ice_restart());
    let answer = b.create_answer(&ice("b2")).unwrap();
    b.set_local_description(SdpType::Answer, &answer).unwrap();
    let plan = a.set_remote_description(SdpType::Answer, &answer).unwrap();
    assert!(plan.ice.remote.unwrap().restarted);
    assert!(!a.wants_ice_restart() && !a.is_negotiation_needed() && !b.wants_ice_restart());
}

/// As Firefox answers each later offer.
#[test]
fn a_later_answer_does_not_turn_the_role_of_the_connection() {
    let (mut ours, mut theirs) = (negotiator(1), negotiator(2));
    theirs.want_data();
    round(&mut theirs, &mut ours);
    let offer = ours.create_offer(&ice("b")).unwrap();
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    theirs
        .set_remote_description(SdpType::Offer, &offer)
        .unwrap();
    let good = theirs.create_answer(&ice("a")).unwrap();
    assert!(good.contains("a=setup:passive"), "{good}");
    let turned = good.replace("a=setup:passive", "a=setup:active");
    let plan = ours
        .set_remote_description(SdpType::Answer, &turned)
        .unwrap();
    assert_eq!(plan.dtls.unwrap().role, DtlsRole::Client);
    assert_eq!(ours.signaling_state(), SignalingState::Stable);
}

#[test]
fn glare_is_resolved_by_an_implicit_rollback() {
    let (mut polite, mut impolite) = (negotiator(1), negotiator(2));
    polite.add_track(Kind::Audio, &["p"]).unwrap();
    impolite.add_track(Kind::Audio, &["i"]).unwrap();
    impolite.want_data();
    polite.create_offer(&ice("a")).unwrap();
    polite.set_local_description(SdpType::Offer, "").unwrap();
    let offer = impolite.create_offer(&ice("b")).unwrap();
    impolite.set_local_description(SdpType::Offer, "").unwrap();
    let (plan, answer) = answer(&mut polite, &offer);
    assert_eq!(plan.ice.role, IceRole::Controlled);
    let plan = impolite
        .set_remote_description(SdpType::Answer, &answer.to_string())
        .unwrap();
    assert_eq!(plan.media.unwrap()[0].direction, Direction::SendRecv);
    assert_eq!(polite.transceivers().len(), 1);
    assert!(!polite.is_negotiation_needed() && !impolite.is_negotiation_needed());
}

#[test]
fn rollback_takes_back_what_the_remote_offer_brought() {
    let mut ours = negotiator(1);
    let offer = offer_of("chromium.media");
    let plan = ours.set_remote_description(SdpType::Offer, offer).unwrap();
    assert_eq!((plan.events.len(), ours.transceivers().len()), (2, 2));
    let kept = ours.add_track(Kind::Audio, &[]).unwrap();
    let plan = ours.set_remote_description(SdpType::Rollback, "").unwrap();
    assert_eq!(plan.signaling_state, SignalingState::Stable);
    assert_eq!(plan.events.len(), 2);
    assert!(plan.ice.remote.is_none());
    let left: Vec<TransceiverId> = ours.transceivers().iter().map(Transceiver::id).collect();
    assert_eq!(left, [kept], "the application put one to use");
    assert_eq!(ours.mid(kept), None);
}

#[test]
fn provisional_answers_are_followed_by_the_final_one() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    a.add_track(Kind::Audio, &[]).unwrap();
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, &offer).unwrap();
    b.set_remote_description(SdpType::Offer, &offer).unwrap();
    let answer = b.create_answer(&ice("b")).unwrap();
    let plan = b.set_local_description(SdpType::Pranswer, &answer).unwrap();
    assert_eq!(plan.signaling_state, SignalingState::HaveLocalPranswer);
    assert!(plan.media.is_some());
    a.set_remote_description(SdpType::Pranswer, &answer)
        .unwrap();
    assert_eq!(a.signaling_state(), SignalingState::HaveRemotePranswer);
    b.set_local_description(SdpType::Answer, &answer).unwrap();
    let plan = a.set_remote_description(SdpType::Answer, &answer).unwrap();
    assert_eq!(plan.signaling_state, SignalingState::Stable);
    assert_eq!(b.signaling_state(), SignalingState::Stable);
}

#[test]
fn numbers_agreed_with_the_peer_are_kept_in_our_own_offers() {
    let mut ours = negotiator(1);
    answer(&mut ours, offer_of("firefox.media"));
    ours.add_track(Kind::Video, &[]).unwrap();
    ours.add_track(Kind::Video, &[]).unwrap();
    let offer: Description = ours.create_offer(&ice("a")).unwrap().parse().unwrap();
    assert_eq!(offer.media.len(), 4);
    for index in [1, 3] {
        assert_eq!(
            offer.media[index].formats[..2],
            ["120", "124"],
            "VP8 and its rtx"
        );
        assert!(
            offer.media[index].to_string_contains("a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid")
        );
    }
    let mut numbers = std::collections::BTreeMap::new();
    for media in &offer.media {
        for attribute in media.attributes() {
            if let Attribute::Rtpmap(map) = attribute {
                let name = map.encoding.clone();
                assert_eq!(
                    *numbers.entry(map.payload_type).or_insert(name.clone()),
                    name
                );
            }
        }
    }
}

trait Contains {
    fn to_string_contains(&self, line: &str) -> bool;
}

impl Contains for twocan_wire::sdp::Media {
    fn to_string_contains(&self, line: &str) -> bool {
        self.attributes()
            .any(|attribute| format!("a={attribute}") == line)
    }
}
