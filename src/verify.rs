//! `foureyes verify`: who signed off what and when, and whether the seal proves it. No cluster, no clock.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use foureyes_core::api::{API_VERSION, SignOff};
use foureyes_core::domain::statement::prove_sign_off;
use foureyes_core::seal::KeyRing;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize as _;
use serde_json::Value;

use crate::cluster::live::{ReadError, key_ring};
use crate::config::VerifyArgs;

/// What `kubectl get foureyes` lists beside sign-offs.
const OTHER_KINDS: [&str; 2] = ["DeletionRequest", "SafetyPolicy"];

/// Why there was nothing to check.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file.
    #[error("{file}: {source}")]
    File {
        /// Its path.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON, or not the kind that is wanted.
    #[error("{file}: {why}")]
    Content {
        /// Its path.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing to check, which must not pass for a check that was passed.
    #[error("no sign-off in {file}")]
    Empty {
        /// Its path.
        file: String,
    },
    /// The ConfigMap of the keys.
    #[error("{file}: {source}")]
    Keys {
        /// Its path.
        file: String,
        /// What is wrong with it.
        source: ReadError,
    },
}

/// The outcome of one run.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// For people, a paragraph a sign-off.
    pub text: String,
    /// Every sign-off was valid, and there was at least one.
    pub all_valid: bool,
    /// Requests and policies that stood beside the sign-offs.
    pub skipped: usize,
}

/// Reads the keys and the sign-offs and checks each; `-` is standard input.
pub fn run(args: &VerifyArgs) -> Result<Report, VerifyError> {
    let ring = read_keys(&args.keys)?;
    let (mut sign_offs, mut all_skipped) = (Vec::new(), 0);
    for file in &args.signoffs {
        let (found, skipped) = read_sign_offs(file)?;
        if found.is_empty() {
            return Err(VerifyError::Empty { file: shown(file) });
        }
        sign_offs.extend(found);
        all_skipped += skipped;
    }
    Ok(Report { skipped: all_skipped, ..report(&ring, &sign_offs) })
}

/// What the keys say about each sign-off.
pub fn report(ring: &KeyRing, sign_offs: &[SignOff]) -> Report {
    let mut text = String::new();
    let mut valid = 0_usize;
    for sign_off in sign_offs {
        valid += usize::from(describe(ring, sign_off, &mut text));
    }
    // Writing to a String can't fail.
    let _ = writeln!(text, "{valid} of {} valid, by the keys of cluster {}", sign_offs.len(), plain(&ring.cluster_id));
    Report { text, all_valid: valid == sign_offs.len() && valid > 0, skipped: 0 }
}

fn describe(ring: &KeyRing, sign_off: &SignOff, text: &mut String) -> bool {
    let spec = &sign_off.spec;
    let proven = prove_sign_off(ring, sign_off);
    let name = plain(sign_off.metadata.name.as_deref().unwrap_or("(no name)"));
    let _ = match &proven {
        Ok(_) => writeln!(text, "{name}: valid"),
        Err(why) => writeln!(text, "{name}: NOT VALID: {}", plain(&why.to_string())),
    };
    // Said either way: for a forgery it is what the forger claims.
    let claim = if proven.is_ok() { "" } else { " (claimed)" };
    let who = spec.author.as_ref().map_or("nobody", |author| author.username.as_str());
    let groups = spec.author.as_ref().map(|author| author.groups.join(", ")).unwrap_or_default();
    let _ = writeln!(text, "  who   {}{claim}", plain(who));
    if !groups.is_empty() {
        let _ = writeln!(text, "        of {}", plain(&groups));
    }
    let subject = &spec.subject;
    let (says, kind, of, uid) = (spec.says.as_str(), plain(&subject.kind), plain(&subject.name), plain(&subject.uid));
    let _ = writeln!(text, "  what  {says} {kind} {of}, uid {uid}{claim}");
    for (label, value) in [("digest", &spec.digest), ("verified", &spec.verified), ("comment", &spec.comment)] {
        if let Some(value) = value {
            let _ = writeln!(text, "        {label}: {}", plain(value));
        }
    }
    let when = spec.at.as_ref().map_or_else(|| "no time".to_owned(), |at| at.0.to_string());
    let key = spec.seal.as_deref().and_then(|seal| seal.split('.').nth(1)).unwrap_or("no key");
    let _ = writeln!(text, "  when  {when}, sealed by {}{claim}", plain(key));
    proven.is_ok()
}

