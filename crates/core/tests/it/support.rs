//! Sealed requests and sign-offs as the API server would have them, made with a real key, and what decisions read
//! beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use foureyes_core::api::{
    Author, DeletionRequest, DeletionRequestSpec, Identities, IdentityMatcher, NamedBackup, Requester, RetentionWish,
    SafetyPolicy, Says, SignOff, SignOffSpec, Subject, Target, TargetKind,
};
use foureyes_core::domain::backup;
use foureyes_core::domain::deletion::{Closeness, Evidence, closeness, confirm, confirm_cascade};
use foureyes_core::domain::inventory::{Claim, Inventory, Reclaim, Volume};
use foureyes_core::domain::judgement::{Judgement, Right, Rights, rights_needed};
use foureyes_core::domain::kept::keeper;
use foureyes_core::domain::lifecycle::{Observed, Plan, TargetState, decide};
use foureyes_core::domain::policy::{Effective, PolicySet, compile};
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::quiet::Usage;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::request::Request as _;
use foureyes_core::domain::shutdown::Users;
use foureyes_core::domain::statement::{
    ApprovalRecord, prove_requester, request_digest, seal_requester, seal_sign_off, subject_digest,
};
use foureyes_core::domain::supervision::Found;
use foureyes_core::seal::{KeyRing, SigningKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use serde_json::Value;

pub const CLUSTER: &str = "2f6a3e1c-0000-4000-8000-0000000000aa";
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;
/// Built-in clocks of design §3, in seconds.
pub const APPROVAL_CLOCK: i64 = 14 * DAY;
pub const USE_CLOCK: i64 = DAY;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap());
static RING: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing { cluster_id: CLUSTER.to_owned(), keys: vec![KEY.public(at(-1000 * DAY))] });

pub fn key() -> &'static SigningKey {
    &KEY
}

pub fn ring() -> &'static KeyRing {
    &RING
}

/// Seconds from the moment at which requests are created here.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_428_000 + second).unwrap()
}

pub fn time(second: i64) -> Time {
    Time(at(second))
}

/// What [`at`] was asked for.
pub fn second(time: &Time) -> i64 {
    time.0.as_second() - at(0).as_second()
}

pub fn named(username: &str) -> Author {
    Author { username: username.to_owned(), groups: vec!["system:authenticated".to_owned()], ..Author::default() }
}

pub fn with_email(username: &str, email: &str) -> Author {
    Author { extra: [("example.org/email".to_owned(), vec![email.to_owned()])].into(), ..named(username) }
}

/// Machines beyond `system:*`, and the accounts that are shared.
pub fn identities() -> Identities {
    let username = |name: &str| IdentityMatcher { username: Some(name.to_owned()), group: None };
    Identities { machines: vec![username("ci:*")], people: Vec::new(), shared: vec![username("admin*")] }
}

pub fn policy(name: &str, spec: &Value) -> SafetyPolicy {
    let metadata = serde_json::json!({"name": name, "generation": 1});
    serde_json::from_value(serde_json::json!({
        "apiVersion": "foureyes.dev/v1alpha1", "kind": "SafetyPolicy", "metadata": metadata, "spec": spec,
    }))
    .unwrap()
}

pub fn policies(written: &[(&str, Value)]) -> PolicySet {
    let compiled = written.iter().map(|(name, spec)| compile(&policy(name, spec)).unwrap()).collect();
    PolicySet::new(compiled, Vec::new())
}

/// The policy `default` with [`identities`] and this many approvals.
pub fn policies_with_min(min: u32) -> PolicySet {
    let spec = serde_json::json!({"identities": identities(), "approvals": {"min": min}});
    policies(&[("default", spec)])
}

pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn uid(number: u128) -> String {
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The claim number `n` of the namespace `shop`.
pub fn claim(n: u128) -> Claim {
    Claim {
        namespace: "shop".into(),
        name: format!("data-{n}").into(),
        uid: uid(0xc1a1_0000 + n).into(),
        volume: Some(format!("pv-{n}").into()),
        size: Some("1Gi".into()),
        ..Claim::default()
    }
}

/// Its volume, which outlives it.
pub fn volume(n: u128) -> Volume {
    Volume {
        reclaim: Reclaim::Retain,
        kept_claim: Some(claim(n).uid),
        name: format!("pv-{n}").into(),
        uid: uid(0x0b01_0000 + n).into(),
        handle: Some(format!("csi.example.org/vol-{n}").into()),
        going: false,
    }
}

/// Claims by number, each with its volume.
pub fn inventory(numbers: impl IntoIterator<Item = u128>) -> Inventory {
    let pairs: Vec<(Claim, Volume)> = numbers.into_iter().map(|n| (claim(n), volume(n))).collect();
    Inventory::of(pairs.iter().map(|(claim, volume)| (claim, Some(volume))))
}

pub fn claim_target() -> Target {
    Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::PersistentVolumeClaim,
        namespace: Some("shop".to_owned()),
        name: "data-1".to_owned(),
        uid: claim(1).uid.to_string(),
    }
}

pub fn namespace_target() -> Target {
    Target {
        api_version: "v1".to_owned(),
        kind: TargetKind::Namespace,
        namespace: None,
        name: "shop".to_owned(),
        uid: uid(0x05_0000),
    }
}

/// A request created at second 0, sealed if somebody asked.
pub fn request(name: &str, target: Target, requester: Option<&Author>) -> DeletionRequest {
    wishing(name, target, None, requester)
}

/// The same with a wish how its data is kept.
fn wishing(
    name: &str,
    target: Target,
    retention: Option<RetentionWish>,
    requester: Option<&Author>,
) -> DeletionRequest {
    let reason = "moved elsewhere".to_owned();
    let mut spec = DeletionRequestSpec {
        target,
        reason,
        ticket: None,
        backups: Vec::new(),
        retention,
        shutdown: None,
        requester: None,
    };
    if let Some(author) = requester {
        let seal = seal_requester(key(), CLUSTER, name, &spec, author, &time(0)).unwrap();
        spec.requester = Some(Requester { author: author.clone(), at: time(0), seal: Some(seal) });
    }
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(uid(0x0de1_0000 + u128::from(name.as_bytes().last().copied().unwrap_or_default()))),
        creation_timestamp: Some(time(0)),
        generation: Some(1),
        ..ObjectMeta::default()
    };
    DeletionRequest { metadata, spec, status: None }
}

/// A request as it was, that names these backups, too.
pub fn backed(request: &DeletionRequest, backups: Vec<NamedBackup>, requester: &Author) -> DeletionRequest {
    let mut spec = DeletionRequestSpec { backups, requester: None, ..request.spec.clone() };
    let name = request.metadata.name.as_deref().unwrap();
    let seal = seal_requester(key(), CLUSTER, name, &spec, requester, &time(0)).unwrap();
    spec.requester = Some(Requester { author: requester.clone(), at: time(0), seal: Some(seal) });
    DeletionRequest { metadata: request.metadata.clone(), spec, status: None }
}

pub fn subject_of(request: &DeletionRequest) -> Subject {
    Subject {
        kind: "DeletionRequest".to_owned(),
        namespace: None,
        name: request.metadata.name.clone().unwrap(),
        uid: request.metadata.uid.clone().unwrap(),
    }
}

/// A sign-off as stamp writes it, created at that second.
pub fn sign_off(
    name: &str,
    subject: Subject,
    says: Says,
    digest: Option<&str>,
    author: &Author,
    second: i64,
) -> SignOff {
    let mut spec = SignOffSpec {
        subject,
        says,
        digest: digest.map(str::to_owned),
        verified: Some("looked at the dashboards".to_owned()),
        comment: None,
        reference: None,
        author: Some(author.clone()),
        at: Some(time(second)),
        seal: None,
    };
    spec.seal = Some(seal_sign_off(key(), CLUSTER, name, &spec).unwrap());
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(uid(0x0500_0000 + u128::try_from(name.len()).unwrap())),
        creation_timestamp: Some(time(second)),
        ..ObjectMeta::default()
    };
    SignOff { metadata, spec }
}

