//! The first start: creates the policy `default` once, as the install ConfigMap says, and notes that it did. From then
//! on foureyes enforces, and this never happens again, whatever becomes of `default`. An installation that began by
//! observing becomes an enforcing one when `config/default` is applied over it; never the other way round.

use std::collections::BTreeMap;
use std::time::Duration;

use foureyes_core::api::{Enforcement, Mode, SafetyPolicy, SafetyPolicySpec};
use foureyes_core::domain::policy::DEFAULT;
use foureyes_core::domain::statement::stated;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::context::{CALL, Context, Shared};
use crate::cluster::client::CallError;
use crate::cluster::live::ReadError;
use crate::cluster::{apply, config_maps};
use crate::server::readiness::Condition;

/// ConfigMap that says how this installation starts.
const INSTALL: &str = "foureyes-install";
/// Its data key, and that of the note of what was begun with: `enforce` or `observe`.
const MODE: &str = "mode";
const ENFORCE: &str = "enforce";
const OBSERVE: &str = "observe";
/// What refuses once observing is over; removals go on being warned about.
const ENFORCED: [&str; 3] = ["deletions", "rollouts", "creations"];
/// ConfigMap that notes what was begun.
const STATE: &str = "foureyes-state";
/// Its data key: when enforcement began, RFC 3339.
const STARTED: &str = "started";
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks whether an observing installation has become an enforcing one.
const LOOK: Duration = Duration::from_secs(10);

/// What the first start waits for.
#[derive(Debug, thiserror::Error)]
enum Waiting {
    #[error("ConfigMap {0}, which is part of the shipped manifests")]
    ConfigMap(&'static str),
    #[error("ConfigMap {INSTALL} to say {MODE}: enforce or {MODE}: observe (it says {0:?})")]
    Mode(String),
    /// The policy is created through the webhook, which has to be there first.
    #[error("the webhook to accept the policy {DEFAULT}: {0}")]
    Policy(CallError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Tries until it is done, or was done before.
pub async fn run(context: Context, condition: Condition, shutdown: CancellationToken) {
    let mut said = String::new();
    while let Err(waiting) = first_start(&context).await {
        let text = waiting.to_string();
        if said != text {
            tracing::info!("the first start waits for {text}");
            condition.missing(format!("waits for {text}"));
            said = text;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.cancelled() => return,
        }
    }
    context.set_started();
    condition.met();
    loop {
        match enforce(&context).await {
            Ok(Observing::Over) => return,
            Ok(Observing::GoesOn) => {}
            Err(waiting) => tracing::info!("observing goes on, waiting for {waiting}"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

enum Observing {
    GoesOn,
    Over,
}

/// Turns the Warn that this controller wrote at the first start into Deny, once the install mode says enforce. A
/// policy that somebody has changed since is theirs.
async fn enforce(context: &Shared) -> Result<Observing, Waiting> {
    let client = context.live.client();
    let read = async |name| config_maps::get(client, &context.namespace, name).await?.ok_or(Waiting::ConfigMap(name));
    let state = read(STATE).await?;
    if value(&state, MODE) != Some(OBSERVE) {
        return Ok(Observing::Over);
    }
    if mode(&read(INSTALL).await?)? == Mode::Warn {
        return Ok(Observing::GoesOn);
    }
    let policy = context.live.policy(DEFAULT).await?;
    let enforcement = policy.as_ref().and_then(|policy| policy.pointer("/spec/enforcement"));
    let warns = |field: &&str| enforcement.and_then(|modes| modes.get(*field)) == Some(&json!(Mode::Warn));
    let denied: BTreeMap<&str, Mode> = ENFORCED.into_iter().filter(warns).map(|field| (field, Mode::Deny)).collect();
    if !denied.is_empty() {
        let api: Api<SafetyPolicy> = Api::all(client.clone());
        let deny = json!({"spec": {"enforcement": denied}});
        apply::merge(&api, DEFAULT, &deny, CALL).await.map_err(Waiting::Policy)?;
        tracing::info!("observing is over: the policy default refuses from now on");
    }
    let noted = BTreeMap::from([(MODE, ENFORCE.to_owned())]);
    config_maps::update(client, &context.namespace, STATE, &state, &noted).await?;
    Ok(Observing::Over)
}

/// May be broken off and repeated anywhere.
async fn first_start(context: &Shared) -> Result<(), Waiting> {
    let client = context.live.client();
    let read = async |name| config_maps::get(client, &context.namespace, name).await?.ok_or(Waiting::ConfigMap(name));
    let state = read(STATE).await?;
    if value(&state, STARTED).is_some() {
        return Ok(());
    }
    let mode = mode(&read(INSTALL).await?)?;
    // Whoever has written one already has said more than the install mode does.
    let ours = context.live.policy(DEFAULT).await?.is_none();
    if ours {
        let api: Api<SafetyPolicy> = Api::all(client.clone());
        let created = apply::create(&api, &default_policy(mode), CALL).await.map_err(Waiting::Policy)?;
        tracing::info!(created, ?mode, "the policy default is there");
    }
    let begun = if ours && mode == Mode::Warn { OBSERVE } else { ENFORCE };
    let now = stated(context.clock.now()).0.to_string();
    let noted = BTreeMap::from([(STARTED, now), (MODE, begun.to_owned())]);
    config_maps::update(client, &context.namespace, STATE, &state, &noted).await?;
    tracing::info!("the first start is over");
    Ok(())
}

fn value<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a str> {
    map.data.as_ref()?.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn mode(install: &ConfigMap) -> Result<Mode, Waiting> {
    match value(install, MODE) {
        Some(ENFORCE) => Ok(Mode::Deny),
        Some(OBSERVE) => Ok(Mode::Warn),
        other => Err(Waiting::Mode(other.unwrap_or_default().to_owned())),
    }
}

fn default_policy(mode: Mode) -> SafetyPolicy {
    let mode = Some(mode);
    // Removals of what runs are only warned about unless somebody asks for more.
    let enforcement = Enforcement { deletions: mode, rollouts: mode, creations: mode, removals: Some(Mode::Warn) };
    SafetyPolicy::new(DEFAULT, SafetyPolicySpec { enforcement: Some(enforcement), ..SafetyPolicySpec::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_two_modes_start_an_installation() {
        let map = |mode: &str| serde_json::from_value(json!({"data": {"mode": mode}})).unwrap();
        assert_eq!(mode(&map("enforce")).unwrap(), Mode::Deny);
        assert_eq!(mode(&map("observe\n")).unwrap(), Mode::Warn);
        assert!(mode(&map("Enforce")).is_err());
        assert!(mode(&ConfigMap::default()).unwrap_err().to_string().contains("foureyes-install"));
    }
}
