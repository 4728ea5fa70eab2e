//! What a connect costs while the ports towards one destination run out, by twtrace and by the
//! client's own clocks.
//!
//! A search for a port walks every second port of the range, from a random one on, and only when
//! it has met them all the others. So it is short until half of the ports are in use, and from
//! there on, the knee, it first walks all of that half in vain.
//!
//! At each level twtrace starts anew, so that its figures are of this level alone, and the client
//! connects and resets, which leaves the level as it is. The client reads the clock and its own
//! CPU time (CLOCK_THREAD_CPUTIME_ID, from the scheduler) right around connect(). What the same
//! connects took with no port in use is subtracted from that CPU time: the handshake, which on
//! loopback runs within connect() on both sides, and twtrace's own programs. What is left is the
//! walk over taken ports, which is also what its CPU samples are taken of. The rest of a search,
//! taking the port, is in those alone, and short.
//!
//! TIME_WAIT takes a minute, so all levels, and after them the long measurement of the CPU time,
//! have to end within one minute each; the kernel's count of mini-sockets says whether they did.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::netns::Ports;
use super::searched::Searched;
use super::searcher::{Limits, Outside, Searcher};
use super::tracer::Tracer;

/// twtrace reads what is left and prints it within this time.
const SETTLE: Duration = Duration::from_secs(1);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    ports: Ports,
    /// Ports in use, in percent; the first is 0, which the others are compared with
    levels: &'static [u64],
    /// How long connects are made at each, in seconds
    seconds: f64,
    /// When enough CPU time has been spent on searches
    long: Limits,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Knee {
    /// Ports to choose from
    pub(super) ports: u64,
    /// What was measured at each level
    pub(super) levels: Vec<Level>,
    /// What was measured past the knee for long enough to compare CPU time
    pub(super) long: Level,
}

/// What was measured while so many ports were in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Ports in use, in percent
    pub(super) percent: u64,
    /// Ports in use
    pub(super) used: u64,
    /// By the client's own clocks
    pub(super) outside: Outside,
    /// By twtrace
    pub(super) searched: Searched,
}

impl Scale {
    /// The range that Linux has by default, and CPU time enough for more than 2,000 samples.
    pub(super) const FULL: Self = Self {
        ports: Ports { low: 32_768, high: 60_999 },
        levels: &[0, 10, 30, 45, 49, 51, 55, 60],
        seconds: 1.0,
        long: Limits { elapsed: 40.0, cpu: 22.0 },
    };
    /// For a look.
    pub(super) const QUICK: Self = Self {
        ports: Ports { low: 32_768, high: 40_767 },
        levels: &[0, 45, 49, 51, 60],
        seconds: 0.5,
        long: Limits { elapsed: 10.0, cpu: 4.0 },
    };

    /// Measures, and says on the error output how far it is.
    pub(super) fn run(self, binaries: &Binaries) -> Result<Knee> {
        let limits = Limits { elapsed: self.seconds, cpu: self.seconds };
        let mut searcher = Searcher::start(&binaries.peer, self.ports)?;
        let levels: Result<Vec<Level>> = self
            .levels
            .iter()
            .map(|&percent| self.level(binaries, &mut searcher, percent, limits))
            .collect();
        let levels = levels?;
        let last = *self.levels.last().context("no levels")?;
        // Another namespace: in the first, the minute is nearly over.
        let mut searcher = Searcher::start(&binaries.peer, self.ports)?;
        let long = self.level(binaries, &mut searcher, last, self.long)?;
        Ok(Knee { ports: self.ports.count(), levels, long })
    }

    fn level(
        self,
        binaries: &Binaries,
        searcher: &mut Searcher,
        percent: u64,
        limits: Limits,
    ) -> Result<Level> {
        eprintln!("knee: connects while {percent} % of the ports are in use");
        searcher.fill(self.ports.count() * percent / 100)?;
        // Others on this machine may search ports as well.
        let netns = format!("pid:{}", searcher.pid());
        let running = Tracer::Twtrace.start_with(&binaries.twtrace, &["--netns", &netns])?;
        let outside = searcher.measure(limits)?;
        thread::sleep(SETTLE);
        let snapshots = running.stop()?.context("twtrace printed nothing")?;
        let searched = Searched::of(&snapshots)?;
        Ok(Level { percent, used: searcher.used(), outside, searched })
    }
}

