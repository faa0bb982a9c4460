//! Everything that one look at a workload's record rests on, read live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foureyes_core::api::{ChangeRequest, RolloutRecord, RolloutRecordStatus, SeenOutcome, WorkloadIdentity};
use foureyes_core::digest::DigestError;
use foureyes_core::domain::change::identity_of;
use foureyes_core::domain::policy::{Effective, PolicySet};
use foureyes_core::domain::rollout::keeping::{Word, kept, promised_template};
use foureyes_core::domain::rollout::location::locate;
use foureyes_core::domain::rollout::record::{Noted, Occasion, Place, Seen};
use foureyes_core::domain::rollout::regime::{Regime, Regimes};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;

use crate::cluster::live::ReadError;
use crate::cluster::workloads::{Object, Recorded, Workload};
use crate::controllers::change_requests::{self, Looked};
use crate::controllers::changes::ChangeKey;
use crate::controllers::context::Shared;
use crate::controllers::error::ReconcileError;
use crate::controllers::regimes;

/// What was read.
pub struct Facts<'a> {
    pub workload: &'a WorkloadIdentity,
    pub kind: &'static Recorded,
    /// As it is now, with the digests of the images that run.
    pub live: Option<(Workload, BTreeMap<String, Vec<String>>)>,
    pub record: Option<RolloutRecord>,
    /// The namespace is there, and not going.
    pub stands: bool,
    policies: Arc<PolicySet>,
    effective: Effective,
    occasion: Occasion,
    /// The change that asked for this look.
    change: Option<&'a Looked>,
    /// Others that have a word in it.
    others: Vec<Other>,
    own_namespace: &'a str,
}

/// A change, as far as it had to be read.
enum Other {
    Open(Box<Looked>),
    Ended(Box<ChangeRequest>),
    Gone(ChangeKey),
}

impl Other {
    fn key(&self) -> ChangeKey {
        match self {
            Self::Open(looked) => ChangeKey::of(&looked.facts.request),
            Self::Ended(request) => ChangeKey::of(request),
            Self::Gone(key) => key.clone(),
        }
    }
}

/// Reads it; nothing where no record is kept.
pub async fn gather<'a>(
    context: &'a Shared,
    workload: &'a WorkloadIdentity,
    change: Option<&'a Looked>,
) -> Result<Option<Facts<'a>>, ReconcileError> {
    let Some(kind) = Recorded::of(workload) else { return Ok(None) };
    let live = &context.live;
    let name = workload.record_name();
    let (namespace, record) = tokio::try_join!(live.namespace(&workload.namespace), live.record(&name))?;
    if record.as_ref().is_some_and(|record| record.spec.workload != *workload) {
        let why = format!("{name} is not about {workload}");
        return Err(ReadError::Malformed { what: "RolloutRecord", why }.into());
    }
    let policies = context.policies.load_full();
    let labels = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.clone()).unwrap_or_default();
    let effective = policies.effective(&labels).map_err(ReconcileError::Policy)?;
    let Some(occasion) = occasion(context, &policies, namespace.as_ref()).await? else { return Ok(None) };
    let stands = namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
    let mut facts = Facts {
        workload,
        kind,
        live: seen(context, workload, kind).await?,
        record,
        stands,
        policies,
        effective,
        occasion,
        change,
        others: Vec::new(),
        own_namespace: &context.namespace,
    };
    let awaited = facts.before().entries.into_iter().filter(|entry| entry.outcome == SeenOutcome::NotSeen);
    let promised = awaited.filter_map(|entry| ChangeKey::parse(&entry.change?));
    let mut keys: BTreeSet<ChangeKey> = promised.collect();
    keys.extend(context.changes().about(workload));
    for key in keys {
        facts.learn(context, key).await?;
    }
    Ok(Some(facts))
}

/// Why it is looked at; nothing where it is not governed. Of a namespace that is gone nothing is seen any more.
async fn occasion(
    context: &Shared,
    policies: &PolicySet,
    namespace: Option<&Namespace>,
) -> Result<Option<Occasion>, ReconcileError> {
    let Some(namespace) = namespace else { return Ok(Some(Occasion::Change)) };
    let meta = &namespace.metadata;
    let labels = meta.labels.clone().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let regime = Regime::of(policies, name, &labels).map_err(ReconcileError::Policy)?;
    if regime == Regime::Ungoverned {
        return Ok(None);
    }
    let noted = regimes::noted(&context.live.state().await?)?;
    Ok(Some(Regimes::occasion(noted.as_ref(), meta.uid.as_deref().unwrap_or_default(), regime)))
}

