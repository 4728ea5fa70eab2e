//! A recording as a page shows it, made up: ten minutes in which a destination runs out of
//! ports until tcp_tw_reuse is set, another one fills up, and something is lost.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use twtrace::{
    frame::{Frame, Meta},
    pipeline::Pipeline,
    probes::Hooks,
    stats::{
        snapshot::{
            BindExplicit, Closer, Closes, Connects, Destination, Encoded, Failures, Halves, Hdr,
            PortSearch, PortSearchKind, RangeState, SearchFailure, SearchOp, SearchRange,
            SearchingProcess, Snapshot, Summary, TimeWait, Transitions,
        },
        timeline::Timeline,
    },
    view::html::{self, Report},
};

use super::kernel::{NETNS, PaperKernel, TP_BTF, at, meta, tick};

/// Ports of the usual range.
const PORTS: u64 = 28_232;
/// Of the whole recording.
const SECONDS: u64 = 600;
/// When tcp_tw_reuse is set.
const REUSE_S: u64 = 420;

/// What a page is made of, owned.
pub(crate) struct Recording {
    pub(crate) meta: Meta,
    pub(crate) snapshot: Snapshot,
    pub(crate) timeline: Timeline,
    pub(crate) notes: Vec<String>,
}

impl Recording {
    /// One in which nothing happened, after a tick.
    pub(crate) fn quiet(hooks: Hooks) -> Self {
        let meta = meta(hooks);
        let snapshot = quiet(hooks);
        let mut recording =
            Self { timeline: Timeline::new(&meta), meta, snapshot, notes: Vec::new() };
        recording.tick(60.0);
        recording
    }

    /// One of a single interval, at whose end `snapshot` was true.
    pub(crate) fn of(hooks: Hooks, snapshot: Snapshot) -> Self {
        let mut recording = Self { snapshot, ..Self::without_ticks(hooks) };
        recording.tick(60.0);
        recording
    }

    /// One that was cut off before its first tick.
    pub(crate) fn without_ticks(hooks: Hooks) -> Self {
        let timeline = Timeline::new(&meta(hooks));
        Self { timeline, ..Self::quiet(hooks) }
    }

    /// The ten minutes of this module.
    pub(crate) fn example() -> Self {
        let meta = meta(TP_BTF);
        let mut recording = Self {
            timeline: Timeline::new(&meta),
            meta,
            snapshot: quiet(TP_BTF),
            notes: vec![
                "web1.twt: 48,204 bytes at offset 1,310,720 do not match their checksum and were \
                 left out (3 frames)."
                    .to_owned(),
            ],
        };
        let mut story = Story::default();
        for second in 1..=SECONDS {
            story.second(second, &mut recording.timeline);
            story.tell(second, &mut recording.snapshot);
            recording.tick(second as f64);
        }
        recording.timeline.gap(at(200.0), at(206.0), "checksum does not match");
        let (before, after) = (Some("2"), Some("1"));
        recording.timeline.sysctl_changed(at(REUSE_S as f64), NETNS, "tcp_tw_reuse", before, after);
        story.lifetimes(&mut recording.snapshot);
        recording
    }

    pub(crate) fn tick(&mut self, after_s: f64) {
        let Frame::Tick { time_ns, wall_ns } = tick(after_s) else { unreachable!("it is a tick") };
        self.timeline.tick(time_ns, wall_ns, &self.snapshot);
    }

    pub(crate) fn page(&self) -> String {
        let Self { meta, snapshot, timeline, notes } = self;
        html::page(&Report { meta, snapshot, timeline, notes })
    }
}

fn quiet(hooks: Hooks) -> Snapshot {
    let kernel = PaperKernel::new(hooks);
    let mut pipeline = Pipeline::new(meta(hooks), 10_000, 10);
    for frame in [kernel.totals(), kernel.own_counters(&[NETNS])] {
        pipeline.apply(&frame).expect("the frame is sound");
    }
    let snapshot = pipeline.apply(&tick(SECONDS as f64)).expect("a tick holds no records");
    snapshot.expect("a tick gives a Snapshot")
}

/// Numbers without a pattern, the same in each run.
struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// Around 1, mostly within a third of it.
    fn around(&mut self) -> f64 {
        (0..4).map(|_| self.part()).sum::<f64>() / 2.0
    }
}

