//! Codecs of sound that are negotiated only where they are asked for: comfort noise, which takes the
//! place of sound in a silence, and L16, which is sound as it is.

use std::sync::{Arc, LazyLock};

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::{comfort_noise, l16};

use super::codec::{Codec, CodecTerms, Feedback};
use super::negotiator::Config;
use super::transceiver::{Kind, Transceiver};

/// Comfort noise (RFC 3389) for clocks of 8, 16, 32 and 48 kHz, and L16 (RFC 3551 §4.5.11) at 8, 16,
/// 24, 32, 44.1 and 48 kHz, of one channel, and at 44.1 and 48 kHz of two.
///
/// [`Config::audio_codecs`] may have them. Where it has not, a transceiver whose preferences name
/// them offers and takes them ([`Negotiator::set_codec_preferences`](super::Negotiator::set_codec_preferences)).
/// Whoever agrees on comfort noise is sent some: libwebrtc sends nothing else while it is quiet.
pub fn audio_codecs_on_request() -> Arc<[Codec]> {
    static CODECS: LazyLock<Arc<[Codec]>> = LazyLock::new(|| codecs().into());
    CODECS.clone()
}

fn codecs() -> Vec<Codec> {
    let codec = |(name, clock_rate, channels, payload_type): (&str, u32, u8, u8)| Codec {
        name: name.into(),
        clock_rate,
        channels,
        fmtp: String::new(),
        feedback: Feedback::AUDIO,
        payload_type: PayloadType(payload_type),
        rtx_payload_type: None,
    };
    let all = [
        ("CN", 8000, 1, comfort_noise::PAYLOAD_TYPE),
        ("CN", 16_000, 1, 106),
        ("CN", 32_000, 1, 107),
        ("CN", 48_000, 1, 112),
        ("L16", 48_000, 2, 124),
        ("L16", 48_000, 1, 123),
        ("L16", 44_100, 2, l16::PAYLOAD_TYPE_STEREO),
        ("L16", 44_100, 1, l16::PAYLOAD_TYPE_MONO),
        ("L16", 32_000, 1, 122),
        ("L16", 24_000, 1, 121),
        ("L16", 16_000, 1, 120),
        ("L16", 8000, 1, 113),
    ];
    all.into_iter().map(codec).collect()
}

impl Config {
    /// The codecs of a kind that can be negotiated at all, those that are on request last.
    pub(super) fn known_codecs(&self, kind: Kind) -> Vec<CodecTerms> {
        let mut known: Vec<CodecTerms> = self.codecs(kind).collect();
        if kind == Kind::Audio {
            let more = audio_codecs_on_request();
            let more = more.iter().map(CodecTerms::from);
            let more: Vec<_> = more.filter(|own| !has(&known, own)).collect();
            known.extend(more);
        }
        known
    }

    /// Those of `codecs` that need not be asked for.
    pub(super) fn usual(&self, kind: Kind, mut codecs: Vec<CodecTerms>) -> Vec<CodecTerms> {
        let usual: Vec<CodecTerms> = self.codecs(kind).collect();
        codecs.retain(|codec| has(&usual, codec));
        codecs
    }

    /// Whether a codec is usual, or one of these transceivers asks for it.
    pub(super) fn is_wanted(&self, kind: Kind, codec: &CodecTerms, all: &[Transceiver]) -> bool {
        let mut all = all.iter().filter(|own| own.kind() == kind);
        self.codecs(kind).any(|own| own.is_same_codec(codec)) || all.any(|own| own.prefers(codec))
    }
}

