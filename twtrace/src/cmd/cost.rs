//! What watching takes, from one moment to the next.

use std::time::{Duration, Instant};

use crate::{
    bpf::run_time::Measuring,
    host::{self, Reach},
    view::tui::Cost,
};

/// Measuring programs makes them slower: it is done for one moment of so many.
const MEASURED_EACH: u64 = 5;

/// A shorter time tells nothing.
const SHORTEST: Duration = Duration::from_millis(100);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct CostMeter {
    reach: Reach,
    at: Instant,
    cpu: Duration,
    reads: u64,
    measuring: Option<(Measuring, u64)>,
    last: Cost,
}

impl CostMeter {
    /// Programs are measured with our own rights, or through whoever has them.
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            reach,
            at: Instant::now(),
            cpu: host::own_cpu(),
            reads: 0,
            measuring: None,
            last: Cost::default(),
        }
    }

    /// Since this was read last, if that is a while ago.
    pub(super) fn read(&mut self) -> Cost {
        let (now, cpu) = (Instant::now(), host::own_cpu());
        let passed = now.duration_since(self.at);
        if passed < SHORTEST {
            return self.last;
        }
        let percent = |time: Duration| time.as_secs_f64() / passed.as_secs_f64() * 100.0;
        let own = percent(cpu.saturating_sub(self.cpu));
        (self.at, self.cpu) = (now, cpu);
        self.last.own_cpu_pct = Some(own);
        self.last.rss_bytes = host::own_rss();
        if let Some((measuring, before_ns)) = self.measuring.take() {
            let ran_ns = host::own_programs_ns().map(|now_ns| now_ns.saturating_sub(before_ns));
            drop(measuring);
            self.last.bpf_cpu_pct = ran_ns.map(|ran_ns| percent(Duration::from_nanos(ran_ns)));
        } else if self.reads.is_multiple_of(MEASURED_EACH) {
            self.measuring = Measuring::start(&self.reach).ok().zip(host::own_programs_ns());
            if self.measuring.is_none() {
                // Whoever measures may have been busy.
                return self.last;
            }
        }
        self.reads += 1;
        self.last
    }
}
