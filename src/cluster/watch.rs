//! Watches that go on for ever: restarted with backoff, each complete state handed over as a whole, and of each
//! object only what the caller keeps.

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Objects a page: bounds the memory of the first reading.
pub const PAGE: u32 = 50;
/// Seconds after which a watch is begun anew where it was. A connection that died silently is noticed 5 s later.
const WATCH_SECONDS: u32 = 60;

/// Pauses between attempts to watch: 0.2, 0.4 … 5 s. kube's own grow beyond 30 s, which is how long nothing would move
/// after the API server is back.
#[derive(Clone, Debug, Default)]
pub struct Pauses(u32);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(200).saturating_mul(1 << self.0.min(10));
        self.0 = self.0.saturating_add(1);
        Some(pause.min(Duration::from_secs(5)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// What a watch saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// One object, new or changed.
    Applied(T),
    /// One object as it last was; it is gone.
    Gone(T),
    /// Everything there is: at the start, and whenever changes may have been missed.
    All(Vec<T>),
}

/// Watches what `api` and the field selector select, and keeps of each object what `keep` makes of it (nothing: the
/// object is passed over). `kind` is for logs.
pub fn watch<K, T, F>(
    api: Api<K>,
    kind: &'static str,
    fields: Option<&str>,
    keep: F,
) -> impl Stream<Item = Seen<T>> + Send + use<K, T, F>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send,
    F: Fn(K) -> Option<T> + Send,
{
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    config.field_selector = fields.map(str::to_owned);
    gathered(watcher(api, config).backoff(Pauses::default()), kind, keep)
}

/// As [`watch`], for kinds of ours: an object that can't be decoded is passed over and does not end the watch of all.
pub fn watch_untyped<K, T, F>(
    api: Api<DynamicObject>,
    kind: &'static str,
    keep: F,
) -> impl Stream<Item = Seen<T>> + Send + use<K, T, F>
where
    K: DeserializeOwned,
    T: Send,
    F: Fn(K) -> T + Send,
{
    watch(api, kind, None, move |object: DynamicObject| {
        let name = object.metadata.name.clone();
        match serde_json::to_value(object).and_then(serde_json::from_value) {
            Ok(decoded) => Some(keep(decoded)),
            Err(error) => {
                tracing::warn!(kind, name, %error, "an object can't be decoded and is passed over");
                None
            }
        }
    })
}

fn gathered<K, T, F>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    kind: &'static str,
    keep: F,
) -> impl Stream<Item = Seen<T>> + Send
where
    K: Send,
    T: Send,
    F: Fn(K) -> Option<T> + Send,
{
    let mut listed = Vec::new();
    events
        .map(move |event| match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                listed.extend(keep(object));
                None
            }
            Ok(Event::InitDone) => Some(Seen::All(std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => keep(object).map(Seen::Applied),
            Ok(Event::Delete(object)) => keep(object).map(Seen::Gone),
            Err(error) => {
                report(kind, &error);
                None
            }
        })
        .filter_map(std::future::ready)
}

/// A watch that ends is the ordinary course of things; one that can't begin is not, unless its kind is not served.
fn report(kind: &str, error: &watcher::Error) {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
            tracing::debug!(kind, "the kind is not served");
        }
        watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_) => {
            tracing::debug!(kind, %error, "a watch ended and is begun anew");
        }
        _ => tracing::warn!(kind, %error, "a watch can't begin"),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn pauses_stay_short_and_begin_anew_after_success() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.next(), Some(Duration::from_millis(200)));
        assert_eq!(pauses.nth(100), Some(Duration::from_secs(5)));
        pauses.reset();
        assert_eq!(pauses.next(), Some(Duration::from_millis(200)));
    }

    fn named(name: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        map
    }

    #[tokio::test]
    async fn a_list_is_handed_over_whole_and_a_broken_one_never() {
        let events = [
            Ok(Event::Init),
            Ok(Event::InitApply(named("a"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(named("b"))),
            Ok(Event::InitApply(named("passed over"))),
            Ok(Event::InitDone),
            Ok(Event::Apply(named("c"))),
            Ok(Event::Delete(named("b"))),
        ];
        let keep = |map: ConfigMap| map.metadata.name.filter(|name| name.len() == 1);
        let seen = pin!(gathered(stream::iter(events), "ConfigMap", keep));
        let seen: Vec<Seen<String>> = seen.collect().await;
        let all = Seen::All(vec!["b".to_owned()]);
        assert_eq!(seen, [all, Seen::Applied("c".to_owned()), Seen::Gone("b".to_owned())]);
    }
}
