//! L16: sound as it is, 16 bits a sample (RFC 3551 §4.5.11).
//!
//! Samples are signed, in network byte order, those of all channels for one instant after each
//! other, left before right (§4.1). A packet holds any number of instants, so that a long frame is
//! cut into packets of which each is a frame of its own.

use super::PayloadError;

/// The static payload type of two channels at 44,100 Hz (RFC 3551 §6).
pub const PAYLOAD_TYPE_STEREO: u8 = 10;

/// The static payload type of one channel at 44,100 Hz (RFC 3551 §6).
pub const PAYLOAD_TYPE_MONO: u8 = 11;

/// Bytes of a sample.
const SAMPLE_LEN: usize = 2;

/// Appends samples to a payload.
pub fn write(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
}

/// Reads the samples of a payload, those of all channels mixed.
///
/// # Errors
/// [`PayloadError::Empty`], and [`PayloadError::TooShort`] for a part of an instant.
pub fn read(payload: &[u8], channels: u8) -> Result<Vec<i16>, PayloadError> {
    instants(payload, channels)?;
    let (samples, _) = payload.as_chunks::<SAMPLE_LEN>();
    Ok(samples.iter().copied().map(i16::from_be_bytes).collect())
}

/// Cuts a frame into as few payloads as `len_max` bytes allow, at least one instant each, of nearly
/// equal length. Each comes with its place in the frame, in ticks of the RTP clock.
///
/// # Errors
/// As [`read`].
pub fn packetize(
    frame: &[u8],
    channels: u8,
    len_max: usize,
) -> Result<impl Iterator<Item = (u32, &[u8])>, PayloadError> {
    let count = instants(frame, channels)?;
    let instant_len = instant_len(channels);
    let most = len_max.checked_div(instant_len).unwrap_or(0).max(1);
    let packets = count.div_ceil(most);
    let each = count.div_ceil(packets.max(1)).max(1);
    let places = (0u32..).step_by(each);
    Ok(places.zip(frame.chunks(each.saturating_mul(instant_len))))
}

/// Instants that a payload holds.
fn instants(payload: &[u8], channels: u8) -> Result<usize, PayloadError> {
    let len = instant_len(channels);
    let is_whole = payload.len().is_multiple_of(len);
    match payload.len().checked_div(len) {
        _ if payload.is_empty() => Err(PayloadError::Empty),
        Some(count) if is_whole => Ok(count),
        _ => Err(PayloadError::TooShort),
    }
}

fn instant_len(channels: u8) -> usize {
    SAMPLE_LEN * usize::from(channels.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_big_endian() {
        let mut payload = Vec::new();
        write(&[1, -2, i16::MIN, i16::MAX], &mut payload);
        assert_eq!(payload, [0, 1, 0xff, 0xfe, 0x80, 0, 0x7f, 0xff]);
        assert_eq!(read(&payload, 2), Ok(vec![1, -2, i16::MIN, i16::MAX]));
    }

    #[test]
    fn parts_of_an_instant_are_refused() {
        assert_eq!(read(&[], 1), Err(PayloadError::Empty));
        assert_eq!(read(&[1], 1), Err(PayloadError::TooShort));
        assert_eq!(read(&[1, 2], 2), Err(PayloadError::TooShort));
        assert!(packetize(&[1, 2, 3], 1, 100).is_err());
    }

    #[test]
    fn a_frame_of_20_ms_in_stereo_at_48_khz_is_four_packets() {
        let frame = [7; 960 * 4];
        let packets: Vec<_> = packetize(&frame, 2, 1100)
            .into_iter()
            .flatten()
            .map(|(at, payload)| (at, payload.len()))
            .collect();
        assert_eq!(packets, [(0, 960), (240, 960), (480, 960), (720, 960)]);
    }

    proptest! {
        #[test]
        fn packets_are_the_frame_again_and_fit(
            samples in prop::collection::vec(any::<i16>(), 1..3000),
            channels in 1u8..8,
            len_max in 16usize..1300,
        ) {
            let whole = samples.len() / usize::from(channels) * usize::from(channels);
            let samples = &samples[..whole];
            let mut frame = Vec::new();
            write(samples, &mut frame);
            prop_assume!(!frame.is_empty());
            let mut again = Vec::new();
            for (at, payload) in packetize(&frame, channels, len_max).into_iter().flatten() {
                prop_assert!(payload.len() <= len_max);
                prop_assert_eq!(at as usize, again.len() / usize::from(channels));
                again.extend(read(payload, channels).unwrap_or_default());
            }
            prop_assert_eq!(again, samples);
        }
    }
}
