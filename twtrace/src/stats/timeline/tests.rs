use super::*;
use crate::{
    frame::Frame,
    pipeline::Pipeline,
    probes::{Hooks, Tier},
    stats::snapshot,
};

const STARTED_NS: u64 = 1_000_000_000_000;
const WALL_NS: u64 = 1_767_225_600_000_000_000;
const HOOKS: Hooks = Hooks {
    transitions: Tier::Tracepoint,
    light: false,
    fields_known: true,
    time_wait: Some(Tier::Tracepoint),
    port_search: Some(Tier::Tracepoint),
    cpu_share: None,
    ports_tried: None,
};

fn meta(hooks: Hooks) -> Meta {
    Meta {
        hostname: "web1".to_owned(),
        kernel: "6.12.48".to_owned(),
        boot_id: String::new(),
        started_ns: STARTED_NS,
        wall_at_boot_ns: 0,
        hooks,
        home_netns: None,
        own_range_step: 1,
        tw_counts_births: Some(true),
        sample_hz: None,
        searches_of: None,
        continues: false,
    }
}

fn empty(hooks: Hooks) -> Snapshot {
    let tick = Frame::Tick { time_ns: STARTED_NS, wall_ns: WALL_NS };
    let snapshot = Pipeline::new(meta(hooks), 10, 10).apply(&tick).expect("no records");
    snapshot.expect("a tick gives one")
}

fn at(second: u64) -> u64 {
    STARTED_NS + second * 1_000_000_000
}

fn tick(timeline: &mut Timeline, second: u64, snapshot: &Snapshot) {
    timeline.tick(at(second), WALL_NS + second * 1_000_000_000, snapshot);
}

fn destination(raddr: &str, used_ratio: f64) -> snapshot::Destination {
    snapshot::Destination {
        raddr: Some(raddr.to_owned()),
        rport: Some(443),
        used_ratio: Some(used_ratio),
        knee_in_s: (used_ratio >= 0.5).then_some(0.0),
        ..snapshot::Destination::default()
    }
}

/// `ticks` seconds with three births and a search each.
fn steady(ticks: u64) -> Timeline {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let mut snapshot = empty(HOOKS);
    for second in 1..=ticks {
        let minis = snapshot.time_wait.as_mut().expect("mini-sockets are followed");
        minis.born = Some(3 * second);
        minis.now = Some(second % 100);
        timeline.searched(SearchOp::Connect, 2_000);
        tick(&mut timeline, second, &snapshot);
    }
    timeline
}

#[test]
fn however_long_it_runs_buckets_are_bounded_and_sums_are_kept() {
    for ticks in [1, 599, 600, 601, 1_201, 10_007] {
        let timeline = steady(ticks);
        let buckets = timeline.buckets();
        assert!(buckets.len() <= MAX_BUCKETS, "{} buckets of {ticks} ticks", buckets.len());
        assert!(buckets.len() as u64 >= ticks.min(MAX_BUCKETS as u64 / 2));
        let born: u64 = buckets.iter().filter_map(|bucket| bucket.grown(Count::Born)).sum();
        assert_eq!(born, 3 * ticks);
        let searches = buckets.iter().flat_map(|b| b.searches(SearchOp::Connect).by_step());
        assert_eq!(searches.sum::<u64>(), ticks);
        assert_eq!(timeline.ended_ns(), at(ticks));
        assert_eq!(buckets.iter().filter_map(|b| b.time_wait_now).max(), Some(ticks.min(99)));
    }
}

#[test]
fn buckets_follow_each_other_and_rates_are_over_their_length() {
    let timeline = steady(1_000);
    let mut from_ns = STARTED_NS;
    for bucket in timeline.buckets() {
        assert_eq!(bucket.from_ns, from_ns);
        from_ns = bucket.to_ns;
        assert_eq!(bucket.per_s(Count::Born), Some(3.0));
    }
}

#[test]
fn what_is_unknown_stays_unknown() {
    let mut timeline = Timeline::new(&meta(Hooks::POLLING));
    let snapshot = empty(Hooks::POLLING);
    (1..=700).for_each(|second| tick(&mut timeline, second, &snapshot));
    for bucket in timeline.buckets() {
        assert_eq!(Count::ALL.map(|count| bucket.grown(count)), [None; Count::ALL.len()]);
        assert_eq!(bucket.time_wait_now, None);
        assert_eq!(bucket.used_ratio, [None; DESTINATIONS]);
    }
}

