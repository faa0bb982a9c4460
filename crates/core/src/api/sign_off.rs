//! `SignOff`: one person says one thing about one request.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Author, WORDS};

/// One statement by one person about one request or one retention: the only way to approve, and to let go of what is
/// kept. Create-only and immutable; deleting one's own withdraws it.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "foureyes.dev",
    version = "v1alpha1",
    kind = "SignOff",
    plural = "signoffs",
    shortname = "so",
    category = "foureyes",
    validation = Rule::new("self.spec == oldSelf.spec").message("a sign-off never changes: delete your own to withdraw it, create another to say something else"),
    printcolumn = r#"{"name":"Subject","type":"string","jsonPath":".spec.subject.name"}"#,
    printcolumn = r#"{"name":"Says","type":"string","jsonPath":".spec.says"}"#,
    printcolumn = r#"{"name":"Author","type":"string","jsonPath":".spec.author.username"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Verified","type":"string","jsonPath":".spec.verified","priority":1}"#,
    selectable = ".spec.subject.uid"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.subject.kind == 'BackupRetention') == (self.says in ['Release', 'LegalHold', 'ReleaseHold'])").message("about a BackupRetention one says Release, LegalHold or ReleaseHold; about a request one of the others"))]
#[x_kube(validation = Rule::new("self.says != 'Release' || has(self.digest)").message("Release needs spec.digest: the digest of what you looked at, shown in a BackupRetention's status.digest"))]
#[x_kube(validation = Rule::new("self.says != 'Supervised' || (self.subject.kind == 'DeletionRequest' && has(self.verified) && self.verified.size() > 0)").message("Supervised is about a DeletionRequest, and needs spec.verified: what you have checked after it was executed"))]
#[x_kube(validation = Rule::new("self.says != 'Approve' || has(self.digest)").message("Approve needs spec.digest: the digest of what you looked at, shown in a DeletionRequest's status.subjectDigest and a ChangeRequest's status.requestDigest"))]
#[x_kube(validation = Rule::new("self.says != 'CustomerAgreed' || (has(self.digest) && has(self.reference))").message("CustomerAgreed needs spec.digest (the request's status.subjectDigest) and spec.reference (who agreed, and where that is recorded)"))]
#[x_kube(validation = Rule::new("self.says != 'CustomerAgreed' || self.subject.kind == 'DeletionRequest'").message("CustomerAgreed is said about a DeletionRequest"))]
pub struct SignOffSpec {
    /// The request or the retention this is about.
    pub subject: Subject,
    /// What the author says. Of a request: Approve counts once; Reject ends it; Hold blocks it until withdrawn; Cancel is
    /// the requester's own; `CustomerAgreed` says that whose data it is agreed to have it kept for fewer days. Of a
    /// retention: Release lets go of what it keeps, once two people say so; `LegalHold` stops that until two people say
    /// `ReleaseHold`. Supervised closes a deletion that was executed.
    pub says: Says,
    /// What the author looked at: `status.subjectDigest` of a deletion, `status.requestDigest` of a change, `status.digest`
    /// of a retention at that moment. Never filled in for you.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[a-z]+/v[0-9]+:sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// What was checked before approving, or after the deletion, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = WORDS))]
    pub verified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = WORDS))]
    pub comment: Option<String>,
    /// Of `CustomerAgreed`: who agreed, and where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = WORDS))]
    pub reference: Option<String>,
    /// Who says it. Written by foureyes: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// When. Written by foureyes: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// The proof of both. Written by foureyes: leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub seal: Option<String>,
}

/// What a sign-off is about, bound by UID.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind in ['DeletionRequest', 'BackupRetention'] ? !has(self.namespace) : self.kind == 'ChangeRequest' && has(self.namespace)").message("the subject of a sign-off is a DeletionRequest, a BackupRetention, or a ChangeRequest with its namespace"))]
pub struct Subject {
    #[schemars(length(max = 64))]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    #[schemars(
        length(min = 36, max = 36),
        regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    pub uid: String,
}

/// What a sign-off can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Says {
    Approve,
    Reject,
    Hold,
    Cancel,
    CustomerAgreed,
    Release,
    LegalHold,
    ReleaseHold,
    /// What went is what was signed off, as far as its author has checked.
    Supervised,
}

impl Says {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Reject => "Reject",
            Self::Hold => "Hold",
            Self::Cancel => "Cancel",
            Self::CustomerAgreed => "CustomerAgreed",
            Self::Release => "Release",
            Self::LegalHold => "LegalHold",
            Self::ReleaseHold => "ReleaseHold",
            Self::Supervised => "Supervised",
        }
    }
}
