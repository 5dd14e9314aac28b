use twocan_wire::ids::Rid;
use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Attribute, Description, Direction, Extmap};

use super::tests::{answer, ice, negotiator, offer_of, round};
use super::*;
use crate::random::Random;

/// A negotiation that takes simulcast, as an SFU does.
pub(super) fn receiver(seed: u8) -> Negotiator {
    let mut config = negotiator(seed).config().clone();
    config.receive_simulcast = true;
    Negotiator::new(config, Random::new([seed; 32]))
}

fn rids(names: &[&str]) -> Vec<Option<Rid>> {
    names.iter().map(|name| Some(Rid::from(*name))).collect()
}

/// A negotiation that has a video sender of three qualities.
fn sender(names: &[&str]) -> (Negotiator, TransceiverId) {
    let mut own = negotiator(1);
    let id = own
        .add_simulcast_transceiver(Kind::Video, Direction::SendRecv, &["cam"], &rids(names))
        .unwrap();
    (own, id)
}

fn names(encodings: &[SendEncoding]) -> Vec<&str> {
    let rids = encodings.iter().filter_map(|own| own.rid.as_ref());
    rids.map(Rid::as_str).collect()
}

fn lines(text: &str, starts: &[&str]) -> Vec<String> {
    text.lines()
        .filter(|line| starts.iter().any(|start| line.starts_with(start)))
        .map(Into::into)
        .collect()
}

/// Offers, and lets `change` write the simulcast lines of the answer of somebody who accepts all
/// else.
fn answer_with(own: &mut Negotiator, change: impl Fn(&mut Vec<Attribute>)) -> Plan {
    let offer = own.create_offer(&ice("a")).unwrap();
    own.set_local_description(SdpType::Offer, &offer).unwrap();
    let mut theirs = negotiator(2);
    theirs.add_track(Kind::Video, &[]).unwrap();
    let (_, mut answer) = answer(&mut theirs, &offer);
    let mut added = Vec::new();
    change(&mut added);
    for attribute in added {
        answer.media[0].push(attribute);
    }
    own.set_remote_description(SdpType::Answer, &answer.to_string())
        .unwrap()
}

fn attributes(texts: &[&str]) -> Vec<Attribute> {
    texts
        .iter()
        .map(|text| Attribute::parse(text).unwrap())
        .collect()
}

#[test]
fn a_peers_simulcast_is_accepted_only_where_wanted() {
    for name in ["chromium.simulcast", "firefox.simulcast"] {
        let (plan, plain) = answer(&mut negotiator(1), offer_of(name));
        assert!(plan.media.unwrap()[0].rids.is_empty());
        assert!(!plain.to_string().contains("a=simulcast"));
        let mut sfu = receiver(2);
        let (plan, answer) = answer(&mut sfu, offer_of(name));
        assert_eq!(
            plan.media.unwrap()[0].rids,
            ["q", "h", "f"].map(Rid::from),
            "{name}"
        );
        let expected = [
            "a=rid:q recv",
            "a=rid:h recv",
            "a=rid:f recv",
            "a=simulcast:recv q;h;f",
        ];
        let all = lines(&answer.to_string(), &["a=rid:", "a=simulcast:"]);
        assert_eq!(all, expected, "{name}");
        // A later offer of ours goes on receiving it.
        let offer = sfu.create_offer(&ice("b")).unwrap();
        assert!(offer.contains("a=simulcast:recv q;h;f\r\n"), "{name}");
    }
}

#[test]
fn paused_and_alternative_streams_of_an_offer_are_answered() {
    let offer = offer_of("chromium.simulcast").replace(
        "a=simulcast:send q;h;f\r\n",
        "a=rid:x send max-wisdom=3\r\na=rid:y send pt=13\r\na=rid:z send pt=96;max-width=640\r\n\
         a=simulcast:send ~q;unnamed,h;x,y,z;x\r\n",
    );
    let (plan, answer) = answer(&mut receiver(1), &offer);
    // Unknown restrictions and payload types that are not there make a line as good as absent.
    assert_eq!(plan.media.unwrap()[0].rids, ["q", "h", "z"].map(Rid::from));
    let all = lines(&answer.to_string(), &["a=rid:", "a=simulcast:"]);
    let expected = [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:z recv pt=96;max-width=640",
        "a=simulcast:recv q;h;z",
    ];
    assert_eq!(all, expected);
}

