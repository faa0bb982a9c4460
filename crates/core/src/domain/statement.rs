//! Statements that foureyes seals: sign-offs, requesters, and the record behind the approval annotation.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde::{Deserialize, Serialize};

use crate::api::{Author, Requester, SignOff, SignOffSpec};
use crate::digest::{DigestError, Encoding, digest};
use crate::domain::request::{Request, RequestSpec};
use crate::seal::{KeyRing, SealError, SigningKey, Statement, created_then};

const SIGN_OFF: &str = "SignOff";
const APPROVAL: &str = "approved-by";

/// Times in statements have seconds, as creationTimestamps do.
pub fn stated(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// With microseconds, for what can be said again within the same second.
pub fn stated_exactly(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}

/// Seals a sign-off; `spec` already carries author and time.
pub fn seal_sign_off(key: &SigningKey, cluster: &str, name: &str, spec: &SignOffSpec) -> Result<String, SealError> {
    key.seal(cluster, &Statement { kind: SIGN_OFF, name, body: &unsealed(spec) })
}

/// Whose sign-off it is and when it was made, if the seal proves both.
pub fn prove_sign_off<'a>(ring: &KeyRing, sign_off: &'a SignOff) -> Result<(&'a Author, Timestamp), SealError> {
    let (author, at) = prove_sign_off_content(ring, sign_off)?;
    created_then(sign_off.metadata.creation_timestamp.as_ref().map(|time| time.0), at)?;
    Ok((author, at))
}

/// As [`prove_sign_off`], for a sign-off that is only being created and has no creationTimestamp to compare with.
pub fn prove_sign_off_content<'a>(ring: &KeyRing, sign_off: &'a SignOff) -> Result<(&'a Author, Timestamp), SealError> {
    let spec = &sign_off.spec;
    let (Some(author), Some(at)) = (&spec.author, &spec.at) else { return Err(SealError::Missing) };
    let name = sign_off.metadata.name.as_deref().unwrap_or_default();
    let statement = Statement { kind: SIGN_OFF, name, body: &unsealed(spec) };
    whole_seconds(at)?;
    ring.verify(&statement, spec.seal.as_deref(), at.0)?;
    Ok((author, at.0))
}

/// A seal covers whole seconds: that is how times are written. A fraction would be read, and covered by nothing.
fn whole_seconds(at: &Time) -> Result<(), SealError> {
    if *at == stated(at.0) { Ok(()) } else { Err(SealError::Mismatch) }
}

/// As [`whole_seconds`], for what is written with microseconds.
fn whole_microseconds(at: &MicroTime) -> Result<(), SealError> {
    if *at == stated_exactly(at.0) { Ok(()) } else { Err(SealError::Mismatch) }
}

fn unsealed(spec: &SignOffSpec) -> SignOffSpec {
    SignOffSpec { seal: None, ..spec.clone() }
}

/// `request/v1`: the spec but for what stamp wrote.
pub fn request_digest<S: RequestSpec>(spec: &S) -> Result<String, DigestError> {
    digest(Encoding::Request, &spec.unstamped())
}

/// `subject/v1`: what a sign-off names.
pub fn subject_digest(request: &str, inventory: &str) -> Result<String, DigestError> {
    digest(Encoding::Subject, &serde_json::json!({"request": request, "inventory": inventory}))
}

#[derive(Serialize)]
struct RequesterBody<'a> {
    digest: String,
    author: &'a Author,
    at: &'a Time,
}

/// What the seal of a request calls it: with its namespace, if it has one, so that it is worth nothing in another.
pub fn sealed_name(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Seals who asked for what; `name` is that of [`sealed_name`].
pub fn seal_requester<S: RequestSpec>(
    key: &SigningKey,
    cluster: &str,
    name: &str,
    spec: &S,
    author: &Author,
    at: &Time,
) -> Result<String, SealError> {
    let body = RequesterBody { digest: request_digest(spec)?, author, at };
    key.seal(cluster, &Statement { kind: S::SEALED_AS, name, body: &body })
}

/// Who asked, if the seal proves it; an unproven requester counts as none.
pub fn prove_requester<'a, R: Request>(ring: &KeyRing, request: &'a R) -> Result<&'a Author, SealError> {
    let requester = prove_requester_content(ring, request)?;
    created_then(request.created(), requester.at.0)?;
    Ok(&requester.author)
}

/// As [`prove_requester`], for a request that is only being created.
pub fn prove_requester_content<'a, R: Request>(ring: &KeyRing, request: &'a R) -> Result<&'a Requester, SealError> {
    let requester = request.spec().requester().ok_or(SealError::Missing)?;
    let name = sealed_name(request.metadata().namespace.as_deref(), request.name());
    let body = RequesterBody { digest: request_digest(request.spec())?, author: &requester.author, at: &requester.at };
    let statement = Statement { kind: R::Spec::SEALED_AS, name: &name, body: &body };
    whole_seconds(&requester.at)?;
    ring.verify(&statement, requester.seal.as_deref(), requester.at.0)?;
    Ok(requester)
}

/// Bytes of the longest record that is read; genuine ones have a few thousand.
const LONGEST_RECORD: usize = 64 * 1024;

/// The record behind `foureyes.dev/approved-by`: who approved the deletion of exactly this object with exactly this
/// inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRecord {
    pub author: Author,
    /// With microseconds: one that was withdrawn is told from the next by its time.
    pub at: MicroTime,
    /// UID of the object that carries it.
    pub uid: String,
    /// The first 12 digits of the inventory's digest.
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

impl ApprovalRecord {
    /// Seals the record.
    pub fn sealed(mut self, key: &SigningKey, cluster: &str) -> Result<Self, SealError> {
        self.seal = None;
        let seal = key.seal(cluster, &Statement { kind: APPROVAL, name: &self.uid, body: &self })?;
        self.seal = Some(seal);
        Ok(self)
    }

    /// Reads a record from its annotation.
    pub fn read(text: &str) -> Result<Self, SealError> {
        if text.len() > LONGEST_RECORD {
            return Err(SealError::Malformed);
        }
        serde_json::from_str(text).map_err(|_| SealError::Malformed)
    }

    /// Reads a record from its annotation and checks its seal and that it is about the object `uid`.
    pub fn prove(ring: &KeyRing, text: &str, uid: &str) -> Result<Self, SealError> {
        let record = Self::read(text)?;
        if record.uid != uid {
            return Err(SealError::Mismatch);
        }
        let bare = Self { seal: None, ..record.clone() };
        let statement = Statement { kind: APPROVAL, name: uid, body: &bare };
        whole_microseconds(&record.at)?;
        ring.verify(&statement, record.seal.as_deref(), record.at.0)?;
        Ok(record)
    }
}
