//! What is refused of parameters set by hand, and what refusals leave as it was.

use std::time::{Duration, Instant};

use super::*;
use crate::dtls::{Certificate, Settings};
use crate::ice::Role;
use crate::negotiate::{Kind, NegotiateError, StateReason};
use crate::peer::{Config, EncodingParameters, HeaderExtensionParameters};
use crate::random::Random;

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise"
)]
fn now() -> Now {
    Now {
        monotonic: Instant::now(),
        wallclock: Duration::from_secs(1_700_000_000),
    }
}

fn peer(by_hand: bool) -> Peer {
    let certificate = Certificate::generate(Duration::from_secs(1_700_000_000)).unwrap();
    let mut config = Config::new(certificate.into(), Settings::new(1200).unwrap());
    config.by_hand = by_hand;
    Peer::new(now(), config, Random::new([3; 32]))
}

fn ice() -> IceParameters {
    IceParameters {
        username_fragment: "abcd".to_owned(),
        password: "abcdefghijklmnopqrstuv".to_owned(),
        ice_lite: false,
    }
}

fn video() -> RtpParameters {
    RtpCapabilities::of(Kind::Video).parameters(&["VP8", "H264", "red", "ulpfec", "flexfec-03"])
}

#[test]
fn a_connection_is_made_by_hand_or_by_descriptions_and_never_by_both() {
    let mut described = peer(false);
    assert_eq!(
        described.gather_candidates(now()),
        Err(OrtcError::Described)
    );
    assert_eq!(
        described.add_rtp_sender(Kind::Audio),
        Err(OrtcError::Described)
    );
    let mut own = peer(true);
    let refused = NegotiateError::InvalidState(StateReason::ByHand);
    assert_eq!(own.create_offer(), Err(refused));
    assert_eq!(own.set_local_description(now(), None), Err(refused));
    assert_eq!(own.add_track(Kind::Audio, &[]), Err(refused));
    assert!(!own.is_negotiation_needed());
    own.close(now());
    assert_eq!(own.gather_candidates(now()), Err(OrtcError::Closed));
}

#[test]
fn parameters_of_transports_that_cannot_work_are_refused() {
    let mut own = peer(true);
    for (fragment, password) in [
        ("abc", "abcdefghijklmnopqrstuv"),
        ("abcd", "short"),
        ("ab:d", "abcdefghijklmnopqrstuv"),
        ("abcd", "abcdefghijklmnopqrstu\n"),
    ] {
        let bad = IceParameters {
            username_fragment: fragment.to_owned(),
            password: password.to_owned(),
            ice_lite: false,
        };
        let refused = own.start_ice(now(), &bad, Role::Controlling);
        assert_eq!(refused, Err(OrtcError::IceParameters), "{fragment}");
    }
    assert_eq!(own.restart_ice_transport(now()), Err(OrtcError::NotStarted));
    own.start_ice(now(), &ice(), Role::Controlling).unwrap();
    own.start_ice(now(), &ice(), Role::Controlling).unwrap();

    let mut told = own.local_dtls_parameters();
    told.fingerprints[0].hash = "sha-1".to_owned();
    told.fingerprints[0].bytes.truncate(20);
    let refused = own.start_dtls(now(), &told);
    assert_eq!(refused, Err(OrtcError::NoFingerprint));
    let told = own.local_dtls_parameters();
    own.start_dtls(now(), &told).unwrap();
    let refused = own.start_dtls(now(), &told);
    assert_eq!(refused, Err(OrtcError::Started("DTLS")));

    let plan = |port| SctpPlan {
        local_port: 5000,
        remote_port: port,
        max_message_size: 65_536,
    };
    assert_eq!(own.start_sctp(now(), plan(0)), Err(OrtcError::SctpPort));
    own.start_sctp(now(), plan(5000)).unwrap();
    let again = own.start_sctp(now(), plan(5000));
    assert_eq!(again, Err(OrtcError::Started("SCTP")));
}

