//! Datagrams on a stream, each behind its length (RFC 4571 §2, as RFC 6544 §3 has it for ICE).

/// Length of what stands before each datagram, in bytes.
pub const HEADER_LEN: usize = 2;

/// Length of the first frame with its header; `None` while the header is not whole.
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let [high, low, ..] = bytes else {
        return None;
    };
    Some(usize::from(u16::from_be_bytes([*high, *low])).saturating_add(HEADER_LEN))
}

/// The datagram of the first frame, and what comes after it; `None` while it is not whole.
///
/// ```
/// let mut stream = [0, 2, 7, 8, 0];
/// let (datagram, rest) = twocan_wire::framing::split(&mut stream).unwrap();
/// assert_eq!((&*datagram, &*rest), (&[7, 8][..], &[0][..]));
/// ```
pub fn split(bytes: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let len = frame_len(bytes)?;
    let (frame, rest) = bytes.split_at_mut_checked(len)?;
    Some((frame.get_mut(HEADER_LEN..)?, rest))
}

/// Appends what `fill` adds as one frame, and nothing where that is nothing or more than 65,535
/// bytes.
pub fn push(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    fill(out);
    let len = out.len().saturating_sub(start).saturating_sub(HEADER_LEN);
    match (u16::try_from(len), out.get_mut(start..)) {
        (Ok(1..), Some([high, low, ..])) => {
            [*high, *low] = u16::try_from(len).unwrap_or_default().to_be_bytes();
        }
        _ => out.truncate(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_and_too_much_are_no_frames() {
        let mut out = vec![9];
        push(&mut out, |_| {});
        push(&mut out, |out| out.resize(65_539, 0));
        assert_eq!(out, [9]);
        push(&mut out, |out| out.resize(65_538, 5));
        assert_eq!(out.len(), 65_538);
        assert_eq!(frame_len(&out[1..]), Some(65_537));
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_split(
            datagrams in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                push(&mut stream, |out| out.extend_from_slice(datagram));
            }
            // However much of the stream is there, the datagrams before its end are whole.
            let there = cut.index(stream.len().max(1)).min(stream.len());
            let mut found = Vec::new();
            let mut at = 0;
            while let Some((datagram, rest)) = split(&mut stream[at..there]) {
                found.push(datagram.to_vec());
                at = there - rest.len();
            }
            // Nothing is an empty frame, which is none.
            let written: Vec<_> = datagrams.iter().filter(|own| !own.is_empty()).collect();
            prop_assert_eq!(&written[..found.len()], &found.iter().collect::<Vec<_>>()[..]);
            prop_assert_eq!(at, found.iter().map(|own| own.len() + 2).sum::<usize>());
            prop_assert!(frame_len(&stream[at..there]).is_none_or(|len| len > there - at));
        }
    }
}
