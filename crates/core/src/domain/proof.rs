//! What an allow rests on. An allow needs proof; only the decisions of this crate can make one.

/// Why something is allowed. Constructors are private to the decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NotGoverned(NotGoverned),
    /// What runs stays what it is.
    Unchanged,
    /// The template is in the workload's record under authorisation; its short digest.
    Recorded(String),
    Delegated(String),
    /// The standard change that fits.
    Standard(String),
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
    /// Rollouts in a system namespace are left alone.
    SystemNamespace,
    /// The workload does not run: nothing goes with it.
    NotRunning,
    /// It goes with its owner or its namespace.
    Collected,
    /// No policy says that this kind contains a pod template.
    NoTemplate,
    /// Nothing that a rule protects is touched.
    Harmless,
    /// Machines rotate the snapshots and backups that they make.
    ByMachine,
    /// No policy names this kind, and no claims go with the object.
    NotNamed,
}

impl Proof {
    pub(crate) const fn not_governed(why: NotGoverned) -> Self {
        Self(Kind::NotGoverned(why))
    }

    /// Whether there was nothing to decide.
    pub const fn is_harmless(&self) -> bool {
        matches!(self.0, Kind::NotGoverned(NotGoverned::Harmless))
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
                NotGoverned::SystemNamespace => "SystemNamespace",
                NotGoverned::NotRunning => "NotRunning",
                NotGoverned::Collected => "Collected",
                NotGoverned::NoTemplate => "NoTemplate",
                NotGoverned::Harmless => "Harmless",
                NotGoverned::ByMachine => "ByMachine",
                NotGoverned::NotNamed => "NotNamed",
            },
            Kind::Unchanged => "Unchanged",
            Kind::Recorded(_) => "Recorded",
            Kind::Delegated(_) => "Delegated",
            Kind::Standard(_) => "Standard",
            Kind::Confirmed(_) => "Confirmed",
            Kind::Own => "Own",
        }
    }

    /// What the proof names: the request that was confirmed, the delegation or the standard change, or the digest that was known.
    pub fn names(&self) -> Option<&str> {
        match &self.0 {
            Kind::Recorded(name) | Kind::Delegated(name) | Kind::Standard(name) | Kind::Confirmed(name) => Some(name),
            Kind::NotGoverned(_) | Kind::Unchanged | Kind::Own => None,
        }
    }
}
