//! Rows by key, found again by a number that is short enough to be kept by each socket.

use std::{collections::HashMap, hash::Hash};

use foldhash::fast::FixedState;

/// The row of all that found no room.
pub(super) const OTHER: u32 = 0;

/// A bounded table. A row's number stays its own until the row is given up.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    max: usize,
    numbers: HashMap<K, u32, FixedState>,
    rows: Vec<(Option<K>, V)>,
    free: Vec<u32>,
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    /// Of at most `max` rows, and that of all others.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            numbers: HashMap::default(),
            rows: vec![(None, V::default())],
            free: Vec::new(),
        }
    }

    /// The number of the row of `key`, a new one if need be; [`OTHER`] where there is no
    /// room.
    pub(super) fn number(&mut self, key: K) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if self.numbers.len() >= self.max {
            return OTHER;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.rows.push((None, V::default()));
            u32::try_from(self.rows.len() - 1).unwrap_or(OTHER)
        });
        if let Some(row) = self.rows.get_mut(number as usize) {
            *row = (Some(key), V::default());
        }
        self.numbers.insert(key, number);
        number
    }

    /// Whether another key would find no room.
    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() >= self.max
    }

    pub(super) fn get(&self, number: u32) -> Option<(Option<K>, &V)> {
        self.rows.get(number as usize).map(|(key, row)| (*key, row))
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<(Option<K>, &mut V)> {
        self.rows.get_mut(number as usize).map(|(key, row)| (*key, row))
    }

    /// Every row that has a key, and that of all others, which has none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<K>, &V)> {
        let is_used = |(number, (key, _)): &(usize, &(Option<K>, V))| *number == 0 || key.is_some();
        self.rows.iter().enumerate().filter(is_used).map(|(_, (key, row))| (*key, row))
    }

    /// Every row that has a key, by its number.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u32, K)> {
        self.numbers.iter().map(|(key, number)| (*number, *key))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.rows.iter_mut().map(|(_, row)| row)
    }

    /// Gives up the rows that are not `wanted`; no number of theirs may be kept anywhere.
    pub(super) fn retain(&mut self, wanted: impl Fn(&V) -> bool) {
        for (number, (key, row)) in self.rows.iter_mut().enumerate().skip(1) {
            if let Some(known) = key
                && !wanted(row)
            {
                self.numbers.remove(known);
                *key = None;
                *row = V::default();
                self.free.extend(u32::try_from(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_sums_what_finds_no_room() {
        let mut table: Table<u8, u32> = Table::new(2);
        for key in [1, 2, 3, 1, 4] {
            let number = table.number(key);
            *table.get_mut(number).unwrap().1 += 1;
        }
        let rows: Vec<_> = table.iter().map(|(key, row)| (key, *row)).collect();
        assert_eq!(rows, [(None, 2), (Some(1), 2), (Some(2), 1)]);
        table.retain(|row| *row > 1);
        assert_eq!(table.number(3), 2, "the number of the row that was given up");
        assert_eq!(table.get(2), Some((Some(3), &0)));
    }
}
