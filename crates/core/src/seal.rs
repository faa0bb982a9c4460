//! Seals: Ed25519 signatures by which foureyes recognises what it wrote itself.
//!
//! A seal covers the cluster, the kind of statement, the object's name and all that was said. A reader also wants the
//! object's creationTimestamp within [`SEAL_SKEW`] of the stated time, and a key that was active then: so what was
//! written while no webhook looked, replayed, or put there through a doctored CRD counts for nothing (fact 7).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::{DigestError, canonical, hex};

/// How far an object's creationTimestamp may lie from the time in its seal.
pub const SEAL_SKEW: SignedDuration = SignedDuration::from_secs(15);

/// Data key of the Secret that holds the private key (PKCS#8 DER).
pub const PRIVATE_KEY: &str = "private.pk8";

/// Why a seal could not be made or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it carries no seal")]
    Missing,
    #[error("its seal is malformed")]
    Malformed,
    #[error("its seal was made by an unknown key")]
    UnknownKey,
    #[error("its seal was made by a key that was not active then")]
    KeyNotActive,
    #[error("its seal does not match its content")]
    Mismatch,
    #[error("it was not created when its seal says")]
    NotCreatedThen,
    #[error("the sealing key is unusable")]
    BadKey,
    #[error("its content has no digest: {0}")]
    Digest(String),
}

impl From<DigestError> for SealError {
    fn from(error: DigestError) -> Self {
        Self::Digest(error.to_string())
    }
}

/// What is sealed: `body` said about the object `name`, as one `kind` of statement. Seals of different kinds or
/// names are never interchangeable.
#[derive(Serialize)]
pub struct Statement<'a, T: Serialize> {
    pub kind: &'static str,
    pub name: &'a str,
    pub body: &'a T,
}

#[derive(Serialize)]
struct Sealed<'a, T: Serialize> {
    version: &'static str,
    cluster: &'a str,
    statement: &'a Statement<'a, T>,
}

/// The private half, held by the webhook alone.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new key; returns its PKCS#8 document.
    pub fn generate() -> Result<Vec<u8>, SealError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SealError::BadKey)?;
        Ok(document.as_ref().to_vec())
    }

    /// Reads a key from its PKCS#8 document.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, SealError> {
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| SealError::BadKey)?;
        Ok(Self { id: key_id(pair.public_key().as_ref()), pair })
    }

    /// Names the key in its seals: the first 16 hexadecimal digits of the SHA-256 of the public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half, active from `not_before`.
    pub fn public(&self, not_before: Timestamp) -> PublicKey {
        PublicKey {
            id: self.id.clone(),
            key: STANDARD.encode(self.pair.public_key().as_ref()),
            not_before,
            not_after: None,
        }
    }

    /// Seals a statement for a cluster.
    pub fn seal<T: Serialize>(&self, cluster: &str, statement: &Statement<'_, T>) -> Result<String, SealError> {
        let bytes = canonical(&Sealed { version: "v1", cluster, statement })?;
        let signature = self.pair.sign(&bytes);
        Ok(format!("v1.{}.{}", self.id, URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

/// A public key and when it was active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    pub id: String,
    /// 32 bytes, base64.
    pub key: String,
    pub not_before: Timestamp,
    /// When it was replaced, with the overlap that replicas need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// Every key there ever was in one cluster: what verification needs, online or offline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRing {
    /// UID of the namespace kube-system.
    pub cluster_id: String,
    pub keys: Vec<PublicKey>,
}

impl KeyRing {
    /// Checks that `seal` was made over `statement` by a key that was active at `at`.
    pub fn verify<T: Serialize>(
        &self,
        statement: &Statement<'_, T>,
        seal: Option<&str>,
        at: Timestamp,
    ) -> Result<(), SealError> {
        let mut parts = seal.ok_or(SealError::Missing)?.splitn(3, '.');
        let (Some("v1"), Some(id), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Malformed);
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| SealError::Malformed)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(SealError::UnknownKey)?;
        let bytes = STANDARD.decode(&key.key).map_err(|_| SealError::BadKey)?;
        if key_id(&bytes) != key.id {
            return Err(SealError::BadKey);
        }
        if at < key.not_before.saturating_sub(SEAL_SKEW).unwrap_or(Timestamp::MIN)
            || key.not_after.is_some_and(|end| at > end)
        {
            return Err(SealError::KeyNotActive);
        }
        let message = canonical(&Sealed { version: "v1", cluster: &self.cluster_id, statement })?;
        UnparsedPublicKey::new(&ED25519, bytes).verify(&message, &signature).map_err(|_| SealError::Mismatch)
    }
}

/// Whether an object was created when its seal says, within [`SEAL_SKEW`].
pub fn created_then(created: Option<Timestamp>, at: Timestamp) -> Result<(), SealError> {
    let created = created.ok_or(SealError::NotCreatedThen)?;
    if created.duration_since(at).abs() <= SEAL_SKEW { Ok(()) } else { Err(SealError::NotCreatedThen) }
}

fn key_id(public: &[u8]) -> String {
    hex(&Sha256::digest(public)[..8])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn ring() -> (SigningKey, KeyRing) {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let ring = KeyRing { cluster_id: "cluster-a".into(), keys: vec![key.public(at(0))] };
        (key, ring)
    }

    #[test]
    fn a_seal_holds_for_its_statement_alone() {
        let (key, ring) = ring();
        let statement = Statement { kind: "SignOff", name: "so-1", body: &"approve" };
        let seal = key.seal("cluster-a", &statement).unwrap();
        assert_eq!(ring.verify(&statement, Some(&seal), at(5)), Ok(()));
        for other in [
            Statement { kind: "SignOff", name: "so-2", body: &"approve" },
            Statement { kind: "SignOff", name: "so-1", body: &"reject" },
            Statement { kind: "Requester", name: "so-1", body: &"approve" },
        ] {
            assert_eq!(ring.verify(&other, Some(&seal), at(5)), Err(SealError::Mismatch));
        }
        let elsewhere = KeyRing { cluster_id: "cluster-b".into(), ..ring };
        assert_eq!(elsewhere.verify(&statement, Some(&seal), at(5)), Err(SealError::Mismatch));
    }

    #[test]
    fn old_seals_stay_valid_after_rotation_and_new_ones_by_the_old_key_are_not() {
        let (key, mut ring) = ring();
        let statement = Statement { kind: "SignOff", name: "so-1", body: &1 };
        let seal = key.seal("cluster-a", &statement).unwrap();
        ring.keys[0].not_after = Some(at(100));
        assert_eq!(ring.verify(&statement, Some(&seal), at(100)), Ok(()));
        assert_eq!(ring.verify(&statement, Some(&seal), at(101)), Err(SealError::KeyNotActive));
        assert_eq!(ring.verify(&statement, Some(&seal), at(-60)), Err(SealError::KeyNotActive));
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_panic() {
        let (_, ring) = ring();
        let statement = Statement { kind: "SignOff", name: "so-1", body: &1 };
        for seal in ["", "v1", "v1..", "v2.a.b", "v1.x.***", "v1.0000.AAAA"] {
            assert!(ring.verify(&statement, Some(seal), at(0)).is_err(), "{seal}");
        }
        assert_eq!(ring.verify(&statement, None, at(0)), Err(SealError::Missing));
    }

    #[test]
    fn an_object_created_at_another_time_was_not_sealed_then() {
        assert!(created_then(Some(at(15)), at(0)).is_ok());
        assert!(created_then(Some(at(16)), at(0)).is_err());
        assert!(created_then(Some(at(-16)), at(0)).is_err());
        assert!(created_then(None, at(0)).is_err());
    }
}
