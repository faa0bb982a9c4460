//! Events: what people who wait are told.
//!
//! kube's recorder drops a second note under the same reason for six minutes and forgets what it said at a restart.
//! Here the name of an event is made from what it says about which version of its object: said twice, it is one event.

use std::time::Duration;

use foureyes_core::digest::hex;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use sha2::{Digest as _, Sha256};

use super::apply;
use super::client::CallError;
use crate::clock;

/// Time for one event: what it is about must not wait long for it.
const CALL: Duration = Duration::from_secs(1);
/// Bytes that the API server takes in a note.
const NOTE: usize = 1024;
/// Events about cluster-scoped objects live here.
const NAMESPACE: &str = "default";

/// What is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Something went otherwise than asked for.
    pub warning: bool,
    /// One CamelCase word.
    pub reason: &'a str,
    /// What was being done, one CamelCase word.
    pub action: &'a str,
    /// A sentence, and a command where one helps.
    pub note: &'a str,
}

/// Tells people things.
#[derive(Clone)]
pub struct Events {
    client: Client,
    /// Which process speaks.
    instance: String,
}

impl Events {
    /// Speaks as this process.
    pub fn new(client: Client) -> Self {
        let instance = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        Self { client, instance: instance.unwrap_or_else(|| "foureyes-controller".to_owned()) }
    }

    /// Says it about this version of an object. What was already said about it is not said again.
    pub async fn tell<K>(&self, about: &K, told: Told<'_>) -> Result<(), CallError>
    where
        K: Resource<DynamicType = ()>,
    {
        let event = self.event(about, told);
        let api: Api<Event> =
            Api::namespaced(self.client.clone(), event.metadata.namespace.as_deref().unwrap_or(NAMESPACE));
        apply::create(&api, &event, CALL).await?;
        Ok(())
    }

    fn event<K: Resource<DynamicType = ()>>(&self, about: &K, told: Told<'_>) -> Event {
        let regarding: ObjectReference = about.object_ref(&());
        let said = [
            regarding.uid.as_deref().unwrap_or_default(),
            regarding.resource_version.as_deref().unwrap_or_default(),
            told.reason,
            told.note,
        ];
        let hash = Sha256::digest(said.join("\n"));
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", prefix(&about.name_any()), &hex(&hash)[..16])),
                namespace: Some(regarding.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned())),
                ..ObjectMeta::default()
            },
            type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(told.reason.to_owned()),
            action: Some(told.action.to_owned()),
            note: Some(within(told.note, NOTE).to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some("foureyes.dev/controller".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            event_time: Some(MicroTime(clock::now())),
            ..Event::default()
        }
    }
}

/// Leaves room for the hash within the 253 characters of a name.
fn prefix(name: &str) -> &str {
    within(name, 200).trim_end_matches(['.', '-'])
}

/// At most so many bytes, and whole characters.
fn within(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(within("aé", 2), "a");
        assert_eq!(within("aé", 3), "aé");
        assert_eq!(within("", 3), "");
        assert_eq!(prefix(&"x-".repeat(150)).len(), 199);
    }
}