/// Without what could move a terminal's cursor or fake a line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn read_keys(file: &Path) -> Result<KeyRing, VerifyError> {
    let documents = documents(file, &read(file)?)?;
    let [map] = documents.as_slice() else {
        return Err(content(file, "one ConfigMap is wanted"));
    };
    if map["kind"] != "ConfigMap" {
        return Err(content(file, "a ConfigMap is wanted: kubectl -n foureyes-system get cm foureyes-keys -o yaml"));
    }
    let map = ConfigMap::deserialize(map).map_err(|error| content(file, &error.to_string()))?;
    key_ring(&map).map_err(|source| VerifyError::Keys { file: shown(file), source })
}

/// The sign-offs of a file, and how many objects of our other kinds it has.
fn read_sign_offs(file: &Path) -> Result<(Vec<SignOff>, usize), VerifyError> {
    let (mut found, mut skipped) = (Vec::new(), 0);
    for document in documents(file, &read(file)?)? {
        let items = match &document["items"] {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(&document),
        };
        for item in items {
            if item["apiVersion"] == API_VERSION && OTHER_KINDS.iter().any(|kind| item["kind"] == *kind) {
                skipped += 1;
                continue;
            }
            if item["kind"] != "SignOff" || item["apiVersion"] != API_VERSION {
                return Err(content(file, &format!("a SignOff of {API_VERSION} is wanted, found {}", item["kind"])));
            }
            let sign_off = SignOff::deserialize(item).map_err(|error| content(file, &error.to_string()))?;
            found.push(sign_off);
        }
    }
    Ok((found, skipped))
}

/// Every document of a YAML stream (JSON is YAML) but empty ones.
fn documents(file: &Path, text: &str) -> Result<Vec<Value>, VerifyError> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| content(file, &error.to_string()))?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Result<String, VerifyError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|source| VerifyError::File { file: shown(file), source })
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { PathBuf::from(file).display().to_string() }
}

