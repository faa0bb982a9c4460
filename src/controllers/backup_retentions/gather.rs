//! Everything that a decision about one retention rests on, read live.

use std::collections::BTreeSet;

use foureyes_core::api::SeenKeeper;
use foureyes_core::domain::policy::Effective;
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
    let names: BTreeSet<Box<str>> = spec.keepers.iter().map(|keeper| keeper.name.as_str().into()).collect();
    let volumes = live.volumes(names, Clone::clone).await?;
    let seen = spec.keepers.iter().map(|keeper| keepers::seen(keeper, volumes.get(keeper.name.as_str())));
    let keepers = seen.collect();
    Ok(Some(Facts { said, keepers, effective }))
}
