//! What scopes protection is not loosened by one person: environments, policies, owners, finalizers, exemptions
//! (bypasses 12, 17, 23; facts 8, 17, 19).

mod claims;
mod environments;
mod large;
mod owners;
mod policies;