#[test]
fn a_lite_agent_is_controlled_and_wants_a_full_one() {
    let lite = IceParameters {
        ice_lite: true,
        ..ice()
    };
    let mut full = peer(true);
    full.start_ice(now(), &lite, Role::Controlled).unwrap();
    assert_eq!(full.ice_role(), Role::Controlling);
    let certificate = Certificate::generate(Duration::from_secs(1_700_000_000)).unwrap();
    let mut config = Config::new(certificate.into(), Settings::new(1200).unwrap());
    config.by_hand = true;
    config.ice.lite = true;
    let mut own = Peer::new(now(), config, Random::new([3; 32]));
    assert!(own.gatherer_parameters().ice_lite);
    let refused = own.start_ice(now(), &lite, Role::Controlling);
    assert_eq!(refused, Err(OrtcError::BothLite));
    own.start_ice(now(), &ice(), Role::Controlling).unwrap();
    assert_eq!(own.ice_role(), Role::Controlled);
}

#[test]
fn candidates_before_the_start_are_kept_up_to_a_bound() {
    let mut own = peer(true);
    for port in 1..200 {
        let text = format!("candidate:1 1 udp 1 192.0.2.1 {port} typ host");
        let candidate = Candidate::parse(&text).unwrap();
        own.add_remote_candidate(now(), Some(candidate)).unwrap();
    }
    let dropped = |peer: &Peer| peer.counters().get("peer.too_many_held_candidates");
    assert_eq!(dropped(&own), 199 - HELD_MAX as u64);
    own.start_ice(now(), &ice(), Role::Controlling).unwrap();
    assert_eq!(own.transport.ice.remote_candidates().len(), HELD_MAX);
}

#[test]
fn what_a_sender_leaves_open_is_chosen_and_stays() {
    let mut own = peer(true);
    let sender = own.add_rtp_sender(Kind::Video).unwrap();
    assert_eq!(own.rtp_parameters(sender), None);
    own.send_rtp(now(), sender, &video()).unwrap();
    let told = own.rtp_parameters(sender).unwrap().clone();
    let [stream] = &told.encodings[..] else {
        panic!("{told:?}");
    };
    assert!(stream.ssrc.is_some() && stream.rtx.is_some() && stream.fec.is_some());
    assert_eq!(told.rtcp.cname.len(), 16);
    // The same again, and with another order of codecs.
    let mut again = video();
    again.codecs.rotate_left(2);
    own.send_rtp(now(), sender, &again).unwrap();
    let now_told = own.rtp_parameters(sender).unwrap();
    assert_eq!(now_told.encodings, told.encodings);
    let media = own.negotiated(sender).unwrap();
    assert!(media.sends && !media.receives);
    assert_eq!(media.codecs[0].name, "H264");
    // The W3C's parameters show the same.
    let shown = own.parameters(sender).unwrap();
    assert_eq!(shown.rtcp.cname, told.rtcp.cname);
    assert_eq!(shown.codecs[0].payload_type, 108);
}

