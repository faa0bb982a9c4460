//! The definitions of our own kinds: deleting one removes its objects without any review (bypass 6), a doctored schema
//! forges fields (fact 7), and with an owner to nobody it is collected, also through `/status` (facts 8, 31).

use foureyes_core::domain::scope::{definition_changed, definition_deleted};

use serde_json::value::RawValue;

use super::Scene;
use crate::admission::input;
use crate::admission::verdict::Verdict;

pub fn deleted(scene: &Scene<'_>) -> Verdict {
    Ok(definition_deleted(input::name(input::old(scene.request)?)?, scene.author())?.into())
}

pub fn updated(scene: &Scene<'_>) -> Verdict {
    let (old, new) = (input::old(scene.request)?, input::new(scene.request)?);
    let (was, is) = (input::own_metadata(&old.metadata), input::own_metadata(&new.metadata));
    let same_spec = old.spec.map(RawValue::get) == new.spec.map(RawValue::get);
    let going = input::going_since(&old.metadata)?.is_some();
    Ok(definition_changed(input::name(old)?, same_spec, (&was, &is), going, scene.author())?.into())
}
