//! What twtrace says about the port searches of connects.

use anyhow::{Context, Result};
use serde_json::Value;

use super::snapshot::Snapshots;

/// Since it started; only of one network namespace, where only one is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Searched {
    /// Searches
    pub(super) count: u64,
    /// The sum of what they took on the clock
    pub(super) total_ns: u64,
    /// Half of them took no more
    pub(super) p50_ns: u64,
    /// 99 % of them took no more
    pub(super) p99_ns: u64,
    /// CPU samples that met one
    pub(super) samples: u64,
    /// How often each processor is looked at, per second
    pub(super) hz: u64,
    /// Those that found a port in the half that is searched first
    pub(super) first_half: u64,
    /// Those that had to go on to the other
    pub(super) second_half: u64,
    /// Ports in use towards the destination
    pub(super) ports_used: u64,
    /// When half of them will be: 0 if they are, nothing if they are not going to be
    pub(super) knee_in_s: Option<f64>,
}

impl Searched {
    /// What the last of its snapshots says; towards the destination that has the most ports.
    pub(super) fn of(snapshots: &Snapshots) -> Result<Self> {
        Self::parse(&snapshots.last)
    }

    /// What each search took on the clock.
    pub(super) fn mean_ns(self) -> Option<f64> {
        (self.count > 0).then(|| self.total_ns as f64 / self.count as f64)
    }

    /// CPU time in searches: each sample stands for the time between two.
    pub(super) fn cpu_ns(self) -> f64 {
        self.samples as f64 * 1e9 / self.hz as f64
    }

    /// What each search took of CPU.
    pub(super) fn mean_cpu_ns(self) -> Option<f64> {
        (self.count > 0).then(|| self.cpu_ns() / self.count as f64)
    }

    fn parse(line: &str) -> Result<Self> {
        let snapshot: Value = serde_json::from_str(line).context("twtrace printed no JSON")?;
        let number = |pointer: &str| {
            let number = snapshot.pointer(pointer).and_then(Value::as_u64);
            number.with_context(|| format!("twtrace tells no {pointer}: are searches seen here?"))
        };
        let connect = |key: &str| number(&format!("/port_search/connect/{key}"));
        let destination = &snapshot["destinations"][0];
        Ok(Self {
            count: connect("count")?,
            total_ns: connect("total_ns")?,
            p50_ns: connect("latency_ns/p50").unwrap_or_default(),
            p99_ns: connect("latency_ns/p99").unwrap_or_default(),
            samples: number("/port_search/samples/connect")?,
            hz: number("/port_search/samples/hz")?,
            first_half: connect("found/first_half")?,
            second_half: connect("found/second_half")?,
            ports_used: destination["ports_used"].as_u64().unwrap_or_default(),
            knee_in_s: destination["knee_in_s"].as_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"port_search":{
        "connect":{"count":4,"latency_ns":{"p50":2,"p99":3},"total_ns":1000,
                   "found":{"first_half":1,"second_half":3,"unknown":0}},
        "samples":{"hz":100,"bind":9,"connect":2}},
        "destinations":[{"ports_used":7,"knee_in_s":0},{"ports_used":1,"knee_in_s":null}]}"#;

    #[test]
    fn searches_are_read_from_a_snapshot() {
        let searched = Searched::parse(LINE).expect("a snapshot");
        assert_eq!((searched.first_half, searched.second_half), (1, 3));
        assert_eq!((searched.p50_ns, searched.p99_ns), (2, 3));
        assert_eq!((searched.ports_used, searched.knee_in_s), (7, Some(0.0)));
        assert_eq!(searched.mean_ns(), Some(250.0));
        assert_eq!(searched.mean_cpu_ns(), Some(5_000_000.0));
    }

    #[test]
    fn a_snapshot_without_samples_is_refused() {
        let error = Searched::parse(r#"{"port_search":null}"#).expect_err("nothing is known");
        assert!(error.to_string().contains("are searches seen here"), "{error}");
    }
}