#[test]
fn without_the_extension_for_rids_there_is_no_simulcast() {
    let uri = ExtensionKind::Rid.uri();
    let offer = offer_of("chromium.simulcast").replace(uri, "urn:x");
    let (plan, answer) = answer(&mut receiver(1), &offer);
    assert!(plan.media.unwrap()[0].rids.is_empty());
    assert!(!answer.to_string().contains("a=simulcast"));
}

#[test]
fn three_qualities_are_offered_and_received() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    let offer = a.create_offer(&ice("a")).unwrap();
    let all = lines(&offer, &["a=rid:", "a=simulcast:", "a=ssrc"]);
    let expected = [
        "a=rid:q send",
        "a=rid:h send",
        "a=rid:f send",
        "a=simulcast:send q;h;f",
    ];
    assert_eq!(all, expected, "sources are told apart by their names alone");
    for kind in [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
    ] {
        assert!(offer.contains(kind.uri()), "{kind:?}");
    }
    let mut sfu = receiver(2);
    let (ours, theirs) = round(&mut a, &mut sfu);
    let (ours, theirs) = (ours.media.unwrap(), theirs.media.unwrap());
    assert_eq!(names(&ours[0].encodings), ["q", "h", "f"]);
    assert_eq!(theirs[0].rids, ["q", "h", "f"].map(Rid::from));
    assert_eq!(ours[0].encodings, a.transceiver(id).unwrap().encodings());
    let sources = |encodings: &[SendEncoding]| {
        let mut all: Vec<u32> = encodings
            .iter()
            .flat_map(|own| [own.ssrc.0, own.rtx.0])
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(sources(&ours[0].encodings).len(), 6);
    // Neither side's next offer changes anything, nor does a rollback in between.
    let before = ours[0].encodings.clone();
    let offer = sfu.create_offer(&ice("b")).unwrap();
    a.set_remote_description(SdpType::Offer, &offer).unwrap();
    a.set_remote_description(SdpType::Rollback, "").unwrap();
    let (theirs, ours) = round(&mut sfu, &mut a);
    assert_eq!(ours.media.unwrap()[0].encodings, before);
    assert_eq!(
        theirs.media.unwrap()[0].rids,
        ["q", "h", "f"].map(Rid::from)
    );
    let (ours, _) = round(&mut a, &mut sfu);
    assert_eq!(ours.media.unwrap()[0].encodings, before);
}

#[test]
fn a_refused_simulcast_leaves_the_first_quality() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    let first = a.transceiver(id).unwrap().encodings()[0].clone();
    let (ours, theirs) = round(&mut a, &mut negotiator(2));
    assert_eq!(ours.media.unwrap()[0].encodings.first(), Some(&first));
    assert!(theirs.media.unwrap()[0].rids.is_empty());
    assert_eq!(a.transceiver(id).unwrap().encodings(), [first]);
    let offer = a.create_offer(&ice("a")).unwrap();
    let all = lines(&offer, &["a=rid:", "a=simulcast:"]);
    assert_eq!(all, ["a=rid:q send"]);
    assert!(offer.contains("a=ssrc-group:FID"));
}

#[test]
fn an_answer_that_does_not_receive_refuses_nothing() {
    let (mut a, id) = sender(&["q", "h"]);
    let mut b = receiver(2);
    b.add_track(Kind::Video, &[]).unwrap();
    let offer = a.create_offer(&ice("a")).unwrap();
    b.set_remote_description(SdpType::Offer, &offer).unwrap();
    let theirs = b.transceivers()[0].id();
    b.set_direction(theirs, Direction::SendOnly).unwrap();
    let (ours, _) = round(&mut a, &mut b);
    assert_eq!(ours.media.unwrap()[0].direction, Direction::RecvOnly);
    assert_eq!(a.transceiver(id).unwrap().encodings().len(), 2);
}

