//! The only users of `kube::Client`.

pub mod access;
pub mod client;
pub mod live;
pub mod secrets;