fn content(file: &Path, why: &str) -> VerifyError {
    VerifyError::Content { file: shown(file), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use foureyes_core::api::{Author, Says, SignOffSpec, Subject};
    use foureyes_core::domain::statement::{seal_sign_off, stated};
    use foureyes_core::seal::SigningKey;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    const NOW: &str = "2026-11-23T10:00:00Z";

    fn key() -> (SigningKey, KeyRing) {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap();
        let ring = KeyRing { cluster_id: "c".to_owned(), keys: vec![key.public(NOW.parse().unwrap())] };
        (key, ring)
    }

    fn signed(key: &SigningKey) -> SignOff {
        let now: Timestamp = NOW.parse().unwrap();
        let mut spec = SignOffSpec {
            subject: Subject {
                kind: "DeletionRequest".to_owned(),
                namespace: None,
                name: "shop-reports".to_owned(),
                uid: "0a8d1c52-0000-4000-8000-000000000001".to_owned(),
            },
            says: Says::Approve,
            digest: Some(format!("subject/v1:sha256:{}", "0".repeat(64))),
            verified: Some("asked the owner".to_owned()),
            comment: None,
            reference: None,
            author: Some(Author { username: "bob".to_owned(), groups: vec!["ops".to_owned()], ..Author::default() }),
            at: Some(stated(now)),
            seal: None,
        };
        spec.seal = Some(seal_sign_off(key, "c", "so-1", &spec).unwrap());
        let mut sign_off = SignOff::new("so-1", spec);
        sign_off.metadata.creation_timestamp = Some(Time(now));
        sign_off
    }

    fn files(ring: &KeyRing, sign_offs: &str) -> (tempdir::Dir, VerifyArgs) {
        let dir = tempdir::Dir::new();
        let keys = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "foureyes-keys" },
            "data": { "clusterId": ring.cluster_id, "keys": json!(ring.keys).to_string() } });
        let args = VerifyArgs {
            keys: dir.write("keys.yaml", &serde_yaml_ng::to_string(&keys).unwrap()),
            signoffs: vec![dir.write("signoffs", sign_offs)],
        };
        (dir, args)
    }

    /// A folder of this test alone, gone at its end.
    mod tempdir {
        use std::path::PathBuf;
        use std::sync::atomic::{AtomicU32, Ordering};

        static NEXT: AtomicU32 = AtomicU32::new(0);

        pub struct Dir(PathBuf);

        impl Dir {
            pub fn new() -> Self {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let path = std::env::temp_dir().join(format!("foureyes-verify-{}-{number}", std::process::id()));
                std::fs::create_dir_all(&path).unwrap();
                Self(path)
            }

            pub fn write(&self, name: &str, text: &str) -> PathBuf {
                let path = self.0.join(name);
                std::fs::write(&path, text).unwrap();
                path
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn a_sealed_sign_off_is_valid_as_yaml_json_list_and_stream() {
        let (key, ring) = key();
        let one = signed(&key);
        let yaml = serde_yaml_ng::to_string(&one).unwrap();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [one, one] }).to_string();
        let stream = format!("{yaml}---\n{yaml}---\n");
        for (text, count) in [(yaml, 1), (json!(one).to_string(), 1), (list, 2), (stream, 2)] {
            let (_dir, args) = files(&ring, &text);
            let report = run(&args).unwrap();
            assert!(report.all_valid, "{}", report.text);
            assert!(report.text.ends_with(&format!("{count} of {count} valid, by the keys of cluster c\n")));
            for word in ["so-1: valid", "bob", "of ops", "Approve DeletionRequest shop-reports", "asked the owner", NOW]
            {
                assert!(report.text.contains(word), "{word} not in {}", report.text);
            }
        }
    }

    #[test]
    fn whatever_is_changed_makes_it_invalid() {
        let (key, ring) = key();
        let good = signed(&key);
        let mut bad = vec![good.clone(); 6];
        bad[0].spec.says = Says::Reject;
        bad[1].spec.author.as_mut().unwrap().username = "eve".to_owned();
        bad[2].metadata.name = Some("so-2".to_owned());
        bad[3].spec.seal = None;
        bad[4].metadata.creation_timestamp = None;
        bad[5].spec.verified = Some("nothing".to_owned());
        for sign_off in bad {
            let report = report(&ring, &[good.clone(), sign_off]);
            assert!(!report.all_valid);
            assert!(report.text.contains("NOT VALID: ") && report.text.contains("1 of 2 valid"), "{}", report.text);
        }
    }

    #[test]
    fn where_there_is_no_sign_off_nothing_was_checked() {
        let (key, ring) = key();
        let others = json!({"apiVersion": "v1", "kind": "List", "items": [other("DeletionRequest")]}).to_string();
        for text in [r#"{"apiVersion":"v1","kind":"List","items":[]}"#, "", "---\n", &others] {
            let (_dir, mut args) = files(&ring, text);
            let why = format!("no sign-off in {}", args.signoffs[0].display());
            assert_eq!(run(&args).unwrap_err().to_string(), why, "{text}");
            // Nor is it beside one that is valid.
            let (_other, valid) = files(&ring, &json!(signed(&key)).to_string());
            args.signoffs.extend(valid.signoffs);
            assert_eq!(run(&args).unwrap_err().to_string(), why, "{text}");
        }
        assert_eq!(VerifyError::Empty { file: shown(Path::new("-")) }.to_string(), "no sign-off in standard input");
    }

    fn other(kind: &str) -> Value {
        json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x"}, "spec": {}})
    }

    #[test]
    fn other_kinds_of_ours_are_skipped_and_counted() {
        let (key, ring) = key();
        let items = [other("DeletionRequest"), json!(signed(&key)), other("SafetyPolicy"), other("DeletionRequest")];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        let (_dir, args) = files(&ring, &list);
        let report = run(&args).unwrap();
        assert_eq!((report.all_valid, report.skipped), (true, 3));
        assert!(report.text.ends_with("1 of 1 valid, by the keys of cluster c\n"), "{}", report.text);
    }

    #[test]
    fn other_kinds_and_nonsense_are_named() {
        let (_, ring) = key();
        for (text, why) in [("kind: Pod\napiVersion: v1\n", "a SignOff of"), ("{", "signoffs"), ("a: [", "signoffs")] {
            let (_dir, args) = files(&ring, text);
            let error = run(&args).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let (key, ring) = key();
        let mut sign_off = signed(&key);
        sign_off.metadata.name = Some("so-1: valid\n\u{1b}[2Kso".to_owned());
        let report = report(&ring, &[sign_off]);
        assert!(!report.text.contains('\u{1b}') && report.text.lines().count() == 8, "{}", report.text);
    }
}
