//! What a rule refuses for everybody alone, and an approved change of exactly that object opens: a looser policy, a
//! namespace that leaves production, our own definitions.

use jiff::Timestamp;

use crate::api::{Action, Author, ChangeTarget, ContentDigest, WorkloadIdentity};
use crate::domain::change::{Content, Evidence, confirm};
use crate::domain::proof::Proof;
use crate::domain::ready;
use crate::domain::refusal::Refusal;
use crate::reason::Code;

/// Something that was refused.
pub struct Closed<'a> {
    pub object: &'a WorkloadIdentity,
    /// For the request that the refusal shows.
    pub api_version: &'a str,
    /// `object/v1:sha256:…` of what it would become; without one it goes.
    pub digest: Option<&'a str>,
    /// The namespace of foureyes.
    pub own_namespace: &'a str,
    pub refusal: Refusal,
}

impl Closed<'_> {
    /// Whether one of these changes, which were read live for this decision, opens it; else the refusal of the most
    /// advanced, or the line that asks for one.
    pub fn opened_by(self, changes: &[Evidence<'_>], author: &Author, now: Timestamp) -> Result<Proof, Refusal> {
        let content = self.digest.map_or(Content::Removal, Content::Object);
        let what = format!("{} was not changed", self.object.text());
        let mut refused = None;
        for evidence in changes {
            match confirm(evidence, self.object, &content, author, &what, now) {
                Ok(proof) => return Ok(proof),
                // A change that is about other content is no help to whoever asks for this.
                Err(refusal) if refusal.code == Code::NotCovered => {}
                Err(refusal) => drop(refused.get_or_insert(refusal)),
            }
        }
        Err(refused.unwrap_or_else(|| self.with_request()))
    }

    fn with_request(self) -> Refusal {
        let object = self.object;
        let (verb, action) = if self.digest.is_some() { ("change", Action::Apply) } else { ("remove", Action::Remove) };
        // A namespace is judged in itself; whatever else has none, in that of foureyes.
        let home = match object.namespace.as_str() {
            "" if object.group.is_empty() && object.kind == "Namespace" => &object.name,
            "" => self.own_namespace,
            namespace => namespace,
        };
        let target = ChangeTarget {
            api_version: self.api_version.to_owned(),
            kind: object.kind.clone(),
            namespace: None,
            name: object.name.clone(),
            action,
            digest: self.digest.and_then(ContentDigest::parse),
            images: None,
        };
        let plain = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        let described: String = self.refusal.sentence.chars().filter(plain).take(1000).collect();
        let described = format!("Refused without a change: {described}");
        self.refusal.next(
            "Somebody who may request changes can ask for it with the line below; a second person then signs it off:",
            ready::change(home, &format!("{verb} {} {}", object.kind, object.name), Some(&described), &target),
        )
    }
}
