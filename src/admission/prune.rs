//! Takes out of a review, before it is read, what no rule looks at and what most of it consists of: managed fields, and
//! annotations that are not ours. Skipping them costs a fraction of parsing them.
//!
//! Only ever leaves out whole members at these places. Whatever is not as the API server writes it is left to the
//! parser as it came, so that nothing is judged by two readings.

use foureyes_core::api::METADATA_PREFIX;

/// A position in the body, and what of it is kept.
struct Pruner<'a> {
    body: &'a [u8],
    at: usize,
    /// Where what has not been copied yet begins.
    kept_from: usize,
    kept: Vec<u8>,
}

/// Where an object of a review is: what its members mean depends on that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Review,
    Request,
    Object,
    Metadata,
    Annotations,
}

impl Place {
    /// The place of a member's value, if there is anything in it to leave out.
    const fn inner(self, key: &[u8]) -> Option<Self> {
        match (self, key) {
            (Self::Review, b"request") => Some(Self::Request),
            (Self::Request, b"object" | b"oldObject") => Some(Self::Object),
            (Self::Object, b"metadata") => Some(Self::Metadata),
            (Self::Metadata, b"annotations") => Some(Self::Annotations),
            _ => None,
        }
    }

    /// Whether a member is left out. A key with an escape may be any key and stays.
    fn leaves_out(self, key: &[u8]) -> bool {
        match self {
            Self::Metadata => key == b"managedFields",
            Self::Annotations => !key.starts_with(METADATA_PREFIX.as_bytes()) && !key.contains(&b'\\'),
            Self::Review | Self::Request | Self::Object => false,
        }
    }
}

/// The body without what nobody reads; `None` if there is nothing to leave out, or if it is not read so easily.
pub fn pruned(body: &[u8]) -> Option<Vec<u8>> {
    let mut pruner = Pruner { body, at: 0, kept_from: 0, kept: Vec::new() };
    pruner.blank();
    pruner.object(Place::Review)?;
    if pruner.kept_from == 0 {
        return None;
    }
    pruner.kept.extend_from_slice(body.get(pruner.kept_from..)?);
    Some(pruner.kept)
}

