//! `SafetyPolicies`: a write that loosens any namespace's protection needs an approved change (bypass 12).

use std::collections::BTreeSet;

use foureyes_core::api::{API_VERSION, GROUP, is_name};
use foureyes_core::domain::catalogue;
use foureyes_core::domain::policy::PolicySet;
use foureyes_core::domain::refusal::Refusal;
use foureyes_core::domain::rollout::location::is_asked_about;
use foureyes_core::domain::scope::{own_metadata, policy_written};
use foureyes_core::index::policy_entry;
use foureyes_core::reason::Code;
use serde_json::Value;

use super::Scene;
use super::opened::{Kind, opened};
use crate::admission::input;
use crate::admission::review::Operation;
use crate::admission::verdict::{Allowed, Verdict};

/// A client that is told more reads none.
const MOST_WARNINGS: usize = 4;
const POLICY: Kind = Kind { group: GROUP, api_version: API_VERSION, name: "SafetyPolicy" };

pub async fn written(scene: &Scene<'_>) -> Verdict {
    let request = scene.request;
    let deleted = request.operation == Operation::Delete;
    let object = if deleted { input::old(request)? } else { input::new(request)? };
    let name = input::name(object)?;
    let new = if deleted { None } else { Some(policy_entry(&input::policy(object)?)) };
    let new = new.transpose().map_err(|policy| {
        Refusal::new(Code::PolicyInvalid, format!("SafetyPolicy {name} was not written: {}", policy.why))
            .next("See what each field takes with:", "kubectl explain safetypolicy.spec --recursive")
    })?;
    if let (Some(old), Some(new)) = (&request.old_object, &request.object) {
        own_metadata("SafetyPolicy", name, &input::own_metadata(&old.metadata), &input::own_metadata(&new.metadata))?;
    }
    let before = before(scene, name)?;
    let first_start = scene.is_controller() && !scene.index.is_started() && request.operation == Operation::Create;
    let proof = match policy_written(&before, name, new, scene.namespaces(), first_start) {
        Ok(proof) => proof,
        // Whoever signs it off is judged by the policies as they were.
        Err(refusal) => {
            let effective = scene.effective_here(&before)?;
            opened(scene, POLICY, name, &before, &effective, refusal).await?
        }
    };
    let warnings = if deleted { Vec::new() } else { unasked(&input::policy(object)?) };
    Ok(Allowed { proof, warnings })
}

/// A policy alone does not make the API server ask: without a rule for its group a kind is guarded by nothing.
fn unasked(policy: &Value) -> Vec<String> {
    let resources = policy.pointer("/spec/rolloutResources").and_then(Value::as_array).into_iter().flatten();
    let groups: BTreeSet<&str> = resources.filter_map(|resource| resource.get("group")?.as_str()).collect();
    let asked = |group: &&str| is_asked_about(group);
    let kinds = policy.pointer("/spec/deletion/additionalKinds").and_then(Value::as_array).into_iter().flatten();
    let of_kinds: BTreeSet<&str> = kinds.filter_map(|kind| kind.get("group")?.as_str()).collect();
    let foreign = of_kinds.into_iter().filter(|group| !catalogue::is_asked_about(group) && is_name(group));
    let unguarded = foreign.take(MOST_WARNINGS).map(|group| {
        format!("deletion.additionalKinds: nobody asks foureyes about {group} unless foureyes-guard has a webhook for that group; see docs/policies.md#additionalkinds")
    });
    let plain = groups.into_iter().filter(|group| !asked(group) && is_name(group)).take(MOST_WARNINGS);
    plain
        .map(|group| {
            format!("rolloutResources: nobody asks foureyes about {group} unless foureyes-guard has a webhook for that group; see docs/policies.md#rolloutresources")
        })
        .chain(unguarded)
        .collect()
}

/// The set as it was, with this policy as the API server had it and not as the index may still have it.
fn before(scene: &Scene<'_>, name: &str) -> Result<PolicySet, Refusal> {
    let set = scene.index.policies();
    match &scene.request.old_object {
        Some(old) => Ok(match policy_entry(&input::policy(old)?) {
            Ok(policy) => set.with(name, Some(policy)),
            Err(unreadable) => set.with_undecodable(unreadable),
        }),
        None => Ok(set.with(name, None)),
    }
}
