//! What happened at a moment, or to the recording itself.

/// A setting was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlChange {
    /// When that was noticed, on the clock of records.
    pub time_ns: u64,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The name below `net.ipv4`.
    pub name: String,
    /// Its value until then; `None` if it could not be read.
    pub before: Option<String>,
    /// Its value since then; `None` if it could not be read.
    pub after: Option<String>,
}

/// A stretch of the recording that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last moment before it of which anything is known, on the clock of records.
    pub from_ns: u64,
    /// The first one after it.
    pub to_ns: u64,
    /// What is wrong with it.
    pub why: String,
}

/// The first so many of a list, and how many came after them.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    kept: Vec<T>,
    most: usize,
    left_out: u64,
}

impl<T> Bounded<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, left_out: 0 }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.kept.len() < self.most {
            self.kept.push(item);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}
