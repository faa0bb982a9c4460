//! One request for all that is wished for in a namespace.

use std::collections::BTreeMap;

use foureyes_core::api::{ChangeRequest, ChangeRequestSpec, ChangeType};
use kube::core::ObjectMeta;

use crate::proposal::{ANNOTATION, Difference, annotation};
use crate::wish::Wish;

/// Joins them, each target with what is known about it.
pub fn joined(home: String, wishes: Vec<Wish>, with_differences: bool) -> ChangeRequest {
    let more = wishes.len().saturating_sub(1);
    let first = wishes.first().map(|wish| wish.title.clone()).unwrap_or_default();
    let title = if more > 0 { format!("{first} and {more} more") } else { first };
    let lines = wishes.iter().filter_map(|wish| Some(format!("{}: {}", wish.target.text(), wish.would_run.as_ref()?)));
    let description: String = shortened(&lines.collect::<Vec<_>>().join("\n"), 8000);
    let differences: Vec<Difference> = wishes
        .iter()
        .enumerate()
        .filter_map(|(target, wish)| Some(Difference { target, patch: wish.difference.clone()? }))
        .filter(|_| with_differences)
        .collect();
    let prefix = wishes.first().map(|wish| wish.target.name.clone()).unwrap_or_default();
    let prefix = prefix.get(..200).unwrap_or(&prefix).trim_end_matches(['.', '-']);
    let annotations = annotation(&differences).map(|text| BTreeMap::from([(ANNOTATION.to_owned(), text)]));
    let metadata = ObjectMeta {
        generate_name: Some(format!("{prefix}-")),
        namespace: Some(home),
        annotations,
        ..ObjectMeta::default()
    };
    let spec = ChangeRequestSpec {
        change_type: ChangeType::Normal,
        title: shortened(&title, 250),
        description: (!description.is_empty()).then_some(description),
        justification: None,
        owner: None,
        ticket: None,
        incident: None,
        source: None,
        targets: wishes.into_iter().map(|wish| wish.target).collect(),
        window: None,
        requester: None,
    };
    ChangeRequest { metadata, spec, status: None }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wish::tests::{runs, wish};

    #[test]
    fn wishes_of_one_namespace_are_one_request() {
        let request = joined("shop".into(), vec![wish("shop", "web"), wish("shop", "db")], true);
        assert_eq!(request.spec.title, "roll out Deployment web and 1 more");
        assert_eq!(
            request.spec.description.as_deref(),
            Some("deployment/web: web web:1 → web:2\ndeployment/db: web web:1 → web:2")
        );
        let annotations = request.metadata.annotations.unwrap();
        let patch = crate::proposal::stated(Some(&annotations), 1).unwrap();
        assert_eq!(runs("web:1").patched(&patch).unwrap().digest(), runs("web:2").digest());
        assert!(joined("shop".into(), vec![wish("shop", "web")], false).metadata.annotations.is_none());
    }
}