fn has(codecs: &[CodecTerms], codec: &CodecTerms) -> bool {
    codecs.iter().any(|own| own.is_same_codec(codec))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twocan_wire::sdp::{Attribute, Description, Direction};

    use super::super::codec::{default_audio_codecs, default_video_codecs};
    use super::super::tests::{answer, ice, negotiator, offer_of, round};
    use super::super::{CodecPreference, MediaPlan, Negotiator};
    use super::*;
    use crate::random::Random;

    fn preference(name: &str, clock_rate: u32, channels: u8) -> CodecPreference {
        CodecPreference {
            name: name.into(),
            clock_rate,
            channels,
            fmtp: String::new(),
        }
    }

    /// The codecs of each section: number and name with its clock.
    fn stated(description: &Description) -> Vec<Vec<(u8, String)>> {
        let stated = |attribute: &Attribute| match attribute {
            Attribute::Rtpmap(own) => Some((
                own.payload_type.0,
                format!("{}/{}", own.encoding, own.clock_rate),
            )),
            _ => None,
        };
        let media = description.media.iter();
        media
            .map(|media| media.attributes().filter_map(stated).collect())
            .collect()
    }

    fn has_any(section: &[(u8, String)]) -> bool {
        let own = |(_, name): &(u8, String)| name.starts_with("CN/") || name.starts_with("L16/");
        section.iter().any(own)
    }

    fn agreed(media: &MediaPlan) -> Vec<(&str, u32, u8, u8)> {
        let codecs = media.codecs.iter();
        codecs
            .map(|own| {
                let number = own.payload_type.0;
                (own.name.as_str(), own.clock_rate, own.channels, number)
            })
            .collect()
    }

    #[test]
    fn numbers_are_those_that_nothing_else_has() {
        let more = audio_codecs_on_request();
        let (audio, video) = (default_audio_codecs(), default_video_codecs());
        let all = more.iter().chain(audio.iter()).chain(video.iter());
        let numbers: Vec<u8> = all
            .flat_map(|codec| [Some(codec.payload_type), codec.rtx_payload_type])
            .flatten()
            .map(|own| own.0)
            .collect();
        let unique: BTreeSet<u8> = numbers.iter().copied().collect();
        assert_eq!(unique.len(), numbers.len());
        assert!(unique.iter().all(|own| *own < 64 || *own > 95));
    }

    #[test]
    fn preferences_of_one_transceiver_ask_for_them_and_for_it_alone() {
        let mut ours = negotiator(1);
        let mut audio = |_| {
            ours.add_transceiver(Kind::Audio, Direction::SendRecv, &[])
                .unwrap()
        };
        let [first, _] = [1, 2].map(&mut audio);
        let offer: Description = ours.create_offer(&ice("a")).unwrap().parse().unwrap();
        assert!(!stated(&offer).iter().any(|own| has_any(own)));

        let wanted = vec![
            preference("l16", 48_000, 2),
            preference("PCMU", 8000, 1),
            preference("cn", 8000, 1),
        ];
        ours.set_codec_preferences(first, wanted.clone()).unwrap();
        let offer: Description = ours.create_offer(&ice("a")).unwrap().parse().unwrap();
        let sections = stated(&offer);
        let own = |number, name: &str| (number, name.to_owned());
        let expected = [
            own(124, "L16/48000"),
            own(0, "PCMU/8000"),
            own(13, "CN/8000"),
        ];
        assert_eq!(sections[0], expected);
        assert!(!has_any(&sections[1]) && sections[1].len() > 5);

        // The other side takes them where it wants them as well.
        let mut theirs = negotiator(2);
        let (ours_agreed, _) = round(&mut ours, &mut theirs);
        let media = ours_agreed.media.unwrap();
        assert_eq!(agreed(&media[0]), [("PCMU", 8000, 1, 0)]);
        let id = theirs.transceivers()[0].id();
        theirs.set_codec_preferences(id, wanted).unwrap();
        let (ours_agreed, theirs_agreed) = round(&mut ours, &mut theirs);
        let expected = [
            ("L16", 48_000, 2, 124),
            ("PCMU", 8000, 1, 0),
            ("CN", 8000, 1, 13),
        ];
        for plan in [ours_agreed, theirs_agreed] {
            let media = plan.media.unwrap();
            assert_eq!(agreed(&media[0]), expected);
            assert!(
                media[1]
                    .codecs
                    .iter()
                    .all(|own| own.name != "CN" && own.name != "L16")
            );
        }
    }

    #[test]
    fn configurations_ask_for_them_in_every_section() {
        let config = |seed: u8| {
            let known = [&default_audio_codecs()[..], &audio_codecs_on_request()[..]].concat();
            let named = |codec: &Codec| {
                let names = ["CN/8000", "L16/16000", "PCMA"];
                names.iter().any(|name| codec.is_called(name))
            };
            let mut config = negotiator(seed).config.as_ref().clone();
            config.audio_codecs = known.into_iter().filter(named).collect();
            Negotiator::new(config, Random::new([seed; 32]))
        };
        let (mut ours, mut theirs) = (config(1), config(2));
        ours.add_track(Kind::Audio, &["s"]).unwrap();
        let (plan, _) = round(&mut ours, &mut theirs);
        let media = plan.media.unwrap();
        let expected = [
            ("PCMA", 8000, 1, 8),
            ("CN", 8000, 1, 13),
            ("L16", 16_000, 1, 120),
        ];
        assert_eq!(agreed(&media[0]), expected);

        // What Chromium offers, and the same without the line that its number does not need.
        let chromium = offer_of("chromium.media");
        let short = chromium.replace("a=rtpmap:13 CN/8000\r\n", "");
        assert_ne!(short, chromium);
        for offer in [chromium, &short] {
            let (plan, written) = answer(&mut config(3), offer);
            let media = plan.media.unwrap();
            assert_eq!(
                agreed(&media[0]),
                [("PCMA", 8000, 1, 8), ("CN", 8000, 1, 13)]
            );
            let expected = [(8, "PCMA/8000".to_owned()), (13, "CN/8000".to_owned())];
            assert_eq!(stated(&written)[0], expected);
        }
    }

    #[test]
    fn redundancy_is_of_opus_whatever_stands_before_it() {
        let mut ours = negotiator(1);
        let id = ours
            .add_transceiver(Kind::Audio, Direction::SendRecv, &[])
            .unwrap();
        let names = ["L16", "red", "opus"];
        let wanted = names.map(|name| preference(name, 48_000, 2)).to_vec();
        ours.set_codec_preferences(id, wanted).unwrap();
        let offer = ours.create_offer(&ice("a")).unwrap();
        assert!(offer.contains("a=fmtp:63 111/111\r\n"), "{offer}");
        // Of samples alone there is none.
        let wanted = names[..2].iter().map(|name| preference(name, 48_000, 2));
        ours.set_codec_preferences(id, wanted.collect()).unwrap();
        let offer = ours.create_offer(&ice("a")).unwrap();
        assert!(
            offer.contains("L16/48000/2") && !offer.contains("red/"),
            "{offer}"
        );
    }

    #[test]
    fn silence_alone_is_no_sound() {
        let mut config = negotiator(1).config.as_ref().clone();
        let all = audio_codecs_on_request();
        config.audio_codecs = all
            .iter()
            .filter(|own| own.is_called("CN"))
            .cloned()
            .collect();
        let mut ours = Negotiator::new(config, Random::new([1; 32]));
        let (_, written) = answer(&mut ours, offer_of("chromium.media"));
        assert!(written.media[0].is_rejected(), "{written}");
    }

    #[test]
    fn names_may_say_which() {
        let all = audio_codecs_on_request();
        let called = |name: &str| all.iter().filter(|own| own.is_called(name)).count();
        let counts = ["cn", "CN/16000", "L16", "l16/48000", "L16/48000/2"].map(called);
        assert_eq!(counts, [4, 1, 8, 2, 1]);
        for other in [
            "",
            "/",
            "CN/",
            "CN/x",
            "L16/48000/2/1",
            "L16/48000/3",
            "opus",
        ] {
            assert_eq!(called(other), 0, "{other}");
        }
    }
}
