//! The fixed vocabulary of condition types and reasons.

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The word as it stands in the object.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

vocabulary!(
    /// Condition types.
    ConditionType {
        /// Enough people have signed off the current content.
        Approved,
        /// What would be lost now is within what was signed off.
        InventoryCurrent,
        /// Nothing has used what would be deleted for long enough (promise 2).
        Quiet,
        /// What used it was scaled down, where that was asked for (promise 2).
        ShutDown,
        /// What would be lost outlives the deletion (promise 3).
        DataKept,
        /// Somebody who did not ask for it says that it went as it should.
        Supervised,
        /// Nobody destroys what a retention keeps.
        Held,
        /// All that a retention keeps is there, or went after it was let go of.
        KeepersIntact,
        /// Nobody's word was needed beforehand, so that it is owed afterwards.
        ReviewOwed,
        /// What decides whether and how strictly the API server asks is as it was shipped, and a canary is kept.
        EnforcementVerified,
        /// The policy could be compiled and is in force.
        Compiled,
    }
);

vocabulary!(
    /// Condition reasons.
    ConditionReason {
        WaitingForSignOff,
        WaitingForSecondPerson,
        SignedOff,
        OnHold,
        Rejected,
        Cancelled,
        Expired,
        TargetGone,
        NoHumanRequester,
        RequesterUnproven,
        Current,
        Grown,
        NotFrozen,
        InForce,
        Undecodable,
        Ended,
        WaitingForWindow,
        WaitingForUse,
        RollingOut,
        RolledOut,
        RolloutFailed,
        RolledBack,
        NotNeeded,
        Expedited,
        Unauthorized,
        InUse,
        Quiescing,
        Unused,
        ScaledDown,
        ScalingDown,
        FoughtBack,
        LeftToPeople,
        Kept,
        NotKept,
        ReviewOwed,
        WaitingForSupervision,
        Overdue,
        Unexpected,
        Remaining,
        Supervised,
        Released,
        KeeperMissing,
        Verified,
        WebhookMissing,
        WebhookChanged,
        WebhookUnreachable,
        PolicyMissing,
        PolicyChanged,
        NotEnforcing,
        Unknown,
    }
);
