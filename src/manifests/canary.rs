//! What the probe asks to delete, always as a dry run: a claim in foureyes' own namespace that is never bound.

use serde_json::json;

use super::{Error, File, names, yaml};

/// The claim. The volume that it asks for does not exist, so that nothing tries to make one.
pub fn file() -> Result<File, Error> {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": names::namespaced(names::CANARY),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
            "storageClassName": "",
            "volumeName": names::CANARY,
        },
    });
    yaml("config/webhook/canary.yaml", [claim])
}
