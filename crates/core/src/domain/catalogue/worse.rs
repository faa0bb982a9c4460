//! Whether a field of an object changes so that data is lost, now or later. What can't be compared counts as worse.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Field, Row};

/// What is worse of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// This value, where it had another.
    Becomes(&'static str),
    /// A duration that is shorter, or one where there was none: the default then, whatever it is.
    Shorter,
    /// An earlier time, or one where there was none.
    Earlier,
    /// Of how many are kept: one number that is lower, or gone; or a first one, where nothing was pruned.
    KeepsLess,
}

/// The first field of these that becomes worse; an object that is new has none yet.
pub fn worsened(row: &Row, old: &Value, new: &Value) -> Option<&'static Field> {
    row.fields.iter().find(|field| {
        let [was, is] = [old, new].map(|object| at(object, field.path));
        was != is && is_worse(field.worse, was, is)
    })
}

fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().try_fold(object, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

fn is_worse(worse: Worse, was: &Value, is: &Value) -> bool {
    match worse {
        Worse::Becomes(value) => is == value,
        Worse::Shorter => match (duration(was), duration(is)) {
            (Some(was), Some(is)) => is < was,
            _ => true,
        },
        // Without one it never expires.
        Worse::Earlier => match (time(was), time(is)) {
            (Some(was), Some(is)) => is < was,
            (_, None) => !is.is_null(),
            (None, Some(_)) => true,
        },
        Worse::KeepsLess => keeps_less(was.as_object(), is.as_object()),
    }
}

/// As Go writes them: `720h0m0s`.
fn duration(value: &Value) -> Option<SignedDuration> {
    value.as_str()?.parse().ok()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Tags and hostnames say which backups are meant: other ones are other backups.
fn keeps_less(was: Option<&Map<String, Value>>, is: Option<&Map<String, Value>>) -> bool {
    let field = |of: Option<&Map<String, Value>>, name: &str| of.and_then(|of| of.get(name)).cloned();
    let number = |of, name: &str| field(of, name).and_then(|value| value.as_i64()).unwrap_or_default();
    let names = ["keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly"];
    let before = names.iter().any(|name| number(was, name) > 0);
    let after = names.iter().any(|name| number(is, name) > 0);
    names.iter().any(|name| number(is, name) < number(was, name))
        || after && !before
        || ["keepTags", "tags", "hostnames"].iter().any(|name| field(was, name) != field(is, name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::row_of;
    use super::*;

    fn worse(group: &str, kind: &str, old: &Value, new: &Value) -> bool {
        row_of(group, kind).is_some_and(|row| worsened(row, old, new).is_some())
    }

    #[rstest]
    #[case(json!("720h0m0s"), json!("1h"), true)]
    #[case(json!("720h0m0s"), json!("30m"), true)]
    #[case(json!("720h0m0s"), json!("720h"), false)]
    #[case(json!("720h0m0s"), json!("1000h0m0s"), false)]
    #[case(json!("720h0m0s"), json!(null), true)]
    #[case(json!(null), json!("720h"), true)]
    #[case(json!("720h"), json!("soon"), true)]
    fn a_backup_lives_no_shorter(#[case] was: Value, #[case] is: Value, #[case] expected: bool) {
        let backup = |ttl: Value| json!({"spec": {"ttl": ttl}});
        assert_eq!(worse("velero.io", "Backup", &backup(was), &backup(is)), expected);
    }

    #[rstest]
    #[case(json!("2026-12-01T00:00:00Z"), json!("2026-11-30T23:59:59Z"), true)]
    #[case(json!("2026-12-01T00:00:00Z"), json!("2026-12-01T01:00:00+01:00"), false)]
    #[case(json!("2026-12-01T00:00:00Z"), json!("2027-12-01T00:00:00Z"), false)]
    #[case(json!("2026-12-01T00:00:00Z"), json!(null), false)]
    #[case(json!(null), json!("2026-12-01T00:00:00Z"), true)]
    fn a_backup_expires_no_earlier(#[case] was: Value, #[case] is: Value, #[case] expected: bool) {
        let backup = |time: Value| json!({"status": {"expiration": time}});
        assert_eq!(worse("velero.io", "Backup", &backup(was), &backup(is)), expected);
    }

    #[rstest]
    #[case(json!({"keepLast": 5}), json!({"keepLast": 4}), true)]
    #[case(json!({"keepLast": 5}), json!({"keepLast": 5, "keepDaily": 7}), false)]
    #[case(json!({"keepLast": 5, "keepDaily": 7}), json!({"keepLast": 9}), true)]
    #[case(json!({"keepLast": 5}), json!({"keepLast": 6}), false)]
    #[case(json!(null), json!({"keepLast": 6}), true)]
    #[case(json!({"keepLast": 5}), json!({"keepLast": 5, "tags": ["a"]}), true)]
    #[case(json!({"keepLast": 5}), json!({"keepLast": 5}), false)]
    fn a_schedule_keeps_no_less(#[case] was: Value, #[case] is: Value, #[case] expected: bool) {
        let schedule = |retention: Value| json!({"spec": {"prune": {"retention": retention}}});
        assert_eq!(worse("k8up.io", "Schedule", &schedule(was), &schedule(is)), expected);
    }

    #[test]
    fn a_policy_that_keeps_is_not_given_up() {
        let content = |policy: &str| json!({"spec": {"deletionPolicy": policy}});
        let kind = ("snapshot.storage.k8s.io", "VolumeSnapshotContent");
        assert!(worse(kind.0, kind.1, &content("Retain"), &content("Delete")));
        assert!(!worse(kind.0, kind.1, &content("Delete"), &content("Retain")));
        assert!(!worse(kind.0, kind.1, &content("Delete"), &content("Delete")));
        let class = |policy: &str| json!({"deletionPolicy": policy});
        assert!(worse(kind.0, "VolumeSnapshotClass", &class("Retain"), &class("Delete")));
    }
}
