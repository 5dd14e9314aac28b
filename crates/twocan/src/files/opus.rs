//! How long an Opus packet lasts (RFC 6716 §3.1).

/// The longest packet: 120 ms (RFC 6716 §3.2.5).
const SAMPLES_MAX: u32 = 5760;

/// Samples at 48 kHz of one frame of the packet.
pub(super) fn frame_samples(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => match config & 3 {
            0 => 480,
            1 => 960,
            2 => 1920,
            _ => 2880,
        },
        // Hybrid: 10, 20 ms.
        12..=15 => 480 << (config & 1),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120 << (config & 3),
    }
}

/// Samples at 48 kHz of a packet; `None` when no decoder would take it.
pub(super) fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame_samples(toc) * count;
    (1..=SAMPLES_MAX).contains(&samples).then_some(samples)
}

/// The packet that stands for a lost or silent frame like those of `toc`: one frame without bytes
/// (RFC 6716 §3.2.1, as RFC 7845 §4.1 has it for repairs).
pub(super) fn missing_frame(toc: u8) -> [u8; 1] {
    [toc & 0xfc]
}
