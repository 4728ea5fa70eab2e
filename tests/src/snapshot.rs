//! Reading a Snapshot, and saying what is wrong with it.

use serde_json::Value;

use crate::sockets::States;

/// The key under which [`crate::tool`] adds how many events were withheld.
pub const WITHHELD: &str = "withheld from BPF";

/// How many events the tool cannot have seen: those it says its programs
/// missed, and those that the kernel kept from them.
pub fn missed(snapshot: &Value) -> u64 {
    // A kernel that does not count misses has null here; then nothing is forgiven.
    let missed = snapshot["loss"]["missed"].as_u64().unwrap_or(0);
    missed + snapshot[WITHHELD].as_u64().unwrap_or(0)
}

/// The number at `path`, such as `closes.active`; panics where it is missing or null.
#[track_caller]
pub fn number(snapshot: &Value, path: &str) -> u64 {
    let value = at(snapshot, path);
    value.as_u64().unwrap_or_else(|| {
        let part = path.split('.').next().unwrap_or(path);
        panic!("{path} is {value}, not a number; {part} is {:#}", snapshot[part])
    })
}

/// What is at `path`, or null.
pub fn at<'a>(snapshot: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(snapshot, |value, key| &value[key])
}

/// The seconds at `path`, such as `time_wait.lifetime_s.min`.
#[track_caller]
pub fn seconds(snapshot: &Value, path: &str) -> f64 {
    at(snapshot, path).as_f64().unwrap_or_else(|| panic!("{path} is {}", at(snapshot, path)))
}

/// The sockets by state that exist, without the states that [`crate::sockets`] leaves out.
#[track_caller]
pub fn states(snapshot: &Value) -> States {
    let states = snapshot["states"].as_object();
    let states = states.unwrap_or_else(|| panic!("states is {}", snapshot["states"]));
    states
        .iter()
        .filter_map(|(state, n)| Some((state.clone(), known(state, n)?)))
        .filter(|(state, n)| *n > 0 && state != "TIME_WAIT")
        .collect()
}

/// The number of sockets in `state`; transitions do not tell of half-open
/// requests and mini-sockets, and only of those.
#[track_caller]
fn known(state: &str, n: &Value) -> Option<u64> {
    assert!(
        n.is_u64() || (n.is_null() && ["SYN_RECV", "TIME_WAIT"].contains(&state)),
        "states.{state} is {n}"
    );
    n.as_u64()
}

/// The row of one process, namespace and role in `closers`; panics if there are several.
#[track_caller]
pub fn closer<'a>(snapshot: &'a Value, pid: u32, netns: u64, role: &str) -> Option<&'a Value> {
    let rows = snapshot["closers"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("closers is {}", snapshot["closers"]));
    let mut found =
        rows.iter().filter(|row| row["pid"] == pid && row["netns"] == netns && row["role"] == role);
    let row = found.next();
    assert!(found.next().is_none(), "two rows of pid {pid} as {role}: {:#}", snapshot["closers"]);
    row
}

/// A snapshot of known traffic in one namespace, compared within what was [`missed`].
pub struct Exact<'a> {
    snapshot: &'a Value,
    netns: u64,
    missed: u64,
}

impl<'a> Exact<'a> {
    /// Also checks that nothing was lost otherwise. An event can only go
    /// unmatched when another one was missed.
    #[track_caller]
    pub fn new(snapshot: &'a Value, netns: u64) -> Self {
        let loss = &snapshot["loss"];
        let missed = missed(snapshot);
        assert_eq!(loss["ring_full"], 0, "the ring overflowed: {loss:#}");
        assert_eq!(loss["evicted"], 0, "a table overflowed: {loss:#}");
        assert!(
            number(snapshot, "loss.unmatched") <= missed,
            "unmatched: {loss:#}, {:#}, {:#}, {:#}, {:#}",
            snapshot["transitions"],
            snapshot["time_wait"],
            snapshot["kernel"],
            snapshot["reconcile"]
        );
        Self { snapshot, netns, missed }
    }

    /// How many events the tool's programs did not see.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Checks numbers of the object at a path, all of them given, such as
    /// `("connects", &[("ok", 1)])`: those not given must be 0.
    #[track_caller]
    pub fn object(&self, part: &str, want: &[(&str, u64)]) {
        let object = at(self.snapshot, part);
        let keys = object.as_object().unwrap_or_else(|| panic!("{part} is {object}"));
        for (key, _) in want {
            assert!(keys.contains_key(*key), "{part} has no {key}: {object:#}");
        }
        for key in keys.keys() {
            let want = want.iter().find(|(k, _)| k == key).map_or(0, |(_, n)| *n);
            let seen = number(self.snapshot, &format!("{part}.{key}"));
            assert!(
                seen.abs_diff(want) <= self.missed,
                "{part}.{key} is {seen}, {want} happened, {} were missed: {object:#}",
                self.missed
            );
        }
    }

    /// Checks the row of one process and role: `active_closes`, `peer_closes` and `resets`.
    /// A process that did none of these need not have a row.
    #[track_caller]
    pub fn closer(&self, pid: u32, role: &str, want: Closer) {
        let row = closer(self.snapshot, pid, self.netns, role);
        let numbers =
            [("active_closes", want.active), ("peer_closes", want.peer), ("resets", want.resets)];
        for (key, want) in numbers {
            let seen = row.map_or(0, |row| {
                row[key].as_u64().unwrap_or_else(|| panic!("{key} is {}: {row:#}", row[key]))
            });
            assert!(
                seen.abs_diff(want) <= self.missed,
                "{key} of pid {pid} as {role} is {seen}, {want} happened, {} were missed: {:#}",
                self.missed,
                self.snapshot["closers"]
            );
        }
        if let Some(row) = row
            && self.missed == 0
            && want.active > 0
        {
            let share = want.active as f64 / number(self.snapshot, "closes.active") as f64;
            let seen = row["share"].as_f64().unwrap_or(-1.0);
            assert!((seen - share).abs() < 0.001, "share is {seen}, not {share}: {row:#}");
        }
    }

