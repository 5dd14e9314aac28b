//! What is refused and why, legacy forms, and candidates.

use std::sync::Arc;

use twocan_wire::sdp::Description;

use super::tests::{answer, answer_of, error_of, ice, negotiator, offer_of};
use super::*;

#[test]
fn calls_in_the_wrong_state_name_the_w3c_error_and_change_nothing() {
    let mut ours = negotiator(1);
    ours.want_data();
    assert_eq!(
        ours.create_answer(&ice("a")).unwrap_err().name(),
        "InvalidStateError"
    );
    for kind in [SdpType::Answer, SdpType::Pranswer, SdpType::Rollback] {
        assert_eq!(
            error_of(ours.set_local_description(kind, "")).name(),
            "InvalidStateError"
        );
        let answer = answer_of("chromium.dc");
        assert_eq!(
            error_of(ours.set_remote_description(kind, answer)).name(),
            "InvalidStateError"
        );
    }
    let error = error_of(ours.set_local_description(SdpType::Offer, ""));
    assert_eq!(error.name(), "InvalidModificationError");
    let offer = ours.create_offer(&ice("a")).unwrap();
    let changed = offer.replace("actpass", "active");
    let error = error_of(ours.set_local_description(SdpType::Offer, &changed));
    assert_eq!(error.name(), "InvalidModificationError");
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    let error = error_of(ours.set_remote_description(SdpType::Answer, "v=0\r\nx"));
    assert_eq!(
        (error.name(), error.sdp_line_number()),
        ("RTCError", Some(2))
    );
    assert_eq!(ours.signaling_state(), SignalingState::HaveLocalOffer);
    ours.set_remote_description(SdpType::Answer, answer_of("chromium.dc"))
        .unwrap();
}

#[test]
fn answers_that_break_the_rules_are_refused_with_the_reason() {
    use AccessReason as R;
    let mut ours = negotiator(1);
    ours.add_track(Kind::Audio, &[]).unwrap();
    ours.add_track(Kind::Video, &[]).unwrap();
    ours.want_data();
    ours.create_offer(&ice("a")).unwrap();
    ours.set_local_description(SdpType::Offer, "").unwrap();
    let (_, good) = {
        let mut peer = negotiator(2);
        let (_, offer) = ours.local_description(&[], false).unwrap();
        answer(&mut peer, &offer)
    };
    let good = good.to_string();
    let line = |prefix: &str| {
        let found = good.lines().find(|line| line.starts_with(prefix)).unwrap();
        format!("{found}\r\n")
    };
    for (bad, reason) in [
        (
            good.replace("a=setup:active", "a=setup:actpass"),
            R::BadSetup(0),
        ),
        (good.replacen("a=rtcp-mux\r\n", "", 1), R::NoRtcpMux(0)),
        (good.replace("BUNDLE 0 1 2", "BUNDLE 0 2"), R::NotBundled(1)),
        (good.replace(&line("a=ice-pwd"), ""), R::NoIceParameters(0)),
        (good.replace("sha-256", "sha-1"), R::NoFingerprint(0)),
        (good.replace("a=mid:1", "a=mid:7"), R::SectionMismatch(1)),
        (good.replace("a=mid:1", "a=mid:0"), R::DuplicateMid(1)),
        (good.replace("m=video", "m=text"), R::SectionMismatch(1)),
        (
            good.split("m=application").next().unwrap().into(),
            R::SectionMismatch(2),
        ),
    ] {
        assert_ne!(bad, good, "{reason}");
        let error = error_of(ours.set_remote_description(SdpType::Answer, &bad));
        assert_eq!(error, NegotiateError::InvalidAccess(reason));
    }
    ours.set_remote_description(SdpType::Answer, &good).unwrap();
}

