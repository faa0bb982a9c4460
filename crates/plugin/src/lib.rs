//! `kubectl foureyes`: asks, shows, signs off. It decides nothing: what counts is judged by the guard, and whatever it
//! shows before somebody signs is checked against the digest that they sign.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod deletion;
pub mod dry_run;
pub mod elsewhere;
pub mod error;
pub mod joined;
pub mod keeping;
pub mod kept;
pub mod kinds;
pub mod losing;
pub mod lost;
pub mod output;
pub mod proposal;
pub mod reference;
pub mod refusal;
pub mod request;
pub mod restoring;
pub mod revived;
pub mod timeline;
pub mod using;
pub mod view;
pub mod waiting;
pub mod wish;