/// What has happened so far.
struct Story {
    dice: Dice,
    /// Births by second, of those that will expire.
    births: Vec<u64>,
    alive: u64,
    born: u64,
    expired: u64,
    reused: u64,
    replaced: u64,
    reset: u64,
    timed_out: u64,
    no_port: u64,
    ring_full: u64,
    searches: u64,
    used: f64,
    other_used: f64,
    latencies: Histogram<u64>,
    lifetimes: Histogram<u64>,
}

impl Default for Story {
    fn default() -> Self {
        let histogram = || Histogram::new(3).expect("three figures are allowed");
        Self {
            dice: Dice(7),
            births: Vec::new(),
            alive: 1_200,
            born: 0,
            expired: 0,
            reused: 0,
            replaced: 0,
            reset: 0,
            timed_out: 0,
            no_port: 0,
            ring_full: 0,
            searches: 0,
            used: 0.02,
            other_used: 0.05,
            latencies: histogram(),
            lifetimes: histogram(),
        }
    }
}

impl Story {
    fn second(&mut self, second: u64, timeline: &mut Timeline) {
        let reuses = second >= REUSE_S;
        let load = 90.0 + 400.0 * (second as f64 / 380.0).min(1.0).powf(1.4);
        let wanted = (load * (0.9 + 0.2 * self.dice.around()) / 1.1) as u64;
        let free = if reuses { wanted } else { PORTS.saturating_sub(self.alive) };
        let born = wanted.min(free);
        self.no_port += wanted - born;
        self.born += born;
        self.births.push(born);
        self.expire(second);
        if reuses {
            // A port that is looked at is in TIME_WAIT the more often, the more are.
            let reused = (born as f64 * self.used * (0.93 + 0.07 * self.dice.part())) as u64;
            self.reused += reused;
            self.alive = self.alive.saturating_sub(reused);
            self.take_back(reused);
        }
        self.alive += born;
        self.used = if born < wanted { 1.0 } else { (self.alive as f64 / PORTS as f64).min(0.999) };
        self.other_used = 0.05 + 0.43 * (second as f64 / SECONDS as f64).powi(3);
        if (470..482).contains(&second) {
            self.ring_full += 40 + (60.0 * self.dice.part()) as u64;
        }
        for _ in 0..wanted / 6 {
            self.search(timeline, wanted > born);
        }
        if second.is_multiple_of(40) {
            timeline.searched(SearchOp::Bind, 9_000);
        }
    }

    fn expire(&mut self, second: u64) {
        let due = second.checked_sub(61).map_or(if second < 61 { 20 } else { 0 }, |at| {
            self.births.get(at as usize).copied().unwrap_or_default()
        });
        let late = (due as f64 * 0.03 * self.dice.part()) as u64;
        self.reset += late / 2;
        self.replaced += late / 3;
        self.timed_out += late / 3;
        self.expired += due.saturating_sub(late / 2 + 2 * (late / 3));
        self.alive = self.alive.saturating_sub(due);
        for _ in 0..due {
            let lived = 60_000_000 + (2_000_000.0 * self.dice.part()) as u64;
            self.lifetimes.record(lived).expect("it grows");
        }
        for _ in 0..late {
            let lived = (60_000_000.0 * self.dice.part()) as u64;
            self.lifetimes.record(lived.max(1)).expect("it grows");
        }
    }

    /// Those that were reused will not expire: the oldest go first.
    fn take_back(&mut self, reused: u64) {
        let mut left = reused;
        let oldest = self.births.len().saturating_sub(60);
        for births in &mut self.births[oldest..] {
            let taken = left.min(*births);
            *births -= taken;
            left -= taken;
        }
        for _ in 0..reused {
            let lived = 1_000_000 + (9_000_000.0 * self.dice.part().powi(3)) as u64;
            self.lifetimes.record(lived).expect("it grows");
        }
    }

    fn search(&mut self, timeline: &mut Timeline, fails: bool) {
        let short = 1_400.0 * (1.0 + 2.0 * self.dice.part().powi(3));
        let past = ((self.used - 0.5) / 0.5).max(0.0);
        let long = 40_000.0 * (1.0 + 30.0 * past.powi(4)) * (0.4 + self.dice.around());
        let rare = 200.0_f64.mul_add(self.dice.part().powi(40), 1.0);
        let searches_both = past > 0.0 && self.dice.part() < 0.35 + 0.6 * past;
        let latency_ns = if fails || searches_both { long } else { short * rare };
        self.searches += 1;
        self.latencies.record(latency_ns as u64).expect("it grows");
        timeline.searched(SearchOp::Connect, latency_ns as u64);
    }

