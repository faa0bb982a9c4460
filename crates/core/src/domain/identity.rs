//! Who counts as a person, and when two names are the same person (promise 1, bypasses 27, 28, 33).

use std::collections::BTreeSet;

use crate::api::{Author, Identities, IdentityMatcher};

/// What an identity is for the rule of two people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorKind {
    Person,
    Machine,
    /// An account that several people use: never a second person, and no human requester.
    Shared,
}

/// Whether an identity can be told from others at all: empty or with control characters or outer blanks it cannot.
pub fn is_usable(username: &str) -> bool {
    !username.is_empty() && username.trim() == username && !username.chars().any(char::is_control)
}

/// Classifies an identity: `shared` beats `people` beats `machines` beats the built-in rule.
pub fn classify(author: &Author, identities: &Identities) -> ActorKind {
    let listed = |matchers: &[IdentityMatcher]| matchers.iter().any(|matcher| matches(matcher, author));
    if listed(&identities.shared) {
        ActorKind::Shared
    } else if listed(&identities.people) {
        ActorKind::Person
    } else if listed(&identities.machines) {
        ActorKind::Machine
    } else if author.groups.iter().any(|group| group == "system:masters") {
        ActorKind::Shared
    } else if author.username.starts_with("system:") {
        ActorKind::Machine
    } else {
        ActorKind::Person
    }
}

/// Whether a matcher of a policy means this identity.
pub fn matches(matcher: &IdentityMatcher, author: &Author) -> bool {
    match (&matcher.username, &matcher.group) {
        (Some(pattern), None) => glob(pattern, &author.username),
        (None, Some(group)) => author.groups.iter().any(|own| own == group),
        _ => false,
    }
}

/// `*` matches any run of characters; everything else matches itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(tail)
}

/// Every name by which a person may be known, case-folded: username, uid, e-mail extras, and the e-mail inside a
/// prefixed username such as `oidc:alice@example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aliases(BTreeSet<String>);

impl Aliases {
    pub fn of(author: &Author) -> Self {
        let mut names = BTreeSet::from([author.username.to_lowercase()]);
        names.extend(author.uid.iter().filter(|uid| !uid.is_empty()).map(|uid| uid.to_lowercase()));
        if let Some((_, email)) = author.username.rsplit_once([':', '#', '/']).filter(|(_, name)| name.contains('@')) {
            names.insert(email.to_lowercase());
        }
        for (key, values) in &author.extra {
            let key = key.to_lowercase();
            if key == "email" || key.ends_with("/email") || key.ends_with("/mail") || key == "mail" {
                names.extend(values.iter().filter(|value| !value.is_empty()).map(|value| value.to_lowercase()));
            }
        }
        Self(names)
    }

    /// Whether any name is shared.
    pub fn overlap(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

/// Whether two identities may be the same person. Merging too much refuses more, never less.
pub fn same_person(one: &Author, other: &Author) -> bool {
    Aliases::of(one).overlap(&Aliases::of(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    pub(crate) fn named(username: &str) -> Author {
        Author { username: username.into(), ..Author::default() }
    }

    fn user(pattern: &str) -> IdentityMatcher {
        IdentityMatcher { username: Some(pattern.into()), group: None }
    }

    #[rstest]
    #[case("alice", ActorKind::Person)]
    #[case("system:serviceaccount:shop:argocd", ActorKind::Machine)]
    #[case("system:node:n1", ActorKind::Machine)]
    #[case("ci:deployer", ActorKind::Machine)]
    #[case("ci:jane", ActorKind::Person)]
    #[case("admin", ActorKind::Shared)]
    fn lists_decide_before_the_built_in_rule(#[case] name: &str, #[case] kind: ActorKind) {
        let identities =
            Identities { machines: vec![user("ci:*")], people: vec![user("ci:jane")], shared: vec![user("admin")] };
        assert_eq!(classify(&named(name), &identities), kind);
    }

    #[test]
    fn a_cluster_admin_certificate_is_shared_unless_its_owner_is_named() {
        let admin = Author { groups: vec!["system:masters".into()], ..named("kubernetes-admin") };
        assert_eq!(classify(&admin, &Identities::default()), ActorKind::Shared);
        let identities = Identities { people: vec![user("kubernetes-admin")], ..Identities::default() };
        assert_eq!(classify(&admin, &identities), ActorKind::Person);
    }

    #[rstest]
    #[case("a*c", "abc", true)]
    #[case("a*c", "ac", true)]
    #[case("a*c", "abcd", false)]
    #[case("*:deployer-*", "ci:deployer-7", true)]
    #[case("ab*ba", "aba", false)]
    #[case("*", "", true)]
    fn globs(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(glob(pattern, text), expected);
    }

    #[test]
    fn one_person_under_several_names_is_one_person() {
        let oidc = named("oidc:Alice@Example.org");
        let mail = Author {
            extra: [("example.org/email".to_owned(), vec!["alice@example.org".to_owned()])].into(),
            ..named("u-4711")
        };
        let by_uid = Author { uid: Some("U-4711".into()), ..named("alice-admin") };
        assert!(same_person(&oidc, &mail));
        assert!(same_person(&mail, &by_uid));
        assert!(same_person(&named("ALICE"), &named("alice")));
        assert!(!same_person(&named("alice"), &named("bob")));
        let blank = Author { uid: Some(String::new()), ..named("bob") };
        assert!(!same_person(&blank, &Author { uid: Some(String::new()), ..named("carol") }));
    }

    #[rstest]
    #[case("", false)]
    #[case(" bob", false)]
    #[case("bob\n", false)]
    #[case("bob", true)]
    fn an_identity_must_be_usable(#[case] name: &str, #[case] usable: bool) {
        assert_eq!(is_usable(name), usable);
    }
}
