//! Admission policies, as the API server has them.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::live::{Live, ReadError};

/// All that there are.
#[derive(Clone, Debug, Default)]
pub struct AdmissionPolicies {
    pub policies: Vec<Value>,
    pub bindings: Vec<Value>,
}

impl Live {
    /// Every admission policy and binding.
    pub async fn admission_policies(&self) -> Result<AdmissionPolicies, ReadError> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client().clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client().clone());
        let (policies, bindings) = tokio::try_join!(
            self.list("admission policies", &policies, ListParams::default(), |policy| json!(policy)),
            self.list("admission policy bindings", &bindings, ListParams::default(), |binding| json!(binding)),
        )?;
        Ok(AdmissionPolicies { policies, bindings })
    }
}
