//! What a rule concludes, and how several conclusions become one.

use foureyes_core::api::Mode;
use foureyes_core::domain::deletion::warned;
use foureyes_core::domain::proof::Proof;
use foureyes_core::domain::refusal::Refusal;

/// Allowed, with proof; perhaps with something to say.
#[derive(Debug)]
pub struct Allowed {
    pub proof: Proof,
    /// One line each.
    pub warnings: Vec<String>,
}

/// What is decided about one review.
pub type Verdict = Result<Allowed, Refusal>;

impl From<Proof> for Allowed {
    fn from(proof: Proof) -> Self {
        Self { proof, warnings: Vec::new() }
    }
}

/// In Warn a refusal is only said; otherwise it stands.
pub fn enforced(verdict: Result<Proof, Refusal>, mode: Mode) -> Verdict {
    match verdict {
        Ok(proof) => Ok(proof.into()),
        Err(refusal) if mode == Mode::Warn => {
            let warnings = vec![format!("foureyes would refuse this: {}", refusal.one_line())];
            Ok(Allowed { proof: warned(&refusal), warnings })
        }
        Err(refusal) => Err(refusal),
    }
}

/// Both must allow; what either has to say is kept, and the proof of the one that had something to decide.
pub fn both(one: Allowed, other: Allowed) -> Allowed {
    let mut warnings = one.warnings;
    warnings.extend(other.warnings);
    let proof = if other.proof.is_harmless() { one.proof } else { other.proof };
    Allowed { proof, warnings }
}
