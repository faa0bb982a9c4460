//! What an allow rests on. An allow needs proof; only the decisions of this crate can make one.

/// Why something is allowed. Constructors are private to the decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NotGoverned(NotGoverned),
    Delegated(String),
    Confirmed(String),
    Own,
}

/// Why a rule does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGoverned {
    /// Before the first start nothing is enforced.
    NotStarted,
    NonProduction,
    /// The policy says Off.
    SwitchedOff,
    /// The policy says Warn: allowed, and said.
    Warned,
    /// The policy's storage classes or labels exempt the claim.
    Exempt,
    /// A generic ephemeral claim goes with its pod.
    Ephemeral,
    /// A namespace without data.
    Empty,
    /// The object is already going: this request changes nothing.
    AlreadyGoing,
    /// Nothing that a rule protects is touched.
    Harmless,
}

impl Proof {
    pub(crate) const fn not_governed(why: NotGoverned) -> Self {
        Self(Kind::NotGoverned(why))
    }

    /// A word for logs and audit annotations.
    pub fn as_str(&self) -> &'static str {
        match &self.0 {
            Kind::NotGoverned(why) => match why {
                NotGoverned::NotStarted => "NotStarted",
                NotGoverned::NonProduction => "NonProduction",
                NotGoverned::SwitchedOff => "SwitchedOff",
                NotGoverned::Warned => "Warned",
                NotGoverned::Exempt => "Exempt",
                NotGoverned::Ephemeral => "Ephemeral",
                NotGoverned::Empty => "Empty",
                NotGoverned::AlreadyGoing => "AlreadyGoing",
                NotGoverned::Harmless => "Harmless",
            },
            Kind::Delegated(_) => "Delegated",
            Kind::Confirmed(_) => "Confirmed",
            Kind::Own => "Own",
        }
    }

    /// What the proof names: the request that was confirmed, or the delegation.
    pub fn names(&self) -> Option<&str> {
        match &self.0 {
            Kind::Delegated(name) | Kind::Confirmed(name) => Some(name),
            Kind::NotGoverned(_) | Kind::Own => None,
        }
    }
}
