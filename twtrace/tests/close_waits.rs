//! Who holds sockets in CLOSE_WAIT: whatever looks show, rows are what a list of all sockets at
//! every look says; a file that goes on from another counts on, and filters leave parts of it.

mod common;

use std::collections::BTreeMap;

use common::{
    fixture,
    kernel::{self, TP_BTF, at, meta},
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};
use twtrace::{
    filter::{Filter, Filtered, Pid},
    frame::{CloseWaiting, CloseWaits, Frame, MAX_CLOSE_WAITS, ProcessFacts},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::Snapshot,
};
use twtrace_common::ProcessKey;
use zerocopy::IntoBytes;

const LOOK_S: u64 = 5;
const TGIDS: [u32; 2] = [100, 200];
const NETNS: [u32; 2] = [7, 8];

/// What a look shows of one socket: who holds it, or nobody known.
type Shown = BTreeMap<u64, Option<usize>>;

/// Whom a row is about: holder and namespace.
type Key = (Option<u32>, u32);

fn process(index: usize) -> ProcessKey {
    ProcessKey { start_time_ns: 1_000 + index as u64, tgid: TGIDS[index], padding: 0 }
}

fn netns(cookie: u64) -> u32 {
    NETNS[(cookie % 2) as usize]
}

fn waiting(cookie: u64, seen_ns: u64, holder: Option<usize>) -> CloseWaiting {
    let tuple = fixture::tuple(&format!("10.0.0.1:{}", 80 + cookie % 3), "10.0.0.2:40000");
    let (netns, holder) = (netns(cookie), holder.map(process));
    let accepted = holder.is_some();
    CloseWaiting { cookie, netns, tuple, seen_ns, since_ns: seen_ns, accepted, holder }
}

fn look_ns(index: usize) -> u64 {
    at((index as u64 * LOOK_S) as f64)
}

fn look(time_ns: u64, appeared: Vec<CloseWaiting>, gone: Vec<u64>) -> Frame {
    Frame::CloseWaits(Some(CloseWaits { time_ns, complete: true, appeared, gone }))
}

/// The frames of `looks`, five seconds apart, each with a tick.
fn told(looks: &[Shown]) -> Vec<Frame> {
    let mut since: BTreeMap<u64, u64> = BTreeMap::new();
    let mut before = &Shown::new();
    let mut frames = introductions();
    for (index, shown) in looks.iter().enumerate() {
        let time_ns = look_ns(index);
        let gone: Vec<u64> =
            before.keys().copied().filter(|cookie| !shown.contains_key(cookie)).collect();
        since.retain(|cookie, _| shown.contains_key(cookie));
        let news = shown.iter().filter(|(cookie, holder)| before.get(cookie) != Some(holder));
        let appeared = news.map(|(cookie, holder)| {
            waiting(*cookie, *since.entry(*cookie).or_insert(time_ns), *holder)
        });
        frames.extend([look(time_ns, appeared.collect(), gone), tick(index)]);
        before = shown;
    }
    frames
}

fn tick(index: usize) -> Frame {
    kernel::tick((index as u64 * LOOK_S) as f64 + 0.5)
}

fn introductions() -> Vec<Frame> {
    let named = |index: usize| {
        let mut comm = [0; 16];
        comm[..3].copy_from_slice(b"app");
        kernel::process_record(process(index), comm, 0)
    };
    let records = [named(0), named(1)];
    let place = |index: usize| ProcessFacts {
        key: process(index),
        cgroup: Some(format!("/{}", TGIDS[index])),
        container: None,
    };
    let records = records.iter().flat_map(|it| it.as_bytes().to_vec()).collect::<Vec<u8>>();
    vec![Frame::Records(records.into()), Frame::Processes(vec![place(0), place(1)])]
}

/// `count` and `growth_per_min` of each row, as a list of all sockets at every look says; one
/// is whose it was told to be last.
fn expected(looks: &[Shown]) -> BTreeMap<Key, (u64, Option<f64>)> {
    let last = looks.len() - 1;
    let first = last.saturating_sub(60 / LOOK_S as usize);
    let holder = |cookie: &u64, from: usize| {
        let told = looks[from..].iter().map_while(|shown| shown.get(cookie)).last();
        told.expect("it is there").map(|index| TGIDS[index])
    };
    let mut rows: BTreeMap<Key, (i64, i64)> = BTreeMap::new();
    for (look, sign) in [(last, 1), (first, -1)] {
        for cookie in looks[look].keys() {
            let row = rows.entry((holder(cookie, look), netns(*cookie))).or_default();
            row.0 += i64::from(sign == 1);
            row.1 += sign;
        }
    }
    let minutes = ((last - first) as u64 * LOOK_S) as f64 / 60.0;
    let growth = |growth: i64| (last > first).then(|| growth as f64 / minutes);
    let shown = rows.into_iter().filter(|(_, (count, _))| *count > 0);
    shown.map(|(key, (count, grown))| (key, (count as u64, growth(grown)))).collect()
}

