//! Whether the webhook configurations in the cluster are those that were shipped: what a provider or a person has
//! loosened in them, the API server does without a word (F11, F12, bypass 2).

use serde_json::Value;

use super::{Error, guard, stamp};

/// The entry through which the deletion of the canary is judged: where it asks, foureyes answers.
pub const ANSWERED: &str = "claims.guard.foureyes.dev";

/// What decides whether, when and how strictly the API server asks.
const FIELDS: [&str; 10] = [
    "rules",
    "failurePolicy",
    "matchPolicy",
    "namespaceSelector",
    "objectSelector",
    "matchConditions",
    "timeoutSeconds",
    "sideEffects",
    "reinvocationPolicy",
    "admissionReviewVersions",
];

/// One entry of a configuration as it was shipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Shipped {
    /// `claims.guard.foureyes.dev`.
    pub name: String,
    /// Whether it is an entry of the guard or of the stamp.
    pub of_guard: bool,
    entry: Value,
}

/// Every entry that was shipped.
pub fn shipped() -> Result<Vec<Shipped>, Error> {
    let entries = |configuration: serde_yaml_ng::Value, of_guard| {
        let value = serde_yaml_ng::from_value::<Value>(configuration)?;
        let entries = value["webhooks"].as_array().cloned().unwrap_or_default();
        let named = entries.into_iter().map(move |entry| Shipped {
            name: entry["name"].as_str().unwrap_or_default().to_owned(),
            of_guard,
            entry,
        });
        Ok::<_, Error>(named.collect::<Vec<_>>())
    };
    let mut all = entries(serde_yaml_ng::to_value(guard())?, true)?;
    all.extend(entries(serde_yaml_ng::to_value(stamp())?, false)?);
    Ok(all)
}

/// The server of an entry, and the path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    address: String,
    path: String,
}

impl Server {
    fn of(entry: &Value) -> Self {
        let config = &entry["clientConfig"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(url) = config["url"].as_str() {
            let after = url.find("://").map_or(0, |at| at + 3);
            let at = url[after..].find('/').map_or(url.len(), |at| after + at);
            return Self { address: url[..at].to_owned(), path: url[at..].to_owned() };
        }
        let service = &config["service"];
        let port = service["port"].as_i64().unwrap_or(443);
        Self { address: format!("{}/{}:{port}", service["namespace"], service["name"]), path: text(&service["path"]) }
    }

    /// The one that answers about the canary.
    pub fn answering(guard: &Value) -> Option<Self> {
        entry(guard, ANSWERED).map(Self::of)
    }
}

fn entry<'a>(configuration: &'a Value, name: &str) -> Option<&'a Value> {
    configuration["webhooks"].as_array()?.iter().find(|entry| entry["name"] == *name)
}

impl Shipped {
    /// What is otherwise in this configuration; nothing, if it is there as it was shipped, and asks the server that was
    /// seen to answer. Authorities are not compared: they rotate, and without the right one nothing passes.
    pub fn differs(&self, configuration: Option<&Value>, answering: Option<&Server>) -> Option<String> {
        let Some(configuration) = configuration else {
            return Some("its webhook configuration is not there".to_owned());
        };
        let Some(is) = entry(configuration, &self.name) else { return Some("its entry is not there".to_owned()) };
        self.changed(is).or_else(|| {
            let server = Server::of(is);
            let elsewhere = answering.is_some_and(|answering| answering.address != server.address);
            let otherwise = Server::of(&self.entry).path != server.path;
            (elsewhere || otherwise).then(|| "its clientConfig was changed".to_owned())
        })
    }

    fn changed(&self, is: &Value) -> Option<String> {
        let field = FIELDS.iter().find(|field| said(&self.entry[**field]) != said(&is[**field]))?;
        let brief = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        Some(match (brief(&is[*field]), brief(&self.entry[*field])) {
            (is, was) if !is.is_empty() => format!("its {field} is {is}, and not {was}"),
            _ => format!("its {field} was changed"),
        })
    }
}

/// The API server writes empty selectors and lists where there is nothing.
fn said(value: &Value) -> Option<&Value> {
    match value {
        Value::Null => None,
        Value::Object(map) if map.is_empty() => None,
        Value::Array(list) if list.is_empty() => None,
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn claims() -> (Shipped, Value) {
        let claims = shipped().unwrap().into_iter().find(|entry| entry.name == "claims.guard.foureyes.dev").unwrap();
        let mut there = claims.entry.clone();
        there["objectSelector"] = json!({});
        there["clientConfig"] = json!({"url": "https://127.0.0.1:8443/guard", "caBundle": "Zm91ci1leWVz"});
        (claims, there)
    }

    fn after(change: impl FnOnce(&mut Value)) -> Option<String> {
        let (claims, mut there) = claims();
        change(&mut there);
        let answering = Server { address: "https://127.0.0.1:8443".to_owned(), path: "/guard".to_owned() };
        claims.differs(Some(&json!({"webhooks": [{"name": "other"}, there]})), Some(&answering))
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        assert_eq!(after(|_| ()), None);
        assert_eq!(after(|entry| entry["clientConfig"]["caBundle"] = json!("cm90YXRlZA==")), None);
    }

    #[rstest]
    #[case(json!({"url": "https://elsewhere.example.com/guard"}))]
    #[case(json!({"url": "https://127.0.0.1:8443/stamp"}))]
    #[case(json!({"service": {"namespace": "other", "name": "foureyes-webhook", "path": "/guard"}}))]
    fn it_asks_where_the_canary_was_answered(#[case] config: Value) {
        assert_eq!(after(|entry| entry["clientConfig"] = config).as_deref(), Some("its clientConfig was changed"));
    }

    /// As the manifests name it, each entry is asked at the Service.
    #[test]
    fn both_configurations_ask_one_server() {
        let guard = serde_json::to_value(guard()).unwrap();
        let stamp = serde_json::to_value(stamp()).unwrap();
        let answering = Server::answering(&guard);
        for entry in shipped().unwrap() {
            let configuration = if entry.of_guard { &guard } else { &stamp };
            assert_eq!(entry.differs(Some(configuration), answering.as_ref()), None, "{}", entry.name);
        }
    }

    #[rstest]
    #[case("failurePolicy", json!("Ignore"), "its failurePolicy is Ignore, and not Fail")]
    #[case("timeoutSeconds", json!(1), "its timeoutSeconds is 1, and not 5")]
    #[case("rules", json!([]), "its rules was changed")]
    #[case("matchConditions", json!([{"name": "never", "expression": "false"}]), "its matchConditions was changed")]
    #[case("objectSelector", json!({"matchLabels": {"a": "b"}}), "its objectSelector was changed")]
    #[case("namespaceSelector", json!({"matchExpressions": [{"key": "control-plane", "operator": "DoesNotExist"}]}),
        "its namespaceSelector was changed")]
    fn what_decides_is_compared(#[case] field: &str, #[case] value: Value, #[case] words: &str) {
        assert_eq!(after(|entry| entry[field] = value).as_deref(), Some(words));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let (claims, _) = claims();
        assert_eq!(claims.differs(None, None).as_deref(), Some("its webhook configuration is not there"));
        let other = json!({"webhooks": [{"name": "other"}]});
        assert_eq!(claims.differs(Some(&other), None).as_deref(), Some("its entry is not there"));
    }
}
