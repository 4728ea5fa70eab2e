//! What watching takes, from one moment to the next.

use std::time::{Duration, Instant};

use crate::{bpf::run_time::Measuring, host, view::tui::Cost};

/// Measuring programs makes them slower: it is done for one moment of so many.
const MEASURED_EACH: u64 = 5;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct CostMeter {
    at: Instant,
    cpu: Duration,
    moments: u64,
    measuring: Option<(Measuring, u64)>,
    bpf_cpu_pct: Option<f64>,
}

impl CostMeter {
    pub(super) fn new() -> Self {
        Self {
            at: Instant::now(),
            cpu: host::own_cpu(),
            moments: 0,
            measuring: None,
            bpf_cpu_pct: None,
        }
    }

    /// Since this was asked last.
    pub(super) fn read(&mut self) -> Cost {
        let (now, cpu) = (Instant::now(), host::own_cpu());
        let passed_s = now.duration_since(self.at).as_secs_f64();
        let percent = |time: Duration| time.as_secs_f64() / passed_s.max(1e-6) * 100.0;
        let own = percent(cpu.saturating_sub(self.cpu));
        (self.at, self.cpu) = (now, cpu);
        if let Some((measuring, before_ns)) = self.measuring.take() {
            let ran_ns = host::own_programs_ns().map(|now_ns| now_ns.saturating_sub(before_ns));
            drop(measuring);
            self.bpf_cpu_pct = ran_ns.map(|ran_ns| percent(Duration::from_nanos(ran_ns)));
        } else if self.moments.is_multiple_of(MEASURED_EACH) {
            self.measuring = Measuring::start().ok().zip(host::own_programs_ns());
        }
        self.moments += 1;
        Cost { own_cpu_pct: Some(own), rss_bytes: host::own_rss(), bpf_cpu_pct: self.bpf_cpu_pct }
    }
}
