//! What happened towards a destination, second by second, as long as it matters.

use std::collections::VecDeque;

/// Rates are taken over so many seconds.
pub const RATE_S: u32 = 10;

/// Mini-sockets live for a minute and a few seconds; older seconds are folded into the
/// oldest that is kept.
const KEPT: usize = 80;

/// One second, on the clock of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Which.
    pub at_s: u32,
    /// Ports taken.
    pub opens: u32,
    /// Ports given back otherwise than by a mini-socket that expired.
    pub left: u32,
    /// Mini-sockets born.
    pub born: u32,
    /// Of these, those alive: by [`Class`].
    pub waiting: [u32; CLASSES],
}

/// Mini-sockets by whether a connect may ever take their port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may, as soon as they are old enough.
    Ready = 0,
    /// Their connection had no timestamps.
    NoTimestamps = 1,
    /// Their peer has not closed yet.
    FinWait2 = 2,
    /// A process had bound the port: connect passes over it.
    Bound = 3,
}

const CLASSES: usize = 4;

impl Second {
    /// Mini-sockets born then that are alive.
    pub fn waiting(&self) -> u32 {
        self.waiting.iter().sum()
    }

    /// Of these, those of one class.
    pub fn of(&self, class: Class) -> u32 {
        self.waiting[class as usize]
    }

    pub(super) fn enters(&mut self, class: Class) {
        self.waiting[class as usize] += 1;
    }

    pub(super) fn leaves(&mut self, class: Class) {
        let count = &mut self.waiting[class as usize];
        *count = count.saturating_sub(1);
    }
}

/// Seconds in which anything happened, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Seconds(VecDeque<Second>);

impl Seconds {
    /// The second `at_s`, to count in.
    pub(super) fn at(&mut self, at_s: u32) -> &mut Second {
        let place = match self.0.binary_search_by_key(&at_s, |second| second.at_s) {
            Ok(place) => place,
            // What is older than all that is kept belongs to the oldest.
            Err(0) if self.0.len() >= KEPT => 0,
            Err(place) => {
                self.0.insert(place, Second { at_s, ..Second::default() });
                if self.0.len() > KEPT {
                    self.fold_oldest();
                    place.saturating_sub(1)
                } else {
                    place
                }
            }
        };
        &mut self.0[place]
    }

    /// The second in which something was counted that ends now: itself, or the one it was
    /// folded into.
    pub(super) fn of(&mut self, at_s: u32) -> Option<&mut Second> {
        let after = self.0.partition_point(|second| second.at_s <= at_s);
        self.0.get_mut(after.saturating_sub(1))
    }

    fn fold_oldest(&mut self) {
        if let Some(oldest) = self.0.pop_front()
            && let Some(next) = self.0.front_mut()
        {
            for (next, oldest) in next.waiting.iter_mut().zip(oldest.waiting) {
                *next += oldest;
            }
        }
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Second> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded_is_still_counted() {
        let mut seconds = Seconds::default();
        for at_s in 0..200 {
            seconds.at(at_s).enters(Class::Ready);
        }
        // Told late.
        seconds.at(3).enters(Class::Ready);
        assert_eq!(seconds.iter().map(Second::waiting).sum::<u32>(), 201);
        assert_eq!(seconds.iter().count(), KEPT);
        for at_s in (0..200).chain([3]) {
            seconds.of(at_s).expect("it was counted").leaves(Class::Ready);
        }
        assert!(seconds.iter().all(|second| second.waiting() == 0));
    }

    #[test]
    fn records_may_come_in_another_order() {
        let mut seconds = Seconds::default();
        for at_s in [5, 3, 4, 5] {
            seconds.at(at_s).opens += 1;
        }
        let told: Vec<_> = seconds.iter().map(|second| (second.at_s, second.opens)).collect();
        assert_eq!(told, [(3, 1), (4, 1), (5, 2)]);
    }
}
