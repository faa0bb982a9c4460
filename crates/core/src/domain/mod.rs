//! Decisions: pure functions over validated types. Whatever time it is, is passed in.
