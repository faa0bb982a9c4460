//! What of a pod template may change without anybody's word: annotations that a policy names, and never those by
//! which another webhook puts containers into the pod.

/// Annotations read by webhooks and runtimes that change what runs in the pod, by the beginning of their keys. What
/// they inject is in no template, so nobody would have seen it.
const SIDECAR_CONTROL: [&str; 37] = [
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "proxy.istio.io/",
    "inject.istio.io/",
    "istio.io/",
    "ambient.istio.io/",
    "linkerd.io/",
    "config.linkerd.io/",
    "config.alpha.linkerd.io/",
    "config.beta.linkerd.io/",
    "viz.linkerd.io/",
    "vault.hashicorp.com/",
    "consul.hashicorp.com/",
    "vault.security.banzaicloud.io/",
    "dapr.io/",
    "kuma.io/",
    "appmesh.k8s.aws/",
    "openservicemesh.io/",
    "sidecar.opentelemetry.io/",
    "instrumentation.opentelemetry.io/",
    "sidecar.jaegertracing.io/",
    "admission.datadoghq.com/",
    "oneagent.dynatrace.com/",
    "metadata-enrichment.dynatrace.com/",
    "operator.1password.io/",
    "azure.workload.identity/",
    "eks.amazonaws.com/",
    "iam.amazonaws.com/",
    "gke-gcsfuse/",
    "tailscale.com/",
    "k8s.v1.cni.cncf.io/",
    "v1.multus-cni.io/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
    "io.kubernetes.cri-o.",
    "cdi.k8s.io/",
];
/// Words in keys of webhooks that are not listed.
const SIDECAR_WORDS: [&str; 2] = ["sidecar", "inject"];

/// Whether another webhook may read this annotation as an order to change the pod. Case does not matter; taking too
/// much for one costs an approval, taking too little costs the protection.
pub fn controls_sidecars(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SIDECAR_CONTROL.iter().any(|prefix| key.starts_with(prefix)) || SIDECAR_WORDS.iter().any(|word| key.contains(word))
}

/// Whether all these annotations, each of which differs, may differ.
pub fn all_free<'a>(free: &[String], mut differing: impl Iterator<Item = &'a str>) -> bool {
    differing.all(|key| free.iter().any(|free| free == key) && !controls_sidecars(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("sidecar.istio.io/inject", true)]
    #[case("linkerd.io/inject", true)]
    #[case("Linkerd.io/Inject", true)]
    #[case("vault.hashicorp.com/agent-image", true)]
    #[case("config.linkerd.io/proxy-image", true)]
    #[case("dapr.io/sidecar-image", true)]
    #[case("example.org/inject-agent", true)]
    #[case("gke-gcsfuse/volumes", true)]
    #[case("checksum/config", false)]
    #[case("reloader.stakater.com/last-reloaded-from", false)]
    #[case("prometheus.io/scrape", false)]
    #[case("team", false)]
    fn annotations_that_put_containers_into_pods(#[case] key: &str, #[case] expected: bool) {
        assert_eq!(controls_sidecars(key), expected);
    }

    #[test]
    fn every_prefix_of_the_table_matches_by_itself() {
        for prefix in SIDECAR_CONTROL {
            assert!(controls_sidecars(&format!("{prefix}x")), "{prefix}");
            assert_eq!(prefix, prefix.to_ascii_lowercase());
        }
    }

    #[test]
    fn only_what_a_policy_names_is_free_and_a_sidecar_never() {
        let free = ["checksum/config".to_owned(), "linkerd.io/inject".to_owned()];
        assert!(all_free(&free, ["checksum/config"].into_iter()));
        assert!(all_free(&free, std::iter::empty()));
        assert!(!all_free(&free, ["checksum/config", "checksum/other"].into_iter()));
        assert!(!all_free(&free, ["linkerd.io/inject"].into_iter()));
    }
}
