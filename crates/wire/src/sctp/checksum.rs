//! The CRC-32C of SCTP packets (RFC 9260 §6.8 and appendix A).

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC-32C of `bytes`, in the value that SCTP sends with its least significant byte first.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// As [`crc32c`], of `head` followed by `tail`.
#[inline]
pub(super) fn crc32c_of_two(head: &[u8], tail: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(head);
    digest.update(tail);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_vectors_of_rfc_3720_b_4() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(&descending), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn two_parts_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1160).map(|byte: u8| byte).collect();
        assert_eq!(crc32c_of_two(&bytes[..12], &bytes[12..]), crc32c(&bytes));
    }
}
