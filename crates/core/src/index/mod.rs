//! What decisions look up.
