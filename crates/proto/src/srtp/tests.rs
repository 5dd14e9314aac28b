use super::cipher::Cipher;
use super::derivation::{Label, derive};
use super::*;
use crate::crypto::AesCtr;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::Aes128CmSha1_80,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
];

fn ends(profile: SrtpProfile) -> (Sender, Receiver) {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
    let sender = Sender::new(profile, &key, &salt).unwrap();
    (sender, Receiver::new(profile, &key, &salt).unwrap())
}

fn rtp(seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0xca, 0xfe, 0xba, 0xbe]);
    packet.extend_from_slice(payload);
    packet
}

#[test]
fn the_key_stream_is_that_of_rfc_3711_b_2() {
    let cipher = AesCtr::new(&bytes("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let iv: [u8; 16] = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000")
        .try_into()
        .unwrap();
    let mut stream = vec![0; 32];
    cipher.apply(iv, &mut stream).unwrap();
    assert_eq!(
        stream,
        bytes("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB")
    );
}

#[test]
fn keys_are_derived_as_in_rfc_3711_b_3() {
    let key = bytes("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = bytes("0EC675AD498AFEEBB6960B3AABE6");
    let derived = |label, len| {
        let mut out = vec![0; len];
        derive(&key, &salt, label, &mut out).unwrap();
        out
    };
    assert_eq!(
        derived(Label::RtpEncryption, 16),
        bytes("C61E7A93744F39EE10734AFE3FF7A087")
    );
    assert_eq!(
        derived(Label::RtpSalt, 14),
        bytes("30CBBC08863D8C85D49DB34A9AE1")
    );
    assert_eq!(
        derived(Label::RtpAuthentication, 20),
        bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

#[test]
fn packets_are_sealed_as_in_rfc_7714_16() {
    let header = bytes("8040f17b 8041f8d3 5501a0b2");
    let payload = b"Gallia est omnis divisa in partes tres";
    let salt = bytes("517569642070726f2071756f");
    let sealed_128 = "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b \
        36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";
    let sealed_256 = "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f \
        1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13";
    for (profile, sealed) in [
        (SrtpProfile::AeadAes128Gcm, sealed_128),
        (SrtpProfile::AeadAes256Gcm, sealed_256),
    ] {
        let key: Vec<u8> = (0..profile.key_len() as u8).collect();
        let cipher = Cipher::new(profile, &key, &[], &salt).unwrap();
        let mut packet = [header.as_slice(), payload].concat();
        cipher
            .seal_rtp(&mut packet, 0, 12, 0x5501_a0b2, 0xf17b)
            .unwrap();
        assert_eq!(packet[12..], bytes(sealed), "{profile:?}");
        let len = cipher
            .open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b)
            .unwrap();
        assert_eq!(&packet[12..len], payload);
    }
}

#[test]
fn a_packet_of_any_length_comes_back() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = ends(profile);
        for len in 0..200usize {
            let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let packet = rtp(len as u16, &payload);
            let mut sealed = vec![1, 2, 3];
            sealed.extend_from_slice(&packet);
            sender.protect_rtp(&mut sealed, 3).unwrap();
            assert!(sealed.len() - 3 <= packet.len() + OVERHEAD_MAX);
            let len = receiver.unprotect_rtp(&mut sealed[3..]).unwrap();
            assert_eq!(sealed[3..3 + len], packet, "{profile:?}");
        }
    }
}

#[test]
fn compound_rtcp_comes_back_and_a_replay_does_not() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = ends(profile);
        for count in 0..50u8 {
            let mut packet = vec![0x81, 201, 0, 7, 0xca, 0xfe, 0xba, 0xbe];
            packet.extend(std::iter::repeat_n(count, 24));
            let plain = packet.clone();
            sender.protect_rtcp(&mut packet, 0).unwrap();
            let mut replay = packet.clone();
            let len = receiver.unprotect_rtcp(&mut packet).unwrap();
            assert_eq!(packet[..len], plain);
            assert_eq!(
                receiver.unprotect_rtcp(&mut replay),
                Err(Rejected::Replayed)
            );
        }
    }
}

