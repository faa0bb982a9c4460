//! The stable reason codes of refusals: what users search for, dashboards count, and tests assert.

macro_rules! codes {
    ($($(#[$group:meta])* $code:ident: $title:literal, $next:literal;)+) => {
        /// Why something was refused. Codes are stable: they may be added to, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $code),+ }

        impl Code {
            /// Every code, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The word that stands in the refusal.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),+ }
            }

            /// What it means, in one sentence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),+ }
            }

            /// What to do next, in one sentence.
            pub const fn what_to_do(self) -> &'static str {
                match self { $(Self::$code => $next),+ }
            }
        }
    };
}

codes! {
    DeletionNotRequested: "What was to be deleted holds data, and no deletion of it has been signed off.", "Let a second person run the command that the refusal shows.";
    SignOffMissing: "A request exists, but not enough people have signed it off.", "Let somebody who may approve run the command that the refusal shows.";
    NotYetExecutable: "The request is signed off; the controller has not released it yet.", "Wait a moment and repeat; if it stays so, see whether the controller runs.";
    DataNotKept: "Nothing can keep some of the data, and the request makes no exception for that.", "Ask anew with spec.retention.exception; two people sign it off.";
    RetentionTooShort: "The request would have the data kept for fewer days than the policy allows at all.", "Ask for at least as many days as the policy's floor.";
    SecondPersonNeeded: "The only person who approved this deletion tried to execute it.", "Let somebody else delete, or let a second person approve.";
    OnHold: "Somebody put the request on hold with a question.", "Answer the question; its author withdraws the hold by deleting that sign-off.";
    RequestEnded: "The request was rejected, cancelled, or has expired.", "Create a new request.";
    InventoryGrown: "There is data now that was not there when the deletion was signed off.", "Create a new request, so that somebody looks at all of it.";
    InventoryUnknown: "It could not be established what would be lost.", "Repeat in a moment; if it stays so, see the webhook's log.";
    EnvironmentLoosened: "A namespace would leave production, which takes its protection away.", "Ask for it with the line that the refusal shows; a second person signs it off.";
    ExemptionAdded: "A label would make a claim exempt from protection.", "Claims are exempt from birth or not at all: recreate it, or request its deletion.";
    OwnerAdded: "A new owner would let the claim be collected with it.", "Name the operator in the policy's delegations, or create the claim with its owner.";
    KeptForLess: "A snapshot, a backup or claims would be kept for a shorter time, or could be lost at once.", "Ask for it with the line that the refusal shows; a second person signs it off.";
    ClaimsCollected: "Claims would be collected with what was to be deleted.", "Ask for the deletion of these claims first; once they may go, so may what owns them.";
    FinalizerRemoved: "A finalizer that protects data would be removed.", "Let the controller that set it remove it, or request the deletion.";
    IdentityForged: "Fields that foureyes writes itself were already filled in, or were changed.", "Leave author, requester, at, seal and the record annotation out.";
    IdentityUnusable: "The caller's identity is empty or ambiguous.", "Authenticate with a username that is not empty and has no control characters.";
    NotAPerson: "Only a person can sign off; this is a machine or a shared account.", "Sign off with your own account.";
    SelfApproval: "Nobody signs off their own request.", "Let a second person do it.";
    RightMissing: "The right to do this in the target's namespace is missing.", "Ask for one of the roles foureyes-requester or foureyes-approver there.";
    DigestStale: "The digest is missing, or is not that of the current content.", "Look again, and repeat with the current digest that the refusal shows.";
    AlreadySaid: "What would be said was said already, and counts: an approval by the same person, or by annotation on the same object.", "See the approval that the refusal names: a second person signs the request off, or its author withdraws it first.";
    RequestInvalid: "A request or a sign-off has a field that can't be read.", "Correct the field that the refusal names.";
    SubjectUnknown: "The request or object named does not exist, or is another object by that name.", "See kubectl get deletionrequests, and name the current UID.";
    StatementNotYours: "Only its author may do this with a statement or a request.", "Let its author do it, or sign off Reject or Hold yourself.";
    RequestInUse: "The request is still needed: its deletion has begun, nobody has supervised it yet, or it shows that an approval by annotation was used.", "Wait until its target is gone and somebody has said Supervised, or until its approval deadline.";
    NotExecuted: "Supervised is said after a deletion, and this one was not executed, or what went has not been compared yet.", "Wait until the request is Executed and its status has deleted.checkedAt.";
    SelfSupervision: "Nobody supervises a deletion that they asked for.", "Let somebody else do it, by default the person who approved it.";
    StillThere: "Something that was to be deleted is still there, so that the deletion is not over.", "Have what the refusal names deleted first, or find out what keeps it.";
    SupervisionOwed: "Somebody asks for another deletion, while nobody has supervised an earlier one of theirs in time.", "Let somebody else look at the one that the refusal names, and say Supervised about it.";
    Immutable: "Owners, finalizers and foureyes.dev metadata of this object are not to be changed.", "Create another object instead.";
    TooManyOpen: "One author has too many open requests or sign-offs.", "Cancel or delete some that are no longer needed.";
    DataHeld: "What was kept of a deletion is held, and has not been let go of.", "Let two people who may approve run the line that the refusal shows, or wait until its time is over.";
    VolumeInUse: "The volume is bound to a claim in production: its data goes only with the claim.", "Ask for the deletion of the claim with the line that the refusal shows.";
    VolumeHasData: "The volume has the data of a claim that was in production, and nobody has let go of it.", "Hold it with the line that the refusal shows; two people then let go of it.";
    HoldNotThere: "There is no legal hold that could end.", "See who holds it in the retention's status.";
    PolicyLoosened: "The change would loosen what protects a namespace.", "Ask for it with the line that the refusal shows; a second person signs it off.";
    PolicyInvalid: "The policy can't be compiled.", "Correct the field that the refusal names.";
    PolicyUndecodable: "A policy that applies here can't be read, so nothing is allowed under it.", "Correct or remove the policy that the refusal names.";
    CanaryKept: "The probe asked, as a dry run, whether deletions are judged: they are.", "Nothing: only the controller is told so, and nobody is refused anything by it.";
    DefinitionProtected: "The definition of a foureyes kind would be deleted or changed.", "Ask for it with the line that the refusal shows; once signed off, a member of the group foureyes:breakglass does it.";
    OwnNamespaceProtected: "The namespace of foureyes would be deleted.", "Let a member of the group foureyes:breakglass do it.";
    RolloutNotRequested: "Something new would run, and no approved change names it.", "Ask for it with the line that the refusal shows; a second person signs it off.";
    RemovalNotRequested: "A workload that still runs would be deleted.", "Scale it to zero first, or ask for its removal with the line that the refusal shows.";
    TemplateUnreadable: "What would run could not be read.", "Correct the field that the refusal names.";
    NotCovered: "The request exists, but does not cover this.", "Ask for exactly this with the line that the refusal shows.";
    WindowClosed: "The change may be used only within its window.", "Wait until the window opens.";
    ChangeInvalid: "The change asks for something that no change can be used for.", "Correct the field that the refusal names.";
    NotReady: "foureyes has not read the cluster's state yet.", "Repeat in a moment; see /readyz of the webhook.";
    Overloaded: "Too many reviews at once.", "Repeat in a moment.";
    DeadlineExceeded: "The decision was not ready in time.", "Repeat in a moment; if it stays so, see whether the API server answers the webhook.";
    ClusterUnreadable: "The API server did not answer a question that the decision rests on.", "Repeat in a moment; see the webhook's log.";
    ReviewUnreadable: "The review could not be read.", "See the webhook's log.";
    ReviewUnexpected: "The review is for something that foureyes does not judge.", "Compare the webhook configuration with the one that was shipped.";
    CallerUnverified: "The review did not come from the API server.", "Nothing outside the API server may ask; see SECURITY.md.";
    InternalError: "An internal error; whatever is uncertain is refused.", "See the webhook's log, and report it.";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
