//! What keeps the objects in the cluster up to date.

pub mod certificates;
