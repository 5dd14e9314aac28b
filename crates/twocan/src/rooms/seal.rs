//! What participants say over data channels, encrypted end to end: `docs/client.md`, "Sealed
//! messages".

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use twocan_io::clock;
use twocan_proto::crypto::{AesGcm, AuthenticationFailed, Hkdf};
use twocan_proto::random::Random;
use twocan_proto::sframe::{Receiver, ReplayWindow, Sender};

use super::encryption::RoomSecret;

/// The topic of what is sealed; its own is inside.
pub(super) const TOPIC: &str = "twocan.sealed";

/// Bytes that a sealed message is longer.
pub(super) const SEAL_LEN: usize = HEADER_LEN + AesGcm::TAG_LEN;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + 8;
const NONCE_LEN: usize = 12;

/// Senders that are remembered; who was heard least recently makes way.
const SENDERS_MAX: usize = 1_000;

type KeyId = [u8; KEY_ID_LEN];

/// The secret of a room, and which keys of it are in use. Cheap to clone.
#[derive(Clone)]
pub(super) struct RoomSeal(Arc<Inner>);

struct Inner {
    secret: RoomSecret,
    room: String,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    /// The id under which this side seals; another one goes with other keys.
    own_id: String,
    sealing: BTreeMap<u8, Sealing>,
    opening: BTreeMap<(u8, String), Opening>,
    heard: u64,
}

struct Sealing {
    id: KeyId,
    key: Key,
    counter: u64,
}

/// The one key of a sender and way: that of the first message that opened.
struct Opening {
    id: KeyId,
    key: Arc<Key>,
    seen: ReplayWindow,
    /// When it was heard last, in messages.
    heard: u64,
}

struct Key {
    cipher: AesGcm,
    salt: [u8; NONCE_LEN],
}

impl Key {
    fn derive(secret: &[u8], id: KeyId) -> Result<Self, AuthenticationFailed> {
        let drawn = Hkdf::sha512(secret);
        let (mut key, mut salt) = ([0; 32], [0; NONCE_LEN]);
        drawn.expand(&[b"Twocan 1 message key ", &id], &mut key)?;
        drawn.expand(&[b"Twocan 1 message salt ", &id], &mut salt)?;
        let cipher = AesGcm::new(&key)?;
        Ok(Self { cipher, salt })
    }

    /// The salt, with the counter over its last bytes.
    fn nonce(&self, counter: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.salt;
        for (byte, counter) in nonce.iter_mut().skip(4).zip(counter.to_be_bytes()) {
            *byte ^= counter;
        }
        nonce
    }
}

impl RoomSeal {
    /// `room`: its name, as it stands in the link.
    pub(super) fn new(secret: RoomSecret, room: String) -> Self {
        let keys = Mutex::default();
        Self(Arc::new(Inner { secret, room, keys }))
    }

    /// One with the same secret that has heard nobody: what it opens may have come before.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.0.secret.clone(), self.0.room.clone())
    }

    /// Encrypts one track of this side.
    pub(super) fn sender(&self) -> Sender {
        self.0.secret.sender()
    }

    /// Decrypts one track of another.
    pub(super) fn receiver(&self) -> Receiver {
        self.0.secret.receiver()
    }

    /// Seals what is said under an id; `None` where it is too long for the cipher.
    pub(super) fn seal(&self, own_id: &str, lossy: bool, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_for(way(lossy), own_id, plain)
    }

    /// The same of the chat, to everybody.
    pub(super) fn seal_chat(&self, own_id: &str, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_for(CHAT, own_id, plain)
    }

    fn seal_for(&self, way: u8, own_id: &str, plain: &[u8]) -> Option<Vec<u8>> {
        self.with(|keys| {
            if keys.own_id != own_id {
                own_id.clone_into(&mut keys.own_id);
                keys.sealing.clear();
            }
            let sealing = match keys.sealing.entry(way) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => {
                    let mut id = KeyId::default();
                    Random::new(clock::seed()).fill(&mut id);
                    let key = Key::derive(self.0.secret.bytes(), id).ok()?;
                    free.insert(Sealing {
                        id,
                        key,
                        counter: 0,
                    })
                }
            };
            let header = header(sealing.id, sealing.counter);
            let nonce = sealing.key.nonce(sealing.counter);
            sealing.counter = sealing.counter.checked_add(1)?;
            let mut sealed = [&header[..], plain].concat();
            let text = sealed.get_mut(HEADER_LEN..)?;
            let bound = self.bound(&header, way, [own_id, ""]);
            let tag = sealing.key.cipher.seal(nonce, &bound, text).ok()?;
            sealed.extend_from_slice(&tag);
            Some(sealed)
        })
    }

    /// Opens what somebody is said to have sent; `None` for what is not sealed with the secret for
    /// this room, sender and way, was changed, or came before.
    pub(super) fn open(&self, from: &str, lossy: bool, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_for(way(lossy), [from, ""], sealed)
    }

    /// The same of the chat; `to` is the id of who alone it is for, or empty.
    pub(super) fn open_chat(&self, from: &str, to: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_for(CHAT, [from, to], sealed)
    }

    fn open_for(&self, way: u8, [from, to]: [&str; 2], sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, text) = sealed.split_first_chunk::<HEADER_LEN>()?;
        let (version, rest) = header.split_first()?;
        let (id, counter) = rest.split_first_chunk::<KEY_ID_LEN>()?;
        let counter = u64::from_be_bytes(*counter.first_chunk()?);
        if *version != VERSION {
            return None;
        }
        let name = (way, from.to_owned());
        let known = self.with(|keys| match keys.opening.get(&name) {
            // What comes back was not said by another.
            _ if keys.own_id == from => None,
            Some(known) if known.id != *id || !known.seen.admits(counter) => None,
            known => Some(known.map(|known| known.key.clone())),
        })?;
        let key = match known {
            Some(key) => key,
            None => Arc::new(Key::derive(self.0.secret.bytes(), *id).ok()?),
        };
        let mut plain = text.to_vec();
        let bound = self.bound(header, way, [from, to]);
        let nonce = key.nonce(counter);
        let len = key.cipher.open(nonce, &bound, &mut plain).ok()?;
        plain.truncate(len);
        self.with(|keys| keys.opened(name, *id, key, counter))
            .then_some(plain)
    }

    /// What a message is bound to: its header, and each name with its length before it.
    fn bound(&self, header: &[u8], way: u8, [from, to]: [&str; 2]) -> Vec<u8> {
        let mut bound = [header, &[way]].concat();
        for name in [&self.0.room, from, to] {
            let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
            bound.extend_from_slice(&len.to_be_bytes());
            bound.extend_from_slice(name.as_bytes());
        }
        bound
    }

    fn with<T>(&self, what: impl FnOnce(&mut Keys) -> T) -> T {
        what(&mut self.0.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    /// A message is authentic; whether it is new as well.
    fn opened(&mut self, name: (u8, String), id: KeyId, key: Arc<Key>, counter: u64) -> bool {
        self.heard += 1;
        let heard = self.heard;
        if self.opening.len() >= SENDERS_MAX && !self.opening.contains_key(&name) {
            let oldest = self.opening.iter().min_by_key(|(_, one)| one.heard);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.opening.remove(&oldest);
            }
        }
        let known = self.opening.entry(name).or_insert_with(|| Opening {
            id,
            key,
            seen: ReplayWindow::default(),
            heard,
        });
        known.heard = heard;
        // Another channel may have brought it meanwhile.
        let is_new = known.id == id && known.seen.admits(counter);
        if is_new {
            known.seen.mark(counter);
        }
        is_new
    }
}

