//! Proof that deletions and rollouts are judged (ring 3): compares the webhook configurations and the admission policies
//! with what was shipped, and asks for the deletion of a canary as a dry run, which has to be refused. What is found stands
//! in the status of the policy `default` and in a metric, within 10 s.

use std::time::Duration;

use foureyes_core::api::{ConditionReason, EnforcementStatus, WorkloadIdentity};
use foureyes_core::domain::policy::DEFAULT;
use foureyes_core::reason::Code;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::context::{CALL, Context, Shared};
use crate::cluster::admission_policies::AdmissionPolicies;
use crate::cluster::live::ReadError;
use crate::cluster::workloads::Object;
use crate::manifests::names::{self, GUARD, STAMP};
use crate::manifests::policies::effective as policies;
use crate::manifests::webhooks::effective::{self as webhooks, ANSWERED, Server};

/// Between two looks; with what a look takes itself, a gap is told within 10 s.
const PAUSE: Duration = Duration::from_secs(4);

/// All that was shipped.
struct Shipped {
    entries: Vec<webhooks::Shipped>,
    policies: Vec<policies::Shipped>,
}

/// What is otherwise than it was shipped.
type Gap = (ConditionReason, String);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// For each entry, and each policy.
    pub entries: Vec<EnforcementStatus>,
    /// Of the first that is not verified, or that all are.
    pub reason: Option<ConditionReason>,
}

impl Enforcement {
    fn add(&mut self, kind: &str, gap: Option<Gap>) {
        if let Some((why, _)) = &gap
            && self.is_verified()
        {
            self.reason = Some(*why);
        }
        let verified = gap.is_none();
        let message = gap.map(|(_, message)| message).unwrap_or_default();
        self.entries.push(EnforcementStatus { kind: kind.to_owned(), verified, message });
    }

    /// All of it is.
    pub fn is_verified(&self) -> bool {
        self.reason == Some(ConditionReason::Verified)
    }

    /// What is not, in one line.
    pub fn message(&self) -> String {
        let gaps: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| !entry.verified)
            .map(|entry| format!("{}: {}", entry.kind, entry.message))
            .take(5)
            .collect();
        if gaps.is_empty() {
            "every entry and policy is as it was shipped, and a canary is kept".to_owned()
        } else {
            gaps.join("; ")
        }
    }
}

/// Looks until shutdown.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let shipped = match webhooks::shipped() {
        Ok(entries) => Shipped { entries, policies: policies::shipped() },
        Err(error) => {
            tracing::error!(%error, "enforcement can't be verified");
            return;
        }
    };
    loop {
        let found = look(&context, &shipped).await;
        for entry in &found.entries {
            context.metrics.enforcement_verified(&entry.kind, entry.verified);
        }
        if **context.enforcement.load() != found {
            if found.is_verified() {
                tracing::info!("enforcement is verified");
            } else {
                tracing::error!(why = found.message(), "enforcement is not verified");
            }
            context.enforcement.store(found.into());
            context.queues.safety_policies.soon(DEFAULT.into());
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn look(context: &Shared, shipped: &Shipped) -> Enforcement {
    let (guard, stamp, canary, policies) = tokio::join!(
        configuration(context, "ValidatingWebhookConfiguration", GUARD),
        configuration(context, "MutatingWebhookConfiguration", STAMP),
        canary(context),
        context.live.admission_policies(),
    );
    let answering = guard.as_ref().ok().and_then(Option::as_ref).and_then(Server::answering);
    let mut found = Enforcement { entries: Vec::new(), reason: Some(ConditionReason::Verified) };
    for entry in &shipped.entries {
        let configuration = if entry.of_guard { &guard } else { &stamp };
        let gap = match configuration {
            Err(error) => Some((ConditionReason::Unknown, error.clone())),
            Ok(there) => entry
                .differs(there.as_ref(), answering.as_ref())
                .map(|what| otherwise(what, ConditionReason::WebhookMissing, ConditionReason::WebhookChanged)),
        };
        found.add(&entry.name, gap.or_else(|| canary.clone().err().filter(|_| entry.name == ANSWERED)));
    }
    for policy in &shipped.policies {
        found.add(&policy.name, of_policy(policy, &policies));
    }
    found
}

fn of_policy(policy: &policies::Shipped, there: &Result<AdmissionPolicies, ReadError>) -> Option<Gap> {
    match there {
        Err(error) => Some((ConditionReason::Unknown, error.to_string())),
        Ok(there) => policy
            .differs(&there.policies, &there.bindings)
            .map(|what| otherwise(what, ConditionReason::PolicyMissing, ConditionReason::PolicyChanged)),
    }
}

fn otherwise(what: String, missing: ConditionReason, changed: ConditionReason) -> Gap {
    (if what.ends_with("not there") { missing } else { changed }, what)
}

async fn configuration(context: &Shared, kind: &str, name: &str) -> Result<Option<Value>, String> {
    let identity = WorkloadIdentity {
        group: "admissionregistration.k8s.io".to_owned(),
        kind: kind.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    match context.live.object(&identity, "v1").await {
        Ok(Object::Is(object)) => Ok(Some(object)),
        Ok(Object::Gone) => Ok(None),
        Ok(Object::Unreadable) => Err("its webhook configuration can't be read".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks for what must be refused.
async fn canary(context: &Shared) -> Result<(), Gap> {
    let answer = context.live.would_delete_claim(&context.namespace, names::CANARY, CALL).await;
    let Err(error) = answer else {
        let why = "the deletion of a canary would be allowed: nothing is refused (is the policy Warn or Off?)";
        return Err((ConditionReason::NotEnforcing, why.to_owned()));
    };
    let text = error.to_string();
    if text.contains(Code::CanaryKept.as_str()) {
        return Ok(());
    }
    // What the API server says about a webhook that does not answer is long.
    let brief: String = text.chars().take(200).collect();
    Err((ConditionReason::WebhookUnreachable, format!("the deletion of a canary was not judged: {brief}")))
}
