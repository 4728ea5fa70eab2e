//! Numbers and rows in columns: what is alike lies side by side, and compresses.

use std::{collections::HashMap, hash::Hash};

use foldhash::fast::FixedState;

use super::Malformed;

/// Writes LEB128: seven bits a byte, the least significant first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign as small numbers: 0, -1, 1, -2, …
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes a column behind its length.
pub(super) fn put_column(out: &mut Vec<u8>, column: &[u8]) {
    put_varint(out, column.len() as u64);
    out.extend_from_slice(column);
}

/// Writes rows of `N` bytes as a column: the first byte of each, then the second of each, …
pub(super) fn put_rows<const N: usize>(out: &mut Vec<u8>, rows: &[[u8; N]]) {
    put_varint(out, (rows.len() * N) as u64);
    for byte in 0..N {
        out.extend(rows.iter().map(|row| row[byte]));
    }
}

/// Reads columns one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything must have been read.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Long) }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Unknown("a number of more than 64 bits"))
    }

    /// The next column.
    pub(super) fn column(&mut self) -> Result<Self, Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
        self.take(len).map(Self)
    }

    /// The next column, as rows of `N` bytes.
    pub(super) fn rows<const N: usize>(&mut self) -> Result<Rows<'a, N>, Malformed> {
        let Self(bytes) = self.column()?;
        if !bytes.len().is_multiple_of(N) {
            return Err(Malformed::Short);
        }
        Ok(Rows { bytes, count: bytes.len() / N })
    }
}

/// Rows of `N` bytes in a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a, const N: usize> {
    bytes: &'a [u8],
    count: usize,
}

impl<const N: usize> Rows<'_, N> {
    fn row(&self, index: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.bytes[byte * self.count + index])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = [u8; N]> {
        (0..self.count).map(|index| self.row(index))
    }
}

/// Rows that come again and again within a frame, each kept once. Where one stands is told
/// by how many have come since it was new: what happens in turns is then told alike.
#[derive(Debug)]
pub(super) struct Dictionary<const N: usize> {
    rows: Vec<[u8; N]>,
    numbers: HashMap<[u8; N], u32, FixedState>,
    references: Vec<u8>,
}

impl<const N: usize> Default for Dictionary<N>
where
    [u8; N]: Hash + Eq,
{
    fn default() -> Self {
        Self { rows: Vec::new(), numbers: HashMap::default(), references: Vec::new() }
    }
}

impl<const N: usize> Dictionary<N> {
    /// Refers to `row`: by 0 if it is new, else by how many rows ago it was, from 1.
    pub(super) fn put(&mut self, row: [u8; N]) {
        let new = self.rows.len() as u32;
        let number = *self.numbers.entry(row).or_insert(new);
        put_varint(&mut self.references, u64::from(new - number));
        if number == new {
            self.rows.push(row);
        }
    }

    /// Writes the rows and the references, and begins anew.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        put_rows(out, &self.rows);
        put_column(out, &self.references);
        self.rows.clear();
        self.numbers.clear();
        self.references.clear();
    }
}

/// The reverse of [`Dictionary`].
#[derive(Debug)]
pub(super) struct References<'a, const N: usize> {
    rows: Vec<[u8; N]>,
    known: usize,
    references: Cursor<'a>,
}

impl<'a, const N: usize> References<'a, N> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let rows = cursor.rows()?.iter().collect();
        Ok(Self { rows, known: 0, references: cursor.column()? })
    }

    /// The row that is referred to next.
    pub(super) fn next(&mut self) -> Result<&[u8; N], Malformed> {
        let back = self.references.varint()?;
        let number = if back == 0 {
            self.known += 1;
            self.known - 1
        } else {
            let back = usize::try_from(back).map_err(|_| Malformed::Reference)?;
            self.known.checked_sub(back).ok_or(Malformed::Reference)?
        };
        self.rows.get(number).ok_or(Malformed::Reference)
    }

    /// Everything must have been referred to.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.known == self.rows.len() { self.references.finish() } else { Err(Malformed::Long) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(Cursor::new(&bytes).varint(), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn rows_come_again(rows: Vec<[u8; 3]>, again in prop::collection::vec(0..50_usize, 0..99)) {
            let mut dictionary = Dictionary::default();
            let told: Vec<[u8; 3]> = if rows.is_empty() { rows } else {
                again.iter().map(|index| rows[index % rows.len()]).collect()
            };
            told.iter().for_each(|row| dictionary.put(*row));
            let mut bytes = Vec::new();
            dictionary.finish(&mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let mut references = References::<3>::read(&mut cursor).unwrap();
            for row in &told {
                prop_assert_eq!(references.next(), Ok(row));
            }
            prop_assert_eq!(references.finish(), Ok(()));
            prop_assert_eq!(cursor.finish(), Ok(()));
        }

        #[test]
        fn nonsense_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(mut references) = References::<4>::read(&mut cursor) {
                while references.next().is_ok() {}
            }
        }
    }

    #[test]
    fn a_number_ends() {
        assert!(Cursor::new(&[0x80; 11]).varint().is_err());
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(Malformed::Short));
    }
}
