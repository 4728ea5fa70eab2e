//! What holds for exports of anything, also of histories that no kernel leads: every birth and
//! every end is in one row, every format has the same rows, and lifetimes are the Snapshot's.

mod common;

use common::{
    exported::{Row, TABLES, export, read},
    fixture,
    kernel::{Fate, NETNS, PaperKernel, Seen, TP_BTF, Task, at, meta, tick},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use twtrace::{
    event::{ConnectEvent, MiniEvent, Tuple},
    export::{Format, Rows, Settings},
    frame::{Frame, SeedMini, SeedSocket},
    pipeline::Pipeline,
    view::json,
};
use twtrace_common::{End, TcpState};

/// Something that happens to one of few sockets, or of few mini-sockets.
#[derive(Clone, Debug)]
enum Step {
    Transition { sk: u64, pair: (TcpState, TcpState), lport: u16, task: Option<u32> },
    Found { sk: u64 },
    Birth { tw: u64, substate: TcpState, lport: u16 },
    Stepped { tw: u64, lport: u16 },
    End { tw: u64, substate: TcpState, lport: u16, end: End },
    Tick,
}

fn any_state() -> impl Strategy<Value = TcpState> {
    prop::sample::select(TcpState::ALL.as_slice())
}

fn any_substate() -> impl Strategy<Value = TcpState> {
    prop::sample::select(&[TcpState::TimeWait, TcpState::FinWait2][..])
}

/// The transitions that connections make, more often than any others.
fn any_pair() -> impl Strategy<Value = (TcpState, TcpState)> {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent};
    let usual = [
        (Close, SynSent),
        (SynSent, Established),
        (SynSent, Close),
        (SynRecv, Established),
        (Established, FinWait1),
        (FinWait1, FinWait2),
        (FinWait2, Close),
        (Established, CloseWait),
        (CloseWait, LastAck),
        (LastAck, Close),
        (Established, Close),
    ];
    prop_oneof![
        8 => prop::sample::select(usual.to_vec()),
        1 => (any_state(), any_state()),
    ]
}

/// What happens, and how many milliseconds after what was before.
fn any_step() -> impl Strategy<Value = (u32, Step)> {
    let (sk, tw, lport) = (1_u64..4, 11_u64..14, 1_u16..4);
    let end = prop::sample::select(End::ALL.as_slice());
    let step = prop_oneof![
        6 => (sk.clone(), any_pair(), lport.clone(), prop::option::of(1_u32..4))
            .prop_map(|(sk, pair, lport, task)| Step::Transition { sk, pair, lport, task }),
        1 => sk.prop_map(|sk| Step::Found { sk }),
        3 => (tw.clone(), any_substate(), lport.clone())
            .prop_map(|(tw, substate, lport)| Step::Birth { tw, substate, lport }),
        1 => (tw.clone(), lport.clone()).prop_map(|(tw, lport)| Step::Stepped { tw, lport }),
        3 => (tw, any_substate(), lport, end)
            .prop_map(|(tw, substate, lport, end)| Step::End { tw, substate, lport, end }),
        1 => Just(Step::Tick),
    ];
    (0_u32..600, step)
}

fn tuple(lport: u16) -> Tuple {
    Tuple { lport, ..fixture::tuple("10.0.0.1:0", "10.0.0.2:80") }
}

fn play(kernel: &mut PaperKernel, time_ns: u64, step: &Step) {
    let mini = |tw, substate, lport| MiniEvent {
        time_ns,
        tw,
        netns: NETNS,
        substate,
        tuple: tuple(lport),
        timestamps: None,
    };
    match *step {
        Step::Transition { sk, pair: (old, new), lport, task } => kernel.transition(&Seen {
            time_ns,
            sk,
            netns: NETNS,
            old,
            new,
            tuple: tuple(lport),
            locked: task.is_some(),
            error: 0,
            shutdown: 0,
            own_range: None,
            current: task.map(|pid| Task::new(pid, 1, b"curl")),
            ring_full: false,
        }),
        Step::Found { sk } => {
            kernel.connect(&ConnectEvent { time_ns, sk, lport: 0 }, Fate::Written);
        }
        Step::Birth { tw, substate, lport } => {
            kernel.birth(&mini(tw, substate, lport), Fate::Written);
        }
        Step::Stepped { tw, lport } => {
            kernel.step(&mini(tw, TcpState::TimeWait, lport), Fate::Written);
        }
        Step::End { tw, substate, lport, end } => {
            kernel.end(&mini(tw, substate, lport), end, Fate::Written);
        }
        Step::Tick => {}
    }
}

