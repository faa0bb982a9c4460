//! Which claims in a namespace that is going were signed off with it.

use foureyes_core::api::{DeletionRequest, Phase};
use foureyes_core::domain::inventory::{ApprovedItems, Inventory, InventoryError};
use jiff::Timestamp;

use crate::controllers::opening::Opening;

/// What the names of requests for leftovers are made from: one for each claim, ever.
pub const OCCASION: &str = "leftover";

/// Whether a request that could be used when the namespace went (`since`) covers all of this.
pub fn is_covered(
    requests: &[DeletionRequest],
    since: Timestamp,
    inventory: &Inventory,
) -> Result<bool, InventoryError> {
    for request in requests.iter().filter(|request| was_usable(request, since)) {
        let approved = request.status.as_ref().and_then(|status| status.inventory.as_ref());
        let approved = approved.map_or("", |inventory| &inventory.packed_uids);
        if inventory.beyond(&ApprovedItems::unpack(approved)?)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether somebody can already sign off what is left, or could: a request that was opened for it once, under one of
/// these names by this account, and has ended is not opened again.
pub fn is_looked_after(requests: &[DeletionRequest], opening: &Opening<'_>, account: &str) -> bool {
    let names: Vec<String> = opening.names().collect();
    let opened = |request: &DeletionRequest| {
        request.metadata.name.as_ref().is_some_and(|name| names.contains(name)) && opening.is_it(request, account)
    };
    requests.iter().any(|request| opened(request) || !phase(request).is_ended())
}

/// The request under which the namespace went, or else any about it.
pub fn root(requests: &[DeletionRequest]) -> Option<&DeletionRequest> {
    let went =
        |request: &&DeletionRequest| matches!(phase(request), Phase::Executing | Phase::Executed | Phase::Closed);
    requests.iter().find(went).or_else(|| requests.first())
}

fn was_usable(request: &DeletionRequest, at: Timestamp) -> bool {
    let Some(status) = &request.status else { return false };
    let (Some(from), Some(until)) = (&status.usable_from, &status.valid_until) else { return false };
    // In whole seconds, as deletionTimestamps are.
    let within = from.0.as_second() <= at.as_second() && at <= until.0;
    within && !matches!(phase(request), Phase::Pending | Phase::Rejected | Phase::Cancelled | Phase::Expired)
}

fn phase(request: &DeletionRequest) -> Phase {
    request.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use foureyes_core::domain::inventory::Claim;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const SIGNED_OFF: &str = "00000000-0000-0000-0000-000000000001";
    const LATER: &str = "00000000-0000-0000-0000-000000000002";

    fn inventory(uid: &str) -> Inventory {
        let claim = Claim { namespace: "shop".into(), name: "a".into(), uid: uid.into(), ..Claim::default() };
        Inventory::of([(&claim, None)])
    }

    fn request(phase: &str) -> DeletionRequest {
        let inventory =
            json!({"digest": "d", "total": 1, "summary": "", "packedUIDs": inventory(SIGNED_OFF).packed().unwrap()});
        let status = json!({"phase": phase, "usableFrom": "2026-11-23T10:00:00Z",
                            "validUntil": "2026-11-24T10:00:00Z", "inventory": inventory});
        let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": "u"});
        serde_json::from_value(json!({
            "apiVersion": "foureyes.dev/v1alpha1", "kind": "DeletionRequest", "metadata": {"name": "one"},
            "spec": {"target": target, "reason": "r"}, "status": status,
        }))
        .unwrap()
    }

    #[rstest]
    #[case("Executing", SIGNED_OFF, "2026-11-23T10:00:00.9Z", true)]
    #[case("Executable", SIGNED_OFF, "2026-11-23T11:00:00Z", true)]
    #[case("Executing", LATER, "2026-11-23T11:00:00Z", false)]
    #[case("Executing", SIGNED_OFF, "2026-11-23T09:59:59Z", false)]
    #[case("Executing", SIGNED_OFF, "2026-11-24T10:00:01Z", false)]
    #[case("Cancelled", SIGNED_OFF, "2026-11-23T11:00:00Z", false)]
    #[case("Pending", SIGNED_OFF, "2026-11-23T11:00:00Z", false)]
    fn covered_is_what_was_signed_off_when_the_namespace_went(
        #[case] phase: &str,
        #[case] uid: &str,
        #[case] since: &str,
        #[case] expected: bool,
    ) {
        let covered = is_covered(&[request(phase)], since.parse().unwrap(), &inventory(uid)).unwrap();
        assert_eq!(covered, expected);
        assert!(!is_covered(&[], since.parse().unwrap(), &inventory(uid)).unwrap());
    }

    #[test]
    fn the_event_goes_to_the_request_under_which_the_namespace_went() {
        let requests = [request("Cancelled"), request("Executing")];
        assert_eq!(root(&requests).map(phase), Some(Phase::Executing));
        assert_eq!(root(&requests[..1]).map(phase), Some(Phase::Cancelled));
    }

    #[test]
    fn a_request_is_opened_once() {
        let opening = |uid: &str| {
            let target = json!({"apiVersion": "v1", "kind": "Namespace", "name": "shop", "uid": uid});
            let target = serde_json::from_value(target).unwrap();
            Opening { target, occasion: OCCASION, reason: String::new() }
        };
        let asked = |phase: &str, author: &str| {
            let mut asked = request(phase);
            asked.metadata.name = opening("u").names().nth(1);
            let requester = json!({"username": author, "at": "2026-11-23T10:00:00Z"});
            asked.spec.requester = Some(serde_json::from_value(requester).unwrap());
            asked
        };
        assert!(is_looked_after(&[asked("Pending", "mallory")], &opening("u"), "us"));
        assert!(is_looked_after(&[asked("Rejected", "us")], &opening("u"), "us"));
        assert!(!is_looked_after(&[asked("Rejected", "mallory")], &opening("u"), "us"));
        assert!(!is_looked_after(&[asked("Rejected", "us")], &opening("another"), "us"));
    }
}
