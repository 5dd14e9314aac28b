//! RED and FEC in descriptions.

use std::sync::Arc;

use twocan_wire::ids::PayloadType;
use twocan_wire::sdp::{Attribute, Description};

use super::tests::{answer, ice, negotiator, offer_of, round};
use super::*;
use crate::random::Random;

/// Audio codecs with RED before Opus: the application wants it.
fn red_first(seed: u8) -> Negotiator {
    let mut config = negotiator(seed).config().clone();
    Arc::make_mut(&mut config.audio_codecs).swap(0, 1);
    assert_eq!(config.audio_codecs[0].name, "red");
    Negotiator::new(config, Random::new([seed; 32]))
}

fn fmtp_of(description: &Description, section: usize, name: &str) -> Option<String> {
    let attributes: Vec<&Attribute> = description.media[section].attributes().collect();
    let number = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Rtpmap(map) if map.encoding == name => Some(map.payload_type),
        _ => None,
    })?;
    attributes.iter().find_map(|attribute| match attribute {
        Attribute::Fmtp(fmtp) if fmtp.payload_type == number => Some(fmtp.parameters.clone()),
        _ => None,
    })
}

fn codec<'a>(plan: &'a Plan, section: usize, name: &str) -> Option<&'a NegotiatedCodec> {
    let media = &plan.media.as_ref()?[section];
    media.codecs.iter().find(|codec| codec.name == name)
}

#[test]
fn red_names_the_codec_that_it_repeats_by_its_number_in_the_description() {
    let mut ours = negotiator(1);
    let (plan, description) = answer(&mut ours, offer_of("chromium.media"));
    assert_eq!(fmtp_of(&description, 0, "red").unwrap(), "111/111");
    assert!(!plan.media.unwrap()[0].red_preferred);
    // Another number of Opus, and RED that stands first: Chromium wants it.
    let offer = offer_of("chromium.media")
        .replace("111 63 ", "63 101 ")
        .replace(":111", ":101")
        .replace("111/111", "101/101");
    let mut ours = negotiator(1);
    let (plan, description) = answer(&mut ours, &offer);
    assert_eq!(fmtp_of(&description, 0, "red").unwrap(), "101/101");
    assert!(plan.media.as_ref().unwrap()[0].red_preferred);
    assert_eq!(
        codec(&plan, 0, "red").unwrap().payload_type,
        PayloadType(63)
    );
    // Without Opus there is nothing to repeat.
    let offer = offer_of("chromium.media").replace("opus/48000/2", "speex/48000/2");
    let mut ours = negotiator(1);
    let (plan, _) = answer(&mut ours, &offer);
    assert_eq!(codec(&plan, 0, "red"), None);
}

#[test]
fn either_side_can_want_sound_in_red() {
    let plain: fn(u8) -> Negotiator = negotiator;
    for (offerer, answerer, wanted) in [
        (plain, plain, false),
        (red_first, plain, true),
        (plain, red_first, true),
    ] {
        let (mut offerer, mut answerer) = (offerer(1), answerer(2));
        offerer.add_track(Kind::Audio, &["s"]).unwrap();
        let (ours, theirs) = round(&mut offerer, &mut answerer);
        let red = |plan: Plan| plan.media.unwrap()[0].red_preferred;
        // The answer keeps the offer's order, so an offerer cannot see what the answerer wants.
        let offerer_knows = red(ours);
        assert_eq!(red(theirs), wanted);
        assert!(!offerer_knows || wanted);
    }
}

#[test]
fn fec_has_a_source_of_its_own_and_is_no_media() {
    let mut config = negotiator(1).config().clone();
    config.offer_flexfec = true;
    let mut offerer = Negotiator::new(config, Random::new([1; 32]));
    let mut answerer = negotiator(2);
    offerer.add_track(Kind::Video, &["s"]).unwrap();
    answerer.add_track(Kind::Video, &["s"]).unwrap();
    let (ours, theirs) = round(&mut offerer, &mut answerer);
    for (own, other) in [(&ours, &theirs), (&theirs, &ours)] {
        let (own, other) = (
            &own.media.as_ref().unwrap()[0],
            &other.media.as_ref().unwrap()[0],
        );
        assert_eq!(own.remote.len(), 1);
        assert_eq!(own.remote[0].ssrc, other.encodings[0].ssrc);
        assert_eq!(own.remote[0].rtx, Some(other.encodings[0].rtx));
        assert_eq!(own.remote[0].fec, Some(other.fec));
    }
    for name in ["red", "ulpfec", "flexfec-03"] {
        assert!(codec(&ours, 0, name).is_some(), "{name}");
    }
    assert!(codec(&ours, 0, "red").unwrap().rtx_payload_type.is_some());
    // What is agreed on stays, whoever offers next.
    let (ours, _) = round(&mut answerer, &mut offerer);
    assert!(codec(&ours, 0, "flexfec-03").is_some());
}

#[test]
fn reports_by_stream_take_the_place_of_those_of_the_transport() {
    let mut config = negotiator(1).config().clone();
    config.offer_congestion_feedback = true;
    let mut offerer = Negotiator::new(config, Random::new([1; 32]));
    let mut answerer = negotiator(2);
    offerer.add_track(Kind::Video, &["s"]).unwrap();
    answerer.add_track(Kind::Video, &["s"]).unwrap();
    let offer = offerer.create_offer(&ice("a")).unwrap();
    assert!(offer.contains("a=rtcp-fb:* ack ccfb\r\n") && offer.contains("transport-cc"));
    for _ in 0..2 {
        let (ours, theirs) = round(&mut offerer, &mut answerer);
        for plan in [&ours, &theirs] {
            let feedback = codec(plan, 0, "VP8").unwrap().feedback;
            assert!(feedback.ack_ccfb && !feedback.transport_cc);
        }
        // What is agreed on stays, whoever offers next.
        std::mem::swap(&mut offerer, &mut answerer);
    }
    let mut plain = negotiator(3);
    plain.add_track(Kind::Video, &["s"]).unwrap();
    let offer = plain.create_offer(&ice("b")).unwrap();
    assert!(!offer.contains("ccfb"), "not offered unless wanted");
}

#[test]
fn flexfec_is_not_offered_unless_wanted() {
    let (mut offerer, mut answerer) = (negotiator(1), negotiator(2));
    offerer.add_track(Kind::Video, &["s"]).unwrap();
    let offer = offerer.create_offer(&ice("a")).unwrap();
    assert!(offer.contains("ulpfec/90000"));
    assert!(!offer.contains("flexfec") && !offer.contains("FEC-FR"));
    let (ours, _) = round(&mut offerer, &mut answerer);
    assert_eq!(codec(&ours, 0, "flexfec-03"), None);
}

#[test]
fn a_section_of_nothing_but_repair_is_refused() {
    let offer = offer_of("chromium.media");
    let names = ["VP8", "VP9", "H264", "AV1", "H265"];
    let offer = names.iter().fold(offer.to_owned(), |offer, name| {
        offer.replace(&format!(" {name}/"), " none/")
    });
    let mut ours = negotiator(1);
    let (_, description) = answer(&mut ours, &offer);
    let video = |media: &&twocan_wire::sdp::Media| media.kind == twocan_wire::sdp::MediaKind::Video;
    assert!(description.media.iter().find(video).unwrap().is_rejected());
}
