//! What people do while the controller lives or not, and how the requests stand at the end of it.

use std::collections::BTreeMap;

use foureyes_testbed::{Cluster, Environment};
use serde_json::{Value, json};

use super::LONG;
use crate::support::{
    Asked, Who, claim, claim_path, found, namespace_path, refused, request, until, within, without_webhooks,
};

struct People {
    admin: Who,
    alice: Who,
    bob: Who,
    eve: Who,
    /// Who may delete claims where a namespace is going and has taken everybody else's rights with it.
    paula: Who,
}

/// Everything that people do, at once; of each target every request that there is about it in the end, without what
/// differs between two clusters.
pub async fn play(cluster: &Cluster, prefix: &str) -> BTreeMap<String, Value> {
    let who = async |person| Who::is(cluster, person).await;
    let people = People {
        admin: who("admin").await,
        alice: who("alice").await,
        bob: who("bob").await,
        eve: who("eve").await,
        paula: storekeeper(cluster).await,
    };
    let spaces = ["claims", "place", "left"];
    let [claims, place, left] =
        spaces.map(|name| cluster.namespace(&format!("{prefix}-{name}"), Environment::Production).unwrap());
    let named = |name: &str| format!("{name}-of-{claims}");
    let (asked, annotated, rejected, taken_back) = (named("a"), named("b"), named("c"), named("d"));
    let mut uids = BTreeMap::new();
    for name in [&asked, &annotated, &rejected, &taken_back] {
        uids.insert(name.clone(), claim(&people.admin, &claims, name).await);
    }
    for (namespace, name) in [(&place, "data"), (&left, "left")] {
        uids.insert(name.to_owned(), claim(&people.admin, namespace, name).await);
    }
    let uid = people.admin.get(&namespace_path(&place)).await.unwrap()["metadata"]["uid"].clone();
    uids.insert("place".to_owned(), uid.as_str().unwrap().to_owned());
    without_webhooks(cluster, &people.admin, async || {
        people.eve.delete(&namespace_path(&left)).await.unwrap();
    })
    .await;

    tokio::join!(
        people.asks_and_deletes(&claims, &asked, &uids[&asked]),
        people.annotates_and_deletes(&claims, &annotated, &uids[&annotated]),
        people.asks_and_rejects(&claims, &rejected, &uids[&rejected]),
        people.asks_and_takes_back(&claims, &taken_back, &uids[&taken_back]),
        people.asks_and_deletes_place(&place, &uids["place"]),
        people.clears_what_was_left(&left, &uids["left"]),
    );
    let mut ends = BTreeMap::new();
    for (name, uid) in uids {
        let name = name.replace(&claims, "");
        if name != "data" {
            let requests = Asked::about(&people.admin, &uid).await;
            ends.insert(name, requests.iter().map(end).collect());
        }
    }
    ends
}

async fn storekeeper(cluster: &Cluster) -> Who {
    let admin = Who::is(cluster, "admin").await;
    let api = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": "storage"},
        "rules": [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "delete"]}],
    });
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "storage"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "storage"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": "paula"}],
    });
    for object in [role, binding] {
        let made = admin.create(&object).await;
        // They are there already when this is played again.
        assert!(made.as_ref().map_or_else(|refused| refused.code == 409, |_| true), "{made:?}");
    }
    Who::acting(cluster, "paula", &[]).await
}

