//! A keeper as it is now: whether it is there, whether the data outlives it, and what would bring it back.

use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::{Value, json};

use crate::api::{KEPT_CLAIM, Keeper, METADATA_PREFIX, SeenKeeper};
use crate::domain::inventory::Reclaim;
use crate::domain::snapshot::CONTENT;
use crate::domain::volume::Volume;

/// The kind of keeper that there is.
pub const VOLUME: &str = "PersistentVolume";
/// Bytes that the manifests in a status take together, well within what an object may have.
const ROOM: usize = 512 * 1024;
/// Keepers that a status lists.
const LISTED: usize = 100;

/// Of one keeper what a status says; `volume` is what has its name now.
pub fn seen(keeper: &Keeper, volume: Option<&PersistentVolume>) -> SeenKeeper {
    let this = volume.filter(|volume| volume.metadata.uid.as_deref() == Some(keeper.uid.as_str()));
    SeenKeeper {
        name: keeper.name.clone(),
        exists: this.is_some(),
        // One that is going is no keeper for long.
        survives: this.is_some_and(|volume| {
            volume.metadata.deletion_timestamp.is_none() && Volume::of(volume).reclaim == Reclaim::Retain
        }),
        size_bytes: this.and_then(capacity),
        manifest: this.map(manifest),
    }
}

/// Of a keeper of another kind; `object` is what has its name now.
pub fn seen_otherwise(keeper: &Keeper, object: Option<&Value>) -> SeenKeeper {
    let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let this = object.filter(|object| text(object, "/metadata/uid").as_ref() == Some(&keeper.uid));
    let lasts = |object: &&Value| {
        let stays = keeper.kind != CONTENT || text(object, "/spec/deletionPolicy").as_deref() == Some("Retain");
        stays && object.pointer("/metadata/deletionTimestamp").is_none()
    };
    SeenKeeper {
        name: keeper.name.clone(),
        exists: this.is_some(),
        survives: this.as_ref().is_some_and(lasts),
        size_bytes: this.and_then(|object| object.pointer("/status/restoreSize")?.as_i64()),
        manifest: this.map(|object| {
            json!({
                "object": {
                    "apiVersion": object["apiVersion"],
                    "kind": keeper.kind,
                    "metadata": {"namespace": keeper.namespace, "name": keeper.name, "labels": object["metadata"]["labels"]},
                    "spec": object["spec"],
                },
            })
        }),
    }
}

/// What brings it back: its claim, from the note on it, and the volume, without what belongs to this life of it.
fn manifest(volume: &PersistentVolume) -> Value {
    let meta = &volume.metadata;
    let note = meta.annotations.as_ref().and_then(|annotations| annotations.get(KEPT_CLAIM));
    let claim: Option<Value> = note.and_then(|note| serde_json::from_str(note).ok());
    let others = meta.annotations.iter().flatten().filter(|(key, _)| !key.starts_with(METADATA_PREFIX));
    let annotations: serde_json::Map<String, Value> =
        others.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    let mut manifest = json!({
        "volume": {
            "apiVersion": "v1",
            "kind": VOLUME,
            "metadata": {"name": meta.name, "labels": meta.labels, "annotations": annotations},
            "spec": volume.spec,
        },
    });
    if let Some(claim) = claim {
        manifest["claim"] = claim;
    }
    manifest
}

/// The capacity of a volume in bytes.
fn capacity(volume: &PersistentVolume) -> Option<i64> {
    bytes(&volume.spec.as_ref()?.capacity.as_ref()?.get("storage")?.0)
}

/// A quantity in bytes: whole numbers and fractions, with a binary or a decimal suffix.
fn bytes(quantity: &str) -> Option<i64> {
    let end = quantity.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    let part = u128::from(fraction) * u128::from(unit) / 10_u128.pow(digits);
    i64::try_from(whole.checked_add(u64::try_from(part).ok()?)?).ok()
}

/// As a status lists them: those that are missing or would not survive first, as many as fit. What is missing keeps the
/// manifest that was seen last, by which it may be brought back.
pub fn listed(mut all: Vec<SeenKeeper>, before: &[SeenKeeper]) -> Vec<SeenKeeper> {
    all.sort_by_key(|keeper| (keeper.exists, keeper.survives));
    all.truncate(LISTED);
    let mut room = ROOM;
    for keeper in &mut all {
        if keeper.manifest.is_none() {
            let known = before.iter().find(|known| known.name == keeper.name);
            keeper.manifest = known.and_then(|known| known.manifest.clone());
            keeper.size_bytes = keeper.size_bytes.or_else(|| known.and_then(|known| known.size_bytes));
        }
        let size = keeper.manifest.as_ref().map_or(0, |manifest| manifest.to_string().len());
        match room.checked_sub(size) {
            Some(left) => room = left,
            None => keeper.manifest = None,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let cases = [
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("10G", 10_000_000_000),
            ("5368709120", 5_368_709_120),
            ("0.5Ki", 512),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "Gi", "1Zi", "-1Gi", "1e3", "99999999999Pi", "1.0000000001Gi"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_missing_keeper_keeps_its_manifest_and_room_is_limited() {
        let keeper = |name: &str, exists, manifest: Option<Value>| SeenKeeper {
            name: name.to_owned(),
            exists,
            survives: exists,
            size_bytes: manifest.as_ref().map(|_| 7),
            manifest,
        };
        let before = [keeper("b", true, Some(json!({"volume": "b"})))];
        let large = json!({"volume": "x".repeat(ROOM)});
        let all = vec![keeper("a", true, Some(large)), keeper("b", false, None), keeper("c", true, Some(json!({})))];
        let listed = listed(all, &before);
        let names: Vec<&str> = listed.iter().map(|keeper| keeper.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!((listed[0].manifest.clone(), listed[0].size_bytes), (Some(json!({"volume": "b"})), Some(7)));
        assert_eq!((listed[1].manifest.clone(), listed[2].manifest.clone()), (None, Some(json!({}))));
    }
}