fn seen(snapshot: &Snapshot) -> BTreeMap<Key, (u64, Option<f64>)> {
    let rows = snapshot.close_wait.as_ref().expect("there was a look");
    rows.iter()
        .map(|row| ((row.pid, row.netns.unwrap()), (row.count, row.growth_per_min)))
        .collect()
}

#[track_caller]
fn assert_rows(
    seen: &BTreeMap<Key, (u64, Option<f64>)>,
    expected: &BTreeMap<Key, (u64, Option<f64>)>,
) {
    let rounded = |rows: &BTreeMap<Key, (u64, Option<f64>)>| -> Vec<_> {
        let thousandths = |growth: f64| (growth * 1e3).round() as i64;
        rows.iter().map(|(key, (n, growth))| (*key, *n, growth.map(thousandths))).collect()
    };
    assert_eq!(rounded(seen), rounded(expected));
}

fn run(pipeline: &mut Pipeline, frames: &[Frame]) -> Option<Snapshot> {
    let mut last = None;
    for frame in frames {
        last = pipeline.apply(frame).expect("sound frames").or(last);
    }
    last
}

fn pipeline() -> Pipeline {
    Pipeline::new(meta(TP_BTF), 100, 50)
}

fn behind(filter: Filter, frames: &[Frame]) -> Snapshot {
    let mut filtered = Filtered::new(filter, meta(TP_BTF), 100, 50).expect("it can tell");
    let mut last = None;
    for frame in frames {
        last = filtered.apply(frame).expect("sound frames").or(last);
    }
    last.expect("there is a tick")
}

fn printed(snapshot: Option<Snapshot>) -> Value {
    serde_json::to_value(snapshot.expect("there is a tick")).expect("it can be written")
}