impl<'a> Pruner<'a> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// An object, from its brace to its brace.
    fn object(&mut self, place: Place) -> Option<()> {
        self.expect(b'{')?;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        // After a member that was left out, its comma goes too: before it, or, of the first one, after it.
        let mut first = true;
        loop {
            let begin = self.at;
            let key = self.key()?;
            let leave_out = place.leaves_out(key);
            self.blank();
            self.expect(b':')?;
            self.blank();
            match place.inner(key) {
                Some(inner) if self.peek()? == b'{' => self.object(inner)?,
                _ => self.skip()?,
            }
            self.blank();
            let next = self.peek()?;
            if leave_out {
                self.leave_out(begin, first, next)?;
            } else {
                first = false;
            }
            self.at += 1;
            match next {
                b',' => self.blank(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Leaves out the member from `begin` to here, where `next` stands.
    fn leave_out(&mut self, begin: usize, first: bool, next: u8) -> Option<()> {
        // The comma before it, or the brace.
        let before = self.body.get(..begin)?.iter().rposition(|byte| matches!(byte, b',' | b'{'))?;
        let (from, to) = match (first, next) {
            (true, b',') => (before + 1, self.at + 1),
            (true, _) => (before + 1, self.at),
            (false, _) => (before, self.at),
        };
        self.kept.extend_from_slice(self.body.get(self.kept_from..from.max(self.kept_from))?);
        self.kept_from = to;
        Some(())
    }

    /// A key, without its quotes and as it is written.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let begin = self.at;
        self.string()?;
        self.body.get(begin..self.at - 1)
    }

    /// To behind the quote that ends the string that has begun.
    fn string(&mut self) -> Option<()> {
        const ONES: u64 = u64::MAX / 255;
        const HIGH: u64 = ONES << 7;
        loop {
            // Eight bytes at a time: a byte that is zero after the exclusive or is the one looked for.
            while let Some(chunk) = self.body.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let word = u64::from_le_bytes(*chunk);
                let (quote, escape) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
                let found = (quote.wrapping_sub(ONES) & !quote | escape.wrapping_sub(ONES) & !escape) & HIGH;
                if found != 0 {
                    self.at += found.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Past a value of any kind.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                    continue;
                }
                b'}' | b']' => {
                    self.at += 1;
                    depth = depth.checked_sub(1)?;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => return None,
                _ => self.scalar(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number or a word.
    fn scalar(&mut self) {
        while self.peek().is_some_and(|byte| !b",:]}\"{[ \n\r\t".contains(&byte)) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn review(metadata: &Value) -> Value {
        json!({"kind": "AdmissionReview", "request": {
            "uid": "u", "managedFields": [1], "annotations": {"a": 1}, "object": null,
            "oldObject": {"managedFields": "x", "metadata": metadata, "spec": {"metadata": {"managedFields": 1}}},
        }})
    }

    /// What is expected of it, said slowly.
    fn without(mut review: Value) -> Value {
        for object in ["object", "oldObject"] {
            let Some(metadata) = review.pointer_mut(&format!("/request/{object}/metadata")) else { continue };
            let Some(metadata) = metadata.as_object_mut() else { continue };
            metadata.remove("managedFields");
            let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
            if let Some(annotations) = annotations {
                annotations.retain(|key, _| key.starts_with(METADATA_PREFIX) || key.contains(['\\', '"', '\n']));
            }
        }
        review
    }

    fn text(review: &Value, pretty: bool) -> Vec<u8> {
        if pretty { serde_json::to_vec_pretty(review) } else { serde_json::to_vec(review) }.unwrap()
    }

    fn agrees(review: &Value) {
        for pretty in [false, true] {
            let body = text(review, pretty);
            let left: Value = serde_json::from_slice(pruned(&body).as_deref().unwrap_or(&body)).unwrap();
            assert_eq!(left, without(review.clone()));
        }
    }

    #[test]
    fn leaves_out_these_members_at_these_places_and_no_others() {
        for metadata in [
            json!({}),
            json!({"name": "n"}),
            json!({"managedFields": []}),
            json!({"managedFields": [{"a": "]}\\\""}], "name": "n"}),
            json!({"annotations": {"a": "1", "foureyes.dev/approved-by": "x", "z": null}, "managedFields": [1], "name": "n"}),
            json!({"annotations": {"foureyes.dev/approved-by": "x", "z": {"deep": []}}, "uid": "u"}),
            json!({"annotations": {"a": "1", "b": "2"}, "labels": {"annotations": "kept", "managedFields": "kept"}}),
            json!({"annotations": null, "managedFields": null}),
            json!({"annotations": "odd"}),
            json!({"annotations": {"quo\"te": "1", "back\\slash": "2", "a": -1.5e3}}),
        ] {
            agrees(&review(&metadata));
        }
    }

    #[test]
    fn a_key_that_is_spelled_with_an_escape_is_left_to_the_parser() {
        let body =
            br#"{"request":{"oldObject":{"metadata":{"annotations":{"\u0066oureyes.dev/approved-by":"x"},"n":1}}}}"#;
        assert_eq!(pruned(body), None);
    }

    #[test]
    fn what_breaks_off_or_is_no_object_is_left_to_the_parser() {
        let body = text(&review(&json!({"managedFields": [{"a": 1}], "annotations": {"a": "1"}})), false);
        for cut in 0..body.len() {
            assert_eq!(pruned(&body[..cut]), None);
        }
        for odd in ["", "5", "[]", "{", "{}", "\"request\"", "{\"request\":,}", "{\"request\":{\"object\":]}}"] {
            assert_eq!(pruned(odd.as_bytes()), None, "{odd}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let key = prop_oneof![
                any::<String>(),
                Just("managedFields".to_owned()),
                Just("annotations".to_owned()),
                Just("foureyes.dev/x".to_owned()),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_what_is_said_slowly(metadata in any_json(), annotations in any_json()) {
            let mut metadata = metadata;
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("annotations".to_owned(), annotations);
            }
            let review = review(&metadata);
            let body = text(&review, false);
            let left: Value = serde_json::from_slice(pruned(&body).as_deref().unwrap_or(&body)).unwrap();
            // Keys that need an escape stay, whichever it is.
            let mut left = without(left);
            let mut slow = without(review);
            for side in [&mut left, &mut slow] {
                let annotations = side.pointer_mut("/request/oldObject/metadata/annotations");
                if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                    annotations.retain(|key, _| key.starts_with(METADATA_PREFIX));
                }
            }
            prop_assert_eq!(left, slow);
        }

        #[test]
        fn survives_any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = pruned(&body);
        }
    }
}