#[test]
fn parameters_that_contradict_themselves_or_others_are_refused_and_change_nothing() {
    let mut own = peer(true);
    let sender = own.add_rtp_sender(Kind::Video).unwrap();
    let other = own.add_rtp_sender(Kind::Video).unwrap();
    let named = RtpParameters {
        mid: Some("0".to_owned()),
        encodings: vec![encoding(None, Some(7))],
        ..video()
    };
    own.send_rtp(now(), other, &named).unwrap();
    let before = own.rtp_parameters(other).cloned();

    let with = |change: &dyn Fn(&mut RtpParameters)| {
        let mut parameters = video();
        change(&mut parameters);
        parameters
    };
    let bad: [(&str, RtpParameters); 16] = [
        ("no codec", with(&|own| own.codecs.clear())),
        (
            "repairs alone",
            with(&|own| own.codecs.retain(|own| own.name() == "ulpfec")),
        ),
        (
            "sound",
            with(&|own| own.codecs[0].mime_type = "audio/opus".to_owned()),
        ),
        (
            "no name",
            with(&|own| own.codecs[0].mime_type = "video/".to_owned()),
        ),
        ("no clock", with(&|own| own.codecs[0].clock_rate = 0)),
        (
            "RTCP's number",
            with(&|own| own.codecs[0].payload_type = 72),
        ),
        ("too high", with(&|own| own.codecs[0].payload_type = 200)),
        ("two codecs", with(&|own| own.codecs[2].payload_type = 96)),
        (
            "rtx of nothing",
            with(&|own| own.codecs[1].sdp_fmtp_line = "apt=1".to_owned()),
        ),
        (
            "rtx without apt",
            with(&|own| own.codecs[1].sdp_fmtp_line = String::new()),
        ),
        ("another's mid", with(&|own| own.mid = Some("0".to_owned()))),
        ("bad mid", with(&|own| own.mid = Some("<1>".to_owned()))),
        (
            "another's source",
            with(&|own| own.encodings = vec![encoding(None, Some(7))]),
        ),
        (
            "no source",
            with(&|own| own.encodings = vec![encoding(None, Some(0))]),
        ),
        (
            "too many",
            with(&|own| {
                let names = ["a", "b", "c", "d", "e"].into_iter();
                own.encodings = names.map(|rid| encoding(Some(rid), None)).collect();
            }),
        ),
        (
            "a number twice",
            with(&|own| {
                let id = own.header_extensions[0].id;
                own.header_extensions.push(HeaderExtensionParameters {
                    uri: "urn:example:unknown".to_owned(),
                    id,
                });
            }),
        ),
    ];
    for (name, parameters) in bad {
        let refused = own.send_rtp(now(), sender, &parameters).unwrap_err();
        assert!(matches!(refused, OrtcError::Rtp(_)), "{name}: {refused}");
        assert_eq!(refused.name(), "InvalidAccessError");
        assert_eq!(own.rtp_parameters(sender), None, "{name}");
    }
    let unnamed = with(&|own| own.encodings = vec![encoding(None, None), encoding(None, None)]);
    let refused = own.send_rtp(now(), sender, &unnamed).unwrap_err();
    assert_eq!(refused.name(), "TypeError");
    let bounds = with(&|own| {
        own.encodings = vec![encoding(None, None)];
        own.encodings[0].encoding.scale_resolution_down_by = Some(0.5);
    });
    let refused = own.send_rtp(now(), sender, &bounds).unwrap_err();
    assert_eq!(refused.name(), "RangeError");
    let refused = own.receive_rtp(now(), sender, &video());
    assert_eq!(refused, Err(OrtcError::Stopped), "for the other way");
    assert_eq!(own.rtp_parameters(other).cloned(), before);
    own.send_rtp(now(), sender, &video()).unwrap();
}

#[test]
fn a_number_of_an_extension_has_one_meaning_in_all_that_is_received() {
    let mut own = peer(true);
    let [first, second] = [0; 2].map(|_| own.add_rtp_receiver(Kind::Video).unwrap());
    own.receive_rtp(now(), first, &video()).unwrap();
    own.receive_rtp(now(), second, &video()).unwrap();
    let mut other = video();
    other.header_extensions[0].id = 14;
    let refused = own.receive_rtp(now(), second, &other).unwrap_err();
    assert!(
        matches!(
            refused,
            OrtcError::Rtp(RtpReason::BadExtension { id: 14, .. })
        ),
        "{refused}"
    );
    own.stop_rtp(now(), first).unwrap();
    own.receive_rtp(now(), second, &other).unwrap();
}

fn encoding(rid: Option<&str>, ssrc: Option<u32>) -> RtpEncodingParameters {
    RtpEncodingParameters {
        ssrc,
        encoding: EncodingParameters {
            rid: rid.map(str::to_owned),
            ..EncodingParameters::default()
        },
        ..RtpEncodingParameters::default()
    }
}
