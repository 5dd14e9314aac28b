use proptest::prelude::*;

use super::key::Key;
use super::replay::{ReplayWindow, WINDOW};
use super::*;

/// RFC 9605 appendix C.3: the same key, key id, counter and text with each suite.
const KEY_ID: u64 = 0x123;
const COUNTER: u64 = 0x4567;
const METADATA: &[u8] = b"IETF SFrame WG";
const TEXT: &[u8] = b"draft-ietf-sframe-enc";
const VECTORS: [(CipherSuite, &str); 5] = [
    (
        CipherSuite::Aes128CtrHmacSha256_80,
        "9901234567449408b6f490086165b9d6f62b24ae1a59a56486b4ae8ed036b88912e24f11",
    ),
    (
        CipherSuite::Aes128CtrHmacSha256_64,
        "99012345673f31438db4d09434e43afa0f8a2f00867a2be085046a9f5cb4f101d607",
    ),
    (
        CipherSuite::Aes128CtrHmacSha256_32,
        "990123456717fc8af28a5a695afcfc6c8df6358a17e26b2fcb3bae32e443",
    ),
    (
        CipherSuite::Aes128GcmSha256_128,
        "9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb",
    ),
    (
        CipherSuite::Aes256GcmSha512_128,
        "990123456794f509d36e9beacb0e261d99c7d1e972f1fed787d4049f17ca21353c1cc24d56ceabced279",
    ),
];