    fn tell(&mut self, second: u64, s: &mut Snapshot) {
        let opened = self.born + 2_000;
        s.elapsed_s = second as f64;
        s.transitions = Some(Transitions {
            total: self.born * 10,
            by_pair: BTreeMap::from([("SYN_SENT>ESTABLISHED".to_owned(), opened)]),
        });
        s.connects = Some(Connects {
            ok: opened,
            refused: Some(12),
            timed_out: Some(3),
            no_port: Some(self.no_port),
            other: Some(0),
        });
        s.closes = Some(Closes {
            active: self.born,
            passive: self.born / 8,
            simultaneous: 0,
            reset: 310,
            reset_local: Some(300),
            reset_remote: Some(10),
        });
        if let Some(loss) = &mut s.loss {
            loss.ring_full = self.ring_full;
            loss.missed = Some(second / 200);
        }
        if let Some(minis) = &mut s.time_wait {
            self.minis(minis);
        }
        s.destinations = Some(self.destinations());
        s.closers = Some(self.closers());
        s.port_search = Some(self.port_search());
    }

    fn minis(&self, minis: &mut TimeWait) {
        minis.now = Some(self.alive);
        minis.seeded = Some(1_200);
        minis.born = Some(self.born);
        minis.refused = Some(0);
        let ended = &mut minis.ended;
        ended.expired = Some(self.expired);
        ended.reused = Some(self.reused);
        ended.replaced = Some(self.replaced);
        ended.reset = Some(self.reset);
        ended.fin_wait2_timeout = Some(self.timed_out);
    }

    fn destinations(&self) -> Vec<Destination> {
        let row = |raddr: &str, rport, ratio: f64| Destination {
            netns: Some(NETNS),
            laddr: Some("10.0.0.1".to_owned()),
            raddr: Some(raddr.to_owned()),
            rport: Some(rport),
            ports_used: (ratio * PORTS as f64) as u64,
            ports_time_wait: (ratio * PORTS as f64 * 0.98) as u64,
            ports_available: Some(PORTS),
            ports_bound: Some(0),
            ports_reusable: Some(0),
            used_ratio: Some(ratio),
            range: Some(SearchRange { low: 32_768, high: 60_999, own: false, step: Some(2) }),
            opens_per_s: Some(470.4),
            knee_in_s: (ratio >= 0.5).then_some(0.0),
            exhausted_in_s: (ratio >= 1.0).then_some(0.0),
            pid: Some(812),
            comm: Some("php-fpm".to_owned()),
            ..Destination::default()
        };
        let first = Destination {
            connect_errors: Failures::from([("EADDRNOTAVAIL", self.no_port)]),
            ..row("10.0.0.5", 6_379, self.used)
        };
        let second = Destination {
            knee_in_s: Some(14.0),
            exhausted_in_s: Some(63.0),
            opens_per_s: Some(402.5),
            pid: Some(2_210),
            comm: Some("envoy".to_owned()),
            ..row("10.0.0.7", 5_432, self.other_used)
        };
        let quiet = Destination { opens_per_s: Some(3.1), ..row("2001:db8::20", 443, 0.013) };
        let others = Destination { other: true, ports_used: 77, ..Destination::default() };
        let mut rows = vec![first, second, quiet];
        rows.sort_by(|a, b| b.used_ratio.partial_cmp(&a.used_ratio).expect("they are numbers"));
        rows.push(others);
        rows
    }

    fn closers(&self) -> Vec<Closer> {
        let row = |pid, comm: &str, part: f64, role, cgroup: &str| Closer {
            pid: Some(pid),
            comm: Some(comm.to_owned()),
            cgroup: Some(cgroup.to_owned()),
            netns: Some(NETNS),
            role: Some(role),
            active_closes: (self.born as f64 * part) as u64,
            share: Some(part),
            peer_closes: (self.born as f64 * part / 9.0) as u64,
            resets: Some((part * 300.0) as u64),
            refused: Some(0),
            time_wait_now: Some((self.alive as f64 * part) as u64),
            port_seconds: Some(self.born as f64 * part * 41.0),
            lifetime_s: Some(lifetime(self.born / 2)),
            ..Closer::default()
        };
        vec![
            row(812, "php-fpm", 0.842, "client", "/system.slice/php8.2-fpm.service"),
            row(2_210, "envoy", 0.121, "client", "/kubepods.slice/kubepods-burstable.slice"),
            row(771, "nginx", 0.031, "server", "/system.slice/nginx.service"),
            row(4_194_303, "curl", 0.006, "client", "/user.slice/user-1000.slice"),
        ]
    }

