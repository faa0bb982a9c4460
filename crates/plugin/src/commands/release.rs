//! `release`: leaves, in the order in which nothing is refused for ever (fact 26).

use std::time::{Duration, Instant};

use clap::Args;
use foureyes_core::api::{Action, BackupRetention, CONFIGURATIONS, ChangeRequest, RELEASED, RetentionPhase};
use foureyes_core::domain::ready;
use foureyes_core::domain::request::{Request as _, Stage};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::Value;
use tokio::time::sleep;

use crate::cluster::{Cluster, call};
use crate::commands::delete::duration;
use crate::error::{Error, NEGATIVE, Result};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  # Ask for it, wait until somebody else has signed it off, and see what is next
  kubectl foureyes release

  # May the namespace of foureyes be deleted now? For scripts: exit code 0 only if so
  kubectl foureyes release --check

Deletes nothing. The webhook configurations refuse whatever they can't ask about: they go first,
then the admission policies, then the rest.";

const REGISTRATION: &str = "admissionregistration.k8s.io";
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How the manifests mark what is foureyes'.
const OURS: &str = "app.kubernetes.io/name=foureyes";
/// Held data that is named one by one.
const NAMED: usize = 20;

/// `kubectl foureyes release`
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Release {
    /// Only say whether the namespace of foureyes may be deleted, and what would be held by nobody then
    #[arg(long, conflicts_with_all = ["yes", "timeout"])]
    pub check: bool,
    /// Ask for it without asking you first
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait for the sign-off
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}

/// A webhook configuration that is there.
struct Configuration {
    kind: &'static str,
    name: &'static str,
    object: DynamicObject,
}

impl Configuration {
    /// An approved change lets it go.
    fn is_released(&self) -> bool {
        let marker = self.object.annotations().get(RELEASED);
        marker.is_some() && marker == self.object.meta().uid.as_ref()
    }

    /// It refuses nothing when nobody answers.
    fn fails_open(&self) -> bool {
        let entries = self.object.data["webhooks"].as_array();
        entries.is_none_or(|entries| entries.iter().all(|entry| entry["failurePolicy"] == "Ignore"))
    }

