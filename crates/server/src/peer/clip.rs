//! The built-in clip: two seconds of a test picture and a tone.

use std::io::Cursor;

/// 160×120 at 20 pictures a second, VP8 in IVF.
const VP8: &[u8] = include_bytes!("../../assets/clip.ivf");

/// The same in H.264, Constrained Baseline, Annex B.
const H264: &[u8] = include_bytes!("../../assets/clip.h264");

/// A tone of 440 Hz in Opus, 20 ms a packet, in Ogg.
const OPUS: &[u8] = include_bytes!("../../assets/clip.ogg");

/// Encoded frames and the ticks from one to the next.
pub(super) struct Clip {
    pub(super) codec: &'static str,
    pub(super) frames: Vec<Vec<u8>>,
    /// In the codec's clock.
    pub(super) ticks: u32,
    pub(super) milliseconds: u64,
}

/// The clip in a codec; `None` for one that it does not have.
pub(super) fn clip(codec: &str) -> Option<Clip> {
    match codec.to_ascii_lowercase().as_str() {
        "opus" => Some(Clip {
            codec: "opus",
            frames: opus(),
            ticks: 960,
            milliseconds: 20,
        }),
        "vp8" => Some(Clip {
            codec: "VP8",
            frames: ivf(),
            ticks: 4500,
            milliseconds: 50,
        }),
        "h264" => Some(Clip {
            codec: "H264",
            frames: access_units(),
            ticks: 4500,
            milliseconds: 50,
        }),
        _ => None,
    }
}

/// IVF: a header of 32 bytes, then frames of length (4), time stamp (8) and data.
fn ivf() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = VP8.get(32..).unwrap_or_default();
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let [a, b, c, d, ..] = *header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((frame, next)) = after.split_at_checked(len) else {
            break;
        };
        frames.push(frame.to_vec());
        rest = next;
    }
    frames
}

/// Every unit up to and with a coded slice (types 1 and 5) is one access unit.
fn access_units() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    for unit in twocan_proto::wire::payload::h264::nal_units(H264) {
        frame.extend_from_slice(&[0, 0, 0, 1]);
        frame.extend_from_slice(unit);
        let kind = unit.first().map_or(0, |first| first & 0x1f);
        if matches!(kind, 1 | 5) {
            frames.push(std::mem::take(&mut frame));
        }
    }
    frames
}

/// The packets after OpusHead and OpusTags.
fn opus() -> Vec<Vec<u8>> {
    let mut reader = ogg::PacketReader::new(Cursor::new(OPUS));
    let packets = std::iter::from_fn(|| reader.read_packet().ok().flatten());
    packets.skip(2).map(|packet| packet.data).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_has_two_seconds_in_every_codec() {
        assert_eq!(clip("VP8").unwrap().frames.len(), 40);
        assert_eq!(clip("H264").unwrap().frames.len(), 40);
        let tone = clip("opus").unwrap();
        assert!(
            (100..=102).contains(&tone.frames.len()),
            "{}",
            tone.frames.len()
        );
        assert!(clip("AV1").is_none());
    }
}
