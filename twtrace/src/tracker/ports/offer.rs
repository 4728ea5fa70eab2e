//! What the automatic search for a local port may give.

use crate::{event::PortRange, frame::PortFacts};

/// Where a port lies in the range that a search walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As even or odd as the first port of the range: connect looks there first, bind last.
    Low,
    /// Otherwise.
    High,
    /// Not in the range, or in none that is known.
    Outside,
}

/// The half of the range in which a search found its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one it searches first.
    First,
    /// The other: the first had no port to give.
    Second,
}

/// The ports that a search walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// All of them, the reserved ones too.
    pub range: PortRange,
    /// Whether the sockets asked for it.
    pub own: bool,
    /// How far a search goes from one port to the next: 2, where it takes one half and
    /// then the other; 1; `None` at random.
    pub step: Option<u16>,
    /// Ports of [`Place::Low`] that may be given.
    pub low: u64,
    /// Ports of [`Place::High`] that may be given.
    pub high: u64,
}

impl Offer {
    /// What a namespace offers; `own` is the range that the sockets asked for, walked in
    /// steps of `own_step`. `None` if the range is not known, or empty.
    pub(super) fn new(facts: &PortFacts, own: Option<PortRange>, own_step: u16) -> Option<Self> {
        let namespace = facts.range?;
        let range = match own {
            Some(own) => clamped(own, namespace)?,
            None => namespace,
        };
        let step = match facts.step_width {
            Some(1..) => None,
            _ if own.is_some() => Some(own_step),
            _ => Some(2),
        };
        let offer = Self { range, own: own.is_some(), step, low: 0, high: 0 };
        Some(offer.without(&facts.reserved))
    }

    fn without(self, reserved: &[PortRange]) -> Self {
        let (mut low, mut high) = self.halves(self.range);
        // The kernel tells them in order, and none twice.
        for reserved in reserved {
            let (reserved_low, reserved_high) = self.halves(*reserved);
            low = low.saturating_sub(reserved_low);
            high = high.saturating_sub(reserved_high);
        }
        Self { low, high, ..self }
    }

    /// How many ports of `part` lie in each half.
    fn halves(&self, part: PortRange) -> (u64, u64) {
        let (first, last) = (part.low.max(self.range.low), part.high.min(self.last()));
        let Some(more) = last.checked_sub(first) else { return (0, 0) };
        let all = u64::from(more) + 1;
        let (more, fewer) = (all - all / 2, all / 2);
        if self.place(first) == Place::Low { (more, fewer) } else { (fewer, more) }
    }

    /// The last port that the search comes to: it makes the number of ports even.
    /// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_hashtables.c#L1062-L1070>
    fn last(&self) -> u16 {
        let PortRange { low, high } = self.range;
        let is_odd = (high - low).is_multiple_of(2) && high > low;
        if is_odd && self.step != Some(1) { high - 1 } else { high }
    }

    /// How many ports may be given.
    pub fn ports(&self) -> u64 {
        self.low + self.high
    }

    /// Whether a search takes one half and then the other.
    pub fn has_halves(&self) -> bool {
        self.step == Some(2) && self.high > 0
    }

    /// Where `port` lies.
    pub fn place(&self, port: u16) -> Place {
        match port {
            _ if port < self.range.low || port > self.last() => Place::Outside,
            _ if (port - self.range.low).is_multiple_of(2) => Place::Low,
            _ => Place::High,
        }
    }
}

/// A socket's own range counts as far as it lies within the namespace's.
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L123-L146>
fn clamped(own: PortRange, namespace: PortRange) -> Option<PortRange> {
    let within = |port: u16| port >= namespace.low && port <= namespace.high;
    let low = if own.low != 0 && within(own.low) { own.low } else { namespace.low };
    let high = if own.high != 0 && within(own.high) { own.high } else { namespace.high };
    (low <= high).then_some(PortRange { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(low: u16, high: u16, reserved: &[(u16, u16)]) -> PortFacts {
        PortFacts {
            range: Some(PortRange { low, high }),
            reserved: reserved.iter().map(|&(low, high)| PortRange { low, high }).collect(),
            ..PortFacts::unknown(1)
        }
    }

    fn halves(facts: &PortFacts, own: Option<PortRange>, own_step: u16) -> (u64, u64) {
        Offer::new(facts, own, own_step).map_or((0, 0), |offer| (offer.low, offer.high))
    }

    #[test]
    fn the_odd_last_port_is_never_given() {
        assert_eq!(halves(&facts(32_768, 60_999, &[]), None, 1), (14_116, 14_116));
        assert_eq!(halves(&facts(40_000, 40_200, &[]), None, 1), (100, 100));
        assert_eq!(halves(&facts(40_001, 40_200, &[]), None, 1), (100, 100));
        assert_eq!(halves(&facts(40_000, 40_000, &[]), None, 1), (1, 0));
        assert_eq!(halves(&facts(1, 65_535, &[]), None, 1), (32_767, 32_767));
    }

    #[test]
    fn reserved_ports_are_taken_off_their_half() {
        let all = facts(40_000, 40_009, &[(0, 65_535)]);
        assert_eq!(halves(&all, None, 1), (0, 0));
        let some = facts(40_000, 40_009, &[(39_000, 40_000), (40_004, 40_005), (40_008, 50_000)]);
        assert_eq!(halves(&some, None, 1), (2, 3));
    }

    #[test]
    fn a_range_of_ones_own_counts_as_far_as_the_namespace_allows() {
        let facts = facts(40_000, 40_199, &[]);
        let own = |low, high| Some(PortRange { low, high });
        assert_eq!(halves(&facts, own(40_000, 40_010), 1), (6, 5));
        assert_eq!(halves(&facts, own(40_000, 40_010), 2), (5, 5));
        assert_eq!(halves(&facts, own(0, 40_009), 2), (5, 5));
        assert_eq!(halves(&facts, own(1, 65_000), 2), (100, 100));
        let offer = Offer::new(&facts, own(40_000, 40_010), 1).unwrap();
        assert!(!offer.has_halves());
    }

    #[test]
    fn ports_lie_by_the_first_of_the_range() {
        let offer = Offer::new(&facts(40_001, 40_200, &[]), None, 1).unwrap();
        let place = |port| offer.place(port);
        assert_eq!((place(40_001), place(40_002)), (Place::Low, Place::High));
        assert_eq!((place(40_000), place(40_201)), (Place::Outside, Place::Outside));
        assert!(offer.has_halves());
    }
}