impl Knee {
    /// What a level says past the knee, and what the last one before it says.
    pub(super) fn around(&self) -> Option<(&Level, &Level)> {
        let past = self.levels.iter().position(|level| self.is_past(level))?;
        Some((self.levels.get(past.checked_sub(1)?)?, &self.levels[past]))
    }

    /// Whether half of the ports are in use.
    pub(super) fn is_past(&self, level: &Level) -> bool {
        level.used >= self.ports / 2
    }

    /// CPU time that a level's connects took more than with no port in use, by the client.
    pub(super) fn outside_cpu_ns(&self, level: &Level) -> Option<f64> {
        let without = self.levels.first()?.outside.mean_cpu_ns()?;
        Some(level.outside.cpu_ns as f64 - without * level.outside.connects as f64)
    }

    /// Searches that found a port in the half that is not to be expected at their level, or that
    /// twtrace counted too few or too many.
    pub(super) fn unexpected(&self) -> u64 {
        let of = |level: &Level| {
            let Searched { first_half, second_half, .. } = level.searched;
            let (right, wrong) = if self.is_past(level) {
                (second_half, first_half)
            } else {
                (first_half, second_half)
            };
            wrong + right.abs_diff(level.outside.connects)
        };
        self.all().map(of).sum()
    }

    /// Levels of which twtrace says another number of ports, or is wrong about the knee.
    pub(super) fn mistaken(&self) -> usize {
        let wrong = |level: &&Level| {
            level.searched.ports_used != level.used || level.known_past() != self.is_past(level)
        };
        self.all().filter(wrong).count()
    }

    /// The levels, and the longer run.
    pub(super) fn all(&self) -> impl Iterator<Item = &Level> {
        self.levels.iter().chain([&self.long])
    }
}

impl Level {
    /// Whether twtrace says that half of the ports are in use.
    pub(super) fn known_past(&self) -> bool {
        self.searched.knee_in_s == Some(0.0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A level at which each connect takes so much on the clock and of CPU, and twtrace says the
    /// same of all but 10 µs.
    pub(in super::super) fn level(percent: u64, connects: u64, us: u64) -> Level {
        let ns = connects * us * 1_000;
        let search_ns = connects * (us - 10) * 1_000;
        let half = |past| if past == (percent >= 50) { connects } else { 0 };
        Level {
            percent,
            used: percent * 10,
            outside: Outside { connects, total_ns: ns, cpu_ns: ns, ..Outside::default() },
            searched: Searched {
                count: connects,
                total_ns: search_ns,
                samples: search_ns / 10_000_000,
                hz: 100,
                first_half: half(false),
                second_half: half(true),
                ports_used: percent * 10,
                knee_in_s: (percent >= 50).then_some(0.0),
                ..Searched::default()
            },
        }
    }

    pub(in super::super) fn knee() -> Knee {
        let levels = vec![level(0, 1_000, 10), level(49, 1_000, 20), level(51, 1_000, 2_010)];
        Knee { ports: 1_000, levels, long: level(60, 10_000, 2_010) }
    }

    #[test]
    fn the_knee_is_at_half_of_the_range() {
        let knee = knee();
        let (before, past) = knee.around().expect("levels on both sides");
        assert_eq!((before.percent, past.percent), (49, 51));
        let above = Knee { levels: knee.levels[2..].to_vec(), ..knee };
        assert!(above.around().is_none());
    }

    #[test]
    fn what_connects_take_without_a_search_is_subtracted() {
        let knee = knee();
        assert_eq!(knee.outside_cpu_ns(&knee.long), Some(2e10));
        assert_eq!(knee.outside_cpu_ns(&knee.levels[0]), Some(0.0));
    }

    #[test]
    fn ports_in_the_wrong_half_and_lost_searches_are_told() {
        let mut knee = knee();
        assert_eq!(knee.unexpected(), 0);
        knee.levels[1].searched.first_half -= 3;
        knee.levels[2].searched.first_half += 2;
        assert_eq!(knee.unexpected(), 5);
    }

    #[test]
    fn wrong_numbers_of_ports_are_told() {
        let mut knee = knee();
        assert_eq!(knee.mistaken(), 0);
        knee.levels[1].searched.ports_used -= 1;
        knee.long.searched.knee_in_s = None;
        assert_eq!(knee.mistaken(), 2);
    }
}
