//! The story of the demo: how data is not deleted alone, and how it is deleted together; and how a new version is not
//! rolled out alone, while what ran before goes on.

mod stage;

use std::time::Duration;

use stage::{Ends, Stage, pasteable, tell};

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::shop;
use crate::wait::{wait_for, wait_until};

/// How long the controller may take to release what has been signed off; it takes about a second.
const RELEASE: Duration = Duration::from_secs(60);
/// A namespace takes about 15 s to go, for the namespace controller's sake.
const GOING: Duration = Duration::from_secs(120);
const DENIED: &str = "denied the request";

/// Plays it to its end, or says what turned out otherwise.
pub fn play(cluster: &Cluster) -> Result<()> {
    let stage = Stage { cluster };
    if was_played(cluster)? {
        return Err(Error::Other("this cluster has seen the story: `make down` first, then `make demo` again".into()));
    }
    a_claim(&stage)?;
    a_namespace(&stage)?;
    a_rollout(&stage)?;
    without_webhooks(&stage)?;
    tell("The end. The cluster stays up, with dave's change in it, which waits for somebody to adopt it.");
    Ok(())
}

/// What was approved then may be rolled out again by anybody, so that nothing of it can be told twice.
fn was_played(cluster: &Cluster) -> Result<bool> {
    let records =
        cluster.kubectl("admin", &["get", "rolloutrecords", "-o=jsonpath={.items[*].status.entries[*].images}"])?;
    Ok(records.success("reading the records")?.contains("shop.example/web:1.5.0"))
}

fn a_claim(stage: &Stage) -> Result<()> {
    let claim = ["-n", "shop", "get", "pvc", "reports"];
    let uid = uid(stage.cluster, &claim)?;
    let volume = stage.cluster.kubectl("admin", &[&claim[..], &["-o=jsonpath={.spec.volumeName}"]].concat())?;
    let volume = volume.success("kubectl get pvc")?;
    tell("eve may delete claims: RBAC says so. But reports holds data, and nobody else has looked.");
    let delete = "kubectl -n shop delete pvc reports";
    let refusal = stage.types("eve", delete, Ends::Refused(&[DENIED, "DeletionNotRequested", "reports"]))?;
    let command = pasteable(&refusal)?;

    tell("She pastes the command herself, then tries it in bob's name, then as bob.");
    stage.types("eve", command, Ends::Refused(&[DENIED]))?;
    let as_bob = command.replace("=me@", "=bob@");
    stage.types("eve", &as_bob, Ends::Refused(&[DENIED]))?;
    let impersonating = format!("{command} --as=bob");
    stage.types("eve", &impersonating, Ends::Refused(&["cannot impersonate"]))?;
    stage.types("eve", delete, Ends::Refused(&[DENIED]))?;

    tell("bob looks at what would be lost, and pastes the command that eve's refusal showed.");
    stage.types("bob", "kubectl -n shop get pvc reports", Ends::Well(&["Bound"]))?;
    stage.types("bob", command, Ends::Well(&["annotated"]))?;
    becomes(stage.cluster, &uid, "Quiescing")?;

    tell("It is signed off, and it is still in use. Whoever needs it has to notice first that it is gone.");
    stage.types("bob", "kubectl get deletionrequests", Ends::Well(&["pvc/shop/reports", "Quiescing"]))?;
    stage.types("eve", delete, Ends::Refused(&[DENIED, "NotYetExecutable", "still runs"]))?;
    stage.types("alice", "kubectl -n shop scale deployment/reports --replicas=0", Ends::Well(&["scaled"]))?;
    unused(stage.cluster, &uid)?;
    stage.types("eve", delete, Ends::Refused(&[DENIED, "NotYetExecutable", "must stay unused"]))?;
    tell("Here that takes 10 seconds; built in is a day. Nobody has complained.");
    released(stage.cluster, &uid)?;

    tell("bob approved it, so bob himself can't delete it. eve can.");
    stage.types("bob", delete, Ends::Refused(&[DENIED, "SecondPersonNeeded"]))?;
    stage.types("eve", delete, Ends::Well(&["deleted"]))?;
    becomes(stage.cluster, &uid, "Executed")?;

    tell("The claim is gone. Its volume is not: foureyes had put it on Retain, and holds it for 30 days.");
    let look = format!("kubectl get pv {volume}");
    stage.types("bob", &look, Ends::Well(&["Retain", "Released", "shop/reports"]))?;
    stage.types("bob", "kubectl get backupretentions", Ends::Well(&["pvc-reports", "Holding"]))?;

    tell("Somebody needed it after all. dave, who may restore, brings it back: the same volume, with its data.");
    stage.types("dave", "kubectl foureyes undo pvc/reports -n shop", Ends::Well(&["is back", &volume]))?;
    stage.types("alice", "kubectl -n shop get pvc reports", Ends::Well(&["Bound", &volume]))?;
    Ok(())
}