    /// Checks one number, such as `("port_search.connect.count", 1)`.
    #[track_caller]
    pub fn count(&self, path: &str, want: u64) {
        let seen = number(self.snapshot, path);
        assert!(
            seen.abs_diff(want) <= self.missed,
            "{path} is {seen}, {want} happened, {} were missed: {:#}",
            self.missed,
            at(self.snapshot, path.rsplit_once('.').map_or("", |(parent, _)| parent))
        );
    }

    /// Checks the mini-sockets: those that came, those that went, and that as
    /// many are left as that leaves.
    #[track_caller]
    pub fn time_wait(&self, want: TimeWait<'_>) {
        let TimeWait { seeded, born, refused, ended } = want;
        // Those reused by a bound port are among those reused.
        let gone: u64 = ended.iter().filter(|(k, _)| *k != "reused_bound").map(|(_, n)| n).sum();
        for (key, n) in [
            ("seeded", seeded),
            ("born", born),
            ("refused", refused),
            ("now", seeded + born - gone),
        ] {
            self.count(&format!("time_wait.{key}"), n);
        }
        self.object("time_wait.ended", ended);
    }

    /// Checks that we agree with the kernel's own counters, as far as it has them.
    #[track_caller]
    pub fn reconciles(&self) {
        let reconcile = &self.snapshot["reconcile"];
        for key in [
            "time_wait_now_minus_sockstat",
            "births_minus_TW",
            "reused_minus_TWRecycled",
            "refused_minus_overflow",
        ] {
            let value = &reconcile[key];
            // Before 5.18 the kernel's TW counts expiries instead.
            let unknown = value.is_null() && key == "births_minus_TW";
            let difference = value.as_i64().map(i64::unsigned_abs);
            assert!(
                unknown || difference.is_some_and(|difference| difference <= self.missed),
                "reconcile.{key} is {value}: {reconcile:#}, {:#}, {:#}",
                self.snapshot["time_wait"],
                self.snapshot["kernel"]
            );
        }
        assert_eq!(self.snapshot["kernel"]["netns"], self.netns);
    }

    /// Checks how many mini-sockets of one process and role are alive, and how
    /// many of them the kernel refused to make.
    #[track_caller]
    pub fn minis(&self, pid: u32, role: &str, alive: u64, refused: u64) {
        let row = closer(self.snapshot, pid, self.netns, role);
        for (key, want) in [("time_wait_now", alive), ("refused", refused)] {
            let seen = row.map_or(0, |row| {
                row[key].as_u64().unwrap_or_else(|| panic!("{key} is {}: {row:#}", row[key]))
            });
            assert!(
                seen.abs_diff(want) <= self.missed,
                "{key} of pid {pid} as {role} is {seen}, not {want}, {} were missed: {:#}",
                self.missed,
                self.snapshot["closers"]
            );
        }
    }

    /// Checks that the rows together have as many mini-sockets as are alive.
    #[track_caller]
    pub fn minis_together(&self, alive: u64) {
        let rows = self.snapshot["closers"].as_array().expect("closers is a list");
        let sum: u64 = rows.iter().map(|row| row["time_wait_now"].as_u64().unwrap_or(0)).sum();
        assert!(sum.abs_diff(alive) <= self.missed, "{sum}, not {alive}: {rows:#?}");
    }

    /// Checks that the rows together hold no more than what happened: none is
    /// doubled, none belongs to a stranger.
    #[track_caller]
    pub fn closers_together(&self, want: Closer) {
        let sum = |key: &str| -> u64 {
            let rows = self.snapshot["closers"].as_array().expect("closers is a list");
            rows.iter().map(|row| row[key].as_u64().unwrap_or(0)).sum()
        };
        let numbers =
            [("active_closes", want.active), ("peer_closes", want.peer), ("resets", want.resets)];
        for (key, want) in numbers {
            let seen = sum(key);
            assert!(
                seen.abs_diff(want) <= self.missed,
                "{key} of all rows is {seen}, {want} happened: {:#}",
                self.snapshot["closers"]
            );
        }
    }
}

/// What happened to mini-sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeWait<'a> {
    /// There before the tool.
    pub seeded: u64,
    /// Born.
    pub born: u64,
    /// Wanted and not made.
    pub refused: u64,
    /// Ends by their name; those not given must be 0.
    pub ended: &'a [(&'a str, u64)],
}

/// Mini-sockets that were born, and live.
pub fn born(born: u64) -> TimeWait<'static> {
    TimeWait { born, ..TimeWait::default() }
}

/// What a row of `closers` counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closer {
    /// Its own first FINs.
    pub active: u64,
    /// Its own second FINs.
    pub peer: u64,
    /// Its own resets.
    pub resets: u64,
}

/// A row of active closes alone.
pub fn active(active: u64) -> Closer {
    Closer { active, ..Closer::default() }
}

/// A row of passive closes alone.
pub fn peer(peer: u64) -> Closer {
    Closer { peer, ..Closer::default() }
}

/// A row of resets alone.
pub fn resets(resets: u64) -> Closer {
    Closer { resets, ..Closer::default() }
}
