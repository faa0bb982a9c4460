//! `crds/`: the definitions of foureyes' kinds.

use std::collections::BTreeMap;

use foureyes_core::api::{BackupRetention, ChangeRequest, DeletionRequest, RolloutRecord, SafetyPolicy, SignOff};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::{Error, File, documents, names, yaml};

/// Where they lie.
pub const FOLDER: &str = "crds";

/// The definitions, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [
        BackupRetention::crd(),
        ChangeRequest::crd(),
        DeletionRequest::crd(),
        RolloutRecord::crd(),
        SafetyPolicy::crd(),
        SignOff::crd(),
    ]
    .into_iter()
    .map(|mut crd| {
        crd.metadata.labels = Some(names::labels());
        describe(&mut crd);
        crd
    })
    .collect()
}

/// `kubectl explain` shows the words of the spec for the kind itself, instead of the name of a Rust type.
fn describe(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            let spec = schema.properties.as_ref().and_then(|properties| properties.get("spec"));
            schema.description = spec.and_then(|spec| spec.description.clone());
            drop_nulls(schema);
        }
    }
}

/// An optional enum is derived with `null` among its values beside `nullable`; kubectl refuses such a definition.
fn drop_nulls(schema: &mut JSONSchemaProps) {
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        drop_nulls(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_nulls(items);
    }
}

/// All of them as one text, for `foureyes crds`.
pub fn text() -> Result<String, Error> {
    documents(definitions())
}

/// A file for each.
pub fn files() -> Result<Vec<File>, Error> {
    definitions().into_iter().map(|crd| yaml(&format!("{FOLDER}/{}.yaml", crd.spec.names.plural), [crd])).collect()
}
