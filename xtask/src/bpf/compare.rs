//! How two objects and their provenances differ, in words.

use super::provenance::{Provenance, sha256};

/// Nothing if the objects are the same to the byte.
pub(super) fn objects(committed: &[u8], rebuilt: &[u8]) -> Vec<String> {
    if committed == rebuilt {
        return Vec::new();
    }
    let same = committed.iter().zip(rebuilt).take_while(|(a, b)| a == b).count();
    vec![
        format!("size: committed {}, rebuilt {} bytes", committed.len(), rebuilt.len()),
        format!("sha256: committed {}, rebuilt {}", sha256(committed), sha256(rebuilt)),
        format!("first difference at offset {same} ({same:#x})"),
    ]
}

/// One line for each field that differs.
pub(super) fn provenances(committed: &Provenance, rebuilt: &Provenance) -> Vec<String> {
    let mut keys: Vec<&str> = committed.keys().chain(rebuilt.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let shown = |value: Option<&str>| value.map_or("nothing".into(), |value| format!("{value:?}"));
    keys.into_iter()
        .map(|key| (key, committed.get(key), rebuilt.get(key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| {
            format!("provenance {key}: committed {}, rebuilt {}", shown(old), shown(new))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_objects_have_no_difference() {
        assert!(objects(b"same", b"same").is_empty());
    }

    #[test]
    fn the_first_differing_byte_is_named() {
        let said = objects(b"abcdef", b"abcxef");
        assert!(said[2].contains("offset 3 (0x3)"), "{said:?}");
        let said = objects(b"abc", b"abcd");
        assert_eq!(said[0], "size: committed 3, rebuilt 4 bytes");
        assert!(said[2].contains("offset 3"), "{said:?}");
    }

    #[test]
    fn every_differing_field_is_named() {
        let old = Provenance::parse("rustc = \"1\"\nhost = \"a\"\ngone = \"x\"\n");
        let new = Provenance::parse("rustc = \"2\"\nhost = \"a\"\n");
        let said = provenances(&old.expect("valid"), &new.expect("valid"));
        assert_eq!(
            said,
            [
                "provenance gone: committed \"x\", rebuilt nothing",
                "provenance rustc: committed \"1\", rebuilt \"2\"",
            ]
        );
    }
}
