//! Everything that a decision about one retention rests on, read live.

use std::collections::BTreeSet;

use foureyes_core::api::{Keeper, SeenKeeper, Target, TargetKind};
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::retention::keepers::VOLUME;
use foureyes_core::domain::retention::{keepers, place};

use crate::cluster::retentions::Said;
use crate::controllers::context::Shared;
use crate::controllers::error::ReconcileError;

/// What was read.
pub struct Facts {
    pub said: Said,
    /// Each as it is now, in the order of the spec.
    pub keepers: Vec<SeenKeeper>,
    pub effective: Effective,
}

/// Reads it; nothing, if there is no such retention.
pub async fn gather(context: &Shared, name: &str) -> Result<Option<Facts>, ReconcileError> {
    let live = &context.live;
    let Some(said) = live.said_about_retention(name).await? else { return Ok(None) };
    let namespace = match place(&said.retention) {
        "" => None,
        place => live.namespace(place).await?,
    };
    // Of a namespace that is gone nothing is known but what holds everywhere; nothing is released by that.
    let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
    let effective = context.policies.load().effective(&labels).map_err(ReconcileError::Policy)?;
    let spec = &said.retention.spec;
    let volumes = spec.keepers.iter().filter(|keeper| keeper.kind == VOLUME);
    let names: BTreeSet<Box<str>> = volumes.map(|keeper| keeper.name.as_str().into()).collect();
    let volumes = live.volumes(names, Clone::clone).await?;
    let mut keepers = Vec::new();
    for keeper in &spec.keepers {
        keepers.push(match other(keeper) {
            Some(target) => {
                let object = live.target(&target).await?.and_then(|object| serde_json::to_value(object).ok());
                keepers::seen_otherwise(keeper, object.as_ref())
            }
            None => keepers::seen(keeper, volumes.get(keeper.name.as_str())),
        });
    }
    Ok(Some(Facts { said, keepers, effective }))
}

/// A keeper that is no volume, as what can be read.
fn other(keeper: &Keeper) -> Option<Target> {
    let kind = TargetKind::ALL.into_iter().find(|kind| kind.as_str() == keeper.kind && keeper.kind != VOLUME)?;
    Some(Target {
        api_version: format!("{}/v1", kind.group()),
        kind,
        namespace: keeper.namespace.clone(),
        name: keeper.name.clone(),
        uid: keeper.uid.clone(),
    })
}
