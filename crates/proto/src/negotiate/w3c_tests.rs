//! What the W3C's interfaces need of a negotiation beside offers and answers.

use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Attribute, Description, Direction};

use super::tests::{answer, answer_of, ice, negotiator, offer_of, round};
use super::*;

fn preference(name: &str, clock_rate: u32, channels: u8) -> CodecPreference {
    CodecPreference {
        name: name.into(),
        clock_rate,
        channels,
        fmtp: String::new(),
    }
}

fn names(description: &str) -> Vec<String> {
    let description: Description = description.parse().unwrap();
    let attributes = description.media[0].attributes();
    attributes
        .filter_map(|attribute| match attribute {
            Attribute::Rtpmap(rtpmap) => Some(rtpmap.encoding.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[test]
fn extensions_that_are_stopped_or_go_one_way_are_stated_so() {
    let level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    let stated = |text: &str| {
        let description: Description = text.parse().unwrap();
        let attributes = description.media[0].attributes();
        let mut found = attributes.filter_map(|attribute| match attribute {
            Attribute::Extmap(extmap) if extmap.uri == level => Some(extmap.direction),
            _ => None,
        });
        found.next()
    };
    let mut ours = negotiator(1);
    let id = ours
        .add_transceiver(Kind::Audio, Direction::SendRecv, &[])
        .unwrap();
    assert_eq!(stated(&ours.create_offer(&ice("a")).unwrap()), Some(None));
    for (wanted, expected) in [
        (None, None),
        (Some(Direction::Inactive), None),
        (Some(Direction::RecvOnly), Some(Some(Direction::RecvOnly))),
        (Some(Direction::SendRecv), Some(None)),
    ] {
        let extensions = vec![(ExtensionKind::AudioLevel, wanted)];
        ours.set_header_extensions(id, extensions).unwrap();
        let offer = ours.create_offer(&ice("a")).unwrap();
        assert_eq!(stated(&offer), expected);
    }
    // The answerer's word counts in the answer, and only there.
    let offer = ours.create_offer(&ice("a")).unwrap();
    for (wanted, expected) in [
        (None, None),
        (Some(Direction::SendOnly), Some(Some(Direction::SendOnly))),
    ] {
        let mut theirs = negotiator(2);
        let id = theirs.add_track(Kind::Audio, &[]).unwrap();
        let extensions = vec![(ExtensionKind::AudioLevel, wanted)];
        theirs.set_header_extensions(id, extensions).unwrap();
        let (_, written) = answer(&mut theirs, &offer);
        assert_eq!(stated(&written.to_string()), expected);
    }
}

#[test]
fn preferences_order_and_limit_the_codecs_of_offers_and_answers() {
    let mut ours = negotiator(1);
    let id = ours
        .add_transceiver(Kind::Audio, Direction::SendRecv, &[])
        .unwrap();
    let wanted = vec![preference("pcma", 8000, 1), preference("OPUS", 48_000, 2)];
    ours.set_codec_preferences(id, wanted).unwrap();
    let offer = ours.create_offer(&ice("a")).unwrap();
    assert_eq!(names(&offer), ["pcma", "opus"]);
    // Without `rtx` among them, retransmissions go as well.
    let mut video = negotiator(2);
    let id = video
        .add_transceiver(Kind::Video, Direction::SendRecv, &[])
        .unwrap();
    for (wanted, stated) in [
        (vec![preference("VP8", 90_000, 1)], vec!["vp8"]),
        (
            vec![preference("VP8", 90_000, 1), preference("rtx", 90_000, 1)],
            vec!["vp8", "rtx"],
        ),
    ] {
        video.set_codec_preferences(id, wanted).unwrap();
        let offer = video.create_offer(&ice("a")).unwrap();
        assert_eq!(names(&offer), stated);
    }
    // The answerer's own order counts in the answer.
    let mut theirs = negotiator(3);
    let id = theirs.add_track(Kind::Audio, &[]).unwrap();
    let wanted = vec![preference("PCMU", 8000, 1)];
    theirs.set_codec_preferences(id, wanted).unwrap();
    let (plan, written) = answer(&mut theirs, &offer);
    assert_eq!(plan.signaling_state, SignalingState::Stable);
    // The offer has no PCMU: nothing is left, and the section is refused.
    assert!(written.media[0].is_rejected(), "{written}");
}

#[test]
fn a_track_goes_to_the_transceiver_that_was_found_for_it() {
    let mut ours = negotiator(1);
    let id = ours
        .add_transceiver(Kind::Audio, Direction::RecvOnly, &[])
        .unwrap();
    ours.attach_track(id, &["stream"]).unwrap();
    let own = ours.transceiver(id).unwrap();
    assert_eq!(own.direction(), Direction::SendRecv);
    assert!(own.has_track());
    assert_eq!(own.streams(), ["stream"]);
    // `replaceTrack(null)` lets another track have it.
    ours.remove_track(id).unwrap();
    ours.set_has_track(id, true).unwrap();
    assert_ne!(ours.add_track(Kind::Audio, &[]).unwrap(), id);
    ours.set_has_track(id, false).unwrap();
    assert_eq!(ours.add_track(Kind::Audio, &[]).unwrap(), id);
    ours.stop(id).unwrap();
    assert!(ours.attach_track(id, &[]).is_err());
}

#[test]
fn a_remote_description_says_whether_candidates_may_trickle_and_what_is_sent() {
    let mut ours = negotiator(1);
    assert_eq!(ours.can_trickle(), None);
    answer(&mut ours, offer_of("chromium.media"));
    assert_eq!(ours.can_trickle(), Some(true));
    let id = ours.transceivers()[0].id();
    let media = ours.remote_media(id).unwrap();
    assert_eq!(media.direction, Direction::SendRecv);
    assert!(!media.streams.is_empty() && media.track.is_some());
    let mut silent = negotiator(2);
    answer(
        &mut silent,
        &offer_of("chromium.media").replace("a=ice-options:trickle", "a=x-none"),
    );
    assert_eq!(silent.can_trickle(), Some(false));
    // An answer counts like an offer.
    assert!(answer_of("chromium.media").contains("a=ice-options:trickle"));
}

#[test]
fn candidates_are_shown_in_the_remote_description() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    a.want_data();
    round(&mut a, &mut b);
    let line = "candidate:1 1 udp 2113929471 203.0.113.100 10100 typ host";
    a.show_remote_candidate(line, Some("0"), None);
    a.show_remote_candidate("", None, None);
    let (_, sdp) = a.remote_description().unwrap();
    assert!(sdp.contains(&format!("a={line}\r\na=end-of-candidates\r\n")));
    assert_eq!(sdp.parse::<Description>().unwrap().media.len(), 1);
    // A line break would add lines of the other side's own.
    a.show_remote_candidate("candidate:2\r\na=setup:active", Some("0"), None);
    assert_eq!(a.remote_description().unwrap().1, sdp);
}

#[test]
fn pending_and_current_descriptions_are_apart() {
    let (mut a, mut b) = (negotiator(1), negotiator(2));
    a.want_data();
    round(&mut a, &mut b);
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, &offer).unwrap();
    let (current, pending) = (
        a.current_local_description().unwrap(),
        a.pending_local_description().unwrap(),
    );
    assert_ne!(current, pending);
    assert_eq!(pending.1, offer);
    assert_eq!(a.pending_remote_description(), None);
    a.set_local_description(SdpType::Rollback, "").unwrap();
    assert_eq!(a.pending_local_description(), None);
    assert_eq!(a.current_local_description(), Some(current));
    assert_eq!(a.local_ice(), Some(ice("a")));
    assert_eq!(a.remote_ice(), Some(ice("b")));
}

/// RFC 9429 §5.11.
#[test]
fn another_certificate_comes_with_an_ice_restart_only() {
    let (mut ours, mut first, mut second) = (negotiator(1), negotiator(2), negotiator(3));
    ours.want_data();
    round(&mut ours, &mut first);
    let changed = |text: &str| text.replace(&"02:".repeat(31), &"03:".repeat(31));
    let refused = NegotiateError::InvalidAccess(AccessReason::FingerprintChanged(0));

    let offer = first.create_offer(&ice("b")).unwrap();
    let result = ours.set_remote_description(SdpType::Offer, &changed(&offer));
    assert_eq!(result.unwrap_err(), refused);
    let offer = ours.create_offer(&ice("a")).unwrap();
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    let (_, text) = answer(&mut first, &offer);
    let result = ours.set_remote_description(SdpType::Answer, &changed(&text.to_string()));
    assert_eq!(result.unwrap_err(), refused);
    ours.set_remote_description(SdpType::Rollback, "")
        .unwrap_err();
    ours.set_local_description(SdpType::Rollback, "").unwrap();

    // Somebody else with credentials of their own takes the place of the first, in a role of their own.
    let offer = ours.create_offer(&ice("a2")).unwrap();
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    second
        .set_remote_description(SdpType::Offer, &offer)
        .unwrap();
    let text = second.create_answer(&ice("c")).unwrap();
    let plan = ours.set_remote_description(SdpType::Answer, &text).unwrap();
    let dtls = plan.dtls.unwrap();
    assert_eq!(dtls.fingerprints[0].bytes, [3; 32]);
    assert!(plan.ice.remote.unwrap().restarted);
}

/// W3C webrtc-pc §4.4.1.5: nothing is rolled back between two offers of the same side.
#[test]
fn what_is_stopped_after_the_answer_was_created_connects_until_the_next_negotiation() {
    let (mut ours, mut theirs) = (negotiator(1), negotiator(2));
    ours.add_track(Kind::Audio, &[]).unwrap();
    let id = theirs.add_track(Kind::Audio, &[]).unwrap();
    let offer = ours.create_offer(&ice("a")).unwrap();
    ours.set_local_description(SdpType::Offer, &offer).unwrap();
    theirs
        .set_remote_description(SdpType::Offer, &offer)
        .unwrap();
    let answer = theirs.create_answer(&ice("b")).unwrap();
    theirs.stop(id).unwrap();
    let plan = theirs
        .set_local_description(SdpType::Answer, &answer)
        .unwrap();
    assert!(plan.dtls.is_some());
    assert!(plan.ice.remote.is_some());
    assert!(theirs.is_negotiation_needed());
}

#[test]
fn a_restart_is_wanted_until_other_credentials_are_agreed() {
    let (mut ours, mut theirs) = (negotiator(1), negotiator(2));
    ours.restart_ice();
    assert!(!ours.is_negotiation_needed() && !ours.wants_ice_restart());
    ours.add_track(Kind::Audio, &[]).unwrap();
    let mut round = |ours: &mut Negotiator, fragment: &str, meanwhile: fn(&mut Negotiator)| {
        let offer = ours.create_offer(&ice(fragment)).unwrap();
        ours.set_local_description(SdpType::Offer, &offer).unwrap();
        meanwhile(ours);
        let (_, answer) = answer(&mut theirs, &offer);
        ours.set_remote_description(SdpType::Answer, &answer.to_string())
            .unwrap();
    };
    round(&mut ours, "a", Negotiator::restart_ice);
    assert!(ours.is_negotiation_needed() && ours.wants_ice_restart());
    // The same ones again do not do.
    round(&mut ours, "a", |_| {});
    assert!(ours.is_negotiation_needed() && ours.wants_ice_restart());
    round(&mut ours, "b", |_| {});
    assert!(!ours.is_negotiation_needed() && !ours.wants_ice_restart());
}

#[test]
fn an_offer_in_the_place_of_a_pending_one_keeps_the_transceivers_of_its_sections() {
    let (mut theirs, mut ours) = (negotiator(1), negotiator(2));
    theirs.add_track(Kind::Audio, &["a"]).unwrap();
    let video = theirs.add_track(Kind::Video, &["a"]).unwrap();
    let offer = theirs.create_offer(&ice("a")).unwrap();
    ours.set_remote_description(SdpType::Offer, &offer).unwrap();
    let ids = |own: &Negotiator| -> Vec<TransceiverId> {
        own.transceivers().iter().map(Transceiver::id).collect()
    };
    let before = ids(&ours);
    ours.set_direction(before[0], Direction::Inactive).unwrap();

    // The same again, and one with a section more.
    ours.set_remote_description(SdpType::Offer, &offer).unwrap();
    theirs.add_track(Kind::Audio, &["b"]).unwrap();
    let more = theirs.create_offer(&ice("a")).unwrap();
    ours.set_remote_description(SdpType::Offer, &more).unwrap();
    let after = ids(&ours);
    assert_eq!((&after[..2], after.len()), (&before[..], 3));
    let kept = ours.transceiver(before[0]).unwrap();
    assert_eq!(kept.direction(), Direction::Inactive);

    // What the newest offer does not have goes, and all of it with a rollback.
    ours.set_remote_description(SdpType::Offer, &offer).unwrap();
    assert_eq!(ids(&ours), before);
    theirs.stop(video).unwrap();
    ours.set_remote_description(SdpType::Rollback, "").unwrap();
    assert!(ids(&ours).is_empty());
}

/// Every number of a section stands for one thing.
fn has_numbers_once(description: &Description) -> bool {
    description.media.iter().all(|section| {
        let mut numbers = std::collections::BTreeSet::new();
        section.attributes().all(|attribute| match attribute {
            Attribute::Extmap(extmap) => numbers.insert(format!("extension {}", extmap.id)),
            Attribute::Rtpmap(map) => numbers.insert(format!("format {}", map.payload_type.0)),
            _ => true,
        })
    })
}

#[test]
fn numbers_of_sections_that_are_gone_are_free_for_others() {
    let (mut ours, mut theirs) = (negotiator(1), negotiator(2));
    let id = ours.add_track(Kind::Video, &[]).unwrap();
    round(&mut ours, &mut theirs);
    ours.stop(id).unwrap();
    round(&mut ours, &mut theirs);
    // The other side numbers anew, as glare lets it: what ours called a picture's layers it calls mid, and
    // VP8 is what was its retransmission.
    theirs.add_track(Kind::Video, &[]).unwrap();
    let offer = theirs.create_offer(&ice("b")).unwrap();
    let stated: Description = offer.parse().unwrap();
    let attributes = || stated.media[0].attributes();
    let extension = |uri: &str| {
        let mut all = attributes();
        let found = all.find_map(|attribute| match attribute {
            Attribute::Extmap(extmap) if extmap.uri == uri => Some(extmap.id),
            _ => None,
        });
        found.unwrap()
    };
    let (mid, layers) = (
        ExtensionKind::Mid.uri(),
        ExtensionKind::VideoLayersAllocation.uri(),
    );
    let (first, second) = (extension(mid), extension(layers));
    let offer = offer
        .replace(&format!("a=extmap:{second} {layers}\r\n"), "")
        .replace(
            &format!("a=extmap:{first} {mid}"),
            &format!("a=extmap:{second} {mid}"),
        );
    let (media, repair) = ("96", "97");
    assert!(offer.contains(&format!("a=fmtp:{repair} apt={media}")));
    let offer = offer
        .replace(
            &format!("SAVPF {media} {repair} "),
            &format!("SAVPF {repair} "),
        )
        .replace(&format!("a=rtpmap:{repair} rtx/90000\r\n"), "")
        .replace(&format!("a=fmtp:{repair} apt={media}\r\n"), "")
        .replace(&format!(":{media} "), &format!(":{repair} "));
    let (_, written) = answer(&mut ours, &offer);
    assert!(has_numbers_once(&written), "{written}");
    for kind in [Kind::Audio, Kind::Video] {
        ours.add_transceiver(kind, Direction::SendRecv, &[])
            .unwrap();
    }
    let next: Description = ours.create_offer(&ice("a")).unwrap().parse().unwrap();
    assert_eq!(next.media.len(), 3);
    assert!(has_numbers_once(&next), "{next}");
}