/// A request's end, without times, names and UIDs.
fn end(request: &Value) -> Value {
    let status = &request["status"];
    let pick = |of: &Value, keys: &[&str]| -> Value {
        keys.iter().map(|key| ((*key).to_owned(), of[*key].clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let each = |of: &Value, keys: &[&str]| -> Value {
        of.as_array().into_iter().flatten().map(|item| pick(item, keys)).collect()
    };
    // since when a claim was going is known to a controller that lived then
    let times = ["usableFrom", "validUntil", "executedAt"].map(|key| !status[key].is_null());
    json!({
        "requester": request["spec"]["requester"]["username"],
        "status": pick(status, &["phase", "requestedBy", "waitingFor", "signOffCommand"]),
        "signOffs": pick(&status["signOffs"], &["required", "granted", "missing"]),
        "entries": each(&status["signOffs"]["entries"], &["says", "author", "counts", "because"]),
        "conditions": each(&status["conditions"], &["type", "status", "reason"]),
        "inventory": pick(&status["inventory"], &["frozen", "total", "summary", "added"]),
        "times": times,
    })
}

impl People {
    async fn asks(&self, namespace: &str, name: Option<&str>, uid: &str) -> Asked {
        let object = request(namespace, name, uid);
        Asked::by(&self.alice, &self.admin, &object).await
    }

    async fn asks_and_deletes(&self, namespace: &str, name: &str, uid: &str) {
        let asked = self.asks(namespace, Some(name), uid).await;
        asked.said(&self.bob, "Approve").await.unwrap();
        self.deletes(&claim_path(namespace, name)).await;
        asked.is("Executed").await;
    }

    async fn annotates_and_deletes(&self, namespace: &str, name: &str, uid: &str) {
        let path = claim_path(namespace, name);
        let refusal = refused("DeletionNotRequested", self.eve.tries_to_delete(&path).await);
        let at = refusal.find("=me@").unwrap() + 1;
        let value: String = refusal[at..].chars().take("me@".len() + 12).collect();
        let annotation = json!({"metadata": {"annotations": {"foureyes.dev/approved-by": value}}});
        self.bob.merge(&path, &annotation).await.unwrap();
        let opened = Asked::opened(&self.admin, uid).await;
        self.deletes(&path).await;
        opened.is("Executed").await;
    }

    async fn asks_and_rejects(&self, namespace: &str, name: &str, uid: &str) {
        let asked = self.asks(namespace, Some(name), uid).await;
        asked.digest().await;
        asked.said(&self.bob, "Reject").await.unwrap();
        asked.is("Rejected").await;
        refused("Delet", self.eve.delete(&claim_path(namespace, name)).await);
    }

    async fn asks_and_takes_back(&self, namespace: &str, name: &str, uid: &str) {
        let asked = self.asks(namespace, Some(name), uid).await;
        let approval = asked.said(&self.bob, "Approve").await.unwrap();
        asked.is("Executable").await;
        self.bob.delete(&approval).await.unwrap();
        asked.is("Pending").await;
        asked.said(&self.alice, "Cancel").await.unwrap();
        asked.is("Cancelled").await;
    }

    async fn asks_and_deletes_place(&self, namespace: &str, uid: &str) {
        let asked = self.asks(namespace, None, uid).await;
        asked.said(&self.bob, "Approve").await.unwrap();
        let path = namespace_path(namespace);
        self.deletes(&path).await;
        within(LONG, "the namespace to be gone", async || self.admin.sees(&path).await.is_none().then_some(())).await;
        asked.is("Executed").await;
    }

    /// Its namespace went while nobody looked; the claim stays until it is signed off, too.
    async fn clears_what_was_left(&self, namespace: &str, uid: &str) {
        let path = claim_path(namespace, "left");
        let opened = Asked::opened(&self.admin, uid).await;
        let left = self.admin.get(&path).await.unwrap();
        assert_eq!(left["metadata"]["deletionTimestamp"], Value::Null);
        opened.said(&self.bob, "Approve").await.unwrap();
        goes(&self.paula, &self.admin, &path).await;
        opened.is("Executed").await;
    }

    async fn deletes(&self, path: &str) {
        goes(&self.eve, &self.admin, path).await;
    }
}

/// Once the webhooks have seen what allows it; gone when this returns, but for a namespace.
async fn goes(who: &Who, admin: &Who, path: &str) {
    let mut last = String::new();
    until("the deletion to be allowed", async || match who.delete(path).await {
        Ok(_) => true,
        Err(refused) => {
            if refused.message != last {
                println!("{path}: {refused}");
                last.clone_from(&refused.message);
            }
            refused.code == 404
        }
    })
    .await;
    found("the target to be going", async || match admin.sees(path).await {
        None => Some(()),
        Some(object) => (!object["metadata"]["deletionTimestamp"].is_null()).then_some(()),
    })
    .await;
}
