use proptest::prelude::*;

use super::*;
use crate::candidate::CandidateKind;
use crate::ids::{PayloadType, Ssrc};

macro_rules! vectors {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../tests/vectors/sdp/", $name, ".sdp")))),*]
    };
}

const VECTORS: &[(&str, &str)] = vectors![
    "aiortc.answer.dc",
    "aiortc.answer.media",
    "aiortc.offer.dc",
    "aiortc.offer.media",
    "chromium.answer.dc",
    "chromium.answer.media",
    "chromium.offer.dc",
    "chromium.offer.media",
    "chromium.simulcast.offer",
    "ffmpeg.offer.media",
    "firefox.answer.dc",
    "firefox.answer.media",
    "firefox.offer.dc",
    "firefox.offer.media",
    "firefox.simulcast.offer",
    "gst.answer.dc",
    "gst.answer.media",
    "gst.offer.dc",
    "gst.offer.media",
    "ndc.answer.dc",
    "ndc.offer.dc",
    "pion3.answer.dc",
    "pion3.answer.media",
    "pion3.offer.dc",
    "werift.answer.dc",
    "werift.offer.dc",
    "wrtc.answer.dc",
    "wrtc.offer.dc",
];

fn vector(name: &str) -> Description {
    let (_, text) = VECTORS.iter().find(|(own, _)| *own == name).unwrap();
    text.parse().unwrap()
}

/// The spelling that printing normalises, removed from the original.
fn normalised(line: &str) -> String {
    let line = line.trim_end();
    let line = line.replace(" UDP ", " udp ").replace(" TCP ", " tcp ");
    line.replace("ice2,trickle", "ice2 trickle")
}

#[test]
fn every_recorded_description_survives_printing_line_by_line() {
    for (name, text) in VECTORS {
        let description: Description = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        let printed = description.to_string();
        let before: Vec<String> = text.lines().map(normalised).collect();
        let after: Vec<&str> = printed.lines().collect();
        assert_eq!(after, before, "{name}");
        assert_eq!(printed.parse(), Ok(description), "{name}");
    }
}

#[test]
fn chromium_offers_what_we_read() {
    let offer = vector("chromium.offer.media");
    assert_eq!(offer.origin.session_id, 1_853_039_549_304_211_898);
    let video = &offer.media[1];
    assert_eq!(video.kind, MediaKind::Video);
    assert_eq!(video.mid(), Some(&Mid::from("1")));
    assert_eq!(video.formats.len(), 23);
    assert!(video.has(&Attribute::RtcpFeedback(RtcpFeedback {
        payload_type: Some(PayloadType(96)),
        feedback: "nack pli".into(),
    })));
    assert!(video.has(&Attribute::SsrcGroup(SsrcGroup {
        semantics: "FID".into(),
        ssrcs: vec![Ssrc(351_883_274), Ssrc(3_589_671_368)],
    })));
    let fingerprint = offer.find(video, |attribute| match attribute {
        Attribute::Fingerprint(fingerprint) => Some(fingerprint),
        _ => None,
    });
    assert_eq!(fingerprint.unwrap().bytes.len(), 32);
    assert_eq!(offer.media[2].candidates().count(), 4);
}

#[test]
fn the_older_form_of_simulcast_is_kept_as_an_unknown_line() {
    for value in [" send rid=q;h recv pt=97", "recv rid=1;4 send rid=6;7"] {
        let attribute = Attribute::parse(&format!("simulcast:{value}")).unwrap();
        assert_eq!(attribute, Attribute::other("simulcast", value));
        assert_eq!(attribute.to_string(), format!("simulcast:{value}"));
    }
    let bad = Err(SdpErrorReason::BadSimulcast);
    assert_eq!(
        Attribute::parse("simulcast:send rid"),
        Ok(Attribute::Simulcast(Simulcast {
            send: vec![vec![SimulcastRid {
                rid: "rid".into(),
                paused: false
            }]],
            recv: Vec::new(),
        }))
    );
    assert_eq!(Attribute::parse("simulcast:rid=q"), bad);
}

#[test]
fn simulcast_is_read_from_both_browsers() {
    for name in ["chromium.simulcast.offer", "firefox.simulcast.offer"] {
        let offer = vector(name);
        let simulcast = offer.media[0].attributes().find_map(|a| match a {
            Attribute::Simulcast(simulcast) => Some(simulcast),
            _ => None,
        });
        let rids: Vec<&str> = simulcast
            .unwrap()
            .send
            .iter()
            .map(|a| a[0].rid.as_str())
            .collect();
        assert_eq!(rids, ["q", "h", "f"], "{name}");
    }
}

