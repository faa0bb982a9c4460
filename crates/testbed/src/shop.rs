//! The small shop to play with.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::Result;

const SHOP: &str = include_str!("../assets/shop.yaml");
const PATIENCE: &str = "--timeout=120s";
const LIMIT: Duration = Duration::from_secs(120);

/// Creates what of the shop is missing, and returns when it runs and its claims are bound.
pub fn open(cluster: &Cluster) -> Result<()> {
    crate::wait::wait_until("the namespace shop to be free", LIMIT, || {
        cluster.apply(SHOP).is_ok()
    })?;
    let waits: [&[&str]; 3] = [
        &["deployment/web", "--for=condition=Available"],
        &["statefulset/db", "--for=jsonpath={.status.readyReplicas}=2"],
        &["pvc", "--all", "--for=jsonpath={.status.phase}=Bound"],
    ];
    for wait in waits {
        let args = [&["-n", "shop", "wait", PATIENCE], wait].concat();
        cluster
            .kubectl("admin", &args)?
            .success(&format!("kubectl {}", args.join(" ")))?;
    }
    Ok(())
}
