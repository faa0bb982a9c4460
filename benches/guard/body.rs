//! Reviews as the API server sends them: the deletion of a claim that has collected annotations and managed fields.

use std::fmt::Write as _;

/// The claim, and who deletes it.
pub struct Deletion<'a> {
    pub user: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub volume: &'a str,
}

const NOTE: &str = "lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum dolor sit amet \
    lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum dolor sit amet";

impl Deletion<'_> {
    /// The review of the deletion, of exactly this many bytes: a bit more than half of it annotations, nearly all of
    /// the rest managed fields, as in a claim that several controllers have written to.
    pub fn review(&self, bytes: usize) -> Vec<u8> {
        let bare = self.written(0, 0, 0).len();
        let pair = self.written(1, 1, 0).len() - bare;
        // Five annotations of this length weigh as much as three managers.
        let mut managers = bytes.saturating_sub(bare) / pair;
        let mut notes = managers * 5 / 3;
        while managers > 0 && self.written(notes, managers, 0).len() > bytes {
            managers -= 1;
            notes = managers * 5 / 3;
        }
        let pad = bytes.saturating_sub(self.written(notes, managers, 0).len());
        self.written(notes, managers, pad).into_bytes()
    }

    fn written(&self, notes: usize, managers: usize, pad: usize) -> String {
        let Self { user, namespace, name, uid, volume } = self;
        let mut annotations = String::new();
        for number in 0..notes {
            // Writing to a String can't fail.
            let _ = write!(annotations, r#","example.dev/note-{number:02}":"value {number:02} {NOTE}""#);
        }
        let mut managed = String::new();
        for number in 0..managers {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(
                managed,
                r#"{comma}{{"manager":"controller-{number:02}","operation":"Update","apiVersion":"v1","time":"2026-11-01T10:00:{:02}Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:annotations":{{".":{{}},"f:example.dev/note-{number:02}":{{}}}},"f:labels":{{".":{{}},"f:app":{{}}}},"f:finalizers":{{".":{{}},"v:\"kubernetes.io/pvc-protection\"":{{}}}}}},"f:spec":{{"f:accessModes":{{}},"f:resources":{{"f:requests":{{".":{{}},"f:storage":{{}}}}}},"f:volumeName":{{}}}}}}}}"#,
                number % 60
            );
        }
        let pad = "x".repeat(pad);
        let kind = r#"{"group":"","version":"v1","kind":"PersistentVolumeClaim"}"#;
        let resource = r#"{"group":"","version":"v1","resource":"persistentvolumeclaims"}"#;
        format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","kind":{kind},"resource":{resource},"requestKind":{kind},"requestResource":{resource},"name":"{name}","namespace":"{namespace}","operation":"DELETE","userInfo":{{"username":"{user}","groups":["ops","system:authenticated"]}},"object":null,"oldObject":{{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","resourceVersion":"123456","creationTimestamp":"2026-11-01T10:00:00Z","labels":{{"app":"db"}},"annotations":{{"volume.kubernetes.io/storage-provisioner":"rancher.io/local-path","pv.kubernetes.io/bind-completed":"yes"{annotations},"example.dev/pad":"{pad}"}},"finalizers":["kubernetes.io/pvc-protection"],"managedFields":[{managed}]}},"spec":{{"accessModes":["ReadWriteOnce"],"resources":{{"requests":{{"storage":"1Gi"}}}},"volumeName":"{volume}","storageClassName":"standard","volumeMode":"Filesystem"}},"status":{{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{{"storage":"1Gi"}}}}}},"dryRun":false,"options":{{"kind":"DeleteOptions","apiVersion":"meta.k8s.io/v1","propagationPolicy":"Background"}}}}}}"#
        )
    }
}

/// The deletion of a claim that the index of [`crate::index`] governs in one namespace and not in the other.
pub fn deletion_in(namespace: &str) -> Deletion<'_> {
    Deletion { user: "alice", namespace, name: "data-db-0", uid: crate::index::CLAIM, volume: crate::index::VOLUME }
}