#[test]
fn the_roll_over_survives_loss_and_reordering_at_every_offset() {
    for profile in PROFILES {
        for lost in 0..100u16 {
            let (mut sender, mut receiver) = ends(profile);
            let first = 65_450u16;
            let mut sealed: Vec<Vec<u8>> = (0..200u16)
                .map(|step| {
                    let mut packet = rtp(first.wrapping_add(step), &[7; 30]);
                    sender.protect_rtp(&mut packet, 0).unwrap();
                    packet
                })
                .collect();
            // Every tenth is lost, from another start each time, and pairs are swapped.
            for pair in sealed.chunks_mut(2) {
                pair.reverse();
            }
            for (step, packet) in sealed.iter_mut().enumerate() {
                if (step + usize::from(lost)) % 10 != 0 {
                    assert!(
                        receiver.unprotect_rtp(packet).is_ok(),
                        "{profile:?} {lost} {step}"
                    );
                }
            }
        }
    }
}

#[test]
fn replayed_old_and_forged_packets_are_refused_and_harm_nothing() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = ends(profile);
        let sealed: Vec<Vec<u8>> = (0..300u16)
            .map(|seq| {
                let mut packet = rtp(seq, &[1; 20]);
                sender.protect_rtp(&mut packet, 0).unwrap();
                packet
            })
            .collect();
        for packet in &sealed[1..] {
            receiver.unprotect_rtp(&mut packet.clone()).unwrap();
        }
        for packet in &sealed {
            let refused = receiver.unprotect_rtp(&mut packet.clone());
            assert_eq!(refused, Err(Rejected::Replayed), "{profile:?}");
        }
        for bit in 0..sealed[0].len() * 8 {
            let mut forged = rtp(301, &[1; 20]);
            sender.protect_rtp(&mut forged, 0).unwrap();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                receiver.unprotect_rtp(&mut forged).is_err(),
                "{profile:?} bit {bit}"
            );
        }
        let mut next = rtp(302, &[1; 20]);
        sender.protect_rtp(&mut next, 0).unwrap();
        assert!(receiver.unprotect_rtp(&mut next).is_ok());
    }
}

#[test]
fn truncated_packets_are_refused_at_every_length() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = ends(profile);
        let mut packet = rtp(1, &[1; 20]);
        // One CSRC and an extension of one word.
        packet[0] |= 0x11;
        packet.splice(12..12, [0, 0, 0, 5, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0]);
        let plain = packet.clone();
        sender.protect_rtp(&mut packet, 0).unwrap();
        for len in 0..packet.len() {
            assert!(receiver.unprotect_rtp(&mut packet[..len].to_vec()).is_err());
            let _ = receiver.unprotect_rtcp(&mut packet[..len].to_vec());
        }
        let len = receiver.unprotect_rtp(&mut packet).unwrap();
        assert_eq!(packet[..len], plain);
    }
}

#[test]
fn forged_streams_leave_no_state_and_real_ones_are_bounded() {
    let (mut sender, mut receiver) = ends(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..(STREAMS_MAX as u32 + 5) {
        let mut packet = rtp(1, &[1; 20]);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let sealed = sender.protect_rtp(&mut packet, 0);
        if ssrc as usize >= STREAMS_MAX {
            assert_eq!(sealed, Err(Rejected::TooManyStreams));
        } else {
            let mut forged = packet.clone();
            forged[13] ^= 1;
            assert_eq!(receiver.unprotect_rtp(&mut forged), Err(Rejected::BadTag));
            assert!(receiver.unprotect_rtp(&mut packet).is_ok());
        }
    }
}

#[test]
fn numbers_that_others_give_never_come_twice() {
    let (mut sender, _) = ends(SrtpProfile::AeadAes128Gcm);
    let mut protect = |seq| sender.protect_new_rtp(&mut rtp(seq, b"payload"), 0);
    for seq in [65_000, 65_535, 3] {
        assert_eq!(protect(seq), Ok(()), "{seq}");
    }
    for seq in [3, 2, 65_535, 60_000] {
        assert_eq!(protect(seq), Err(Rejected::Replayed), "{seq}");
    }
    assert_eq!(protect(4), Ok(()));
}
