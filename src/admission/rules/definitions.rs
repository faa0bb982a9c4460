//! The definitions of our own kinds: deleting one removes its objects without any review (bypass 6), and a doctored
//! schema forges fields (fact 7).

use foureyes_core::domain::scope::definition_changed;

use super::Scene;
use crate::admission::input;
use crate::admission::review::Operation;
use crate::admission::verdict::Verdict;

pub fn changed(scene: &Scene<'_>) -> Verdict {
    let name = input::name(input::old(scene.request)?)?;
    let deleted = scene.request.operation == Operation::Delete;
    Ok(definition_changed(name, deleted, scene.author())?.into())
}
