//! The reference page is what `--help` says.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(foureyes_plugin::reference::PATH);
    let current = fs::read_to_string(path).ok() == Some(foureyes_plugin::reference::text());
    assert!(current, "stale; run `cargo run --package foureyes-plugin --example reference` and commit the result");
}
