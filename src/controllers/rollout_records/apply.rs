//! From what was noted to what is written.

use foureyes_core::api::{RolloutRecord, RolloutRecordSpec, RolloutRecordStatus};
use foureyes_core::domain::rollout::record::Noted;
use kube::Api;

use super::gather::Facts;
use super::unauthorised::Unauthorised;
use crate::cluster::apply;
use crate::cluster::status::{self, Read};
use crate::controllers::context::{CALL, Shared};
use crate::controllers::error::ReconcileError;

/// Writes the record if it changed, and then asks somebody to look at what nobody has signed off: the record alone says
/// so again after the process has ended in between.
pub async fn apply(context: &Shared, facts: &Facts<'_>, noted: Noted) -> Result<(), ReconcileError> {
    let before = facts.before();
    if before != noted.status {
        let record = match &facts.record {
            Some(record) => record.clone(),
            None => begun(context, facts).await?,
        };
        write(context, &record, &noted.status).await?;
        if before.how != noted.status.how || before.since != noted.status.since {
            let how = noted.status.how.map(foureyes_core::api::How::as_str);
            tracing::info!(workload = %facts.workload, how, change = noted.status.change, "what runs is on record");
        }
    }
    match noted.drift {
        Some(digest) if facts.stands => Unauthorised::of(facts, &noted.status, &digest).keep(context).await,
        _ => Ok(()),
    }
}

/// Begins a record.
async fn begun(context: &Shared, facts: &Facts<'_>) -> Result<RolloutRecord, ReconcileError> {
    let name = facts.workload.record_name();
    let record = RolloutRecord::new(&name, RolloutRecordSpec { workload: facts.workload.clone() });
    let api: Api<RolloutRecord> = Api::all(context.live.client().clone());
    apply::create(&api, &record, CALL).await.map_err(ReconcileError::write("a record can't be begun"))?;
    // Another look may have been faster: what this one decided from is then not what is there.
    let record = context.live.record(&name).await?.filter(|record| record.status.is_none());
    record.ok_or(ReconcileError::Overtaken("a record"))
}

async fn write(context: &Shared, record: &RolloutRecord, status: &RolloutRecordStatus) -> Result<(), ReconcileError> {
    let meta = &record.metadata;
    let read = Read {
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        resource_version: meta.resource_version.as_deref().unwrap_or_default(),
    };
    let api: Api<RolloutRecord> = Api::all(context.live.client().clone());
    status::write(&api, read, status, CALL).await.map_err(ReconcileError::write("the record can't be written"))
}
