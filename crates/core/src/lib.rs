//! What foureyes knows and decides, without touching anything: the kinds ([`api`]), the decisions ([`domain`]),
//! what decisions look up ([`index`]), and the proofs they rest on ([`digest`], [`seal`]).
//!
//! Nothing here awaits, opens a connection or reads a clock: `now` is always passed in.

pub mod api;
pub mod digest;
pub mod domain;
pub mod index;
pub mod reason;
pub mod seal;