/// The record behind the annotation on an object with this UID.
pub fn record(author: &Author, second: i64, object: &str, short_digest: &str) -> ApprovalRecord {
    let digest = short_digest.to_owned();
    let record = ApprovalRecord {
        author: author.clone(),
        at: MicroTime(time(second).0),
        uid: object.to_owned(),
        digest,
        seal: None,
    };
    record.sealed(key(), CLUSTER).unwrap()
}

/// Everything that one decision rests on.
#[derive(Clone)]
pub struct Scene {
    pub request: DeletionRequest,
    pub sign_offs: Vec<SignOff>,
    pub record: Option<ApprovalRecord>,
    pub policies: PolicySet,
    pub live: Inventory,
    pub target: Target,
    /// Usernames without any right.
    pub without_rights: Vec<String>,
    /// Nothing has ever used it, unless a test says otherwise.
    pub usage: Usage,
    /// Volumes that are there although the target is gone.
    pub outlived: Vec<Volume>,
    /// What else was found; the rights to supervise are put in as people have them.
    pub found: Found,
    /// Changes of which a review is owed.
    pub bills: Vec<String>,
    pub asked_elsewhere: bool,
    /// Of the namespace.
    pub labels: BTreeMap<String, String>,
    pub scaled_elsewhere: BTreeSet<Box<str>>,
    /// What could be scaled down, where foureyes does it.
    pub users: Option<Users>,
    /// What there is of the backups that the request names.
    pub backups: Vec<(NamedBackup, backup::Found)>,
}

impl Scene {
    /// The deletion of one claim with its volume.
    pub fn of_claim(requester: Option<&Author>) -> Self {
        Self::new(request("del-1", claim_target(), requester), inventory([1]))
    }

    /// The same asked for with a wish how its data is kept.
    pub fn wishing(self, wish: Option<RetentionWish>, requester: Option<&Author>) -> Self {
        Self { request: wishing("del-1", self.target.clone(), wish, requester), ..self }
    }

    /// The deletion of a namespace with three claims.
    pub fn of_namespace(requester: Option<&Author>) -> Self {
        Self::new(request("del-1", namespace_target(), requester), inventory([1, 2, 3]))
    }

    fn new(request: DeletionRequest, live: Inventory) -> Self {
        let target = request.spec.target.clone();
        let policies = policies_with_min(1);
        Self {
            request,
            sign_offs: Vec::new(),
            record: None,
            policies,
            live,
            target,
            without_rights: Vec::new(),
            usage: Usage { never_used: true, idle: Some(SignedDuration::ZERO), ..Usage::default() },
            outlived: Vec::new(),
            found: Found::default(),
            bills: Vec::new(),
            asked_elsewhere: false,
            labels: BTreeMap::new(),
            scaled_elsewhere: BTreeSet::new(),
            users: None,
            backups: Vec::new(),
        }
    }

    pub fn effective(&self) -> Effective {
        self.policies.effective(&BTreeMap::new()).unwrap()
    }

    /// What a sign-off has to name now: frozen, or as it would be taken.
    pub fn digest(&self) -> String {
        let status = self.request.status.as_ref();
        let frozen = status.and_then(|status| status.inventory.clone()).filter(|inventory| inventory.frozen);
        let inventory = frozen.map_or_else(|| self.live.digest().unwrap(), |inventory| inventory.digest);
        subject_digest(&request_digest(&self.request.spec).unwrap(), &inventory).unwrap()
    }

    /// Somebody says something at that second, about the current content.
    pub fn says(&mut self, author: &Author, says: Says, second: i64) {
        let digest = (says == Says::Approve).then(|| self.digest());
        let name = format!("so-{}-{second}", self.sign_offs.len());
        let made = sign_off(&name, subject_of(&self.request), says, digest.as_deref(), author, second);
        self.sign_offs.push(made);
    }

    pub fn approves(&mut self, author: &Author, second: i64) {
        self.says(author, Says::Approve, second);
    }

    /// Somebody annotates the target.
    pub fn annotates(&mut self, author: &Author, second: i64) {
        let inventory = self.live.digest().unwrap();
        self.record = Some(record(author, second, &self.target.uid, foureyes_core::digest::short(&inventory)));
    }

