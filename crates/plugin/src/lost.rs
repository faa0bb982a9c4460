//! What went, and which volumes were kept of it.

use std::collections::{BTreeMap, BTreeSet};

use foureyes_core::api::{DeletionRequest, Phase, TargetKind, is_name};
use foureyes_core::domain::inventory::prove_items;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;

use crate::cluster::{Cluster, call};
use crate::commands::undo::Lost;
use crate::elsewhere::Elsewhere;
use crate::error::{Error, Result};
use crate::kept::{Kept, Place, chosen, newest};
use crate::output::plain;
use crate::revived::noted;

/// A namespace that went, and is created again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anew {
    pub name: String,
    /// Those that it had, as far as they are known.
    pub labels: BTreeMap<String, String>,
}

/// What can come back, and what of it can't.
#[derive(Debug, Default)]
pub struct Found {
    pub volumes: Vec<Kept>,
    /// One line each.
    pub gone: Vec<String>,
    /// What is to be said before anything is done.
    pub notes: Vec<String>,
    pub namespace: Option<Anew>,
}

/// Looks for what was kept.
pub async fn found(cluster: &Cluster, lost: &Lost, named: Option<&str>) -> Result<Found> {
    let request = match lost {
        Lost::Request(name) => Some(request(cluster, name).await?),
        Lost::Claim(_) | Lost::Namespace(_) => None,
    };
    let all: Vec<PersistentVolume> = cluster.all(None).await?;
    let elsewhere = Elsewhere::of(&all);
    let kept = all.iter().filter_map(|volume| {
        let kept = Kept::of(volume.clone())?;
        Some(Kept { elsewhere: elsewhere.danger(volume), ..kept })
    });
    let volumes: Vec<Kept> = kept.collect();
    match (lost, request) {
        (Lost::Claim(name), _) => {
            let place = Place { namespace: cluster.namespace.clone(), name: name.clone() };
            if !is_name(&place.namespace) {
                return Err(Error::Usage(format!("no namespace can be called {}", plain(&place.namespace))));
            }
            let chosen = chosen(&place, volumes, named).map_err(|error| strayed(error, &place, &all))?;
            Ok(Found { volumes: vec![chosen], ..Found::default() })
        }
        (_, Some(request)) => of_request(&request, volumes),
        (Lost::Namespace(name) | Lost::Request(name), None) => {
            let requests = cluster.all::<DeletionRequest>(None).await;
            let (requests, note) = match requests {
                Ok(requests) => (requests, None),
                Err(error) => (Vec::new(), Some(format!("note: it is not known by which request it went ({error})"))),
            };
            let mut found = of_namespace(name, &requests, volumes)?;
            found.notes.extend(note);
            Ok(found)
        }
    }
}

async fn request(cluster: &Cluster, name: &str) -> Result<DeletionRequest> {
    let api: Api<DeletionRequest> = Api::all(cluster.client.clone());
    let read = call(&format!("DeletionRequest {name} could not be read"), api.get_opt(name)).await?;
    read.ok_or_else(|| {
        Error::Usage(format!(
            "there is no DeletionRequest {name}: see `kubectl get deletionrequests`, or name what went as pvc/NAME or ns/NAME"
        ))
    })
}

/// Says so where a volume was kept for the claim, and is for another one, or for nobody.
fn strayed(error: Error, place: &Place, all: &[PersistentVolume]) -> Error {
    let Error::Refused(text) = error else { return error };
    let stray = all.iter().find(|volume| noted(volume).as_ref() == Some(place));
    let Some(stray) = stray.filter(|stray| Kept::of((*stray).clone()).is_none_or(|kept| kept.place != *place)) else {
        return Error::Refused(text);
    };
    let name = stray.metadata.name.clone().unwrap_or_default();
    let now = Kept::of(stray.clone()).map_or_else(|| "no claim".to_owned(), |kept| kept.place.text());
    Error::Refused(plain(&format!(
        "volume {name} was kept of {}, but somebody has changed its claimRef, and it is for {now} now: nothing was changed; see `kubectl get pv {name} -o yaml`",
        place.text()
    )))
}

