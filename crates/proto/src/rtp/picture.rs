//! What a picture is, beside its pixels, and when packets say so.
//!
//! A receiver takes a picture that says nothing for upright, and keeps to the colors that it was told
//! with the last key frame or since; of what is shown some do that and some do not. So the
//! orientation and what is shown travel with every picture to which they matter, and colors with key
//! frames and where they change. All of them are in the last packet of the picture, and of each of its
//! spatial layers: a forwarder may send some of them alone.

use twocan_wire::rtp::{ColorSpace, VideoContentType, VideoOrientation};

/// What a picture is, beside its pixels: header extensions, which travel with it where they were
/// agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureProperties {
    /// How it is to be turned to be upright (3GPP TS 26.114 §6.2.3). Of what is received: `None`
    /// where the packets of this picture say nothing, which means upright, as libwebrtc takes it.
    pub video_orientation: Option<VideoOrientation>,
    /// What it shows. Of frames that are received: the newest word since the last key frame; `None`
    /// where there is none, which means unspecified. Packets say what they say.
    pub video_content_type: Option<VideoContentType>,
    /// How its numbers become colors. Of frames that are received: the newest word since the last key
    /// frame. Packets say what they say.
    pub color_space: Option<ColorSpace>,
}

impl PictureProperties {
    /// Where it says something.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// Bytes of extensions, with their headers.
    pub(super) fn len(&self) -> usize {
        let color = self.color_space.map_or(0, |own| match own.hdr {
            Some(_) => 30,
            None => 6,
        });
        let one = |is_there: bool| 3 * usize::from(is_there);
        one(self.video_orientation.is_some()) + one(self.video_content_type.is_some()) + color
    }

    /// What this says, and beside it what `older` does.
    pub(super) fn or(self, older: Self) -> Self {
        Self {
            video_orientation: self.video_orientation.or(older.video_orientation),
            video_content_type: self.video_content_type.or(older.video_content_type),
            color_space: self.color_space.or(older.color_space),
        }
    }
}

/// What the pictures of a stream that we send said last.
#[derive(Debug, Default)]
pub(super) struct StatedProperties {
    last: Option<Box<PictureProperties>>,
    /// What the newest picture says, by its timestamp.
    said: Option<(u32, Box<PictureProperties>)>,
}

impl StatedProperties {
    /// What the last packet of a picture is to say, and that of each of its spatial layers.
    pub(super) fn value(
        &mut self,
        timestamp: u32,
        own: PictureProperties,
        key_frame: bool,
    ) -> PictureProperties {
        if let Some((_, said)) = self.said.as_ref().filter(|(at, _)| *at == timestamp) {
            return **said;
        }
        let said = self.next(own, key_frame);
        self.said = said.boxed().map(|said| (timestamp, said));
        said
    }

    fn next(&mut self, own: PictureProperties, key_frame: bool) -> PictureProperties {
        let last = self.last.take().map(|last| *last).unwrap_or_default();
        self.last = own.or(last).boxed();
        let orientation = own.video_orientation.filter(|orientation| {
            key_frame
                || *orientation != VideoOrientation::default()
                || Some(*orientation) != last.video_orientation
        });
        let content_type = own.video_content_type.filter(|content_type| {
            key_frame
                || *content_type != VideoContentType::UNSPECIFIED
                || Some(*content_type) != last.video_content_type
        });
        let color_space = own
            .color_space
            .filter(|_| key_frame || own.color_space != last.color_space);
        PictureProperties {
            video_orientation: orientation,
            video_content_type: content_type,
            color_space,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNED: VideoOrientation = VideoOrientation {
        back_camera: false,
        flipped: false,
        quarter_turns: 1,
    };

    #[test]
    fn what_a_receiver_would_take_for_granted_is_said_with_key_frames_and_changes() {
        let mut stated = StatedProperties::default();
        let upright = PictureProperties {
            video_orientation: Some(VideoOrientation::default()),
            video_content_type: Some(VideoContentType::UNSPECIFIED),
            color_space: Some(ColorSpace::default()),
        };
        assert_eq!(stated.value(0, upright, true), upright);
        assert_eq!(
            stated.value(1, upright, false),
            PictureProperties::default()
        );
        let turned = PictureProperties {
            video_orientation: Some(TURNED),
            ..upright
        };
        for at in [2, 3] {
            let said = stated.value(at, turned, false);
            assert_eq!(said.video_orientation, Some(TURNED));
            assert_eq!((said.video_content_type, said.color_space), (None, None));
        }
        for _layer in 0..3 {
            let said = stated.value(4, upright, false);
            assert_eq!(said.video_orientation, upright.video_orientation);
        }
        let nothing = PictureProperties::default();
        assert_eq!(stated.value(5, nothing, true), nothing);
    }
}