#[test]
fn answers_reduce_and_restrict_and_pause_nothing() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    let plan = answer_with(&mut a, |added| {
        added.extend(attributes(&[
            "rid:h recv max-br=500000;max-width=640",
            "rid:f recv",
            "simulcast:recv f;~h",
        ]));
    });
    let media = plan.media.unwrap();
    let encodings = &media[0].encodings;
    assert_eq!(names(encodings), ["h", "f"], "in our order");
    assert!(encodings.iter().all(|own| own.active));
    assert_eq!(encodings[0].restrictions.max_br, Some(500_000));
    assert_eq!(encodings[0].restrictions.max_width, Some(640));
    // What we rest goes on resting, and descriptions say nothing of it.
    a.set_active(id, &[true, false]);
    let offer = a.create_offer(&ice("a")).unwrap();
    assert!(offer.contains("a=simulcast:send h;f\r\n"));
    let plan = answer_with(&mut a, |added| {
        added.extend(attributes(&[
            "rid:h recv",
            "rid:f recv",
            "simulcast:recv h;f",
        ]));
    });
    let active: Vec<bool> = plan.media.unwrap()[0]
        .encodings
        .iter()
        .map(|own| own.active)
        .collect();
    assert_eq!(active, [true, false]);
}

#[test]
fn an_answer_with_restrictions_that_we_do_not_know_loses_the_stream() {
    let (mut a, _) = sender(&["q", "h", "f"]);
    let plan = answer_with(&mut a, |added| {
        added.extend(attributes(&[
            "rid:q recv",
            "rid:h recv max-wisdom=2",
            "simulcast:recv q;h;f",
        ]));
    });
    assert_eq!(names(&plan.media.unwrap()[0].encodings), ["q"]);
}

#[test]
fn a_peer_that_asks_for_qualities_gets_them() {
    // What an SFU offers that wants to receive.
    let mut sfu = negotiator(2);
    sfu.add_transceiver(Kind::Video, Direction::RecvOnly, &[])
        .unwrap();
    let mut offer: Description = sfu.create_offer(&ice("b")).unwrap().parse().unwrap();
    let wanted = [
        "rid:1 recv",
        "rid:2 recv",
        "rid:3 recv",
        "simulcast:recv 1;2,3;unknown",
    ];
    for attribute in attributes(&wanted) {
        offer.media[0].push(attribute);
    }
    let mut a = negotiator(1);
    let id = a.add_track(Kind::Video, &["cam"]).unwrap();
    let first = a.transceiver(id).unwrap().encodings()[0].ssrc;
    let (plan, answer) = answer(&mut a, &offer.to_string());
    let all = lines(&answer.to_string(), &["a=rid:", "a=simulcast:"]);
    assert_eq!(
        all,
        ["a=rid:1 send", "a=rid:2 send", "a=simulcast:send 1;2"]
    );
    let media = plan.media.unwrap();
    assert_eq!(names(&media[0].encodings), ["1", "2"]);
    assert_eq!(media[0].encodings[0].ssrc, first);
    assert_ne!(media[0].encodings[1].ssrc, first);
    // The same offer without: back to one.
    let plain = offer.to_string();
    let plain: Vec<&str> = plain
        .lines()
        .filter(|line| !line.starts_with("a=simulcast"))
        .collect();
    let (plan, _) = super::tests::answer(&mut a, &plain.join("\r\n"));
    assert_eq!(plan.media.unwrap()[0].encodings.len(), 1);
}

#[test]
fn rids_are_checked_as_w3c_has_it() {
    let mut own = negotiator(1);
    let mut add = |rids: &[Option<Rid>]| {
        own.add_simulcast_transceiver(Kind::Video, Direction::SendOnly, &[], rids)
    };
    let named = |name: &str| Some(Rid::from(name));
    let bad = |reason| Err(NegotiateError::Type(reason));
    assert_eq!(add(&[named("a b")]), bad(TypeReason::BadRid));
    assert_eq!(add(&[named("")]), bad(TypeReason::BadRid));
    assert_eq!(add(&[named("a234567890123456x")]), bad(TypeReason::BadRid));
    assert_eq!(add(&[named("a"), None]), bad(TypeReason::MissingRid));
    assert_eq!(add(&[None, None]), bad(TypeReason::MissingRid));
    assert_eq!(add(&[named("a"), named("a")]), bad(TypeReason::RepeatedRid));
    let five: Vec<_> = (0..5).map(|index| named(&index.to_string())).collect();
    let (id, one) = (add(&five).unwrap(), add(&[None]).unwrap());
    let none = add(&[]).unwrap();
    let count = |id| own.transceiver(id).unwrap().encodings().len();
    assert_eq!([count(id), count(one), count(none)], [ENCODINGS_MAX, 1, 1]);
}

