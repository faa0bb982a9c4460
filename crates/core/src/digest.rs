//! Digests people sign off: `encoding:sha256:…` over sorted-key compact JSON. The encoding always travels with the
//! value, so that digests of different encodings are never compared (design §2).

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Integers beyond this are not exact in every JSON reader: two objects would share one digest (fact 28).
const EXACT: u64 = 1 << 53;
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// What a digest is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A request's spec without what stamp wrote.
    Request,
    /// The sorted data items, and their UIDs packed.
    Inventory,
    /// A request and its inventory together: what a sign-off names.
    Subject,
    /// A pod template, but for restarts.
    Template,
    /// A pod template without images and annotations: equal for what differs by images alone.
    Shape,
    /// A whole object as somebody wrote it.
    Object,
    /// What a retention keeps, and for how long.
    Retention,
}

impl Encoding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request/v1",
            Self::Inventory => "inventory/v1",
            Self::Subject => "subject/v1",
            Self::Template => "template/v1",
            Self::Shape => "shape/v1",
            Self::Object => "object/v1",
            Self::Retention => "retention/v1",
        }
    }
}

/// Why no digest could be made.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    #[error("the number {0} is not exact in every JSON reader")]
    InexactNumber(String),
    #[error("not representable as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The bytes that are hashed or signed: compact JSON, keys sorted.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, DigestError> {
    // `Value` keeps its keys sorted, as serde_json is built without preserve_order (a test says so).
    let value = serde_json::to_value(value)?;
    refuse_inexact(&value)?;
    Ok(serde_json::to_vec(&value)?)
}

/// `encoding:sha256:…` of a value.
pub fn digest<T: Serialize>(encoding: Encoding, value: &T) -> Result<String, DigestError> {
    let hash = Sha256::digest(canonical(value)?);
    Ok(format!("{}:sha256:{}", encoding.as_str(), hex(&hash)))
}

/// As [`digest`], of what is such a tree already.
pub fn digest_of_tree(encoding: Encoding, tree: &Value) -> Result<String, DigestError> {
    refuse_inexact(tree)?;
    digest_sorted(encoding, tree)
}

/// As [`digest`], without the tree that sorts keys and finds numbers: of a value without numbers whose keys come sorted.
pub(crate) fn digest_sorted<T: Serialize>(encoding: Encoding, value: &T) -> Result<String, DigestError> {
    Ok(format!("{}:{}", encoding.as_str(), hash_sorted(value)?))
}

/// `sha256:…` of such a value, for a part of what a digest is over.
pub(crate) fn hash_sorted<T: Serialize>(value: &T) -> Result<String, DigestError> {
    Ok(format!("sha256:{}", hex(&Sha256::digest(serde_json::to_vec(value)?))))
}

/// The first 12 hexadecimal digits, for people to type; empty when there are none.
pub fn short(digest: &str) -> &str {
    digest.rsplit(':').next().and_then(|hex| hex.get(..12)).unwrap_or_default()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Refuses numbers that two readers would read differently.
pub fn refuse_inexact(value: &Value) -> Result<(), DigestError> {
    match value {
        Value::Number(number) => {
            // What is too large for 64 bits is read as a float, and is an integer that lost its last digits.
            let exact = number.as_u64().is_some_and(|n| n <= EXACT)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT)
                || number.is_f64() && number.as_f64().is_some_and(|n| n.abs() < EXACT_FLOAT);
            if exact { Ok(()) } else { Err(DigestError::InexactNumber(number.to_string())) }
        }
        Value::Array(items) => items.iter().try_for_each(refuse_inexact),
        Value::Object(map) => map.values().try_for_each(refuse_inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_whatever_their_order_was() {
        let one: Value = serde_json::from_str(r#"{"b":1,"a":{"d":2,"c":3}}"#).unwrap();
        assert_eq!(canonical(&one).unwrap(), br#"{"a":{"c":3,"d":2},"b":1}"#);
    }

    #[test]
    fn numbers_that_two_readers_would_read_differently_have_no_digest() {
        assert!(digest(Encoding::Request, &json!({"n": 9_007_199_254_740_992_u64})).is_ok());
        assert!(digest(Encoding::Request, &json!({"n": 9_007_199_254_740_993_u64})).is_err());
        assert!(digest(Encoding::Request, &json!({"n": -9_007_199_254_740_993_i64})).is_err());
        for text in ["99999999999999999999", "-99999999999999999999", "9007199254740993.0", "1e300"] {
            let number: Value = serde_json::from_str(text).unwrap();
            assert!(digest(Encoding::Object, &number).is_err(), "{text}");
        }
        assert!(digest(Encoding::Object, &json!(0.5)).is_ok());
    }

    #[test]
    fn a_digest_carries_its_encoding_and_a_short_form() {
        let digest = digest(Encoding::Inventory, &json!([])).unwrap();
        assert!(digest.starts_with("inventory/v1:sha256:"));
        assert_eq!(short(&digest).len(), 12);
        assert_eq!(short("nonsense"), "");
    }
}
