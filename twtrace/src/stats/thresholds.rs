//! From where on a number is worth a word. The verdict of `top` and the rules of `doctor` take
//! theirs from here, so that one does not call fine what the other warns of.

use super::snapshot::CloseWait;

/// From here on connects search both halves of the range: each of them walks the first, which is
/// full ([`__inet_hash_connect`](https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c)).
pub const KNEE: f64 = 0.5;
/// From here on there is little room left: of ports, entries, descriptors.
pub const NEARLY_FULL: f64 = 0.8;
/// What runs out later than this is no matter of now.
pub const SOON_S: f64 = 600.0;
/// Part of a core, in percent, that searches for ports may take.
pub const CHEAP_PCT: f64 = 5.0;

/// Sockets in CLOSE_WAIT that are no accident any more.
const LEAK: u64 = 20;
/// How long a process may take to close.
const PATIENCE_S: f64 = 30.0;
/// Slower growth may be the noise of a busy process.
const GROWTH_PER_MIN: f64 = 1.0;

/// Whether a process does not close what its peer has closed: many sockets in CLOSE_WAIT that are
/// old or become more.
pub fn is_leak(row: &CloseWait) -> bool {
    let is_old = row.oldest_s.is_some_and(|age| age >= PATIENCE_S);
    let grows = row.growth_per_min.is_some_and(|growth| growth >= GROWTH_PER_MIN);
    !row.other && row.count >= LEAK && (is_old || grows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_are_old_or_grow_are_a_leak() {
        let row = |count, oldest_s, growth_per_min| {
            let (oldest_s, growth_per_min) = (Some(oldest_s), Some(growth_per_min));
            is_leak(&CloseWait { count, oldest_s, growth_per_min, ..CloseWait::default() })
        };
        assert!(row(20, 30.0, 0.0) && row(20, 1.0, 1.0));
        assert!(!row(19, 31.0, 6.0), "they are few");
        assert!(!row(500, 29.9, 0.9), "it is about to close them");
        let rest =
            CloseWait { count: 20, oldest_s: Some(60.0), other: true, ..CloseWait::default() };
        assert!(!is_leak(&rest), "nobody knows whose they are");
    }
}
