//! What the webhook does to what is created, with the real key and the real seals.

use foureyes_core::api::{Author, ChangeRequest, DeletionRequest, Requester, SignOff, SignOffSpec};
use foureyes_core::domain::statement::{ApprovalRecord, seal_requester, seal_sign_off, sealed_name, stated};
use foureyes_core::seal::SigningKey;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::{Value, json};

const CLUSTER: &str = "cluster-a";

pub struct Stamp {
    key: SigningKey,
    now: Timestamp,
}

impl Stamp {
    /// It is always `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { key: SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap(), now }
    }

    pub fn at(&self) -> Time {
        stated(self.now)
    }

    pub fn config_map(&self) -> Value {
        let keys = serde_json::to_string(&[self.key.public(self.now)]).unwrap();
        json!({"metadata": {"name": "foureyes-keys"}, "data": {"clusterId": CLUSTER, "keys": keys}})
    }

    /// As stored: with a UID, a time, and the sealed requester on requests, which the controller is.
    pub fn stamped(&self, mut object: Value) -> Value {
        let author = "system:serviceaccount:foureyes-system:foureyes-controller";
        if object["kind"] == "DeletionRequest" {
            let request = serde_json::from_value(object.clone()).unwrap();
            object = serde_json::to_value(self.requested(request, author)).unwrap();
        }
        if object["kind"] == "ChangeRequest" {
            let request = serde_json::from_value(object.clone()).unwrap();
            object = serde_json::to_value(self.change_requested(request, author)).unwrap();
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["metadata"]["uid"] = uid(name).into();
        object["metadata"]["creationTimestamp"] = self.at().0.to_string().into();
        object["metadata"]["generation"] = 1.into();
        object
    }

    pub fn requested(&self, mut request: DeletionRequest, author: &str) -> DeletionRequest {
        let name = request.metadata.name.clone().unwrap();
        request.metadata.uid = Some(uid(&name));
        request.metadata.generation = Some(1);
        request.metadata.creation_timestamp = Some(self.at());
        let author = person(author);
        let seal = seal_requester(&self.key, CLUSTER, &name, &request.spec, &author, &self.at()).unwrap();
        request.spec.requester = Some(Requester { author, at: self.at(), seal: Some(seal) });
        request
    }

    pub fn change_requested(&self, mut request: ChangeRequest, author: &str) -> ChangeRequest {
        let name = request.metadata.name.clone().unwrap();
        request.metadata.uid = Some(uid(&name));
        request.metadata.generation = Some(1);
        request.metadata.creation_timestamp = Some(self.at());
        let (author, sealed) = (person(author), sealed_name(request.metadata.namespace.as_deref(), &name));
        let seal = seal_requester(&self.key, CLUSTER, &sealed, &request.spec, &author, &self.at()).unwrap();
        request.spec.requester = Some(Requester { author, at: self.at(), seal: Some(seal) });
        request
    }

    pub fn signed_off(&self, name: &str, author: &str, spec: SignOffSpec) -> SignOff {
        let spec = SignOffSpec { author: Some(person(author)), at: Some(self.at()), ..spec };
        let seal = seal_sign_off(&self.key, CLUSTER, name, &spec).unwrap();
        let mut sign_off = SignOff::new(name, SignOffSpec { seal: Some(seal), ..spec });
        sign_off.metadata.uid = Some(uid(name));
        sign_off.metadata.creation_timestamp = Some(self.at());
        sign_off
    }

    pub fn annotated(&self, author: &str, uid: &str, digest: &str) -> String {
        let record = ApprovalRecord {
            author: person(author),
            at: MicroTime(self.at().0),
            uid: uid.to_owned(),
            digest: digest.to_owned(),
            seal: None,
        };
        serde_json::to_string(&record.sealed(&self.key, CLUSTER).unwrap()).unwrap()
    }
}

fn person(name: &str) -> Author {
    Author { username: name.to_owned(), ..Author::default() }
}

/// A UID made from a name.
pub fn uid(name: &str) -> String {
    let sum = name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{:08x}-0000-0000-0000-{:012x}", sum >> 32, sum & 0xffff_ffff)
}