fn frames(seeds: &[(u16, bool)], steps: &[(u32, Step)]) -> Vec<Frame> {
    let mut kernel = PaperKernel::new(TP_BTF);
    let sockets = seeds.iter().filter(|(_, is_mini)| !is_mini).map(|(lport, _)| SeedSocket {
        netns: Some(NETNS),
        state: TcpState::Established,
        tuple: tuple(*lport),
    });
    let minis = seeds.iter().filter(|(_, is_mini)| *is_mini).map(|(lport, _)| SeedMini {
        netns: NETNS,
        substate: TcpState::TimeWait,
        expires_ms: 30_000,
        tuple: tuple(*lport),
    });
    let mut frames = vec![Frame::Seed {
        sockets: sockets.collect(),
        minis: minis.collect(),
        until_ns: at(0.5),
        complete: true,
    }];
    let mut now_ms = 0;
    for (after_ms, step) in steps {
        now_ms += after_ms;
        let now_s = f64::from(now_ms) / 1e3;
        play(&mut kernel, at(now_s), step);
        if matches!(step, Step::Tick) {
            frames.extend([kernel.records(), tick(now_s)]);
        }
    }
    frames.extend([kernel.records(), kernel.totals(), tick(f64::from(now_ms) / 1e3)]);
    frames
}

fn known(rows: &[Row], column: &str) -> usize {
    rows.iter().filter(|row| !row[column].is_null()).count()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn births_ends_and_lifetimes_are_the_snapshots(
        seeds in vec((1_u16..4, any::<bool>()), 0..4), steps in vec(any_step(), 0..120),
        max_connections in prop_oneof![Just(1_000_usize), 1_usize..5],
    ) {
        let frames = frames(&seeds, &steps);
        let tables = TABLES.map(|format| {
            let settings = Settings { format, rows: Rows::Connections, max_connections };
            let (bytes, _) = export(&meta(TP_BTF), &frames, settings);
            read(format, Rows::Connections, &bytes)
        });
        for table in &tables {
            prop_assert_eq!(table, &tables[0]);
        }
        let mut pipeline = Pipeline::new(meta(TP_BTF), max_connections, 50);
        let mut last = None;
        for frame in &frames {
            last = pipeline.apply(frame).expect("records are sound").or(last);
        }
        let line = json::line(&last.expect("there was a tick")).expect("it can be written");
        let snapshot: Value = serde_json::from_str(&line).expect("it is JSON");
        let (rows, time_wait) = (&tables[0], &snapshot["time_wait"]);
        prop_assert_eq!(json!(known(rows, "tw_born")), time_wait["born"].clone());
        for end in End::ALL.into_iter().filter(|end| *end != End::Reused) {
            let found = rows.iter().filter(|row| row["tw_end"] == end.name()).count();
            prop_assert_eq!(json!(found), time_wait["ended"][end.name()].clone(), "{}", end.name());
        }
        // What finds no room may find some where the tracker has none, and the other way round.
        if max_connections == 1_000 {
            let lifetimes = known(rows, "lifetime_s");
            prop_assert_eq!(json!(lifetimes), time_wait["lifetime_s"]["count"].clone());
        }
    }

    #[test]
    fn timelines_of_anything_are_sound(
        steps in vec(any_step(), 0..120), max_connections in 1_usize..5,
    ) {
        let settings =
            Settings { format: Format::Perfetto, rows: Rows::Events, max_connections };
        let (bytes, summary) = export(&meta(TP_BTF), &frames(&[], &steps), settings);
        let timeline: Value = serde_json::from_slice(&bytes).expect("it is JSON");
        let entries = timeline["traceEvents"].as_array().expect("it has entries");
        prop_assert_eq!(entries.len() as u64, summary.rows);
        let count = |ph: &str| entries.iter().filter(|entry| entry["ph"] == ph).count();
        prop_assert_eq!(count("b"), count("e"));
    }
}
