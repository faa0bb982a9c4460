//! Claims with thousands of finalizers or labels: what runs by itself goes on as outside production, and
//! what protects among them is protected.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::support::exempt::{LABEL, disposable};
use crate::support::objects::{bound, claim_of};
use crate::support::spelling::{self, Spelling};
use crate::support::{decisions, denied, me, non_production, production, went};

const GUARDED: &str = "example.com/keep";

fn keys(count: u32, value: &Value) -> Value {
    (0..count).map(|at| (format!("k{at}"), value.clone())).collect::<Map<_, _>>().into()
}

/// Metadata with so many finalizers, labels, or annotations, and one finalizer that protects.
fn metadata(what: &str, count: u32) -> Value {
    let finalizers = |count| (0..count).map(|at| format!("example.com/f{at}")).chain([GUARDED.to_owned()]);
    match what {
        "finalizers" => json!({"finalizers": finalizers(count).collect::<Vec<_>>()}),
        "labels" => json!({"labels": keys(count, &json!("")), "finalizers": [GUARDED]}),
        _ => json!({"annotations": keys(count, &json!("")), "finalizers": [GUARDED]}),
    }
}

fn large(namespace: &str, what: &str, count: u32) -> Value {
    let mut claim = claim_of(namespace, what);
    spelling::merge(&mut claim["metadata"], &metadata(what, count));
    claim
}

/// The quicker of two, for the machine may be busy.
fn annotating(namespace: &str, name: &str) -> Duration {
    let once = |value: &str| {
        let began = Instant::now();
        me("argocd").does(&["-n", namespace, "annotate", "--overwrite", "pvc", name, &format!("note={value}")]);
        began.elapsed()
    };
    once("one").min(once("two"))
}

#[test]
fn writing_a_large_claim_takes_as_long_as_outside_production() {
    let (guarded, free) = (production("large"), non_production("large-free"));
    disposable();
    for (what, count) in [("finalizers", 10_000), ("labels", 30_000)] {
        me("admin").creates(&large(&free, what, count));
        // binding is several updates, each of which would wait for the guard
        bound(&large(&guarded, what, count));
        let (outside, inside) = (annotating(&free, what), annotating(&guarded, what));
        assert!(inside < outside * 2 + Duration::from_secs(2), "{what}: {inside:?}, outside {outside:?}");
    }
    let refused: Vec<_> = decisions::about(&guarded).into_iter().filter(|line| line["verdict"] != "allowed").collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn what_protects_a_claim_is_found_among_thousands_and_among_few() {
    disposable();
    let place = production("large-kept");
    for (what, count) in
        [("finalizers", 5), ("finalizers", 1_000), ("labels", 5), ("labels", 1_000), ("annotations", 1_000)]
    {
        let name = format!("{what}-{count}");
        let mut claim = claim_of(&place, &name);
        spelling::merge(&mut claim["metadata"], &metadata(what, count));
        me("admin").creates(&claim);
        let object = spelling::claim(&place, &name);
        let mut kept: Vec<Value> = object.live()["metadata"]["finalizers"].as_array().unwrap().clone();
        kept.retain(|finalizer| finalizer != GUARDED);
        let off = json!({"metadata": {"finalizers": kept}});
        let exempt = json!({"metadata": {"labels": {LABEL.0: LABEL.1}}});
        for spelling in [Spelling::Merge, Spelling::StatusMerge] {
            denied("FinalizerRemoved", &object.change(&me("admin"), spelling, &off, &[]));
            denied("ExemptionAdded", &object.change(&me("admin"), spelling, &exempt, &[]));
        }
        went(&object.change(&me("eve"), Spelling::Merge, &json!({"metadata": {"labels": {"team": "a"}}}), &[]));
    }
}
