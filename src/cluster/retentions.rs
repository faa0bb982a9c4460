//! What a decision about a retention rests on.

use foureyes_core::api::{BackupRetention, Identities, SignOff};
use foureyes_core::domain::judgement::Rights;
use foureyes_core::domain::policy::Effective;
use foureyes_core::domain::retention::judge::{Case, rights_needed};
use foureyes_core::domain::retention::place;
use foureyes_core::seal::KeyRing;
use futures::future::try_join;

use super::access::Requests;
use super::live::{Live, ReadError};

/// A retention and what was said about it, read live.
pub struct Said {
    pub retention: BackupRetention,
    sign_offs: Vec<SignOff>,
    ring: KeyRing,
    rights: Rights,
}

impl Said {
    /// What the rule is applied to; `effective` holds in the retention's place.
    pub fn case<'a>(&'a self, identities: &'a Identities, effective: &'a Effective) -> Case<'a> {
        Case {
            retention: &self.retention,
            sign_offs: &self.sign_offs,
            ring: &self.ring,
            identities,
            rights: &self.rights,
            effective,
        }
    }

    /// The keys that seals are proven with.
    pub const fn ring(&self) -> &KeyRing {
        &self.ring
    }
}

impl Live {
    /// The retention of this name with what was said about it.
    pub async fn said_about_retention(&self, name: &str) -> Result<Option<Said>, ReadError> {
        let Some(retention) = self.retention(name).await? else { return Ok(None) };
        let uid = retention.metadata.uid.clone().unwrap_or_default();
        let (ring, sign_offs) = try_join(self.key_ring(), self.sign_offs(&uid)).await?;
        let places = [place(&retention).to_owned()].into();
        let rights = self.rights(&rights_needed(&sign_offs), Requests::Retentions, &places).await?;
        Ok(Some(Said { retention, sign_offs, ring, rights }))
    }
}