#[test]
fn a_section_of_a_simulcast_is_rested_and_recycled() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    let mut sfu = receiver(2);
    round(&mut a, &mut sfu);
    a.stop(id).unwrap();
    let (ours, theirs) = round(&mut a, &mut sfu);
    assert!(ours.media.unwrap().is_empty() && theirs.media.unwrap().is_empty());
    let (_, offer) = a.current_local_description().unwrap();
    assert!(offer.contains("m=video 0 "));
    assert!(lines(&offer, &["a=rid", "a=simulcast"]).is_empty());
    // The place is taken by another kind, with another mid, and no stream is left of the old one.
    a.add_track(Kind::Audio, &[]).unwrap();
    let (ours, theirs) = round(&mut a, &mut sfu);
    let (ours, theirs) = (ours.media.unwrap(), theirs.media.unwrap());
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert_eq!(ours[0].mid.as_str(), "1");
    assert!(theirs[0].rids.is_empty() && ours[0].encodings[0].rid.is_none());
    // A new simulcast takes a new place, and its sources are new.
    a.add_simulcast_transceiver(Kind::Video, Direction::SendOnly, &[], &rids(&["q", "h"]))
        .unwrap();
    let (ours, theirs) = round(&mut a, &mut sfu);
    assert_eq!(ours.media.unwrap()[1].encodings.len(), 2);
    assert_eq!(theirs.media.unwrap()[1].rids, ["q", "h"].map(Rid::from));
}

#[test]
fn a_rejected_section_of_a_simulcast_ends_its_transceiver() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    a.add_track(Kind::Audio, &[]).unwrap();
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, &offer).unwrap();
    // Nothing but a codec that the other side does not know.
    let mut config = receiver(2).config().clone();
    config.video_codecs = [].into();
    let mut b = Negotiator::new(config, Random::new([2; 32]));
    let (_, answer) = answer(&mut b, &offer);
    let plan = a
        .set_remote_description(SdpType::Answer, &answer.to_string())
        .unwrap();
    let text = answer.to_string();
    assert!(text.contains("m=video 0 ") && !text.contains("a=rid"));
    let stopped = NegotiationEvent::TransceiverStopped { transceiver: id };
    assert!(plan.events.contains(&stopped));
    assert_eq!(plan.media.unwrap().len(), 1);
    // Its place is the next video's.
    a.add_simulcast_transceiver(Kind::Video, Direction::SendOnly, &[], &rids(&["x", "y"]))
        .unwrap();
    let offer: Description = a.create_offer(&ice("a")).unwrap().parse().unwrap();
    assert_eq!(offer.media.len(), 2);
    assert!(!offer.media[0].is_rejected());
    let text = offer.to_string();
    assert!(text.contains("a=simulcast:send x;y\r\n"));
}

#[test]
fn a_provisional_answer_settles_qualities_and_the_final_one_again() {
    let (mut a, id) = sender(&["q", "h", "f"]);
    let offer = a.create_offer(&ice("a")).unwrap();
    a.set_local_description(SdpType::Offer, &offer).unwrap();
    let mut sfu = receiver(2);
    let (_, answer) = answer(&mut sfu, &offer);
    let reduced = answer
        .to_string()
        .replace("simulcast:recv q;h;f", "simulcast:recv q;h");
    a.set_remote_description(SdpType::Pranswer, &reduced)
        .unwrap();
    assert_eq!(names(a.transceiver(id).unwrap().encodings()), ["q", "h"]);
    // An envelope once made smaller stays so.
    a.set_remote_description(SdpType::Answer, &answer.to_string())
        .unwrap();
    assert_eq!(names(a.transceiver(id).unwrap().encodings()), ["q", "h"]);
}

#[test]
fn the_numbers_of_the_three_names_stay_apart_from_the_rest() {
    let (mut a, _) = sender(&["q", "h", "f"]);
    a.add_track(Kind::Audio, &[]).unwrap();
    let offer: Description = a.create_offer(&ice("a")).unwrap().parse().unwrap();
    let numbers = |index: usize| -> Vec<Extmap> {
        let attributes = offer.media[index].attributes();
        attributes
            .filter_map(|own| match own {
                Attribute::Extmap(extmap) => Some(extmap.clone()),
                _ => None,
            })
            .collect()
    };
    let (video, audio) = (numbers(0), numbers(1));
    for own in &video {
        for other in &audio {
            assert_eq!(own.id == other.id, own.uri == other.uri, "{own} {other}");
        }
    }
    assert!(
        video
            .iter()
            .chain(&audio)
            .all(|own| (1..=14).contains(&own.id))
    );
}
