//! Who may do what, with the reason for each line: the one place that permissions come from.

use foureyes_core::api::{BREAK_GLASS_GROUP, GROUP};

use crate::manifests::names::{
    CA_SECRET, CANARY, Component, GUARD, INSTALL_CONFIG, KEYS_CONFIG, NAMESPACE, SEALING_KEY_SECRET, STAMP,
    STATE_CONFIG, TLS_SECRET,
};

/// Where a role applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    /// foureyes' own namespace.
    Own,
}

/// Who has a role from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Component(Component),
    Group(&'static str),
    /// An administrator binds it, cluster-wide or in a namespace.
    Nobody,
}

/// One permission.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub group: &'static str,
    pub resources: &'static [&'static str],
    /// Only objects of these names; empty for all.
    pub names: &'static [&'static str],
    pub verbs: &'static [&'static str],
    pub why: &'static str,
}

/// A role and its holder.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub name: &'static str,
    pub scope: Scope,
    pub holder: Holder,
    /// Who it is for, in one sentence.
    pub purpose: &'static str,
    pub rules: &'static [Rule],
}

/// To change what runs, and never to delete.
const ROLL: &[&str] = &["get", "list", "watch", "create", "update", "patch"];
const READ: &[&str] = &["get", "list", "watch"];
const REQUESTS: &[&str] = &["backupretentions", "deletionrequests", "signoffs"];
const KINDS: &[&str] =
    &["backupretentions", "changerequests", "deletionrequests", "rolloutrecords", "safetypolicies", "signoffs"];
const STATUSES: &[&str] = &[
    "backupretentions/status",
    "changerequests/status",
    "deletionrequests/status",
    "rolloutrecords/status",
    "safetypolicies/status",
];
/// The subresource that exists for rights alone: a `*` on the kind does not grant verbs on it (fact 5).
const SIGNOFF: &[&str] = &["backupretentions/signoff", "changerequests/signoff", "deletionrequests/signoff"];
const DATA: &[&str] = &["namespaces", "persistentvolumeclaims", "persistentvolumes"];
const DEFINITIONS: &[&str] = &[
    "backupretentions.foureyes.dev",
    "changerequests.foureyes.dev",
    "deletionrequests.foureyes.dev",
    "rolloutrecords.foureyes.dev",
    "safetypolicies.foureyes.dev",
    "signoffs.foureyes.dev",
];

const READ_DATA: Rule =
    Rule { group: "", resources: DATA, names: &[], verbs: READ, why: "to know what a deletion would lose" };
const KEPT: &str =
    "to know what a request is about that names a snapshot or a backup; only where these kinds are installed";
const READ_SNAPSHOTS: Rule = Rule {
    group: "snapshot.storage.k8s.io",
    resources: &["volumesnapshotcontents", "volumesnapshots"],
    names: &[],
    verbs: &["get", "list"],
    why: "to know which snapshots would go with a namespace, and what a request is about that names one; only where the snapshot API is installed",
};
const READ_GROUP_SNAPSHOTS: Rule = Rule {
    group: "groupsnapshot.storage.k8s.io",
    resources: &["volumegroupsnapshotcontents", "volumegroupsnapshots"],
    verbs: &["get"],
    why: KEPT,
    ..READ_SNAPSHOTS
};
const READ_VELERO: Rule =
    Rule { group: "velero.io", resources: &["backups", "backupstoragelocations"], ..READ_GROUP_SNAPSHOTS };