async fn seen(
    context: &Shared,
    workload: &WorkloadIdentity,
    kind: &Recorded,
) -> Result<Option<(Workload, BTreeMap<String, Vec<String>>)>, ReconcileError> {
    let Object::Is(object) = context.live.object(workload, kind.version).await? else { return Ok(None) };
    let Some(location) = locate(kind.group, kind.kind, &[]) else { return Ok(None) };
    match Workload::of(kind.kind, &object, &location) {
        Ok(read) => {
            let ids = context.live.image_ids(&workload.namespace, &read).await?;
            Ok(Some((read, ids)))
        }
        Err(error) => {
            tracing::warn!(%workload, %error, "what runs can't be put on record");
            Ok(None)
        }
    }
}

impl Facts<'_> {
    /// What the record said.
    pub fn before(&self) -> RolloutRecordStatus {
        self.record.as_ref().and_then(|record| record.status.clone()).unwrap_or_default()
    }

    /// Reads a change that may have a word in it, unless that was done.
    async fn learn(&mut self, context: &Shared, key: ChangeKey) -> Result<(), ReconcileError> {
        let asking = self.change.is_some_and(|looked| ChangeKey::of(&looked.facts.request) == key);
        if asking || self.others.iter().any(|other| other.key() == key) {
            return Ok(());
        }
        let other = match context.live.change(&key.namespace, &key.name).await? {
            None => Other::Gone(key),
            Some(request) if change_requests::is_ended(&request) => Other::Ended(Box::new(request)),
            Some(request) => Other::Open(Box::new(change_requests::look(context, request).await?)),
        };
        self.others.push(other);
        Ok(())
    }

    /// Looks for changes about this workload that are not known from the watch yet; whether there are any.
    pub async fn learn_more(&mut self, context: &Shared) -> Result<bool, ReconcileError> {
        let before = self.others.len();
        let (workload, own) = (self.workload, self.own_namespace);
        let about = |request: ChangeRequest| {
            let mut targets = request.spec.targets.iter();
            let named = targets.any(|target| identity_of(&request, target, own).as_ref() == Some(workload));
            (named && !change_requests::is_ended(&request)).then(|| ChangeKey::of(&request))
        };
        for place in BTreeSet::from([workload.namespace.as_str(), own]) {
            for key in context.live.changes(place, about).await? {
                self.learn(context, key).await?;
            }
        }
        Ok(self.others.len() > before)
    }

    /// What the record is to say.
    pub fn decide(&self, now: Timestamp) -> Result<Noted, ReconcileError> {
        let decided = self.words().and_then(|words| {
            let seen = self.live.as_ref().map(|(live, image_ids)| Seen {
                uid: &live.uid,
                generation: live.generation,
                template: &live.template,
                image_ids: image_ids.clone(),
                executor: live.by.as_deref(),
                controller: live.controller.as_ref(),
            });
            let place = Place { workload: self.workload, policies: &self.policies, effective: &self.effective };
            kept(&self.before(), &words, seen.as_ref(), &place, self.occasion, now)
        });
        decided.map_err(ReconcileError::Digest)
    }

    fn words(&self) -> Result<Vec<Word>, DigestError> {
        let mut words = Vec::new();
        for other in &self.others {
            words.push(match other {
                Other::Open(looked) => self.word(looked)?,
                Other::Ended(request) => {
                    let status = request.status.clone().unwrap_or_default();
                    Word::of(request, &status, false, self.workload, self.own_namespace)
                }
                Other::Gone(key) => Word::of_none(key.to_string()),
            });
        }
        if let Some(looked) = self.change {
            words.push(self.word(looked)?);
        }
        Ok(words)
    }

    fn word(&self, looked: &Looked) -> Result<Word, DigestError> {
        let Looked { facts, plan } = looked;
        let word = Word::of(&facts.request, &plan.status, plan.promises, self.workload, self.own_namespace);
        if !plan.promises {
            return Ok(word);
        }
        let live = self.live.as_ref().map(|(live, _)| &live.template);
        let evidence = facts.evidence(&self.effective);
        let template = promised_template(&evidence, self.workload, live, &self.before())?;
        Ok(Word { template, ..word })
    }
}