/// Sockets come, are somebody's or not yet, and go; none comes again, as no cookie does.
fn any_looks() -> impl Strategy<Value = Vec<Shown>> {
    let life = (0_usize..20, 1_usize..20, option::of(0_usize..2), 0_usize..20);
    vec(life, 0..30).prop_flat_map(|lives| (Just(lives), 1_usize..20)).prop_map(|(lives, count)| {
        let mut looks = vec![Shown::new(); count];
        for (cookie, (from, length, holder, known)) in (0..).zip(lives) {
            let is_there = looks.iter_mut().enumerate().skip(from).take(length);
            for (index, shown) in is_there {
                shown.insert(cookie, holder.filter(|_| index >= known));
            }
        }
        looks
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn rows_are_what_all_looks_together_say(looks in any_looks()) {
        let snapshot = run(&mut pipeline(), &told(&looks)).expect("there is a tick");
        assert_rows(&seen(&snapshot), &expected(&looks));
    }

    /// Wherever a file ends, the next one counts on.
    #[test]
    fn another_file_counts_on(looks in any_looks(), cut in any::<prop::sample::Index>()) {
        let frames = told(&looks);
        let cut = cut.index(looks.len());
        let (first, second) = frames.split_at(frames.len() - 2 * (looks.len() - cut - 1));
        let mut whole = pipeline();
        run(&mut whole, first);
        let (_, carried) = whole.checkpoint(look_ns(cut) + 500_000_000);
        let mut goes_on = pipeline();
        run(&mut goes_on, &carried);
        let again = [tick(looks.len())];
        for frames in [&again[..], second, &again[..]] {
            let close_wait = |pipeline: &mut Pipeline| {
                run(pipeline, frames).map(|it| (it.close_wait, it.probes))
            };
            prop_assert_eq!(close_wait(&mut whole), close_wait(&mut goes_on));
        }
    }

    /// The rows of each process are the same, whether others are left out or not; and so are
    /// those of a namespace.
    #[test]
    fn a_filter_leaves_rows_as_they_are(looks in any_looks()) {
        let frames = told(&looks);
        let whole = expected(&looks);
        for tgid in TGIDS {
            let filter = Filter { pid: Some(Pid { tgid, started_ns: None }), ..Filter::default() };
            let snapshot = behind(filter, &frames);
            let mut its = whole.clone();
            its.retain(|(pid, _), _| *pid == Some(tgid));
            assert_rows(&seen(&snapshot), &its);
            let word = &snapshot.probes.exactness["close_wait"];
            prop_assert_eq!(json!(word), json!("inferred"), "whose the others are may be told late");
        }
        for netns in NETNS {
            let snapshot = behind(Filter { netns: Some(netns), ..Filter::default() }, &frames);
            let mut its = whole.clone();
            its.retain(|(_, of), _| *of == netns);
            assert_rows(&seen(&snapshot), &its);
            prop_assert_eq!(json!(snapshot.probes.exactness["close_wait"]), json!("exact"));
        }
    }

    #[test]
    fn ports_sum_to_the_whole(looks in any_looks()) {
        let frames = told(&looks);
        let count = |snapshot: &Snapshot| -> u64 {
            seen(snapshot).values().map(|(count, _)| count).sum()
        };
        let of_ports = |ports: &str| {
            let lports = Some(ports.parse().expect("they are ports"));
            count(&behind(Filter { lports, ..Filter::default() }, &frames))
        };
        let whole = count(&behind(Filter::default(), &frames));
        prop_assert_eq!(of_ports("80") + of_ports("81-82"), whole);
        prop_assert_eq!(of_ports("83"), 0);
    }

    /// What no source tells: any times, cookies that come again, go twice or never came.
    #[test]
    fn nonsense_is_survived(
        looks in vec((any::<u64>(), vec((0_u64..9, any::<u64>()), 0..9), vec(0_u64..9, 0..9)), 0..30),
    ) {
        let mut pipeline = pipeline();
        for (time_ns, appeared, gone) in looks {
            let appeared = appeared.iter().map(|(cookie, since)| waiting(*cookie, *since, None));
            let frame = look(time_ns, appeared.collect(), gone);
            let snapshot = run(&mut pipeline, &[frame, kernel::tick(1.0)]).expect("a tick");
            prop_assert!(seen(&snapshot).values().all(|(count, _)| (1..=9).contains(count)));
            let (_, carried) = pipeline.checkpoint(at(1.0));
            let mut goes_on = self::pipeline();
            let after = run(&mut goes_on, &[carried, vec![kernel::tick(1.0)]].concat());
            prop_assert_eq!(after.expect("a tick").close_wait, snapshot.close_wait);
        }
    }
}

/// Before sock_diag has answered, and when it no longer does.
#[test]
fn without_an_answer_nothing_is_known() {
    let close_wait = |pipeline: &mut Pipeline, frames: &[Frame]| {
        let snapshot = printed(run(pipeline, frames));
        let words = &snapshot["probes"]["exactness"];
        let words = [&words["close_wait"], &words["close_wait.oldest_s"]];
        (snapshot["close_wait"].clone(), words.map(Value::clone))
    };
    let unknown = || (Value::Null, [Value::Null, Value::Null]);
    for hooks in [TP_BTF, kernel::CLASSIC, Hooks::POLLING] {
        let mut pipeline = Pipeline::new(meta(hooks), 100, 50);
        assert_eq!(close_wait(&mut pipeline, &[tick(0)]), unknown());
        let nothing = (json!([]), [json!("exact"), json!("inferred")]);
        assert_eq!(close_wait(&mut pipeline, &[look(at(1.0), vec![], vec![]), tick(1)]), nothing);
        assert_eq!(close_wait(&mut pipeline, &[Frame::CloseWaits(None), tick(2)]), unknown());
        let (_, carried) = pipeline.checkpoint(at(2.0));
        let mut goes_on = Pipeline::new(meta(hooks), 100, 50);
        run(&mut goes_on, &carried);
        assert_eq!(close_wait(&mut goes_on, &[tick(2)]), unknown());
        let partly = CloseWaits { complete: false, time_ns: at(9.0), ..CloseWaits::default() };
        let inferred = (json!([]), [json!("inferred"), json!("inferred")]);
        let frames = [Frame::CloseWaits(Some(partly)), tick(3)];
        for pipeline in [&mut pipeline, &mut goes_on] {
            assert_eq!(close_wait(pipeline, &frames), inferred);
        }
    }
}

/// As JSON: who, where, how many, how old; the rest in one row.
#[test]
fn rows_by_count_and_the_rest_in_one() {
    let waits =
        |cookie, since_ns, holder| CloseWaiting { since_ns, ..waiting(cookie, at(1.0), holder) };
    let mut sockets: Vec<CloseWaiting> =
        (0..6).map(|n| waits(2 * n, at(1.0) - n * 1_000_000_000, Some(0))).collect();
    sockets.extend((0..3).map(|n| waits(2 * n + 1, at(0.5), Some(1))));
    sockets.extend((10..12).map(|n| waits(2 * n, at(0.25), None)));
    let mut pipeline = Pipeline::new(meta(TP_BTF), 100, 1);
    let mut frames = introductions();
    frames.extend([look(at(1.0), sockets, vec![]), look(at(6.0), vec![], vec![0, 1]), tick(1)]);
    let snapshot = printed(run(&mut pipeline, &frames));
    assert_eq!(
        snapshot["close_wait"],
        json!([
            {
                "pid": 100, "comm": "app", "cgroup": "/100", "container": null, "netns": 7,
                "count": 5, "unaccepted": 0, "oldest_s": 10.0, "growth_per_min": -12.0
            },
            {
                "other": true, "pid": null, "comm": null, "cgroup": null, "container": null,
                "netns": null, "count": 4, "unaccepted": 2, "oldest_s": 5.75,
                "growth_per_min": -12.0
            }
        ])
    );
}

/// A file may tell of more than there can be.
#[test]
fn memory_is_bounded() {
    let sockets = (0..MAX_CLOSE_WAITS as u64 + 9).map(|n| waiting(2 * n, at(1.0), None)).collect();
    let frames = [look(at(1.0), sockets, vec![]), tick(1)];
    let snapshot = run(&mut pipeline(), &frames).expect("there is a tick");
    assert_eq!(seen(&snapshot)[&(None, 7)].0, MAX_CLOSE_WAITS as u64);
}
