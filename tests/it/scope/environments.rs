//! Into production is free, out of it is not.

use serde_json::{Value, json};

use crate::support::changes::opened;
use crate::support::floor::add_to_floor;
use crate::support::requests::{delete_claim, deletes_claim, stays};
use crate::support::spelling::{OF_NAMESPACES, Spelling, arrange, namespace};
use crate::support::{
    PATIENCE, account, acting, claim, denied, denied_in_words, field, me, non_production, production, responder,
    storekeeper, wait_gone, went,
};

const LABEL: &str = "foureyes.dev/environment";

fn labelled(value: &str) -> Value {
    json!({"metadata": {"labels": {LABEL: value}}})
}

fn environment(name: &str) -> Value {
    namespace(name).metadata()["labels"].get(LABEL).cloned().unwrap_or_default()
}

#[test]
fn leaving_production_is_refused_in_every_spelling() {
    let name = production("leave");
    claim(&name, "data");
    let object = namespace(&name);
    let away = labelled("non-production");
    for spelling in OF_NAMESPACES {
        denied("EnvironmentLoosened", &object.change(&me("admin"), *spelling, &away, &[]));
        assert_eq!(environment(&name), Value::Null, "{spelling:?}");
    }
    for spelling in [Spelling::Merge, Spelling::Json, Spelling::ServerApply] {
        denied("EnvironmentLoosened", &object.change(&me("admin"), spelling, &away, &["--dry-run=server"]));
    }
    me("admin").cannot("EnvironmentLoosened", &["label", "namespace", &name, &format!("{LABEL}=non-production")]);
    // what the cluster itself may write there is no way out either
    let controller = account("kube-system", "namespace-controller");
    denied("EnvironmentLoosened", &object.change(&controller, Spelling::FinalizePut, &away, &[]));
    // and people with edit may not write namespaces at all (fact 30)
    for person in ["alice", "eve", "argocd"] {
        denied_in_words("cannot patch", &object.change(&me(person), Spelling::Merge, &away, &[]));
    }
    // labels that scope nothing are free in every spelling
    for spelling in OF_NAMESPACES {
        let free = json!({"metadata": {"labels": {"team": format!("{spelling:?}")}}});
        went(&object.change(&me("admin"), *spelling, &free, &[]));
        assert_eq!(object.metadata()["labels"]["team"], format!("{spelling:?}"));
    }
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &name, "data"));
    stays(&name, "data");
}

#[test]
fn a_namespace_is_born_non_production_and_enters_production_freely_but_not_back() {
    let name = non_production("enter");
    for one in ["first", "second"] {
        claim(&name, one);
    }
    went(&delete_claim(&me("eve"), &name, "first"));
    wait_gone(&name, "pvc", "first");
    let object = namespace(&name);
    // production is whatever does not say otherwise
    arrange(&object, &labelled("staging"));
    foureyes_testbed::wait_until("the namespace to be production", PATIENCE, || {
        me("eve").kubectl(&["-n", &name, "delete", "pvc", "second", "--dry-run=server"]).text().contains("[Deletion")
    })
    .unwrap();
    for spelling in OF_NAMESPACES {
        denied("EnvironmentLoosened", &object.change(&me("admin"), *spelling, &labelled("non-production"), &[]));
    }
    arrange(&object, &json!({"metadata": {"labels": {LABEL: null}}}));
    denied("EnvironmentLoosened", &object.change(&me("admin"), Spelling::Merge, &labelled("non-production"), &[]));
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &name, "second"));
    stays(&name, "second");
}

#[test]
fn a_label_that_looks_like_the_way_out_is_pointed_out() {
    let name = production("misspelled");
    claim(&name, "data");
    for (value, said) in [("nonproduction", true), ("NonProduction", true), ("production", false)] {
        let labels = me("admin").kubectl(&["label", "namespace", &name, "--overwrite", &format!("{LABEL}={value}")]);
        went(&labels);
        let warning = format!("Warning: {LABEL}={value}: namespace {name} is production");
        assert_eq!(labels.text().contains(&warning), said, "{value}: {}", labels.text());
    }
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &name, "data"));
}

#[test]
fn a_non_production_namespace_goes_with_its_data() {
    let name = non_production("ends");
    claim(&name, "data");
    me("eve").does(&["delete", "namespace", &name, "--wait=false"]);
    wait_gone("", "namespace", &name);
}

#[test]
fn an_approved_change_leaves_production_in_every_spelling() {
    let name = production("left");
    claim(&name, "data");
    let object = namespace(&name);
    let away = labelled("non-production");
    denied_in_words("cannot", &object.change(&responder(), Spelling::Merge, &away, &[]));
    let glass = acting("dave", &["foureyes:breakglass", "system:masters"]);
    for spelling in OF_NAMESPACES {
        denied("EnvironmentLoosened", &object.change(&glass, *spelling, &away, &[]));
        let change = opened("EnvironmentLoosened", || object.change(&me("admin"), *spelling, &away, &[]));
        assert_eq!(change.namespace, name);
        assert_eq!(environment(&name), "non-production", "{spelling:?}");
        // used up by what was seen, not by the call
        change.is("Succeeded");
        arrange(&object, &json!({"metadata": {"labels": {LABEL: null}}}));
    }
    opened("EnvironmentLoosened", || object.change(&me("admin"), Spelling::Merge, &away, &[]));
    deletes_claim(&me("eve"), &name, "data");
    wait_gone(&name, "pvc", "data");
}

#[test]
fn rules_over_other_labels_say_what_is_production_and_are_kept() {
    let key = format!("example.com/{}", production("rules"));
    let rule = json!({"selector": {"matchLabels": {&key: "dev"}}, "environment": "NonProduction"});
    add_to_floor("/environments", &rule);
    // born so: free, once the rule is known
    let name = production("rules-free");
    claim(&name, "data");
    let object = namespace(&name);
    let dev = json!({"metadata": {"labels": {&key: "dev"}}});
    foureyes_testbed::wait_until("the rule to be in force", PATIENCE, || {
        object.change(&me("admin"), Spelling::Merge, &dev, &["--dry-run=server"]).text().contains("[Environment")
    })
    .unwrap();
    for spelling in OF_NAMESPACES {
        denied("EnvironmentLoosened", &object.change(&me("admin"), *spelling, &dev, &[]));
    }
    assert_eq!(object.metadata()["labels"].get(&key), None);
    denied("DeletionNotRequested", &delete_claim(&me("eve"), &name, "data"));

    let born = format!("{name}-born");
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": born, "labels": {&key: "dev"}}});
    me("admin").creates(&place);
    claim(&born, "data");
    went(&delete_claim(&storekeeper(), &born, "data"));
    wait_gone(&born, "pvc", "data");
    // towards production is free here too, and final
    arrange(&namespace(&born), &json!({"metadata": {"labels": {&key: null}}}));
    denied("EnvironmentLoosened", &namespace(&born).change(&me("admin"), Spelling::Merge, &dev, &[]));
    assert_eq!(field("", "namespace", &born, "{.status.phase}"), "Active");
}
