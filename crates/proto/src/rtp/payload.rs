//! Payloads that one packet has alone, and those that many share.

use std::sync::Arc;

use super::Payload;

/// Longest beginning of a shared payload that a packet has of its own, in bytes. The descriptors of
/// VP8 and VP9 that hold counters are shorter.
pub const HEAD_LEN_MAX: usize = 15;

/// The payload of a packet that waits or is kept.
#[derive(Debug)]
pub(super) enum Kept {
    Own(Vec<u8>),
    Shared {
        whole: Arc<[u8]>,
        head: [u8; HEAD_LEN_MAX],
        head_len: u8,
    },
}

impl Payload<'_> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Shared { whole, .. } => whole.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes but for what [`Payload::Shared::head`] replaces: whether it is a key frame is told
    /// by others.
    pub(super) fn shared(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Shared { whole, .. } => whole,
        }
    }

    /// Whether nothing replaces its first bytes.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Shared { head, .. } => head.is_empty(),
        }
    }

    /// Whether the head fits.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Shared { whole, head } => head.len() <= whole.len().min(HEAD_LEN_MAX),
        }
    }

    /// What is kept of it; `buffer` is used where it is copied.
    pub(super) fn keep(&self, buffer: impl FnOnce() -> Vec<u8>) -> Kept {
        match self {
            Self::Bytes(bytes) => {
                let mut own = buffer();
                own.extend_from_slice(bytes);
                Kept::Own(own)
            }
            Self::Shared { whole, head } => {
                let mut own = [0; HEAD_LEN_MAX];
                let head_len = head.len().min(HEAD_LEN_MAX);
                for (place, byte) in own.iter_mut().zip(*head) {
                    *place = *byte;
                }
                Kept::Shared {
                    whole: Arc::clone(whole),
                    head: own,
                    head_len: head_len as u8,
                }
            }
        }
    }
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared { whole, .. } => whole.len(),
        }
    }

    /// The bytes, without the head of a shared one.
    pub(super) fn shared(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared { whole, .. } => whole,
        }
    }

    /// Appends it as it travels.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own(bytes) => out.extend_from_slice(bytes),
            Self::Shared {
                whole,
                head,
                head_len,
            } => {
                let head_len = usize::from(*head_len);
                out.extend_from_slice(head.get(..head_len).unwrap_or_default());
                out.extend_from_slice(whole.get(head_len..).unwrap_or_default());
            }
        }
    }

    /// Its buffer, emptied, where it has one of its own.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Own(mut bytes) => {
                bytes.clear();
                bytes
            }
            Self::Shared { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_stands_in_the_place_of_the_first_bytes() {
        let whole: Arc<[u8]> = [1, 2, 3, 4].into();
        let payload = Payload::Shared {
            whole: &whole,
            head: &[9, 8],
        };
        let kept = payload.keep(|| panic!("nothing is copied"));
        let mut written = Vec::new();
        kept.write(&mut written);
        assert_eq!((kept.len(), &written[..]), (4, &[9, 8, 3, 4][..]));
        assert_eq!(Arc::strong_count(&whole), 2);
    }

    #[test]
    fn a_head_fits_or_is_refused() {
        let long: Arc<[u8]> = vec![0; 40].into();
        let short: Arc<[u8]> = vec![0; 3].into();
        let is_sound = |whole, head| Payload::Shared { whole, head }.is_sound();
        assert!(is_sound(&long, &[0; HEAD_LEN_MAX]));
        assert!(!is_sound(&long, &[0; HEAD_LEN_MAX + 1]));
        assert!(is_sound(&short, &[0; 3]));
        assert!(!is_sound(&short, &[0; 4]));
    }
}