#[test]
fn offers_of_plan_b_are_refused_with_that_reason() {
    let offer = offer_of("chromium.media");
    let msid_lines = |line: &&str| !line.starts_with("a=msid:") && !line.starts_with("a=ssrc");
    let kept: Vec<&str> = offer.lines().filter(msid_lines).collect();
    // Two cameras in one section, as browsers had it until 2022.
    let sources = |names: [&str; 2]| {
        let line = |ssrc: u32, name: &str| {
            format!("a=ssrc:{ssrc} cname:c\r\na=ssrc:{ssrc} msid:s {name}\r\n")
        };
        line(1, names[0]) + &line(2, names[1])
    };
    let with = |names| {
        let mut out = String::new();
        for line in &kept {
            out += line;
            out += "\r\n";
            if *line == "a=rtcp-mux" && out.contains("m=video") && !out.contains("a=ssrc:") {
                out += &sources(names);
            }
        }
        out
    };
    let mut ours = negotiator(1);
    let error = error_of(ours.set_remote_description(SdpType::Offer, &with(["a", "b"])));
    assert_eq!(error, NegotiateError::InvalidAccess(AccessReason::PlanB(1)));
    assert_eq!(ours.signaling_state(), SignalingState::Stable);
    // Several sources of one track are a simulcast of older browsers.
    ours.set_remote_description(SdpType::Offer, &with(["a", "a"]))
        .unwrap();
}

#[test]
fn sections_outside_of_the_bundle_are_rejected() {
    let offer = offer_of("chromium.media");
    let (plan, answer) = answer(
        &mut negotiator(1),
        &offer.replace("BUNDLE 0 1 2", "BUNDLE 1 2"),
    );
    let rejected: Vec<bool> = answer
        .media
        .iter()
        .map(|media| media.is_rejected())
        .collect();
    assert_eq!(
        rejected,
        [false, true, true],
        "the first usable section decides"
    );
    assert_eq!(plan.media.unwrap().len(), 1);
    assert!(plan.sctp.is_none());
}

#[test]
fn a_legacy_offer_without_mids_or_groups_gets_its_first_section() {
    let mut offer = offer_of("chromium.media").replace("a=group:BUNDLE 0 1 2\r\n", "");
    for mid in ["a=mid:0\r\n", "a=mid:1\r\n", "a=mid:2\r\n"] {
        offer = offer.replace(mid, "");
    }
    let (plan, answer) = answer(&mut negotiator(1), &offer);
    let rejected: Vec<bool> = answer
        .media
        .iter()
        .map(|media| media.is_rejected())
        .collect();
    assert_eq!(rejected, [false, true, true]);
    assert!(!answer.to_string().contains("a=mid") && !answer.to_string().contains("BUNDLE"));
    assert_eq!(plan.media.unwrap()[0].mid.as_str(), "0");
}

#[test]
fn legacy_sctpmap_is_answered_in_kind() {
    let offer = offer_of("wrtc.dc")
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5001")
        .replace("a=sctp-port:5000", "a=sctpmap:5001 webrtc-datachannel 1024")
        .replace("a=max-message-size:262144\r\n", "");
    let (plan, answer) = answer(&mut negotiator(1), &offer);
    let sctp = plan.sctp.unwrap();
    assert_eq!((sctp.remote_port, sctp.max_message_size), (5001, 65_536));
    let text = answer.to_string();
    assert!(
        text.contains(" DTLS/SCTP 5000\r\n")
            && text.contains("a=sctpmap:5000 webrtc-datachannel 65535")
    );
}