#[test]
fn session_level_values_serve_sections_without_their_own() {
    let answer = vector("firefox.answer.dc");
    let found = answer.find(&answer.media[0], |a| match a {
        Attribute::Fingerprint(fingerprint) => Some(fingerprint.hash.as_str()),
        _ => None,
    });
    assert_eq!(found, Some("sha-256"));
    let relay = answer.media[0]
        .candidates()
        .find(|c| c.kind == CandidateKind::Relay);
    assert_eq!(relay.unwrap().related_port, Some(50192));
}

#[test]
fn a_bundle_only_section_with_port_zero_is_not_rejected() {
    let offer = vector("gst.offer.media");
    assert_eq!(offer.media[1].port, 0);
    assert!(!offer.media[1].is_rejected());
    assert!(vector("chromium.answer.media").media[0].is_rejected());
}

#[test]
fn legacy_sctpmap_and_three_fingerprints_are_read() {
    let text = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n\
                m=application 9 DTLS/SCTP 5000\nc=IN IP4 0.0.0.0\na=sctpmap:5000 webrtc-datachannel 1024\n";
    let description: Description = text.parse().unwrap();
    assert!(description.media[0].has(&Attribute::Sctpmap(Sctpmap {
        port: 5000,
        app: "webrtc-datachannel".into(),
        streams: Some(1024),
    })));
    let hashes: Vec<usize> = vector("aiortc.offer.dc").media[0]
        .attributes()
        .filter_map(|a| match a {
            Attribute::Fingerprint(fingerprint) => Some(fingerprint.bytes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(hashes, [32, 48, 64]);
}

#[test]
fn unknown_lines_stay_in_place() {
    let text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\ni=info\r\nt=0 0\r\nr=7d 1h 0 25h\r\n\
                a=charset:iso8895-1\r\nm=audio 9 RTP/AVP 0\r\nb=AS:64\r\na=x\r\nk=clear:y\r\na=ptime:20\r\n";
    let description: Description = text.parse().unwrap();
    assert_eq!(description.to_string(), text);
}

#[test]
fn errors_name_the_line_and_the_reason() {
    use SdpErrorReason as R;
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    for (tail, line, reason) in [
        ("x\r\n", 5, R::NotALine),
        ("\r\na=x\r\n", 5, R::NotALine),
        ("a=x\r\nm=audio 9\r\n", 6, R::BadMedia),
        ("m=audio 70000 RTP/AVP 0\r\n", 5, R::BadMedia),
        ("a=fingerprint:sha-256 AG\r\n", 5, R::BadFingerprint),
        ("a=setup:maybe\r\n", 5, R::BadSetup),
        ("a=rtpmap:128 x/1\r\n", 5, R::BadRtpmap),
        ("a=extmap:0 urn:x\r\n", 5, R::BadExtmap),
        ("a=extmap:256 urn:x\r\n", 5, R::BadExtmap),
        ("a=ssrc:4294967296 cname:x\r\n", 5, R::BadSsrc),
        ("a=mid:a b\r\n", 5, R::BadMid),
        ("a=simulcast:send\r\n", 5, R::BadSimulcast),
        ("a=ice-ufrag:a\u{e9}\r\n", 5, R::BadIceCredential),
        ("a=mid\r\n", 5, R::MissingValue),
        ("a=x\ry\r\n", 5, R::ControlCharacter),
        ("a=x\0\r\n", 5, R::ControlCharacter),
    ] {
        let got = format!("{head}{tail}").parse::<Description>();
        assert_eq!(got, Err(SdpError { line, reason }), "{tail:?}");
    }
    for (text, reason) in [
        ("", R::ExpectedVersion),
        ("v=1\n", R::ExpectedVersion),
        ("v=0\ns=-\n", R::ExpectedOrigin),
        ("v=0\no=- x 1 IN IP4 0\n", R::ExpectedOrigin),
        ("v=0\no=- 1 1 IN IP4 0\n", R::ExpectedSessionName),
    ] {
        assert_eq!(
            text.parse::<Description>().unwrap_err().reason,
            reason,
            "{text:?}"
        );
    }
}

#[test]
fn limits_hold_at_the_limit_and_refuse_one_more() {
    let head = "v=0\no=- 1 1 IN IP4 0\ns=-\n";
    let media = |count: usize| format!("{head}{}", "m=audio 9 X 0\n".repeat(count));
    assert_eq!(
        media(MEDIA_MAX).parse::<Description>().unwrap().media.len(),
        MEDIA_MAX
    );
    let error = media(MEDIA_MAX + 1).parse::<Description>().unwrap_err();
    assert_eq!(error.reason, SdpErrorReason::TooManyMedia);
    let pad = "a".repeat(LEN_MAX - head.len() - 2);
    assert!(format!("{head}a={pad}").parse::<Description>().is_ok());
    let error = format!("{head}a={pad}b")
        .parse::<Description>()
        .unwrap_err();
    assert_eq!(error.reason, SdpErrorReason::TooLong);
}

#[test]
fn no_text_can_smuggle_in_a_line() {
    let mut description = vector("wrtc.offer.dc");
    description.media[0].push(Attribute::Msid(Msid {
        stream: "a\r\na=setup:active".into(),
        track: None,
    }));
    let again: Description = description.to_string().parse().unwrap();
    assert!(!again.media[0].has(&Attribute::Setup(Setup::Active)));
}

#[test]
fn h264_profiles_follow_the_table_of_rfc_6184() {
    use H264Profile as P;
    for (id, profile, level) in [
        ("42e01f", P::ConstrainedBaseline, 31),
        ("42c01f", P::ConstrainedBaseline, 31),
        ("4d801f", P::ConstrainedBaseline, 31),
        ("42001f", P::Baseline, 31),
        ("42f00b", P::ConstrainedBaseline, H264Parameters::LEVEL_1B),
        ("4d001f", P::Main, 31),
        ("640c1f", P::ConstrainedHigh, 31),
        ("64001f", P::High, 31),
        ("f4001f", P::PredictiveHigh444, 31),
    ] {
        let parameters = H264Parameters::parse(&format!("profile-level-id={id}")).unwrap();
        assert_eq!(
            (parameters.profile, parameters.level),
            (profile, level),
            "{id}"
        );
    }
    assert_eq!(H264Parameters::parse("profile-level-id=42e0"), None);
    assert_eq!(H264Parameters::parse("").unwrap().profile, P::Baseline);
    let low = H264Parameters::parse("profile-level-id=42f00b").unwrap();
    let high = H264Parameters::parse("profile-level-id=42e00b").unwrap();
    assert!(low.is_level_below(&high) && !high.is_level_below(&low));
    assert_eq!(low.profile_level_id(), "42f00b");
}

#[test]
fn h265_parameters_have_the_defaults_of_rfc_7798() {
    let default = H265Parameters::parse("").unwrap();
    assert_eq!(
        (default.profile, default.level, default.high_tier),
        (1, 93, false)
    );
    assert_eq!(default.transmission, H265Transmission::Srst);
    // As Chromium writes them.
    let chromium = "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST";
    let parsed = H265Parameters::parse(chromium).unwrap();
    assert_eq!(parsed.to_string(), chromium);
    assert!(parsed.is_same_configuration(&default));
    for other in [
        "profile-id=2",
        "tier-flag=1",
        "tx-mode=MRST",
        "profile-space=1",
    ] {
        let other = H265Parameters::parse(other).unwrap();
        assert!(!other.is_same_configuration(&default), "{other}");
        assert_eq!(H265Parameters::parse(&other.to_string()), Some(other));
    }
    for wrong in ["profile-id=32", "tier-flag=2", "level-id=x", "tx-mode=srst"] {
        assert_eq!(H265Parameters::parse(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,400}") {
        let _ = text.parse::<Description>();
        let _ = Attribute::parse(&text);
        let _ = H264Parameters::parse(&text);
    }

    #[test]
    fn mutated_descriptions_reparse_to_the_same(
        which in 0..VECTORS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = VECTORS[which].1.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(description) = String::from_utf8_lossy(&bytes).parse::<Description>() {
            prop_assert_eq!(description.to_string().parse(), Ok(description));
        }
    }

    #[test]
    fn attributes_print_and_reparse(text in "(group|mid|ice-options|candidate|fingerprint|setup|rtpmap|fmtp|rtcp-fb|extmap|msid|ssrc|ssrc-group|rid|simulcast|sctpmap|sctp-port):[ -~]{0,40}") {
        if let Ok(attribute) = Attribute::parse(&text) {
            prop_assert_eq!(Attribute::parse(&attribute.to_string()), Ok(attribute));
        }
    }
}
