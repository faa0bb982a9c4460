//! Brings a kept volume back, step by step: reserve it for the claim that it was, create that claim, wait until the two are
//! bound. Each step looks at what is there first, so that a second run does what is left.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ObjectMeta, Status};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, call};
use crate::error::{Error, Result};
use crate::kept::{Kept, Standing};
use crate::output::{self, plain};
use crate::revived::Origin;

const MANAGER: &str = "kubectl-foureyes";
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How the API server says that a test of a patch failed.
const TEST_FAILED: &str = "the server rejected our request due to an error in our request";
/// How often a volume is reserved anew because it has changed meanwhile.
const TRIES: usize = 5;
/// Between two lines that say what is waited for.
const PROGRESS: Duration = Duration::from_secs(5);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub dry_run: bool,
    /// How long to wait for others: for a claim to go, and for one to be bound.
    pub patience: Duration,
}

/// What became of one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Bound again.
    Back,
    /// It was bound already.
    There,
    /// It would be: the server has tried the claim, too, or could not before its namespace is there.
    Would { tried: bool },
}

/// What became of one volume, and how its claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub outcome: Outcome,
    /// Why labels and annotations are not known, where they are not.
    pub unknown: Option<&'static str>,
}

/// Whether there is a namespace for the claims, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    There,
    Created,
    /// Only in a dry run.
    ToCome,
}

/// Makes sure of the namespace; one that is gone is created again if `labels` are given.
pub async fn room(cluster: &Cluster, name: &str, labels: Option<&BTreeMap<String, String>>, way: Way) -> Result<Room> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let what = format!("namespace {name} could not be read");
    let mut waiting = Waiting::new(way);
    let labels = loop {
        match call(&what, api.get_opt(name)).await? {
            Some(there) if there.metadata.deletion_timestamp.is_none() => return Ok(Room::There),
            Some(_) if waiting.goes_on(&format!("Waiting until namespace {name} is gone …")).await => {}
            Some(_) => {
                return Err(Error::Refused(format!(
                    "namespace {name} is still being deleted: nothing was changed. See what holds it with `kubectl get namespace {name} -o yaml`, and run this again once it is gone"
                )));
            }
            None => match labels {
                Some(labels) => break labels.clone(),
                None => {
                    return Err(Error::Refused(format!(
                        "namespace {name} is gone: nothing was changed. Bring it back with all that was kept of it, or create it as it was and run this again:\n  kubectl foureyes undo ns/{name}"
                    )));
                }
            },
        }
    };
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let what = format!("namespace {name} could not be created");
    created(&api, &what, &namespace, way.dry_run).await?;
    Ok(if way.dry_run { Room::ToCome } else { Room::Created })
}

/// Brings one volume back.
pub async fn bring_back(cluster: &Cluster, mut kept: Kept, room: Room, way: Way) -> Result<Done> {
    let (claim, origin) = kept.claim()?;
    let done = |outcome| Done {
        outcome,
        unknown: match origin {
            Origin::Recorded => None,
            Origin::Volume(why) => Some(why),
        },
    };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &kept.place.namespace);
    let mut waiting = Waiting::new(way);
    let is_there = loop {
        let there = read(&claims, &kept).await?;
        match against(there.as_ref(), &kept)? {
            Found::Bound => return Ok(Done { outcome: Outcome::There, unknown: None }),
            Found::Unbound => break true,
            Found::Nothing => break false,
            Found::Going => {}
        }
        if !waiting.goes_on(&format!("Waiting until the old {} is gone …", kept.place.text())).await {
            return Err(going(&kept));
        }
        kept = again(cluster, &kept).await?;
    };
    if let Some(why) = &kept.elsewhere {
        return Err(Error::Refused(format!(
            "{} does not come back: {why}. Nothing was changed; see both with `kubectl get pv`, and run this again when only one is left",
            kept.place.text()
        )));
    }
    reserve(cluster, &mut kept, way).await?;
    let what = format!("{} could not be created", kept.place.text());
    if way.dry_run {
        let tried = room == Room::There && !is_there;
        if tried {
            created(&claims, &what, &claim, true).await?;
        }
        return Ok(done(Outcome::Would { tried: tried || is_there }));
    }
    if !is_there {
        created(&claims, &what, &claim, false).await?;
    }
    bound(&claims, &kept, way).await?;
    Ok(done(Outcome::Back))
}

/// The claim of the volume's name, as it is in the way or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// It, or what the binder knows of it, is still going.
    Going,
    /// It names the volume, and is not bound to it yet.
    Unbound,
    Bound,
}

fn against(claim: Option<&PersistentVolumeClaim>, kept: &Kept) -> Result<Found> {
    let Some(claim) = claim else {
        let is_noticed = !matches!(kept.standing, Standing::Bound(_));
        return Ok(if is_noticed { Found::Nothing } else { Found::Going });
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Ok(Found::Going);
    }
    let volume = volume_of(claim);
    if volume != Some(kept.name.as_str()) {
        return Err(taken(volume, kept, ": nothing was changed"));
    }
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let is_bound = is_bound(claim) && kept.standing == Standing::Bound(uid);
    Ok(if is_bound { Found::Bound } else { Found::Unbound })
}

fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    phase(claim) == "Bound"
}

fn taken(volume: Option<&str>, kept: &Kept, so: &str) -> Error {
    let (text, place) = (kept.place.text(), &kept.place);
    let bound = match volume {
        Some(other) => format!("is bound to volume {}, not to {}", plain(other), kept.name),
        None => format!("waits for a volume that is not {}", kept.name),
    };
    Error::Refused(format!(
        "{text} is there already, and {bound}{so}. Look at it with `kubectl -n {} get pvc {}`; if it can go, it makes room by:\n  kubectl foureyes delete pvc/{} -n {} --reason 'it stands in the way of {}'",
        place.namespace, place.name, place.name, place.namespace, kept.name
    ))
}

fn going(kept: &Kept) -> Error {
    let place = &kept.place;
    Error::Refused(format!(
        "{} is still being deleted: nothing was changed. What holds it is in `kubectl -n {} describe pvc {}`; run this again once it is gone",
        place.text(),
        place.namespace,
        place.name
    ))
}

async fn read(claims: &Api<PersistentVolumeClaim>, kept: &Kept) -> Result<Option<PersistentVolumeClaim>> {
    call(&format!("{} could not be read", kept.place.text()), claims.get_opt(&kept.place.name)).await
}

/// The same volume as it is now.
async fn again(cluster: &Cluster, kept: &Kept) -> Result<Kept> {
    let api: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let read = call(&format!("volume {} could not be read", kept.name), api.get_opt(&kept.name)).await?;
    let same = |read: &Kept| read.uid == kept.uid && read.place == kept.place && read.is_usable();
    let read = read.and_then(Kept::of).filter(same).map(|read| Kept { elsewhere: kept.elsewhere.clone(), ..read });
    read.ok_or_else(|| {
        Error::Refused(format!(
            "volume {0} is not kept for {1} any more: see `kubectl get pv {0} -o yaml`",
            kept.name,
            kept.place.text()
        ))
    })
}

/// Reserves the volume for its claim. Somebody who writes to it meanwhile, such as the binder, is no reason to give up.
async fn reserve(cluster: &Cluster, kept: &mut Kept, way: Way) -> Result<()> {
    for _ in 0..TRIES {
        match reserved(cluster, kept, way).await? {
            None => return Ok(()),
            Some(changed) => {
                output::say(&format!("Volume {} was written to meanwhile, and is read again ({changed}) …", kept.name));
                sleep(LOOK_AGAIN).await;
                *kept = again(cluster, kept).await?;
            }
        }
    }
    Err(Error::Other(format!("volume {} changes all the time: run this again", kept.name)))
}

/// One try; what has changed, if it was not as it was read.
async fn reserved(cluster: &Cluster, kept: &Kept, way: Way) -> Result<Option<String>> {
    let Some(reservation) = kept.reservation() else { return Ok(None) };
    let patch: json_patch::Patch =
        serde_json::from_value(reservation).map_err(|error| Error::unreadable("the reservation", error))?;
    let api: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let params =
        PatchParams { dry_run: way.dry_run, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let what = format!("volume {} could not be reserved for {}", kept.name, kept.place.text());
    let patch = Patch::Json::<()>(patch);
    let patched = async {
        match api.patch(&kept.name, &params, &patch).await {
            // One of its tests failed, or somebody wrote in the same moment.
            Err(kube::Error::Api(status)) if has_changed(&status) => Ok(Some(plain(&status.message))),
            other => other.map(|_| None),
        }
    };
    call(&what, patched).await
}

/// A test of the patch failed, or another write came between. A no of anybody else has other words.
fn has_changed(status: &Status) -> bool {
    status.code == 409 || status.code == 422 && status.message.contains(TEST_FAILED)
}

/// Creates it, unless somebody was faster.
async fn created<K>(api: &Api<K>, what: &str, object: &K, dry_run: bool) -> Result<()>
where
    K: Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
    let create = async {
        match api.create(&params, object).await {
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => Ok(()),
            other => other.map(|_| ()),
        }
    };
    call(what, create).await
}