fn base_key() -> Vec<u8> {
    (0..16).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |index| u8::from_str_radix(&hex[index..index + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn pair(suite: CipherSuite) -> (Sender, Receiver) {
    let mut receiver = Receiver::new(suite);
    receiver.add_key(9, &base_key()).unwrap();
    (Sender::new(suite, 9, &base_key()), receiver)
}

fn encrypted(sender: &mut Sender, metadata: &[u8], frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sender.encrypt(metadata, frame, &mut out).unwrap();
    out
}

fn decrypted(receiver: &mut Receiver, metadata: &[u8], frame: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut out = Vec::new();
    receiver.decrypt(metadata, frame, &mut out)?;
    Ok(out)
}

#[test]
fn the_vectors_of_the_rfc_are_decrypted() {
    for (suite, hex) in VECTORS {
        let mut receiver = Receiver::new(suite);
        receiver.add_key(KEY_ID, &base_key()).unwrap();
        let text = decrypted(&mut receiver, METADATA, &bytes(hex));
        assert_eq!(text.as_deref(), Ok(TEXT), "{suite:?}");
    }
}

#[test]
fn the_vectors_of_the_rfc_are_made() {
    for (suite, hex) in VECTORS {
        let expected = bytes(hex);
        let key = Key::derive(suite, KEY_ID, &base_key()).unwrap();
        let mut out = expected[..5].to_vec();
        out.extend_from_slice(TEXT);
        key.seal(COUNTER, [&expected[..5], METADATA], &mut out, 5)
            .unwrap();
        assert_eq!(out, expected, "{suite:?}");
    }
}

#[test]
fn a_sender_counts_from_zero_and_ends_when_all_numbers_were_used() {
    let (mut sender, mut receiver) = pair(CipherSuite::Aes128GcmSha256_128);
    for counter in 0..300 {
        let mut out = Vec::new();
        let frame = encrypted(&mut sender, b"", b"text");
        let header = receiver.decrypt(b"", &frame, &mut out).unwrap();
        assert_eq!((header.key_id, header.counter), (9, counter));
    }
    sender.skip_to(u64::MAX);
    encrypted(&mut sender, b"", b"the last");
    let mut out = b"kept".to_vec();
    assert_eq!(
        sender.encrypt(b"", b"one more", &mut out),
        Err(NotEncrypted)
    );
    assert_eq!(out, b"kept");
}

#[test]
fn every_changed_bit_is_noticed() {
    for suite in CipherSuite::ALL {
        let (mut sender, _) = pair(suite);
        let frame = encrypted(&mut sender, b"meta", b"some text");
        for bit in 0..frame.len() * 8 {
            let (_, mut receiver) = pair(suite);
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut out = b"kept".to_vec();
            let outcome = receiver.decrypt(b"meta", &changed, &mut out);
            assert!(outcome.is_err(), "{suite:?} bit {bit}");
            assert_eq!(out, b"kept");
        }
        let (_, mut receiver) = pair(suite);
        let other = decrypted(&mut receiver, b"mete", &frame);
        assert_eq!(other, Err(Rejected::BadTag));
        for len in 0..frame.len() {
            assert!(decrypted(&mut receiver, b"meta", &frame[..len]).is_err());
        }
        // Nothing of this has spoilt it for the right one.
        let text = decrypted(&mut receiver, b"meta", &frame);
        assert_eq!(text.as_deref(), Ok(&b"some text"[..]));
    }
}

#[test]
fn what_comes_twice_is_refused_and_what_comes_late_is_not() {
    let (mut sender, mut receiver) = pair(CipherSuite::Aes128CtrHmacSha256_80);
    let frames: Vec<_> = (0..2000)
        .map(|_| encrypted(&mut sender, b"", b"text"))
        .collect();
    assert!(decrypted(&mut receiver, b"", &frames[1500]).is_ok());
    assert!(decrypted(&mut receiver, b"", &frames[1499]).is_ok());
    assert!(decrypted(&mut receiver, b"", &frames[477]).is_ok());
    for again in [1500, 1499, 477, 476, 0] {
        let outcome = decrypted(&mut receiver, b"", &frames[again]);
        assert_eq!(outcome, Err(Rejected::Replayed), "{again}");
    }
}

#[test]
fn keys_are_told_apart_and_can_be_taken_away() {
    let suite = CipherSuite::Aes256GcmSha512_128;
    let mut receiver = Receiver::new(suite);
    let frame = |key_id| encrypted(&mut Sender::new(suite, key_id, &base_key()), b"", b"text");
    let unknown = Err(Rejected::UnknownKey(1));
    assert_eq!(decrypted(&mut receiver, b"", &frame(1)), unknown);
    receiver.add_key(1, &base_key()).unwrap();
    receiver.add_key(2, b"another secret").unwrap();
    assert!(decrypted(&mut receiver, b"", &frame(1)).is_ok());
    let other = decrypted(&mut receiver, b"", &frame(2));
    assert_eq!(other, Err(Rejected::BadTag));
    receiver.remove_key(1);
    assert_eq!(decrypted(&mut receiver, b"", &frame(1)), unknown);
    for key_id in 10..10 + KEYS_MAX as u64 - 1 {
        receiver.add_key(key_id, &base_key()).unwrap();
    }
    assert_eq!(receiver.add_key(100, &base_key()), Err(TooManyKeys));
    assert_eq!(
        receiver.add_key(2, &base_key()),
        Ok(()),
        "it takes its place"
    );
}

#[test]
fn a_shared_secret_serves_every_id_with_bounded_memory() {
    let suite = CipherSuite::Aes128GcmSha256_128;
    let mut receiver = Receiver::new(suite);
    receiver.set_shared_key(Some(&base_key()));
    let mut senders: Vec<_> = (0..2 * KEYS_MAX as u64)
        .map(|key_id| Sender::new(suite, key_id << 40, &base_key()))
        .collect();
    for sender in &mut senders {
        let frame = encrypted(sender, b"", b"text");
        assert!(decrypted(&mut receiver, b"", &frame).is_ok());
        let again = decrypted(&mut receiver, b"", &frame);
        assert_eq!(again, Err(Rejected::Replayed));
        let forged = encrypted(&mut Sender::new(suite, 1, b"guessed"), b"", b"text");
        let forged = decrypted(&mut receiver, b"", &forged);
        assert_eq!(forged, Err(Rejected::BadTag));
        assert!(receiver.key_count() <= KEYS_MAX);
    }
    receiver.set_shared_key(None);
    let late = encrypted(&mut senders[0], b"", b"text");
    let late = decrypted(&mut receiver, b"", &late);
    assert_eq!(late, Err(Rejected::UnknownKey(0)));
}

proptest! {
    #[test]
    fn anything_survives_both_ways(
        suite in 0_usize..5,
        metadata: Vec<u8>,
        frame: Vec<u8>,
    ) {
        let (mut sender, mut receiver) = pair(CipherSuite::ALL[suite]);
        let encrypted = encrypted(&mut sender, &metadata, &frame);
        prop_assert!(encrypted.len() <= frame.len() + OVERHEAD_MAX);
        prop_assert_eq!(decrypted(&mut receiver, &metadata, &encrypted), Ok(frame));
    }

    #[test]
    fn nothing_that_was_made_up_is_accepted(frame: Vec<u8>, shared: bool) {
        let mut receiver = Receiver::new(CipherSuite::Aes128GcmSha256_128);
        receiver.add_key(0, &base_key()).unwrap();
        receiver.set_shared_key(shared.then_some(&base_key()[..]));
        prop_assert!(decrypted(&mut receiver, b"", &frame).is_err());
    }

    #[test]
    fn the_window_knows_what_it_saw(
        steps in proptest::collection::vec((any::<bool>(), 0_u64..3000), 1..200),
    ) {
        let mut window = ReplayWindow::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut at = 5_000_u64;
        for (forward, step) in steps {
            at = if forward { at + step / 3 } else { at.saturating_sub(step) };
            let highest = seen.last().copied().unwrap_or(0);
            let is_new = !seen.contains(&at) && (seen.is_empty() || at + WINDOW > highest);
            prop_assert_eq!(window.admits(at), is_new);
            if is_new {
                window.mark(at);
                seen.insert(at);
            }
        }
    }
}
