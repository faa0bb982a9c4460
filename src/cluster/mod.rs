//! The only users of `kube::Client`.

pub mod client;
pub mod secrets;
