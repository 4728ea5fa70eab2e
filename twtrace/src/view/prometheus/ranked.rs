//! The first names of a label, and all others in one.

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::FixedState;

use super::family::clean;

/// The name of what has no name of its own.
pub const OTHER: &str = "other";

/// The sums of `rows` by name, the largest `top` first, then [`OTHER`] if there is anything
/// left. A row without a name is among them. Names that are told alike are one.
pub(super) fn ranked<'a>(
    rows: impl Iterator<Item = (Option<&'a str>, u64)>,
    top: usize,
) -> Vec<(String, u64)> {
    let (mut sums, mut rest): (HashMap<Cow<'_, str>, u64, FixedState>, _) =
        (HashMap::default(), None);
    for (name, count) in rows {
        match name {
            // A process may be named so too.
            Some(name) if name != OTHER => *sums.entry(clean(name)).or_default() += count,
            _ => *rest.get_or_insert(0) += count,
        }
    }
    let mut ranked: Vec<(Cow<'_, str>, u64)> = sums.into_iter().collect();
    ranked
        .sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    for (_, count) in ranked.iter().skip(top) {
        *rest.get_or_insert(0) += count;
    }
    ranked.truncate(top);
    let named = ranked.into_iter().map(|(name, count)| (name.into_owned(), count));
    named.chain(rest.map(|count| (OTHER.to_owned(), count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_summed_and_the_rest_is_one() {
        let rows = [
            (Some("a"), 1),
            (Some("b"), 3),
            (Some("a"), 3),
            (None, 10),
            (Some("other"), 5),
            (Some("c"), 1),
        ];
        let ranked = ranked(rows.into_iter(), 2);
        let expected = [("a", 4), ("b", 3), (OTHER, 16)];
        assert_eq!(ranked, expected.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn names_that_are_told_alike_are_one() {
        let ranked = ranked([(Some("a\t"), 1), (Some("a\r"), 2)].into_iter(), 2);
        assert_eq!(ranked, [("a\u{fffd}".to_owned(), 3)]);
    }

    #[test]
    fn nothing_is_no_other() {
        assert!(ranked(std::iter::empty(), 2).is_empty());
        assert_eq!(ranked([(Some("a"), 0)].into_iter(), 2), [("a".to_owned(), 0)]);
    }
}