/// What went with a namespace, by the latest request that let it go; without one, all that is kept of it.
fn of_namespace(name: &str, requests: &[DeletionRequest], volumes: Vec<Kept>) -> Result<Found> {
    let usable = volumes.iter().filter(|kept| kept.place.namespace == name && kept.is_usable());
    let usable: Vec<Kept> = usable.cloned().collect();
    let went = requests.iter().filter(|request| {
        let target = &request.spec.target;
        target.kind == TargetKind::Namespace && target.name == name
    });
    let went = went.filter_map(|request| Some((while_going(request)?, request))).max_by_key(|((from, _), _)| *from);
    let Some(((from, until), request)) = went else {
        if usable.is_empty() {
            return Err(Error::Refused(format!(
                "nothing is kept of namespace {name}: no volume on Retain was for a claim in it; see `kubectl get pv`, and whether a backup has it"
            )));
        }
        let namespace = Some(Anew { name: name.to_owned(), ..Anew::default() });
        return Ok(Found { volumes: newest(usable), namespace, ..Found::default() });
    };
    let mut found = of_request(request, volumes)?;
    let listed: BTreeSet<String> = found.volumes.iter().map(|kept| kept.uid.clone()).collect();
    let others = newest(usable).into_iter().filter(|kept| !listed.contains(&kept.uid));
    // What was let go one by one while the namespace was on its way out belongs to it, too.
    let went_along = |at: Timestamp| at >= from && until.is_none_or(|until| at <= until);
    let (with_it, apart): (Vec<Kept>, Vec<Kept>) = others
        .filter(|kept| !kept.is_bound())
        .partition(|kept| kept.is_under_way() || kept.since.is_some_and(went_along));
    let taken: BTreeSet<Place> = found.volumes.iter().chain(&with_it).map(|kept| kept.place.clone()).collect();
    found
        .notes
        .push(format!("What went with del/{} comes back.", request.metadata.name.as_deref().unwrap_or_default()));
    found.notes.extend(apart.iter().filter(|kept| !taken.contains(&kept.place)).map(|kept| {
        let place = &kept.place;
        format!(
            "note: {} went at another time, and stays away; it comes back with `kubectl foureyes undo pvc/{} -n {}`",
            place.text(),
            place.name,
            place.namespace
        )
    }));
    found.volumes = newest(found.volumes.into_iter().chain(with_it).collect());
    Ok(found)
}

/// From when to when the target was seen to go, if it has gone, by this request or otherwise.
fn while_going(request: &DeletionRequest) -> Option<(Timestamp, Option<Timestamp>)> {
    let status = request.status.as_ref()?;
    let (began, ended) = (status.executing_since.as_ref(), status.ended_at.as_ref());
    let from = match status.phase? {
        Phase::Executing => began,
        Phase::Executed => began.or(ended),
        Phase::Cancelled if status.backup_retention.is_some() => ended,
        _ => None,
    };
    Some((from?.0, ended.map(|ended| ended.0)))
}