    fn port_search(&self) -> PortSearch {
        let latency_ns = summary(&self.latencies);
        let kind = |count, failed, latency_ns: Summary<u64>| PortSearchKind {
            count,
            failed,
            total_ns: latency_ns.mean.unwrap_or_default() * latency_ns.count,
            latency_ns,
            cpu_core_pct: Some(3.2),
            found: Halves { first_half: count, second_half: 0, unknown: 0 },
            tried: None,
        };
        let failed = Some(Failures::from([("EADDRNOTAVAIL", self.no_port)]));
        let connect = kind(self.born, failed.clone(), latency_ns.clone());
        let bind = kind(15, None, Summary { count: 15, ..latency_ns.clone() });
        let process = |pid, comm: &str, part: f64| SearchingProcess {
            other: false,
            pid: Some(pid),
            comm: Some(comm.to_owned()),
            op: Some(SearchOp::Connect),
            count: (self.born as f64 * part) as u64,
            failed: failed.clone(),
            latency_ns: latency_ns.clone(),
            total_ns: (connect.total_ns as f64 * part) as u64,
            cpu_core_pct: Some(part * 3.2),
        };
        PortSearch {
            only_cgroup: None,
            by_process: vec![process(812, "php-fpm", 0.87), process(2_210, "envoy", 0.12)],
            bind,
            bind_explicit: BindExplicit { count: 3, failed: None },
            connect,
            by_destination: Vec::new(),
            by_netns: Vec::new(),
            failures: self.failures(),
            bind_before_connect: Vec::new(),
            samples: None,
        }
    }

    fn failures(&self) -> Vec<SearchFailure> {
        let used =
            RangeState { low: 32_768, high: 60_999, ports_used: PORTS, ports_available: PORTS };
        let failure = SearchFailure {
            other: false,
            pid: Some(812),
            comm: Some("php-fpm".to_owned()),
            netns: Some(NETNS),
            op: Some("connect"),
            error: Some("EADDRNOTAVAIL"),
            laddr: Some("10.0.0.1".to_owned()),
            raddr: Some("10.0.0.5".to_owned()),
            rport: Some(6_379),
            lport: None,
            count: self.no_port,
            last: Some(used),
        };
        if self.no_port > 0 { vec![failure] } else { Vec::new() }
    }

    fn lifetimes(&self, s: &mut Snapshot) {
        s.hdr = Some(Hdr {
            time_wait_lifetime: Some(Encoded(self.lifetimes.clone())),
            port_search_bind: None,
            port_search_connect: Some(Encoded(self.latencies.clone())),
        });
        let minis = s.time_wait.as_mut().expect("mini-sockets are followed");
        let quantile = |q| Some(self.lifetimes.value_at_quantile(q) as f64 / 1e6);
        minis.lifetime_s = Some(Summary {
            count: self.lifetimes.len(),
            min: quantile(0.0),
            mean: Some(self.lifetimes.mean() / 1e6),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: quantile(1.0),
        });
        let ends = [
            ("expired", self.expired, 61.0),
            ("reused", self.reused, 2.1),
            ("reset", self.reset, 30.2),
        ];
        let ends = ends.map(|(end, count, p50)| {
            let [min, mean, p50, p90, p99, max] =
                [0.9, 1.0, 1.0, 1.01, 1.02, 1.03].map(|by| Some(by * p50));
            (end, Summary { count, min, mean, p50, p90, p99, max })
        });
        minis.lifetime_by_end = Some(BTreeMap::from(ends));
    }
}

fn lifetime(count: u64) -> Summary<f64> {
    let [p50, p99] = [Some(60.9), Some(62.0)];
    Summary { count, min: Some(1.0), mean: p50, p50, p90: p99, p99, max: p99 }
}

fn summary(values: &Histogram<u64>) -> Summary<u64> {
    let quantile = |q| Some(values.value_at_quantile(q));
    Summary {
        count: values.len(),
        min: quantile(0.0),
        mean: Some(values.mean() as u64),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        max: quantile(1.0),
    }
}