    fn text(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}

pub async fn run(cluster: &Cluster, format: Format, args: &Release) -> Result<u8> {
    let there = configurations(cluster).await?;
    if args.check {
        return check(cluster, &there).await;
    }
    if !there.iter().all(|it| it.is_released() || it.fails_open()) {
        let change = match asked(cluster, &there).await? {
            Some(change) => change,
            None => ask(cluster, format, &there, args.yes).await?,
        };
        released(cluster, &change, args.timeout).await?;
    }
    output::say(&next(&there));
    Ok(0)
}

async fn configurations(cluster: &Cluster) -> Result<Vec<Configuration>> {
    let mut there = Vec::new();
    for (kind, name) in CONFIGURATIONS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(REGISTRATION, "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
        let what = format!("{kind} {name} could not be read");
        there.extend(call(&what, api.get_opt(name)).await?.map(|object| Configuration { kind, name, object }));
    }
    Ok(there)
}

/// An open change that lets all of these go.
async fn asked(cluster: &Cluster, there: &[Configuration]) -> Result<Option<ChangeRequest>> {
    let changes: Vec<ChangeRequest> = cluster.all(Some(&cluster.own_namespace)).await?;
    Ok(changes.into_iter().find(|change| {
        let lets_go = |it: &Configuration| {
            change
                .spec
                .targets
                .iter()
                .any(|target| target.action == Action::Remove && target.kind == it.kind && target.name == it.name)
        };
        there.iter().all(lets_go) && matches!(change.stage(), Stage::Open)
    }))
}

async fn ask(cluster: &Cluster, format: Format, there: &[Configuration], yes: bool) -> Result<ChangeRequest> {
    let names: Vec<_> = there.iter().map(|it| (it.kind, it.name)).collect();
    let change = ready::release_change(&cluster.own_namespace, &names);
    let change: ChangeRequest =
        serde_json::from_value(change).map_err(|error| Error::unreadable("the change", error))?;
    if !yes && !output::confirmed("Ask for foureyes to let go of this cluster? Afterwards nothing is protected.")? {
        return Err(Error::Refused("the release was not asked for: you did not say yes".to_owned()));
    }
    let api: Api<ChangeRequest> = Api::namespaced(cluster.client.clone(), &cluster.own_namespace);
    let created = cluster.create(&api, "the change could not be asked for", &change, false).await?;
    let name = created.name_any();
    output::print_object(format, &created, &format!("changerequest.foureyes.dev/{name}"), "created")?;
    Ok(created)
}

/// Waits until both may go.
async fn released(cluster: &Cluster, change: &ChangeRequest, patience: Duration) -> Result<()> {
    let (name, own) = (change.name_any(), &cluster.own_namespace);
    let approve = format!("kubectl foureyes approve -n {own} chg/{name}");
    output::say(&format!("Waiting until somebody else has signed it off with `{approve}` …"));
    let begun = Instant::now();
    let api: Api<ChangeRequest> = Api::namespaced(cluster.client.clone(), own);
    loop {
        if configurations(cluster).await?.iter().all(|it| it.is_released() || it.fails_open()) {
            return Ok(());
        }
        let now = call(&format!("chg/{name} could not be read again"), api.get_opt(&name)).await?;
        let ended = now.as_ref().is_none_or(|now| matches!(now.stage(), Stage::Ended { .. }));
        if ended {
            return Err(Error::Refused(format!("chg/{name} has ended, and lets nothing go")));
        }
        if begun.elapsed() >= patience {
            return Err(Error::Refused(format!(
                "nobody has signed chg/{name} off within {patience:?}: it stays asked for; run this again later"
            )));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What is left to do, in its order.
fn next(there: &[Configuration]) -> String {
    let names: Vec<_> = there.iter().map(Configuration::text).collect();
    let first = if names.is_empty() {
        "No webhook configuration asks foureyes any more.".to_owned()
    } else {
        format!("They may go now, and nothing is protected from then on:\n  kubectl delete {}", names.join(" "))
    };
    format!(
        "{first}\nThen the admission policies, which refuse deletions while the webhooks are gone:\n  {}\nThen see whether the rest may go:\n  kubectl foureyes release --check",
        delete_policies()
    )
}

fn delete_policies() -> String {
    format!("kubectl delete validatingadmissionpolicybindings,validatingadmissionpolicies -l {OURS}")
}

/// Whether anything would be refused for ever once foureyes is gone, and what would be held by nobody.
async fn check(cluster: &Cluster, there: &[Configuration]) -> Result<u8> {
    let mut wrong = Vec::new();
    for it in there.iter().filter(|it| !it.fails_open()) {
        let how = if it.is_released() {
            format!("kubectl delete {}", it.text())
        } else {
            "kubectl foureyes release".to_owned()
        };
        wrong.push(format!("{} refuses what it can't ask foureyes about: {how}", it.text()));
    }
    let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    let bindings =
        call("the admission policies could not be listed", api.list(&ListParams::default().labels(OURS))).await?;
    if !bindings.items.is_empty() {
        let count = bindings.items.len();
        wrong.push(format!("{count} admission policies of foureyes still refuse: {}", delete_policies()));
    }
    let held = held(cluster).await?;
    if !held.is_empty() {
        let more = held.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
        let named = held.iter().take(NAMED).cloned().collect::<Vec<_>>().join("\n  ");
        output::print(&format!("Would be held by nobody any more:\n  {named}{more}\n"))?;
    }
    if wrong.is_empty() {
        output::say(&format!("The namespace {} may be deleted.", cluster.own_namespace));
        return Ok(0);
    }
    for line in &wrong {
        output::say(line);
    }
    output::say(&format!("Do not delete the namespace {} yet.", cluster.own_namespace));
    Ok(NEGATIVE)
}

/// The retentions that still hold something, with their keepers.
async fn held(cluster: &Cluster) -> Result<Vec<String>> {
    let resource = ApiResource::erase::<BackupRetention>(&());
    let all = cluster.installed(&resource, None).await?.unwrap_or_default();
    let mut held = Vec::new();
    for object in all {
        let name = object.name_any();
        let read = serde_json::to_value(object).and_then(serde_json::from_value::<BackupRetention>);
        let Ok(retention) = read else {
            held.push(format!("{name}, which can't be read"));
            continue;
        };
        let status = retention.status.unwrap_or_default();
        if matches!(status.phase, Some(RetentionPhase::Purged | RetentionPhase::ReleaseApproved)) {
            continue;
        }
        let until = status.retain_until.map(|time| format!(", until {}", output::time(time.0))).unwrap_or_default();
        let keepers: Vec<_> =
            retention.spec.keepers.iter().map(|it| format!("{} {}", word(&it.kind), it.name)).collect();
        held.push(format!("{}: {}{until}", output::plain(&name), output::plain(&keepers.join(", "))));
    }
    Ok(held)
}

/// A word of the vocabulary as it stands in the object.
fn word(kind: &impl serde::Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
