//! How often, and by which chance, faults are injected.

/// How much longer than in CI: `TWTRACE_TESTS_LONG=20` makes twenty times as many rounds.
pub fn longer() -> u64 {
    number("TWTRACE_TESTS_LONG").unwrap_or(1).max(1)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}

/// Numbers by chance, the same again from the same seed (splitmix64).
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

impl Chance {
    /// From `TWTRACE_TESTS_SEED`, or from the clock; a test says which when it fails.
    pub fn new() -> Self {
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |it| it.as_nanos());
        let seed = number("TWTRACE_TESTS_SEED").unwrap_or_else(|| clock() as u64);
        Self { seed, state: seed }
    }

    /// What to set `TWTRACE_TESTS_SEED` to.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