impl fmt::Debug for RoomSeal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RoomSeal(…)")
    }
}

/// The way of the chat.
const CHAT: u8 = 1;

const fn way(lossy: bool) -> u8 {
    if lossy { 3 } else { 2 }
}

fn header(id: KeyId, counter: u64) -> [u8; HEADER_LEN] {
    let mut header = [VERSION; HEADER_LEN];
    header[1..][..KEY_ID_LEN].copy_from_slice(&id);
    header[1 + KEY_ID_LEN..].copy_from_slice(&counter.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(room: &str, first: u8) -> RoomSeal {
        let secret = std::array::from_fn(|index| index as u8 ^ first);
        RoomSeal::new(RoomSecret::new(secret), room.to_owned())
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    /// What OpenSSL makes of it, and `tests/web/sealed.test.mjs` as well.
    const VECTOR: &str =
        "01010203040506070800000000000000003a70a798161e223bad62ea90595145a42126a917d536aa1c8a66c0";

    #[test]
    fn a_message_of_a_page_opens_once() {
        let room = seal("blue-otter", 0);
        let opened = room.open("ada", false, &bytes(VECTOR)).unwrap();
        assert_eq!(opened, b"\x01\x01\0\x05boardhi");
        assert_eq!(room.open("ada", false, &bytes(VECTOR)), None);
    }

    #[test]
    fn what_is_not_what_was_sealed_does_not_open() {
        let sealed = bytes(VECTOR);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            let room = seal("blue-otter", 0);
            assert_eq!(room.open("ada", false, &changed), None, "byte {at}");
            let room = seal("blue-otter", 0);
            assert_eq!(room.open("ada", false, &sealed[..at]), None, "{at} bytes");
        }
        let room = seal("blue-otter", 0);
        assert_eq!(room.open("bob", false, &sealed), None);
        assert_eq!(room.open("ada", true, &sealed), None);
        assert_eq!(seal("other", 0).open("ada", false, &sealed), None);
        assert_eq!(seal("blue-otter", 1).open("ada", false, &sealed), None);
    }

    #[test]
    fn what_is_sealed_opens_in_any_order_and_another_session_does_not() {
        let (ada, bob) = (seal("r", 0), seal("r", 0));
        let all: Vec<_> = (0..3)
            .map(|number| ada.seal("ada", true, &[number]).unwrap())
            .collect();
        for number in [2, 0, 1] {
            let opened = bob.open("ada", true, &all[number]);
            assert_eq!(opened, Some(vec![number as u8]));
        }
        assert!(all.iter().all(|one| bob.open("ada", true, one).is_none()));
        assert_eq!(all[0].len(), 1 + SEAL_LEN);
        let other = seal("r", 0).seal("ada", true, b"before").unwrap();
        assert_eq!(bob.open("ada", true, &other), None);
        // Under another id with another key.
        let again = ada.seal("ada-2", true, b"x").unwrap();
        assert_ne!(again[1..9], all[0][1..9]);
        assert_eq!(bob.open("ada-2", true, &again), Some(b"x".to_vec()));
    }

    #[test]
    fn who_was_heard_least_recently_makes_way() {
        let room = seal("r", 0);
        for number in 0..SENDERS_MAX + 10 {
            let name = number.to_string();
            let sealed = seal("r", 0).seal(&name, false, b"x").unwrap();
            assert!(room.open(&name, false, &sealed).is_some());
        }
        assert_eq!(room.with(|keys| keys.opening.len()), SENDERS_MAX);
        assert!(room.with(|keys| !keys.opening.contains_key(&(2, "9".to_owned()))));
    }
}
