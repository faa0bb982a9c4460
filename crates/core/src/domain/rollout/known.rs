//! What a workload's record vouches for: which templates may be gone back to, and what named images are exchanged in.

use std::collections::BTreeMap;

use super::free::all_free;
use super::template::{Template, differing};
use crate::api::{RolloutEntry, RolloutRecordStatus};
use crate::digest::{DigestError, Encoding};

/// What decisions need to know of a workload's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Templates that ran under authorisation, the last first, each once.
    pub templates: Box<[Ran]>,
    /// The last of them.
    pub base: Option<Base>,
}

/// A template that ran under authorisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What its digest says: there are thousands, and as text they take three times that.
    digest: [u8; 32],
    /// How many revisions it lies back. Templates that differ by annotations alone are one revision: a free change
    /// pushes nothing out of reach.
    pub back: u32,
}

/// The last template that ran under authorisation, as far as another can be compared with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub shape: Box<str>,
    pub images: BTreeMap<String, String>,
    /// Keys with digests of their values.
    pub annotations: BTreeMap<String, String>,
}

impl Known {
    pub fn of(status: &RolloutRecordStatus) -> Self {
        let good = || status.entries.iter().filter(|entry| entry.is_known_good());
        let (mut templates, mut revisions): (Vec<Ran>, Vec<&RolloutEntry>) = (Vec::new(), Vec::new());
        for entry in good().filter(|entry| entry.template.starts_with(Encoding::Template.as_str())) {
            let same = |other: &&RolloutEntry| is_same_revision(entry, other);
            let back = revisions.iter().position(same).unwrap_or_else(|| {
                revisions.push(entry);
                revisions.len() - 1
            });
            // What is no digest is that of nothing.
            let Some(digest) = bytes(&entry.template) else { continue };
            if !templates.iter().any(|known| known.digest == digest) {
                templates.push(Ran { digest, back: u32::try_from(back).unwrap_or(u32::MAX) });
            }
        }
        Self { templates: templates.into(), base: good().next().and_then(Base::of) }
    }

    /// Whether this template may run again, given how many earlier ones may be gone back to.
    pub fn allows(&self, digest: &str, revisions: u32) -> bool {
        let digest = bytes(digest);
        self.templates.iter().any(|known| Some(known.digest) == digest && known.back <= revisions)
    }
}

/// The bytes of `template/v1:sha256:…`. Only lower case: another spelling is another text.
fn bytes(digest: &str) -> Option<[u8; 32]> {
    let hex = digest.strip_prefix(Encoding::Template.as_str())?.strip_prefix(":sha256:")?;
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

/// Whether two entries differ by annotations at most.
pub fn is_same_revision(one: &RolloutEntry, other: &RolloutEntry) -> bool {
    one.template == other.template || one.shape.is_some() && one.shape == other.shape && one.images == other.images
}

impl Base {
    fn of(entry: &RolloutEntry) -> Option<Self> {
        Some(Self {
            shape: entry.shape.as_deref()?.into(),
            images: entry.images.clone(),
            annotations: entry.annotations.clone(),
        })
    }

    /// What a template is compared by.
    pub fn of_template(template: &Template) -> Result<Self, DigestError> {
        Ok(Self { shape: template.shape()?.into(), images: template.images(), annotations: template.annotations() })
    }

    /// The images that differ, if nothing else does that may not: container, old and new image.
    pub fn exchanged<'a>(&'a self, other: &'a Self, free: &[String]) -> Option<Vec<Exchange<'a>>> {
        let same = self.shape == other.shape
            && self.images.keys().eq(other.images.keys())
            && all_free(free, differing(&self.annotations, &other.annotations).into_iter());
        same.then(|| {
            let pairs = self.images.iter().zip(other.images.values());
            let differ = pairs.filter(|((_, old), new)| old != new);
            differ.map(|((container, old), new)| Exchange { container, old, new }).collect()
        })
    }
}

/// One container's image, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<'a> {
    pub container: &'a str,
    pub old: &'a str,
    pub new: &'a str,
}