#[test]
fn candidates_are_written_into_the_tagged_section_and_do_not_count_as_changes() {
    let mut ours = negotiator(1);
    ours.add_track(Kind::Audio, &[]).unwrap();
    ours.want_data();
    ours.create_offer(&ice("a")).unwrap();
    ours.set_local_description(SdpType::Offer, "").unwrap();
    let candidate = |text: &str| twocan_wire::candidate::Candidate::parse(text).unwrap();
    let candidates = [
        candidate("1 1 udp 2122260223 192.0.2.1 50000 typ host"),
        candidate("2 1 udp 1686052607 198.51.100.1 50001 typ srflx raddr 192.0.2.1 rport 50000"),
    ];
    let (_, text) = ours.local_description(&candidates, true).unwrap();
    let description: Description = text.parse().unwrap();
    assert_eq!(
        (description.media[0].port, description.media[1].port),
        (50001, 9)
    );
    assert_eq!(description.media[0].candidates().count(), 2);
    assert!(text.contains("c=IN IP4 198.51.100.1\r\n") && text.contains("a=end-of-candidates"));
    ours.set_local_description(SdpType::Rollback, "").unwrap();
    let offer = ours.create_offer(&ice("a")).unwrap();
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    let (_, with) = ours.local_description(&candidates, true).unwrap();
    assert_ne!(with, offer);
    ours.set_local_description(SdpType::Rollback, "").unwrap();
    let offer = ours.create_offer(&ice("a")).unwrap();
    let added =
        "a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n";
    let with = format!("{}{added}", offer.replace("m=audio 9", "m=audio 50000"));
    ours.set_local_description(SdpType::Offer, &with).unwrap();
}

#[test]
fn remote_candidates_are_checked_against_the_description() {
    let text = "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host";
    let mut ours = negotiator(1);
    let early = ours.remote_candidate(text, Some("0"), None, None);
    assert_eq!(early.unwrap_err().name(), "InvalidStateError");
    ours.set_remote_description(SdpType::Offer, offer_of("chromium.media"))
        .unwrap();
    let taken = ours
        .remote_candidate(text, Some("0"), None, Some("7RLK"))
        .unwrap();
    assert!(matches!(taken, RemoteCandidate::Candidate(_)));
    let other = ours.remote_candidate(text, None, Some(1), None).unwrap();
    assert_eq!(
        other,
        RemoteCandidate::NotOurs,
        "a section that the bundle will swallow"
    );
    let rtcp = text.replace("1 1 udp", "1 2 udp");
    let rtcp = ours.remote_candidate(&rtcp, Some("0"), None, None).unwrap();
    assert_eq!(rtcp, RemoteCandidate::NotOurs);
    let end = ours.remote_candidate("", Some("0"), None, None).unwrap();
    assert_eq!(end, RemoteCandidate::EndOfCandidates);
    for (text, mid, ufrag, name) in [
        (text, None, None, "TypeError"),
        (text, Some("9"), None, "OperationError"),
        (text, Some("0"), Some("else"), "OperationError"),
        (text, Some("1"), Some("else"), "OperationError"),
        ("candidate:1", Some("0"), None, "OperationError"),
    ] {
        let error = ours.remote_candidate(text, mid, None, ufrag).unwrap_err();
        assert_eq!(error.name(), name);
    }
    let answer = ours.create_answer(&ice("b")).unwrap();
    ours.set_local_description(SdpType::Answer, &answer)
        .unwrap();
    let later = ours.remote_candidate(text, None, Some(1), None).unwrap();
    assert!(
        matches!(later, RemoteCandidate::Candidate(_)),
        "the bundle is agreed"
    );
}

#[test]
fn of_two_ends_one_is_a_full_agent() {
    let mut lite = [1, 2].map(|seed| {
        let mut own = negotiator(seed);
        Arc::make_mut(&mut own.config).ice_lite = true;
        own.want_data();
        own
    });
    let offer = lite[0].create_offer(&ice("a")).unwrap();
    assert!(offer.contains("\r\na=ice-lite\r\n"), "{offer}");
    let error = error_of(lite[1].set_remote_description(SdpType::Offer, &offer));
    let reason = AccessReason::BothLite;
    assert_eq!(error, NegotiateError::InvalidAccess(reason));
    assert_eq!(lite[1].signaling_state(), SignalingState::Stable);
    // The full one controls, whoever offers.
    let (plan, text) = answer(&mut negotiator(3), &offer);
    assert_eq!(plan.ice.role, IceRole::Controlling);
    lite[0].set_local_description(SdpType::Offer, "").unwrap();
    let plan = lite[0].set_remote_description(SdpType::Answer, &text.to_string());
    assert_eq!(plan.unwrap().ice.role, IceRole::Controlled);
}