/// The volumes that the request's inventory names, whatever became of them.
fn of_request(request: &DeletionRequest, volumes: Vec<Kept>) -> Result<Found> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let status = request.status.as_ref();
    let inventory = status.and_then(|status| status.inventory.as_ref()).ok_or_else(|| {
        Error::Refused(format!("del/{name} says not yet what would be lost, so nothing has gone by it"))
    })?;
    let items =
        prove_items(inventory).map_err(|error| Error::unreadable(format!("the inventory of del/{name}"), error))?;
    let target = &request.spec.target;
    if !target.kind.is_in_use() {
        return Err(Error::Refused(format!(
            "del/{name} is about {}, and undo brings back claims and namespaces: nothing was changed",
            target.text()
        )));
    }
    let (mut usable, mut known, mut gone) = (Vec::new(), BTreeSet::new(), Vec::new());
    for kept in volumes.into_iter().filter(|kept| items.contains(&kept.uid).is_ok_and(|is_listed| is_listed)) {
        known.insert(kept.uid.clone());
        let (text, volume) = (kept.place.text(), plain(&kept.name));
        if kept.place.namespace != target.rights_namespace() {
            gone.push(format!("volume {volume} is for {text} now: see `kubectl get pv {volume} -o yaml`"));
        } else if kept.is_usable() {
            usable.push(kept);
        } else {
            gone.push(format!("{text} can't be brought back: volume {volume} is not on Retain, or is being deleted"));
        }
    }
    let missing = inventory.items.iter().filter(|item| item.kind == "PersistentVolume" && !known.contains(&item.uid));
    gone.extend(missing.map(|item| {
        format!(
            "volume {} is gone, or is for no claim any more: whether a backup has its data is not known here",
            plain(&item.name)
        )
    }));
    if usable.is_empty() && gone.is_empty() {
        return Err(Error::Refused(format!("nothing is kept of del/{name}: it took no volume along")));
    }
    let labels = status.map(|status| status.namespace_labels.clone()).unwrap_or_default();
    let is_namespace = target.kind == TargetKind::Namespace;
    let namespace = is_namespace.then(|| Anew { name: target.name.clone(), labels });
    Ok(Found { volumes: newest(usable), gone, namespace, ..Found::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kept::tests::volume;
    use crate::request::tests::deletion;
    use foureyes_core::domain::inventory::{Claim, DataItem, Inventory, Volume};
    use serde_json::{Value, json};

    const MINE: &str = "00000000-0000-4000-8000-00000000000a";
    const OTHER: &str = "00000000-0000-4000-8000-00000000000b";

    /// A request that let one volume of old-shop/reports go.
    fn asked() -> DeletionRequest {
        let claim = Claim {
            namespace: "old-shop".into(),
            name: "reports".into(),
            uid: "00000000-0000-4000-8000-00000000000c".into(),
            ..Claim::default()
        };
        let volume = Volume { name: "mine".into(), uid: MINE.into(), ..Volume::default() };
        let inventory = Inventory::of([(&claim, Some(&volume))]);
        let items: Vec<_> = inventory.items().iter().map(DataItem::listed).collect();
        deletion(&json!({"status": {"phase": "Executed", "inventory": {
            "digest": inventory.digest().unwrap(), "itemsDigest": inventory.items_digest().unwrap(),
            "packedUIDs": inventory.packed().unwrap(), "total": 2, "summary": "", "items": items}}}))
    }

    fn kept(name: &str, uid: &str, extra: &Value) -> Kept {
        let claim = json!({"namespace": "old-shop"});
        let mut object = json!({"metadata": {"name": name, "uid": uid}, "spec": {"claimRef": claim}});
        json_patch::merge(&mut object, extra);
        Kept::of(volume(&object)).unwrap()
    }

    #[test]
    fn of_several_volumes_a_request_names_its_own() {
        let newer = json!({"status": {"lastPhaseTransitionTime": "2026-11-23T10:00:00Z"}});
        let all = vec![kept("mine", MINE, &json!({})), kept("other", OTHER, &newer)];
        let found = of_request(&asked(), all).unwrap();
        assert_eq!(found.volumes.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["mine"]);
        assert!(found.gone.is_empty(), "{found:?}");
        assert_eq!(found.namespace.unwrap().name, "old-shop");
    }

    #[test]
    fn what_a_request_let_go_for_good_is_said() {
        let found = of_request(&asked(), vec![kept("other", OTHER, &json!({}))]).unwrap();
        assert!(found.volumes.is_empty() && found.gone[0].contains("volume mine is gone"), "{found:?}");
        let on_delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
        let found = of_request(&asked(), vec![kept("mine", MINE, &on_delete)]).unwrap();
        assert!(found.volumes.is_empty() && found.gone[0].contains("not on Retain"), "{found:?}");
        assert_eq!(found.gone.len(), 1);
    }

    #[test]
    fn what_is_no_claim_is_not_brought_back_as_one() {
        let mut request = asked();
        request.spec.target.kind = TargetKind::VolumeSnapshot;
        let error = of_request(&request, vec![kept("mine", MINE, &json!({}))]).unwrap_err();
        assert!(error.to_string().contains("brings back claims and namespaces"), "{error}");
    }

    #[test]
    fn an_inventory_that_is_not_what_was_signed_names_nothing() {
        let mut request = asked();
        request.status.as_mut().unwrap().inventory.as_mut().unwrap().digest = "inventory/v1:sha256:00".into();
        assert!(of_request(&request, vec![kept("mine", MINE, &json!({}))]).is_err());
    }

    /// The same as it let the namespace go, with this label.
    fn went() -> DeletionRequest {
        let mut request = asked();
        let status = request.status.as_mut().unwrap();
        status.namespace_labels = [("team".to_owned(), "web".to_owned())].into();
        let at = |time: &str| Some(serde_json::from_value(json!(time)).unwrap());
        (status.executing_since, status.ended_at) = (at("2026-11-20T09:59:00Z"), at("2026-11-20T10:05:00Z"));
        request
    }

    /// A volume of old-shop that was released then.
    fn of_old_shop(name: &str, uid: &str, released: &str) -> Kept {
        let place = json!({"namespace": "old-shop", "name": name});
        kept(name, uid, &json!({"spec": {"claimRef": place}, "status": {"lastPhaseTransitionTime": released}}))
    }

    #[test]
    fn with_a_namespace_comes_back_what_went_with_it_and_its_labels() {
        let listed = of_old_shop("mine", MINE, "2026-11-20T10:00:00Z");
        let meanwhile = of_old_shop("late", OTHER, "2026-11-20T10:01:00Z");
        let before = of_old_shop("outdated", "v-3", "2026-10-01T10:00:00Z");
        let later = of_old_shop("next", "v-4", "2026-11-25T10:00:00Z");
        let found = of_namespace("old-shop", &[went()], vec![listed, meanwhile, before, later]).unwrap();
        let names: Vec<&str> = found.volumes.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, ["late", "mine"]);
        let labels = [("team".to_owned(), "web".to_owned())].into();
        assert_eq!(found.namespace, Some(Anew { name: "old-shop".to_owned(), labels }));
        let notes = found.notes.join("\n");
        for name in ["outdated", "next"] {
            let line = format!("kubectl foureyes undo pvc/{name} -n old-shop");
            assert!(notes.contains(&line), "{notes}");
        }
    }

    #[test]
    fn without_a_request_all_that_is_kept_of_a_namespace_comes_back() {
        let volumes = || {
            vec![
                of_old_shop("a", MINE, "2026-11-20T10:00:00Z"),
                kept("b", OTHER, &json!({"spec": {"claimRef": {"namespace": "shop"}}})),
            ]
        };
        let mut open = went();
        open.status.as_mut().unwrap().phase = Some(Phase::Executable);
        for requests in [vec![], vec![open]] {
            let found = of_namespace("old-shop", &requests, volumes()).unwrap();
            assert_eq!(found.volumes.len(), 1);
            assert_eq!(found.namespace.unwrap().labels, BTreeMap::new());
        }
        let error = of_namespace("new-shop", &[went()], volumes()).unwrap_err();
        assert!(error.to_string().contains("nothing is kept of namespace new-shop"), "{error}");
    }

    #[test]
    fn what_is_for_a_claim_elsewhere_now_is_not_that_namespaces() {
        let found =
            of_request(&asked(), vec![kept("mine", MINE, &json!({"spec": {"claimRef": {"namespace": "bank"}}}))])
                .unwrap();
        assert!(found.volumes.is_empty() && found.gone[0].contains("is for pvc/bank/reports now"), "{found:?}");
    }

    #[test]
    fn what_somebody_has_given_to_another_claim_is_said() {
        let place = Place { namespace: "shop".to_owned(), name: "reports".to_owned() };
        let note = json!({"metadata": {"namespace": "shop", "name": "reports"}, "spec": {}}).to_string();
        let told = |claim: Value| {
            let annotations = json!({foureyes_core::api::KEPT_CLAIM: note});
            let all = [volume(&json!({"metadata": {"annotations": annotations}, "spec": {"claimRef": claim}}))];
            strayed(Error::Refused("nothing is kept".to_owned()), &place, &all).to_string()
        };
        assert!(told(Value::Null).contains("it is for no claim now"));
        assert!(told(json!({"namespace": "bank"})).contains("it is for pvc/bank/reports now"));
        assert_eq!(told(json!({})), "nothing is kept");
    }
}
