//! SRTP beside the bare primitives that it is made of.
//!
//! `primitives` does what the cipher suite asks for and nothing else: one AEAD seal and open, or
//! one counter-mode pass and one HMAC in each direction. The rest is what SRTP adds: headers,
//! indices, streams, the replay window.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use twocan_proto::keying::SrtpProfile;
use twocan_proto::srtp::{Receiver, Sender};

use crate::harness::{Engine, Options, compare};

/// Packets per turn.
const PACKETS: u32 = 200_000;

/// Length of an RTP packet in the clear.
const LEN: usize = 1200;

const HEADER_LEN: usize = 12;

pub(crate) fn run(options: &Options) {
    compare(
        "SRTP_AEAD_AES_128_GCM, 1200-byte packets, there and back",
        "1000 packets",
        options,
        vec![
            engine("primitives", gcm),
            engine("twocan", || ours(SrtpProfile::AeadAes128Gcm)),
        ],
    );
    compare(
        "SRTP_AES128_CM_HMAC_SHA1_80, 1200-byte packets, there and back",
        "1000 packets",
        options,
        vec![
            engine("primitives", counter_and_hmac),
            engine("twocan", || ours(SrtpProfile::Aes128CmSha1_80)),
        ],
    );
}

fn engine(name: &'static str, work: impl Fn() + 'static) -> Engine<'static> {
    Engine::whole(name, move || {
        work();
        f64::from(PACKETS) / 1000.0
    })
}

fn packet() -> Vec<u8> {
    let mut packet = vec![7; LEN];
    packet[..HEADER_LEN].copy_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.reserve(32);
    packet
}

fn ours(profile: SrtpProfile) {
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    let mut sender = Sender::new(profile, &key, &salt).expect("a sender");
    let mut receiver = Receiver::new(profile, &key, &salt).expect("a receiver");
    let mut packet = packet();
    for number in 0..PACKETS {
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        sender.protect_rtp(&mut packet, 0).expect("protected");
        let len = receiver.unprotect_rtp(&mut packet).expect("unprotected");
        packet.truncate(len);
    }
    assert_eq!(packet.len(), LEN);
    assert_eq!(packet.last(), Some(&7));
}

fn gcm() {
    let key = UnboundKey::new(&AES_128_GCM, &[1; 16]).expect("a key");
    let key = LessSafeKey::new(key);
    let mut packet = packet();
    for number in 0..PACKETS {
        let mut nonce = [2; 12];
        nonce[8..].copy_from_slice(&number.to_be_bytes());
        let (header, payload) = packet.split_at_mut(HEADER_LEN);
        let seal_nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(seal_nonce, Aad::from(&*header), payload)
            .expect("sealed");
        packet.extend_from_slice(tag.as_ref());
        let (header, payload) = packet.split_at_mut(HEADER_LEN);
        let open_nonce = Nonce::assume_unique_for_key(nonce);
        key.open_in_place(open_nonce, Aad::from(&*header), payload)
            .expect("opened");
        packet.truncate(LEN);
    }
    assert_eq!(packet.last(), Some(&7));
}

fn counter_and_hmac() {
    let key = UnboundCipherKey::new(&AES_128, &[1; 16]).expect("a key");
    let key = EncryptingKey::ctr(key).expect("a cipher");
    let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[3; 20]);
    let mut packet = packet();
    let apply = |iv: [u8; 16], payload: &mut [u8]| {
        key.less_safe_encrypt(payload, EncryptionContext::Iv128(iv.into()))
            .expect("applied");
    };
    for number in 0..PACKETS {
        let mut iv = [2; 16];
        iv[8..12].copy_from_slice(&number.to_be_bytes());
        iv[14..].fill(0);
        apply(iv, &mut packet[HEADER_LEN..]);
        packet.extend_from_slice(&hmac::sign(&mac, &packet).as_ref()[..10]);
        let (covered, tag) = packet.split_at(LEN);
        let expected = hmac::sign(&mac, covered);
        assert!(expected.as_ref().starts_with(tag));
        packet.truncate(LEN);
        apply(iv, &mut packet[HEADER_LEN..]);
    }
    assert_eq!(packet.last(), Some(&7));
}