#[test]
fn a_close_taken_back_is_no_growth() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let mut snapshot = empty(HOOKS);
    for (second, active) in [(1, 10), (2, 9), (3, 12)] {
        snapshot.closes.as_mut().expect("it is traced").active = active;
        tick(&mut timeline, second, &snapshot);
    }
    let grown = timeline.buckets().iter().map(|bucket| bucket.grown(Count::ActiveCloses));
    assert_eq!(grown.collect::<Vec<_>>(), [Some(10), Some(0), Some(3)]);
}

#[test]
fn ticks_of_one_moment_have_no_rate_and_lose_nothing() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let snapshot = empty(HOOKS);
    tick(&mut timeline, 0, &snapshot);
    assert_eq!(timeline.buckets()[0].per_s(Count::Born), None);
    timeline.searched(SearchOp::Bind, 100);
    tick(&mut timeline, 0, &snapshot);
    timeline.searched(SearchOp::Bind, 100);
    tick(&mut timeline, 1, &snapshot);
    tick(&mut timeline, 1, &snapshot);
    let counts = timeline.buckets().iter().map(|b| b.searches(SearchOp::Bind).by_step().iter());
    assert_eq!(counts.map(Iterator::sum::<u64>).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn the_fullest_destinations_are_followed() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let mut snapshot = empty(HOOKS);
    let small = (0..DESTINATIONS).map(|i| destination(&format!("10.0.0.{i}"), 0.1));
    snapshot.destinations = Some(small.collect());
    tick(&mut timeline, 1, &snapshot);
    // One more takes the place of another, and is not known before; one has no sockets left.
    let rows = snapshot.destinations.as_mut().expect("there are some");
    rows.pop();
    rows.push(destination("10.0.0.9", 0.6));
    tick(&mut timeline, 2, &snapshot);
    let followed: Vec<_> = timeline.destinations().flatten().map(|one| &*one.raddr).collect();
    let place = followed.iter().position(|raddr| *raddr == "10.0.0.9").expect("it is fullest");
    let [first, second] = timeline.buckets() else { panic!("two ticks") };
    assert_eq!((first.used_ratio[place], second.used_ratio[place]), (None, Some(0.6)));
    assert_eq!(second.used_ratio.iter().filter(|ratio| **ratio == Some(0.0)).count(), 1);
    let [passed] = timeline.passed() else { panic!("one is past the knee") };
    assert_eq!((passed.line, passed.first_ns, passed.times), (Line::Knee, at(2), 1));
}

#[test]
fn a_line_that_is_passed_again_and_again_is_told_once() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let mut snapshot = empty(HOOKS);
    for second in 1..=100 {
        let rows = (0..200).map(|i| {
            let ratio = if second % 2 == 0 { 0.4 } else { 0.6 };
            destination(&format!("10.0.0.{i}"), ratio)
        });
        snapshot.destinations = Some(rows.collect());
        tick(&mut timeline, second, &snapshot);
    }
    assert_eq!(timeline.passed().len(), 64);
    assert!(timeline.passed().iter().all(|passed| passed.times == 50 && passed.first_ns == at(1)));
}

#[test]
fn the_wall_clock_of_the_first_tick_counts() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    let snapshot = empty(HOOKS);
    assert_eq!(timeline.wall_ns(at(1)), None);
    timeline.tick(at(1), WALL_NS, &snapshot);
    timeline.tick(at(2), WALL_NS + 1_000_000_000, &snapshot);
    assert_eq!(timeline.wall_ns(at(0)), Some(WALL_NS - 1_000_000_000));
    assert!(!timeline.wall_was_set());
    timeline.tick(at(3), WALL_NS + 3_600_000_000_000, &snapshot);
    assert_eq!(timeline.wall_ns(at(3)), Some(WALL_NS + 2_000_000_000));
    assert!(timeline.wall_was_set());
}

#[test]
fn lists_are_bounded() {
    let mut timeline = Timeline::new(&meta(HOOKS));
    for second in 0..250 {
        timeline.sysctl_changed(at(second), 1, "tcp_tw_reuse", Some("0"), None);
        timeline.gap(at(second + 1), at(second), "a flipped bit");
    }
    assert_eq!((timeline.sysctls().len(), timeline.sysctls_left_out()), (100, 150));
    assert_eq!((timeline.gaps().len(), timeline.gaps_left_out()), (100, 150));
    assert!(timeline.gaps().iter().all(|gap| gap.to_ns >= gap.from_ns));
}
