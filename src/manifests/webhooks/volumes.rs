//! Volumes, which have no namespace: asked about where data could go, and never by what provisions, binds and reclaims
//! (fact 22).

use foureyes_core::api::METADATA_PREFIX;
use foureyes_core::domain::retention::guard::VOLUME_PROTECTION;

use super::{Entry, Place, controller};
use crate::manifests::cel;

/// The claim that a volume names.
fn claim_ref(object: &str, field: &str) -> String {
    format!("{object}.spec.?claimRef.?{field}.orValue('')")
}

/// Provisioners and the controllers of the cluster. Other names that begin with `system:` can be people: some clusters give
/// `system:admin` to whoever installs them.
const BY_A_MACHINE: &str = "(request.userInfo.username.startsWith('system:serviceaccount:') || \
                            request.userInfo.username == 'system:kube-controller-manager')";

/// The controllers that finish what has been decided: the volume's claim is gone, and its policy is to go with it.
fn not_reclaimed() -> String {
    format!(
        "!({BY_A_MACHINE} && oldObject.spec.?persistentVolumeReclaimPolicy.orValue('Delete') == 'Delete' && \
         oldObject.?status.?phase.orValue('') in ['Released', 'Failed'])"
    )
}

/// As a provisioner makes it, for the claim that asked for it: new data, which nobody holds.
fn not_provisioned() -> String {
    format!(
        "!({BY_A_MACHINE} && {} != '' && \
         'pv.kubernetes.io/provisioned-by' in object.metadata.?annotations.orValue({{}}))",
        claim_ref("object", "uid")
    )
}

/// Away from Retain.
fn perishable() -> String {
    let policy = |object: &str| format!("{object}.spec.?persistentVolumeReclaimPolicy.orValue('Retain')");
    format!("({} == 'Retain' && {} != 'Retain')", policy("oldObject"), policy("object"))
}

/// The claim that it names is another one, or none; binding fills in what was empty.
fn unreserved() -> String {
    let differs = |field: &str| format!("{} != {}", claim_ref("object", field), claim_ref("oldObject", field));
    let (was, is) = (claim_ref("oldObject", "uid"), claim_ref("object", "uid"));
    format!(
        "({} != '' && ({} || {} || ({was} != '' && {is} != '' && {is} != {was}) || \
         object.spec.?storageClassName != oldObject.spec.?storageClassName))",
        claim_ref("oldObject", "name"),
        differs("namespace"),
        differs("name"),
    )
}

/// The finalizer went that keeps a volume while it is bound, otherwise than by the controller that put it there.
fn unprotected() -> String {
    let has =
        |object: &str| format!("'{VOLUME_PROTECTION}' in {}", cel::list(&format!("{object}.metadata"), "finalizers"));
    format!(
        "(!(request.userInfo.username in {}) && {} && !({}))",
        cel::strings(&controller("pv-protection-controller")),
        has("oldObject"),
        has("object"),
    )
}

pub fn entries() -> Vec<Entry> {
    vec![
        Entry {
            name: "volumes",
            groups: &[""],
            resources: &["persistentvolumes"],
            operations: &["DELETE"],
            place: Place::Everywhere,
            conditions: vec![("not-reclaimed", not_reclaimed())],
        },
        Entry {
            name: "volume-updates",
            groups: &[""],
            resources: &["persistentvolumes", "persistentvolumes/status"],
            operations: &["UPDATE"],
            place: Place::Everywhere,
            conditions: vec![(
                "touches-protection",
                cel::any(&[
                    perishable(),
                    unreserved(),
                    unprotected(),
                    cel::entries_changed("labels", METADATA_PREFIX),
                    cel::entries_changed("annotations", METADATA_PREFIX),
                    cel::owners_added(),
                ]),
            )],
        },
        Entry {
            name: "new-volumes",
            groups: &[""],
            resources: &["persistentvolumes"],
            operations: &["CREATE"],
            place: Place::Everywhere,
            conditions: vec![("not-provisioned", not_provisioned())],
        },
    ]
}
