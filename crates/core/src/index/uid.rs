//! UIDs as they are kept by the thousand.

/// A UID: 16 bytes where it is written as the API server writes them, else its text. Two of them are equal exactly if
/// their texts are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    Usual([u8; 16]),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        usual(text).map_or_else(|| Self::Other(text.into()), Self::Usual)
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usual(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{hyphen}{byte:02x}")?;
                }
                Ok(())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Lower case only: another spelling is another text.
fn usual(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut digits = [0; 32];
    let mut next = digits.iter_mut();
    for (at, byte) in text.iter().enumerate() {
        match (at, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => *next.next()? = byte - b'0',
            (_, b'a'..=b'f') => *next.next()? = byte - b'a' + 10,
            _ => return None,
        }
    }
    let (pairs, _) = digits.as_chunks::<2>();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(pairs).for_each(|(byte, [high, low])| *byte = high << 4 | low);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_usual_one_is_small_and_any_other_stays_as_it_is() {
        let text = "0f3b1d53-6d2e-4a77-9a1e-6b58bb1f1c11";
        assert!(matches!(Uid::from(text), Uid::Usual(_)));
        for odd in ["", "uid", &text.to_uppercase(), &text.replace('-', "0"), &text[1..], &format!("{text}0")] {
            assert!(matches!(Uid::from(odd), Uid::Other(_)), "{odd}");
        }
        assert_eq!(size_of::<Uid>(), 24);
    }

    proptest! {
        #[test]
        fn it_gives_back_its_text(text in "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|.{0,40}") {
            prop_assert_eq!(Uid::from(text.as_str()).to_string(), text);
        }
    }
}