fn a_namespace(stage: &Stage) -> Result<()> {
    let cluster = stage.cluster;
    shop::open_old(cluster)?;
    let uid = uid(cluster, &["get", "namespace", "old-shop"])?;
    let volumes = volumes(cluster)?;
    let before = contents(cluster)?;

    tell("A namespace takes everything in it along, so it is refused at the root: nothing in it is touched.");
    let delete = "kubectl delete namespace old-shop";
    let refusal = stage.types("eve", delete, Ends::Refused(&[DENIED, "DeletionNotRequested", "orders", "invoices"]))?;
    stage.types("eve", "kubectl -n old-shop get deployments,pvc", Ends::Well(&["web", "orders", "invoices"]))?;
    if contents(cluster)? != before {
        return Err(Error::Other("the refused deletion has changed what is in old-shop".into()));
    }

    tell("alice pastes the line that the refusal showed, with a reason of her own.");
    let line = pasteable(&refusal)?.replace("requested after a refused deletion", "the new shop has run for a quarter");
    let request = stage.types("alice", &line, Ends::Well(&["created"]))?;
    let request = request.split_whitespace().next().unwrap_or_default().to_owned();

    tell("bob looks at the request: it says what would be lost, and how to sign exactly that off.");
    let sign_off = ready_line(cluster, &request)?;
    let look = format!(
        "kubectl get {request} -o jsonpath='{{range .status.inventory.items[*]}}{{.kind}} {{.name}} {{.size}}{{\"\\n\"}}{{end}}{{.status.signOffCommand}}{{\"\\n\"}}'"
    );
    stage.types("bob", &look, Ends::Well(&["orders", "invoices", "kubectl create -f -"]))?;
    stage.types("bob", &sign_off, Ends::Well(&["created"]))?;

    tell("alice shuts the old shop down. foureyes waits for its pods to end, and 10 seconds more.");
    stage.types("alice", "kubectl -n old-shop scale deployment --all --replicas=0", Ends::Well(&["scaled"]))?;
    released(cluster, &uid)?;

    tell("Two people have looked. Now it goes, with exactly what was approved; its volumes stay.");
    stage.types("eve", delete, Ends::Well(&["deleted"]))?;
    wait_for("the request to be executed", GOING, || Ok((phases(cluster, &uid)? == "Executed").then_some(())))?;
    if !volumes.iter().all(|volume| exists(cluster, volume)) {
        return Err(Error::Other("a volume of old-shop did not outlive it".into()));
    }
    stage.types("alice", "kubectl get deletionrequests", Ends::Well(&["namespace/old-shop", "Executed"]))?;
    stage.types("alice", "kubectl -n shop get pvc", Ends::Well(&["data-db-0", "data-db-1"]))?;

    tell("Somebody looks afterwards, too: bob says what he has checked, and that closes it.");
    let (_, name) = request.rsplit_once('/').unwrap_or_default();
    let supervise = |who: &str, ends: Ends| {
        let line =
            format!("kubectl foureyes supervise del/{name} --verified 'both volumes are there, and the shop answers'");
        stage.types(who, &line, ends)
    };
    supervise("alice", Ends::Refused(&["alice"]))?;
    supervise("bob", Ends::Well(&["supervised"]))?;
    becomes(cluster, &uid, "Closed")?;
    what_was_kept(stage, name, &volumes)
}

/// What outlived a deletion takes two people again, for as long as it is held and afterwards.
fn what_was_kept(stage: &Stage, retention: &str, volumes: &[String]) -> Result<()> {
    let cluster = stage.cluster;
    tell("eve may delete volumes, and would have the storage back. But what was kept is held.");
    let purge = format!("kubectl delete pv {} --wait=false", volumes.join(" "));
    let refusal = stage.types("eve", &purge, Ends::Refused(&[DENIED, "DataHeld", retention]))?;
    let release = pasteable(&refusal)?;
    stage.types("eve", release, Ends::Refused(&[DENIED, "RightMissing"]))?;

    tell("A month is long for an old shop: alice and bob let go of it, each with the line that she was shown.");
    stage.types("alice", release, Ends::Well(&["created"]))?;
    stage.types("eve", &purge, Ends::Refused(&[DENIED, "DataHeld"]))?;
    stage.types("bob", release, Ends::Well(&["created"]))?;
    of_retention(cluster, retention, "ReleaseApproved")?;
    stage.types("eve", &purge, Ends::Well(&["deleted"]))?;
    of_retention(cluster, retention, "Purged")?;
    stage.types("bob", "kubectl get backupretentions", Ends::Well(&["Purged", "pvc-reports", "Holding"]))?;
    Ok(())
}

