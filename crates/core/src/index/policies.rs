//! From policy objects as the API server has them to one set.

use serde_json::Value;

use crate::api::SafetyPolicy;
use crate::domain::policy::{CompiledPolicy, DEFAULT, PolicySet, Undecodable, compile};
use crate::domain::selector::Selector;

/// One policy object, compiled or known to be unreadable.
pub type PolicyEntry = Result<CompiledPolicy, Undecodable>;

/// Compiles a policy as it was read. What can't be read refuses in the namespaces it selects, in all if its selector
/// can't be read either.
pub fn policy_entry(object: &Value) -> PolicyEntry {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let unreadable = |why: String| {
        // `default` applies everywhere, and with it the lists of who is no second person would be gone.
        let selector = object.pointer("/spec/selector").filter(|_| name != DEFAULT).cloned();
        let selector = selector.and_then(|selector| serde_json::from_value(selector).ok());
        let selector = selector.and_then(|selector| Selector::compile(&selector).ok());
        Undecodable { name: name.clone(), selector, why }
    };
    let policy: SafetyPolicy = serde_json::from_value(object.clone()).map_err(|error| unreadable(error.to_string()))?;
    compile(&policy).map_err(|error| unreadable(error.to_string()))
}

/// Puts entries together.
pub fn policy_set(entries: impl IntoIterator<Item = PolicyEntry>) -> PolicySet {
    let (mut compiled, mut undecodable) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Ok(policy) => compiled.push(policy),
            Err(policy) => undecodable.push(policy),
        }
    }
    PolicySet::new(compiled, undecodable)
}
