//! The small shop to play with, and the old one that the story gets rid of.

use std::time::Duration;

use crate::changes::with_four_eyes;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::people;
use crate::wait::wait_until;

const SHOP: &str = include_str!("../assets/shop.yaml");
const OLD_SHOP: &str = include_str!("../assets/old-shop.yaml");
const LIMIT: Duration = Duration::from_secs(120);

/// Creates what of the shop is missing, and returns when it runs and its claims are bound.
pub fn open(cluster: &Cluster) -> Result<()> {
    create(cluster, "shop", SHOP)?;
    let replicas = "--for=jsonpath={.status.readyReplicas}=2";
    wait(cluster, "shop", &["statefulset/db", replicas])?;
    settle(cluster, "shop")
}

/// The same for the old shop.
pub fn open_old(cluster: &Cluster) -> Result<()> {
    create(cluster, "old-shop", OLD_SHOP)?;
    settle(cluster, "old-shop")
}

/// A namespace that is still going takes nothing new. What runs in it needs an approved change, as everywhere.
fn create(cluster: &Cluster, namespace: &str, manifests: &str) -> Result<()> {
    let what = format!("the namespace {namespace} to be free");
    wait_until(&what, LIMIT, || {
        let apply = || cluster.kubectl_with("admin", &["apply", "-f", "-"], Some(manifests));
        with_four_eyes(cluster, namespace, apply).is_ok_and(|output| output.ok())
    })?;
    people::admit(cluster, namespace)
}

fn settle(cluster: &Cluster, namespace: &str) -> Result<()> {
    wait(cluster, namespace, &["deployment/web", "--for=condition=Available"])?;
    let bound = "--for=jsonpath={.status.phase}=Bound";
    wait(cluster, namespace, &["pvc", "--all", bound])
}

fn wait(cluster: &Cluster, namespace: &str, what: &[&str]) -> Result<()> {
    let args = [&["-n", namespace, "wait", "--timeout=120s"], what].concat();
    cluster.kubectl("admin", &args)?.success(&format!("kubectl {}", args.join(" "))).map(drop)
}