fn of_retention(cluster: &Cluster, name: &str, phase: &str) -> Result<()> {
    let args = ["get", "backupretention", name, "-o=jsonpath={.status.phase}"];
    wait_for(&format!("what was kept to be {phase}"), RELEASE, || {
        Ok((cluster.kubectl("admin", &args)?.success("kubectl get backupretention")? == phase).then_some(()))
    })
}

/// What is new needs a second person; what ran before, and how much of it, does not.
fn a_rollout(stage: &Stage) -> Result<()> {
    tell("argocd rolls out a new version. Nobody has asked for it, so what would run is shown, and not run.");
    let set_image = "kubectl -n shop set image deployment/web web=shop.example/web:1.5.0";
    let exchanged = "web shop.example/web:1.4.2 → shop.example/web:1.5.0";
    stage.types(
        "argocd",
        set_image,
        Ends::Refused(&[DENIED, "RolloutNotRequested", exchanged, "kubectl create -f -"]),
    )?;

    tell(
        "What runs by itself goes on: restarts and more replicas, by people or by an autoscaler, are nobody's business.",
    );
    stage.types("alice", "kubectl -n shop rollout restart deployment/web", Ends::Well(&["restarted"]))?;
    stage.types("alice", "kubectl -n shop scale deployment/web --replicas=3", Ends::Well(&["scaled"]))?;
    let autoscale = "kubectl -n shop autoscale deployment/web --min=4 --max=6 --cpu=80%";
    stage.types("alice", autoscale, Ends::Well(&["autoscaled"]))?;
    wait_until("the autoscaler to act", RELEASE, || {
        let replicas = ["-n", "shop", "get", "deployment", "web", "-o=jsonpath={.spec.replicas}"];
        stage.cluster.kubectl("alice", &replicas).is_ok_and(|output| output.stdout == "4")
    })?;
    stage.types("alice", "kubectl -n shop get deployment/web", Ends::Well(&["4"]))?;

    tell(
        "alice could paste that line. The plugin says the same shorter, and shows bob the difference before he signs.",
    );
    let ask = "kubectl foureyes request change deployment/web -n shop --image web=shop.example/web:1.5.0 --title 'shop 1.5' --ticket SHOP-17";
    let created = stage.types("alice", ask, Ends::Well(&["created"]))?;
    let change = created.lines().find(|line| line.ends_with(" created"));
    let change = change.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned();
    let name = change.rsplit('/').next().unwrap_or_default();
    let approve = format!("kubectl foureyes approve -n shop {name} --yes");
    stage.types("alice", &approve, Ends::Refused(&["your own request"]))?;
    stage.types("bob", &approve, Ends::Well(&["+  - image: shop.example/web:1.5.0", "approved"]))?;
    of_change(stage.cluster, &change, "{.status.phase}", |phase| phase == "Approved")?;

    tell("argocd tries again, as it always does.");
    stage.types("argocd", set_image, Ends::Well(&["image updated"]))?;
    of_change(stage.cluster, &change, "{.status.phase}", |phase| phase == "Succeeded")?;

    tell("The way back is open to everybody, at any time: what ran before was signed off before.");
    stage.types("alice", "kubectl -n shop rollout undo deployment/web", Ends::Well(&["rolled back"]))?;
    wait_until("the record of the rollback", RELEASE, || {
        let path = "-o=jsonpath={.items[*].status.entries[0].how}";
        let how = stage.cluster.kubectl("alice", &["get", "rolloutrecords", path]);
        how.is_ok_and(|output| output.stdout.contains("Rollback"))
    })?;
    stage.types("alice", "kubectl get chg,rr -A", Ends::Well(&["Succeeded", "Rollback"]))?;
    Ok(())
}

/// A field of a change, once it is as it should be.
fn of_change(cluster: &Cluster, change: &str, path: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    wait_for(&format!("{change} to move on"), RELEASE, || {
        let path = format!("-o=jsonpath={path}");
        let text =
            cluster.kubectl("bob", &["-n", "shop", "get", change, &path])?.success("kubectl get changerequest")?;
        Ok(Some(text).filter(|text| wanted(text)))
    })
}