const READ_VELERO_FILES: Rule = Rule {
    resources: &["podvolumebackups"],
    verbs: &["list"],
    why: "to see of which claims a backup that a request names has the files",
    ..READ_VELERO
};
const READ_K8UP: Rule = Rule { group: "k8up.io", resources: &["snapshots"], ..READ_GROUP_SNAPSHOTS };
const READ_KINDS: Rule = Rule {
    group: GROUP,
    resources: KINDS,
    names: &[],
    verbs: READ,
    why: "requests, sign-offs, records and policies are what decisions rest on",
};
const ASK_RIGHTS: Rule = Rule {
    group: "authorization.k8s.io",
    resources: &["subjectaccessreviews"],
    names: &[],
    verbs: &["create"],
    why: "a sign-off counts only while its author holds the right; asking stores nothing",
};
const READ_CONFIG: Rule = Rule {
    group: "",
    resources: &["configmaps"],
    names: &[INSTALL_CONFIG, KEYS_CONFIG, STATE_CONFIG],
    verbs: &["get", "list", "watch"],
    why: "how this installation starts, the public keys, and whether enforcement has begun",
};
const VIEW: Rule = Rule { why: "to see requests, sign-offs, records and policies", ..READ_KINDS };
const REQUEST: Rule = Rule {
    group: GROUP,
    resources: SIGNOFF,
    names: &[],
    verbs: &["request"],
    why: "to ask for a deletion, a change, or that something is kept; judged in the namespace of what it is about",
};
/// Changes lie in namespaces, so a binding there suffices.
const ASK_FOR_CHANGES: Rule = Rule {
    group: GROUP,
    resources: &["changerequests"],
    names: &[],
    verbs: &["create", "update", "patch", "delete"],
    why: "to ask for a change, to label it as tools do (its spec never changes), and to withdraw one's own; the guard refuses others'",
};
const READ_APPS: Rule = Rule {
    group: "apps",
    resources: &["daemonsets", "deployments", "replicasets", "statefulsets"],
    names: &[],
    verbs: READ,
    why: "to compare what runs with what would run",
};
/// What the controller reads workloads for.
const RECORDS: &str = "to put on record what runs, and to see what became of a change";
/// What it scales workloads for.
const SCALE: &str = "scales to zero what uses something whose deletion is signed off, where its request says so and its requester may do it, and back";
const SCALERS: &str = "to name what scales up again what was scaled down";
const READ_JOBS: Rule = Rule { group: "batch", resources: &["cronjobs"], ..READ_APPS };
const READ_ARGO: Rule = Rule { group: "argoproj.io", resources: &["rollouts"], ..READ_APPS };

