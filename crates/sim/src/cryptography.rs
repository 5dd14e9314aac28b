//! Cryptography that repeats: ephemeral keys and signatures follow from a seed.
//!
//! Everything else is what the DTLS engine uses anyway. Nothing of it is a secret.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};
use dimpl::crypto::{
    ActiveKeyExchange, Buf, CryptoProvider, HashAlgorithm, KeyProvider, NamedGroup, SecureRandom,
    SignatureAlgorithm, SigningKey, SupportedKxGroup, aws_lc_rs::default_provider,
};
use dimpl::{CryptoError, CryptoOperation};
use p256::ecdsa::signature::Signer;
use p256::pkcs8::DecodePrivateKey;
use twocan_proto::dtls::Settings;
use twocan_proto::peer::DATAGRAM_LEN_MAX;
use twocan_proto::random::Random;

/// DTLS settings for one peer: what its handshakes draw and sign follows from `seed`.
pub fn settings(seed: u64) -> Settings {
    let settings = Settings::simulated(DATAGRAM_LEN_MAX, seed, provider(seed));
    settings.unwrap_or_else(|error| unreachable!("{error}"))
}

/// The engine wants references that live for ever: each peer of each run costs some bytes.
fn provider(seed: u64) -> CryptoProvider {
    let mut bytes = [0x5e; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let source = Source(Arc::new(Mutex::new(Random::new(bytes))));
    let group = |name, algorithm, key_len| -> &'static dyn SupportedKxGroup {
        Box::leak(Box::new(Group {
            name,
            algorithm,
            key_len,
            source: source.clone(),
        }))
    };
    let groups = [
        group(NamedGroup::X25519, &agreement::X25519, 32),
        group(NamedGroup::Secp256r1, &agreement::ECDH_P256, 32),
        group(NamedGroup::Secp384r1, &agreement::ECDH_P384, 48),
    ];
    CryptoProvider {
        kx_groups: Box::leak(Box::new(groups)),
        key_provider: &Keys,
        secure_random: Box::leak(Box::new(source)),
        ..default_provider()
    }
}

/// The seeded generator of one peer.
#[derive(Debug, Clone)]
struct Source(Arc<Mutex<Random>>);

impl Source {
    fn draw(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill(bytes);
    }
}

impl SecureRandom for Source {
    fn fill(&self, buf: &mut [u8]) -> Result<(), CryptoError> {
        self.draw(buf);
        Ok(())
    }
}

#[derive(Debug)]
struct Group {
    name: NamedGroup,
    algorithm: &'static Algorithm,
    key_len: usize,
    source: Source,
}

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        self.name
    }

    fn start_exchange(&self, mut buf: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let mut secret = vec![0; self.key_len];
        // A number beyond the order of the curve is no key: the next one is.
        let private = loop {
            self.source.draw(&mut secret);
            if let Ok(private) = PrivateKey::from_private_key(self.algorithm, &secret) {
                break private;
            }
        };
        let public = private
            .compute_public_key()
            .map_err(|_| CryptoError::OperationFailed(CryptoOperation::ComputePublicKey))?;
        buf.clear();
        buf.extend_from_slice(public.as_ref());
        Ok(Box::new(Exchange {
            name: self.name,
            private,
            public: buf,
        }))
    }
}

#[derive(Debug)]
struct Exchange {
    name: NamedGroup,
    private: PrivateKey,
    public: Buf,
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer_pub: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        let peer = UnparsedPublicKey::new(self.private.algorithm(), peer_pub);
        let refused = CryptoError::InvalidPublicKey(self.name);
        agreement::agree(&self.private, peer, refused, |secret| {
            out.clear();
            out.extend_from_slice(secret);
            Ok(())
        })
    }

    fn group(&self) -> NamedGroup {
        self.name
    }
}

/// Loads keys of ECDSA P-256, whose signatures are those of RFC 6979.
#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = p256::ecdsa::SigningKey::from_pkcs8_der(key_der)
            .map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Key(key)))
    }
}

#[derive(Debug)]
struct Key(p256::ecdsa::SigningKey);

impl SigningKey for Key {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), CryptoError> {
        let key_hash = self.hash_algorithm();
        if hash_alg != key_hash {
            let requested = hash_alg;
            return Err(CryptoError::SigningKeyHashMismatch {
                key_hash,
                requested,
            });
        }
        let signature: p256::ecdsa::Signature = self.0.sign(data);
        out.clear();
        out.extend_from_slice(signature.to_der().as_bytes());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}