/// A deletion that nobody can judge is no deletion.
fn without_webhooks(stage: &Stage) -> Result<()> {
    let webhooks = ["webhook-a", "webhook-b"].map(|name| stage.cluster.process(name));
    tell("Both webhook processes are stopped. Nobody judges, so nobody deletes.");
    for webhook in &webhooks {
        webhook.stop()?;
    }
    let delete = "kubectl -n shop delete pvc data-db-0";
    let played = meanwhile(stage, delete);
    for webhook in &webhooks {
        webhook.start_ready()?;
    }
    played?;
    tell("They run again. What dave has rolled out waits for people who look at it afterwards.");
    stage.types("eve", delete, Ends::Refused(&[DENIED, "DeletionNotRequested"]))?;
    wait_until("the change that dave's rollout opens", RELEASE, || {
        let changes = stage.cluster.kubectl("alice", &["-n", "shop", "get", "changerequests"]);
        changes.is_ok_and(|output| output.stdout.contains("Unauthorized"))
    })?;
    stage.types("alice", "kubectl -n shop get changerequests", Ends::Well(&["Unauthorized"]))?;
    Ok(())
}

fn meanwhile(stage: &Stage, delete: &str) -> Result<()> {
    stage.types("eve", delete, Ends::Refused(&["failed calling webhook"]))?;
    tell("An incident can't wait for that. dave is a responder: he breaks glass, under his own name.");
    let fix = "kubectl -n shop set image deployment/web web=shop.example/web:1.4.3";
    stage.types("eve", fix, Ends::Refused(&["failed calling webhook"]))?;
    let by_dave = format!("{fix} --as=dave --as-group=foureyes:breakglass");
    stage.types("dave", &by_dave, Ends::Well(&["image updated"]))?;
    Ok(())
}

fn ready_line(cluster: &Cluster, request: &str) -> Result<String> {
    wait_for("the request to say how it is signed off", RELEASE, || {
        let line = cluster
            .kubectl("bob", &["get", request, "-o=jsonpath={.status.signOffCommand}"])?
            .success("kubectl get deletionrequest")?;
        Ok(Some(line).filter(|line| !line.is_empty()))
    })
}

/// Waits for what would make a person repeat the command a moment later.
fn released(cluster: &Cluster, uid: &str) -> Result<()> {
    becomes(cluster, uid, "Executable")
}

fn becomes(cluster: &Cluster, uid: &str, phase: &str) -> Result<()> {
    let what = format!("the request to become {phase}");
    wait_for(&what, RELEASE, || Ok((phases(cluster, uid)? == phase).then_some(())))
}

/// Until nothing runs any more that the request waits for.
fn unused(cluster: &Cluster, uid: &str) -> Result<()> {
    let selector = format!("--field-selector=spec.target.uid={uid}");
    let args = ["get", "deletionrequests", &selector, "-o=jsonpath={.items[*].status.quiet.running}"];
    wait_for("the pods to end", RELEASE, || {
        Ok(cluster.kubectl("admin", &args)?.success(&args.join(" "))?.is_empty().then_some(()))
    })
}

/// The phases of the requests for one object.
fn phases(cluster: &Cluster, uid: &str) -> Result<String> {
    let selector = format!("--field-selector=spec.target.uid={uid}");
    let args = ["get", "deletionrequests", &selector, "-o=jsonpath={.items[*].status.phase}"];
    cluster.kubectl("admin", &args)?.success(&args.join(" "))
}

fn uid(cluster: &Cluster, get: &[&str]) -> Result<String> {
    let args = [get, &["-o=jsonpath={.metadata.uid}"]].concat();
    cluster.kubectl("admin", &args)?.success(&args.join(" "))
}

fn volumes(cluster: &Cluster) -> Result<Vec<String>> {
    let args = ["-n", "old-shop", "get", "pvc", "-o=jsonpath={.items[*].spec.volumeName}"];
    let names = cluster.kubectl("admin", &args)?.success(&args.join(" "))?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

fn exists(cluster: &Cluster, volume: &str) -> bool {
    let found = cluster.kubectl("admin", &["get", "pv", volume, "--ignore-not-found", "-o=name"]);
    !matches!(found, Ok(output) if output.ok() && output.stdout.is_empty())
}

/// Everything in the old shop that a deletion would touch, with its versions.
fn contents(cluster: &Cluster) -> Result<String> {
    let args = [
        "-n",
        "old-shop",
        "get",
        "deployments,replicasets,pods,pvc,configmaps,secrets,serviceaccounts",
        "-o=jsonpath={range .items[*]}{.kind}/{.metadata.name}/{.metadata.uid}/{.metadata.deletionTimestamp} {end}",
    ];
    cluster.kubectl("admin", &args)?.success(&args.join(" "))
}
