//! The webhook's own authority changes while deletions are judged.

use std::time::{Duration, Instant};

use crate::support::{claim, field, kubectl, production, succeeds};

const BUNDLE: &str = "{.webhooks[0].clientConfig.caBundle}";

/// Longer than the controller, the configurations and both webhooks need to follow.
const FOLLOW: Duration = Duration::from_secs(45);

#[test]
fn a_lost_authority_is_replaced_without_a_call_that_fails() {
    let namespace = production("authority");
    claim(&namespace, "data");
    let guard = |path| field("", "validatingwebhookconfiguration", "foureyes-guard", path);
    let served = || field("foureyes-system", "secret", "foureyes-webhook-tls", r"{.data.tls\.crt}");
    let (bundle, certificate) = (guard(BUNDLE), served());
    let lose = r#"{"data":{"ca.key":""}}"#;
    succeeds("admin", &["-n", "foureyes-system", "patch", "secret", "foureyes-ca", "--type=merge", "-p", lose]);

    let end = Instant::now() + FOLLOW;
    while Instant::now() < end {
        let refused = kubectl("eve", &["-n", &namespace, "delete", "pvc", "data", "--dry-run=server"]);
        let text = refused.text();
        assert!(!refused.ok() && !text.contains("failed calling webhook"), "{text}");
    }
    assert_ne!(guard(BUNDLE), bundle);
    assert!(guard(BUNDLE).len() > bundle.len(), "the old authority must stay trusted for a while");
    assert_ne!(served(), certificate);
    let entries = guard("{.webhooks[*].clientConfig.caBundle}");
    assert!(entries.split_whitespace().all(|entry| entry == guard(BUNDLE)));
}