/// Every role that is shipped.
pub const ROLES: &[Role] = &[
    Role {
        name: "foureyes-webhook",
        scope: Scope::Cluster,
        holder: Holder::Component(Component::Webhook),
        purpose: "Answers admission reviews; writes nothing.",
        rules: &[READ_DATA, READ_SNAPSHOTS, READ_GROUP_SNAPSHOTS, READ_VELERO, READ_K8UP, READ_KINDS, ASK_RIGHTS],
    },
    Role {
        name: "foureyes-webhook",
        scope: Scope::Own,
        holder: Holder::Component(Component::Webhook),
        purpose: "Reads its certificate and the sealing key by name.",
        rules: &[
            Rule {
                group: "",
                resources: &["secrets"],
                names: &[SEALING_KEY_SECRET, TLS_SECRET],
                verbs: &["get"],
                why: "to seal sign-offs and to serve over TLS",
            },
            READ_CONFIG,
        ],
    },
    Role {
        name: "foureyes-controller",
        scope: Scope::Cluster,
        holder: Holder::Component(Component::Controller),
        purpose: "Moves requests on and says where they stand.",
        rules: &[
            READ_DATA,
            READ_SNAPSHOTS,
            READ_GROUP_SNAPSHOTS,
            READ_VELERO,
            READ_VELERO_FILES,
            READ_K8UP,
            READ_KINDS,
            Rule { why: RECORDS, ..READ_APPS },
            Rule { why: RECORDS, ..READ_JOBS },
            Rule { why: RECORDS, ..READ_ARGO },
            Rule {
                group: "",
                resources: &["pods", "replicationcontrollers"],
                names: &[],
                verbs: READ,
                why: "to see who still uses what shall be deleted, to put on record which digest a tag turned out to be, and to see what became of a change",
            },
            Rule {
                group: "",
                resources: &["persistentvolumes"],
                names: &[],
                verbs: &["patch"],
                why: "puts volumes on Retain before their claims may go, and back when they stay",
            },
            Rule {
                group: "apps",
                resources: &["deployments/scale", "replicasets/scale", "statefulsets/scale"],
                names: &[],
                verbs: &["patch"],
                why: SCALE,
            },
            Rule { group: "argoproj.io", resources: &["rollouts/scale"], names: &[], verbs: &["patch"], why: SCALE },
            Rule {
                group: "batch",
                resources: &["cronjobs"],
                names: &[],
                verbs: &["patch"],
                why: "suspends CronJobs in the same way; their templates are guarded against it as against everybody",
            },
            Rule {
                group: "autoscaling",
                resources: &["horizontalpodautoscalers"],
                names: &[],
                verbs: &["list"],
                why: SCALERS,
            },
            Rule { group: "keda.sh", resources: &["scaledobjects"], names: &[], verbs: &["list"], why: SCALERS },
            Rule {
                group: "snapshot.storage.k8s.io",
                resources: &["volumesnapshotcontents"],
                names: &[],
                verbs: &["patch"],
                why: "puts what is behind snapshots on Retain before they may go, and back when they stay",
            },
            Rule {
                group: "apiextensions.k8s.io",
                resources: &["customresourcedefinitions"],
                names: &[],
                verbs: &["get"],
                why: "to see what became of a change of one of ours, also of one that an older or a newer version has",
            },
            Rule {
                group: GROUP,
                resources: STATUSES,
                names: &[],
                verbs: &["patch"],
                why: "status is what it has observed",
            },
            Rule {
                group: GROUP,
                resources: &["backupretentions", "changerequests", "deletionrequests", "rolloutrecords"],
                names: &[],
                verbs: &["create"],
                why: "holds what outlived a deletion, opens the request behind an annotation, one for what a deletion left behind, one for what runs without authorisation, and the record of each workload",
            },
            Rule { why: "the guard asks for this right of whoever opens a request", ..REQUEST },
            Rule {
                group: GROUP,
                resources: &["signoffs"],
                names: &[],
                verbs: &["delete"],
                why: "clears sign-offs after their request is gone",
            },
            Rule {
                group: GROUP,
                resources: &["safetypolicies"],
                names: &[],
                verbs: &["create"],
                why: "creates the policy `default` once, after the installation",
            },
            Rule {
                group: GROUP,
                resources: &["safetypolicies"],
                names: &["default"],
                verbs: &["patch"],
                why: "turns Warn into Deny once, when an observing installation becomes an enforcing one",
            },
            ASK_RIGHTS,
            Rule {
                group: "events.k8s.io",
                resources: &["events"],
                names: &[],
                verbs: &["create"],
                why: "tells people what they wait for",
            },
            Rule {
                group: "admissionregistration.k8s.io",
                resources: &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                names: &[STAMP, GUARD],
                verbs: &["get", "patch"],
                why: "fills in the caBundle, and notes that an approved change lets one go",
            },
            Rule {
                group: "admissionregistration.k8s.io",
                resources: &["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
                names: &[],
                verbs: &["list"],
                why: "to prove that the admission policies of foureyes are there and unchanged",
            },
        ],
    },
    Role {
        name: "foureyes-controller",
        scope: Scope::Own,
        holder: Holder::Component(Component::Controller),
        purpose: "Keeps the webhook's certificate; the two Secrets are shipped empty so that it needs no `create`. Proves that deletions are judged.",
        rules: &[
            Rule {
                group: "",
                resources: &["persistentvolumeclaims"],
                names: &[CANARY],
                verbs: &["delete"],
                why: "asks for the deletion of a canary, which holds nothing, as a dry run: it has to be refused",
            },
            Rule {
                group: "",
                resources: &["secrets"],
                names: &[CA_SECRET, TLS_SECRET],
                verbs: &["get", "patch"],
                why: "renews the authority and the certificate",
            },
            READ_CONFIG,
            Rule {
                group: "",
                resources: &["configmaps"],
                names: &[STATE_CONFIG],
                verbs: &["patch"],
                why: "notes once that enforcement has begun",
            },
        ],
    },
    Role {
        name: "foureyes-keys",
        scope: Scope::Cluster,
        holder: Holder::Component(Component::Keys),
        purpose: "Names the cluster in every seal.",
        rules: &[Rule {
            group: "",
            resources: &["namespaces"],
            names: &["kube-system"],
            verbs: &["get"],
            why: "its UID is the cluster's id",
        }],
    },
    Role {
        name: "foureyes-keys",
        scope: Scope::Own,
        holder: Holder::Component(Component::Keys),
        purpose: "Makes and rotates the sealing key; a Job that runs for seconds, the only one with rights on it.",
        rules: &[
            Rule {
                group: "",
                resources: &["secrets"],
                names: &[],
                verbs: &["create"],
                why: "creates the sealing key; RBAC can't limit this by name",
            },
            Rule {
                group: "",
                resources: &["secrets"],
                names: &[SEALING_KEY_SECRET],
                verbs: &["get", "update"],
                why: "rotates it",
            },
            Rule {
                group: "",
                resources: &["configmaps"],
                names: &[KEYS_CONFIG],
                verbs: &["get", "patch"],
                why: "publishes the public keys",
            },
        ],
    },
    Role {
        name: "foureyes-authenticated",
        scope: Scope::Cluster,
        holder: Holder::Group("system:authenticated"),
        purpose: "A RoleBinding can't grant creation of cluster-scoped objects, so everybody may, and the guard says who really may.",
        rules: &[
            Rule {
                group: GROUP,
                resources: REQUESTS,
                names: &[],
                verbs: &["create", "get", "list", "watch"],
                why: "to ask, to sign off, to have something kept, and to see what became of it",
            },
            Rule {
                group: GROUP,
                resources: REQUESTS,
                names: &[],
                verbs: &["delete"],
                why: "to withdraw one's own, and to clear a retention that keeps nothing any more; the guard refuses everything else",
            },
        ],
    },
    Role {
        name: "foureyes-viewer",
        scope: Scope::Cluster,
        holder: Holder::Nobody,
        purpose: "People who want to see what is protected and what is asked for.",
        rules: &[VIEW],
    },
    Role {
        name: "foureyes-requester",
        scope: Scope::Cluster,
        holder: Holder::Nobody,
        purpose: "People who may ask for deletions and changes.",
        rules: &[REQUEST, ASK_FOR_CHANGES, VIEW],
    },
    Role {
        name: "foureyes-approver",
        scope: Scope::Cluster,
        holder: Holder::Nobody,
        purpose: "People who may sign off somebody else's request, and look at a deletion afterwards.",
        rules: &[
            Rule {
                group: GROUP,
                resources: SIGNOFF,
                names: &[],
                verbs: &["approve"],
                why: "to sign off, and to let go of what is kept; judged in the namespace of what it is about, now and again when it is used",
            },
            Rule {
                group: GROUP,
                resources: &["deletionrequests/signoff"],
                names: &[],
                verbs: &["supervise"],
                why: "to say after a deletion that it went as it should; whoever looked before looks again",
            },
            VIEW,
            Rule { why: "to look at what would be lost before signing it off", ..READ_DATA },
            READ_APPS,
            READ_JOBS,
            READ_ARGO,
        ],
    },
    Role {
        name: "foureyes-responder",
        scope: Scope::Cluster,
        holder: Holder::Nobody,
        purpose: "People on call: they may ask, use an Emergency change at once, and see everything.",
        rules: &[
            REQUEST,
            Rule {
                group: GROUP,
                resources: &["changerequests/signoff"],
                names: &[],
                verbs: &["expedite"],
                why: "to use an Emergency change before anybody has signed it off; it leaves a bill",
            },
            ASK_FOR_CHANGES,
            VIEW,
            Rule { why: "to see what an incident touches", ..READ_DATA },
            READ_APPS,
            READ_JOBS,
            READ_ARGO,
        ],
    },
    Role {
        name: "foureyes-restorer",
        scope: Scope::Cluster,
        holder: Holder::Nobody,
        purpose: "People who may undo a deletion. Whoever may patch volumes may give them to other claims, and may have one deleted that nothing holds: for few.",
        rules: &[
            Rule {
                group: "",
                resources: &["persistentvolumes"],
                names: &[],
                verbs: &["get", "list", "patch"],
                why: "to find the volume that was kept, and to reserve it for the claim that it was; what is patched RBAC can't limit",
            },
            Rule {
                group: "",
                resources: &["persistentvolumeclaims", "namespaces"],
                names: &[],
                verbs: &["get", "create"],
                why: "to create what went, and to see that it is back; never to change or delete what is there",
            },
        ],
    },
    Role {
        name: "foureyes-breakglass",
        scope: Scope::Cluster,
        holder: Holder::Group(BREAK_GLASS_GROUP),
        purpose: "What an incident needs at once: other workloads, and nothing that holds data. It never signs anything off.",
        rules: &[
            Rule { verbs: ROLL, why: "to roll out what an incident needs, whatever the guard says", ..READ_APPS },
            Rule { verbs: ROLL, why: "the same", ..READ_JOBS },
            Rule { verbs: ROLL, why: "the same", ..READ_ARGO },
            Rule {
                group: "apiextensions.k8s.io",
                resources: &["customresourcedefinitions"],
                names: DEFINITIONS,
                verbs: &["get", "update", "patch", "delete"],
                why: "to upgrade the definitions, or to leave, once a change of them is signed off: with them go every request and sign-off",
            },
            Rule {
                group: "",
                resources: &["namespaces"],
                names: &[NAMESPACE],
                verbs: &["delete"],
                why: "to leave: foureyes' own namespace, and no other",
            },
        ],
    },
];
