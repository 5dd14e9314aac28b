//! What was captioned, in its order: to be shown, and as a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::message::Caption;

/// Captions that are kept; then the one that began first is forgotten. Ten hours of one in four
/// seconds.
pub const CAPTIONS_MAX: usize = 9000;

/// Bytes of text that are kept, in the same way.
pub const TEXT_LEN_MAX: usize = 4 << 20;

/// How long a caption is shown whose end was not told.
const SHOWN: Duration = Duration::from_secs(3);

/// The captions of one channel, each as it was told last.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    captions: BTreeMap<u64, Caption>,
    /// Their beginnings, with their ids.
    order: BTreeSet<(Duration, u64)>,
    text_len: usize,
}

impl Transcript {
    /// Nothing was said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a caption in place of the one with the same id; answers whether anything has changed.
    /// One that is final stays as it is.
    pub fn add(&mut self, caption: &Caption) -> bool {
        let before = self.captions.get(&caption.id);
        if before.is_some_and(|own| own.is_final) || before == Some(caption) {
            return false;
        }
        let was_there = self.remove(caption.id);
        if caption.text.is_empty() {
            return was_there;
        }
        self.text_len += caption.text.len();
        self.order.insert((caption.start, caption.id));
        self.captions.insert(caption.id, caption.clone());
        while self.captions.len() > CAPTIONS_MAX || self.text_len > TEXT_LEN_MAX {
            let Some((_, oldest)) = self.order.first().copied() else {
                break;
            };
            self.remove(oldest);
        }
        true
    }

    /// All that are kept, by when they begin.
    pub fn captions(&self) -> impl Iterator<Item = &Caption> {
        self.order
            .iter()
            .filter_map(|(_, id)| self.captions.get(id))
    }

    /// Those to be shown at a time of the channel's clock, by when they begin. One without an end is
    /// shown for three seconds.
    pub fn at(&self, time: Duration) -> impl Iterator<Item = &Caption> {
        self.captions()
            .take_while(move |own| own.start <= time)
            .filter(move |own| end_of(own) > time)
    }

    /// As a file of WebVTT, whose times count from `origin` on the channel's clock: that of the first
    /// sample of a recording, say. What ended before that is left out. Where there is more than one
    /// language, each caption says which it is in.
    pub fn to_webvtt(&self, origin: Duration) -> String {
        let mut file = "WEBVTT\n".to_owned();
        let languages: BTreeSet<_> = self.captions().map(|own| &own.language).collect();
        for own in self.captions().filter(|own| end_of(own) > origin) {
            let [start, end] = [own.start, end_of(own)].map(|time| time.saturating_sub(origin));
            let text = cue_text(&own.text);
            let text = match &own.language {
                Some(language) if languages.len() > 1 => format!("<lang {language}>{text}</lang>"),
                _ => text,
            };
            // Writing to a string does not fail.
            let _ = write!(
                file,
                "\n{}\n{} --> {}\n{text}\n",
                own.id,
                timestamp(start),
                timestamp(end)
            );
        }
        file
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(own) = self.captions.remove(&id) else {
            return false;
        };
        self.order.remove(&(own.start, id));
        self.text_len -= own.text.len();
        true
    }
}

fn end_of(caption: &Caption) -> Duration {
    caption.end.unwrap_or(caption.start.saturating_add(SHOWN))
}

/// `hh:mm:ss.mmm`, with as many digits of hours as there are (WebVTT §4.1).
fn timestamp(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let (seconds, milliseconds) = (seconds % 60, time.subsec_millis());
    format!("{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}")
}

/// The text of a cue: an empty line would end it, and three characters mean something (WebVTT §4.2.2).
fn cue_text(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let text = lines.join("\n");
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn caption(id: u64, start: u64, end: u64, text: &str) -> Caption {
        Caption {
            id,
            start: ms(start),
            end: Some(ms(end)),
            language: None,
            text: text.to_owned(),
            is_final: true,
        }
    }

    #[test]
    fn a_caption_replaces_the_one_before_it_until_it_is_final() {
        let mut all = Transcript::new();
        let interim = |text: &str| Caption {
            end: None,
            is_final: false,
            ..caption(1, 1000, 0, text)
        };
        assert!(all.add(&interim("Good mor")));
        assert!(!all.add(&interim("Good mor")));
        assert!(all.add(&interim("Good morrow")));
        assert_eq!(all.at(ms(3999)).count(), 1);
        assert_eq!(all.at(ms(4000)).count(), 0);
        assert!(all.add(&caption(1, 900, 2000, "Good morning.")));
        assert!(!all.add(&interim("Goo")));
        // Another one came to nothing.
        assert!(all.add(&Caption {
            id: 2,
            ..interim("hm")
        }));
        assert!(all.add(&Caption {
            id: 2,
            ..interim("")
        }));
        assert!(!all.add(&Caption {
            id: 2,
            ..interim("")
        }));
        let texts: Vec<&str> = all.captions().map(|own| own.text.as_str()).collect();
        assert_eq!(texts, ["Good morning."]);
        assert_eq!(all.at(ms(899)).count(), 0);
        assert_eq!(all.at(ms(900)).count(), 1);
        assert_eq!(all.at(ms(2000)).count(), 0);
    }

    #[test]
    fn a_file_has_the_captions_in_their_order_and_nothing_that_could_be_taken_for_markup() {
        let mut all = Transcript::new();
        all.add(&caption(
            3,
            3_723_004,
            3_725_000,
            "a < b --> c & d\n\n  \nend",
        ));
        all.add(&caption(1, 500, 1500, "one"));
        all.add(&caption(2, 100, 900, "gone"));
        let file = all.to_webvtt(ms(1000));
        let expected = "WEBVTT\n\
            \n1\n00:00:00.000 --> 00:00:00.500\none\n\
            \n3\n01:02:02.004 --> 01:02:04.000\na &lt; b --&gt; c &amp; d\nend\n";
        assert_eq!(file, expected);
        all.add(&Caption {
            language: Some("de".to_owned()),
            ..caption(4, 4_000_000, 4_001_000, "vier")
        });
        assert!(
            all.to_webvtt(Duration::ZERO)
                .ends_with("\n<lang de>vier</lang>\n")
        );
        assert_eq!(Transcript::new().to_webvtt(Duration::ZERO), "WEBVTT\n");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut all = Transcript::new();
        for id in 0..CAPTIONS_MAX as u64 + 10 {
            all.add(&caption(id, id * 1000, id * 1000 + 900, "x"));
        }
        assert_eq!(all.captions().count(), CAPTIONS_MAX);
        assert_eq!(all.captions().next().map(|own| own.id), Some(10));
        let long = "x".repeat(4096);
        for id in 0..2000u64 {
            all.add(&caption(
                1_000_000 + id,
                100_000_000 + id,
                200_000_000,
                &long,
            ));
        }
        let kept: usize = all.captions().map(|own| own.text.len()).sum();
        assert!(kept <= TEXT_LEN_MAX && kept > TEXT_LEN_MAX - 4096 && kept == all.text_len);
        assert_eq!(all.order.len(), all.captions.len());
    }
}