/// Waits until the claim is bound to this very volume.
async fn bound(claims: &Api<PersistentVolumeClaim>, kept: &Kept, way: Way) -> Result<()> {
    let (text, place) = (kept.place.text(), &kept.place);
    let mut waiting = Waiting::new(way);
    loop {
        let claim = read(claims, kept).await?;
        let claim = claim.ok_or_else(|| {
            Error::Refused(format!("{text} is gone again: somebody has deleted it; run this again to bring it back"))
        })?;
        match volume_of(&claim) {
            Some(volume) if volume == kept.name && is_bound(&claim) => return Ok(()),
            Some(other) if other != kept.name => return Err(taken(Some(other), kept, "")),
            _ => {}
        }
        let phase = phase(&claim);
        if !waiting.goes_on(&format!("Waiting until {text} is bound to {} (now {phase}) …", kept.name)).await {
            return Err(Error::Other(format!(
                "{text} is there and volume {} is reserved for it, but it is {phase} after {:?}: see why with `kubectl -n {} describe pvc {}`, and run this again to go on waiting",
                kept.name, way.patience, place.namespace, place.name
            )));
        }
    }
}

/// Waits in steps, and says now and then for what.
struct Waiting {
    begun: Instant,
    patience: Duration,
    said: Duration,
}

impl Waiting {
    fn new(way: Way) -> Self {
        // A dry run waits for nothing.
        let patience = if way.dry_run { Duration::ZERO } else { way.patience };
        Self { begun: Instant::now(), patience, said: LOOK_AGAIN }
    }

    /// Waits a little; `false` once it was long enough.
    async fn goes_on(&mut self, what: &str) -> bool {
        let waited = self.begun.elapsed();
        if waited >= self.patience {
            return false;
        }
        if waited >= self.said {
            output::say(what);
            self.said = waited + PROGRESS;
        }
        sleep(LOOK_AGAIN.min(self.patience.saturating_sub(waited))).await;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::tests::volume;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn kept(standing: &Standing) -> Kept {
        let extra = match standing {
            Standing::Released(uid) => json!({"spec": {"claimRef": {"uid": uid}}}),
            Standing::Reserved => json!({"spec": {"claimRef": {"uid": null}}}),
            Standing::Bound(uid) => json!({"spec": {"claimRef": {"uid": uid}}, "status": {"phase": "Bound"}}),
        };
        Kept::of(volume(&extra)).unwrap()
    }

    fn claim(extra: &Value) -> PersistentVolumeClaim {
        let mut claim = json!({"metadata": {"name": "reports", "namespace": "shop", "uid": "c-2"},
            "spec": {"volumeName": "pvc-1"}, "status": {"phase": "Bound"}});
        json_patch::merge(&mut claim, extra);
        serde_json::from_value(claim).unwrap()
    }

    #[rstest]
    #[case(json!({}), Standing::Bound("c-2".into()), Found::Bound)]
    #[case(json!({}), Standing::Bound("c-1".into()), Found::Unbound)]
    #[case(json!({"status": {"phase": "Pending"}}), Standing::Reserved, Found::Unbound)]
    #[case(json!({}), Standing::Reserved, Found::Unbound)]
    #[case(json!({"metadata": {"deletionTimestamp": "2026-11-20T10:00:00Z"}}), Standing::Released("c-2".into()), Found::Going)]
    fn a_claim_of_that_name_is_finished_or_waited_for(
        #[case] extra: Value,
        #[case] standing: Standing,
        #[case] found: Found,
    ) {
        assert_eq!(against(Some(&claim(&extra)), &kept(&standing)).unwrap(), found);
    }

    #[rstest]
    #[case(Standing::Released("c-1".into()), Found::Nothing)]
    #[case(Standing::Reserved, Found::Nothing)]
    #[case(Standing::Bound("c-1".into()), Found::Going)]
    fn without_a_claim_the_binder_has_to_have_noticed(#[case] standing: Standing, #[case] found: Found) {
        assert_eq!(against(None, &kept(&standing)).unwrap(), found);
    }

    #[rstest]
    #[case(json!({"spec": {"volumeName": "pvc-9"}}), "is bound to volume pvc-9, not to pvc-1")]
    #[case(json!({"spec": {"volumeName": null}, "status": {"phase": "Pending"}}), "waits for a volume that is not pvc-1")]
    fn a_claim_with_other_data_is_in_the_way(#[case] extra: Value, #[case] words: &str) {
        let error = against(Some(&claim(&extra)), &kept(&Standing::Released("c-1".into()))).unwrap_err();
        let said = error.to_string();
        assert!(error.exit_code() == 1 && said.contains(words) && said.contains("nothing was changed"), "{said}");
        // One that is on its way out makes room by itself.
        let mut going = extra;
        json_patch::merge(&mut going, &json!({"metadata": {"deletionTimestamp": "2026-11-20T10:00:00Z"}}));
        assert_eq!(against(Some(&claim(&going)), &kept(&Standing::Released("c-1".into()))).unwrap(), Found::Going);
    }

    #[rstest]
    #[case(409, "the object has been modified", true)]
    #[case(422, "the server rejected our request due to an error in our request", true)]
    #[case(422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", false)]
    #[case(500, "boom", false)]
    fn a_volume_that_has_changed_is_read_again(#[case] code: u16, #[case] message: &str, #[case] again: bool) {
        assert_eq!(has_changed(&Status { code, message: message.into(), ..Status::default() }), again);
    }
}