    /// Takes back what somebody said.
    pub fn withdraws(&mut self, author: &Author, says: Says) {
        self.sign_offs.retain(|made| made.spec.author.as_ref() != Some(author) || made.spec.says != says);
    }

    pub fn rights(&self) -> Rights {
        let mut rights = Rights::default();
        for (author, right) in rights_needed(&self.sign_offs, self.record.as_ref()) {
            let held = !self.without_rights.contains(&author.username);
            rights.record(&author, right, held);
        }
        rights
    }

    /// Who of those who have spoken may supervise.
    pub fn may_supervise(&self) -> Rights {
        let mut rights = Rights::default();
        for author in self.sign_offs.iter().filter_map(|said| said.spec.author.as_ref()) {
            let held = !self.without_rights.contains(&author.username);
            rights.record(author, Right::Supervise, held);
        }
        rights
    }

    /// What the controller would write.
    pub fn decided(&self, target: TargetState, second: i64) -> Plan {
        let live = if target == TargetState::Gone { Inventory::default() } else { self.live.clone() };
        let found = Found { rights: self.may_supervise(), ..self.found.clone() };
        let observed = Observed {
            request: &self.request,
            sign_offs: &self.sign_offs,
            record: self.record.as_ref(),
            ring: ring(),
            policies: &self.policies,
            effective: &self.effective(),
            rights: &self.rights(),
            target,
            labels: &self.labels,
            live: &live,
            usage: &self.usage,
            found: &found,
            bills: &self.bills,
            outlived: &self.outlived.iter().map(keeper).collect::<Vec<_>>(),
            asked_elsewhere: self.asked_elsewhere,
            scaled_elsewhere: &self.scaled_elsewhere,
            users: self.users.as_ref(),
            backups: &self.backups,
            born: Some(at(-DAY)),
        };
        decide(&observed, at(second)).unwrap()
    }

    /// The controller decides and writes.
    pub fn reconciled(&mut self, target: TargetState, second: i64) -> Plan {
        let plan = self.decided(target, second);
        self.request.status = Some(plan.status.clone());
        plan
    }

    pub fn confirmed(&self, executor: &Author, second: i64) -> Result<Proof, Refusal> {
        self.with_evidence(&self.rights(), |evidence| confirm(evidence, executor, at(second)))
    }

    /// How close its refusal comes.
    pub fn closeness(&self, executor: &Author, second: i64) -> Closeness {
        let refusal = self.confirmed(executor, second).unwrap_err();
        self.with_evidence(&self.rights(), |evidence| closeness(evidence, &refusal))
    }

    pub fn cascaded(&self, since: i64) -> Result<Proof, Refusal> {
        self.with_evidence(&Rights::latched(), |evidence| confirm_cascade(evidence, at(since)))
    }

    fn with_evidence<T>(&self, rights: &Rights, decide: impl FnOnce(&Evidence<'_>) -> T) -> T {
        let effective = self.effective();
        decide(&Evidence {
            target: &self.target,
            request: &self.request,
            sign_offs: &self.sign_offs,
            record: self.record.as_ref(),
            ring: ring(),
            policies: &self.policies,
            effective: &effective,
            rights,
            live: &self.live,
        })
    }

    /// How the statements add up as of now.
    pub fn judged(&self) -> Judgement {
        let effective = self.effective();
        let deadline = at(0).saturating_add(effective.approval_clock).unwrap();
        let inventory = self.live.digest().unwrap();
        foureyes_core::domain::judgement::judge(&foureyes_core::domain::judgement::Case {
            subject: self.request.subject(),
            created: self.request.created(),
            requester: prove_requester(ring(), &self.request).ok(),
            digest: &self.digest(),
            sign_offs: &self.sign_offs,
            record: self.record.as_ref().map(|record| foureyes_core::domain::judgement::Annotated {
                record,
                inventory: &inventory,
                seen: self.request.status.as_ref().and_then(|status| status.annotation.as_ref()),
            }),
            ring: ring(),
            identities: &self.policies.floor().identities,
            quorum: foureyes_core::domain::judgement::Quorum::of_deletion(
                &effective,
                self.request.spec.retention.as_ref(),
            ),
            rights: &self.rights(),
            approval_deadline: deadline,
            as_of: None,
        })
    }
}
