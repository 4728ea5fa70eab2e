//! What is known of one process or one destination adds up to what is known of all; and counting
//! anew forgets what was counted, and nothing that is there.

mod common;

use common::fixture::{self, Fixture};
use twtrace::{
    event::Role,
    frame::Frame,
    pipeline::Pipeline,
    stats::{
        contacts::{Closes, Detail, Focus},
        snapshot::{Closer, Snapshot},
    },
};

/// A fixture's pipeline after all frames, the Snapshot of its last tick, and when that was.
fn run(fixture: &Fixture) -> (Pipeline, Snapshot, u64) {
    let (meta, max_connections, rows) = fixture.run();
    let mut pipeline = Pipeline::new(meta, max_connections, rows);
    pipeline.keep_contacts();
    let (mut last, mut ticked_ns) = (None, 0);
    for frame in fixture.frames() {
        let snapshot = pipeline.apply(&frame).expect("the fixture is sound");
        if let Frame::Tick { time_ns, .. } = frame {
            (last, ticked_ns) = (snapshot, time_ns);
        }
    }
    (pipeline, last.expect("a fixture has a tick"), ticked_ns)
}

fn sum<'a>(closes: impl Iterator<Item = &'a Closes>) -> Closes {
    closes.fold(Closes::default(), |sum, closes| Closes {
        active: sum.active + closes.active,
        passive: sum.passive + closes.passive,
        reset: sum.reset + closes.reset,
    })
}

fn role(row: &Closer) -> Role {
    match row.role {
        Some("client") => Role::Client,
        Some("server") => Role::Server,
        _ => Role::Unknown,
    }
}

fn of_process(pipeline: &Pipeline, row: &Closer) -> Detail {
    let focus =
        Focus::Process { pid: row.pid.expect("a process"), start_time: row.start_time.clone() };
    pipeline.detail(&focus).expect("contacts are kept")
}

#[test]
fn the_contacts_of_a_process_add_up_to_its_rows() {
    let mut compared = 0;
    for (name, fixture) in fixture::all() {
        let (pipeline, snapshot, _) = run(&fixture);
        let rows = snapshot.closers.iter().flatten();
        for row in rows.filter(|row| row.pid.is_some() && row.resets.is_some()) {
            let detail = of_process(&pipeline, row);
            let same = |it: &&twtrace::stats::contacts::Contact| {
                it.netns == row.netns && it.role == role(row)
            };
            let told = sum(detail.contacts.iter().filter(same).map(|contact| &contact.closes));
            let counted = Closes {
                active: row.active_closes,
                passive: row.peer_closes,
                reset: row.resets.unwrap_or_default(),
            };
            // What the kernel's threads do is credited to the kernel in rows.
            if row.comm.as_deref() != Some("kernel") {
                assert_eq!(told, counted, "{name}: {row:#?} {detail:#?}");
                compared += usize::from(counted.all() > 0);
            }
            assert!(detail.recent.len() <= 32);
            assert!(detail.recent.iter().is_sorted_by_key(|it| std::cmp::Reverse(it.time_ns)));
        }
    }
    assert!(compared >= 40, "only {compared} rows were compared");
}

#[test]
fn a_destination_is_told_by_whom_it_was_closed() {
    let (_, fixture) = fixture::all().into_iter().find(|(name, _)| name.starts_with("62")).unwrap();
    let (pipeline, snapshot, _) = run(&fixture);
    let row = snapshot.destinations.iter().flatten().next().expect("there is one");
    let raddr = row.raddr.clone().expect("an address");
    let focus = Focus::Destination {
        netns: row.netns,
        laddr: row.laddr.clone(),
        raddr: raddr.clone(),
        rport: 80,
    };
    let detail = pipeline.detail(&focus).expect("contacts are kept");
    let [contact] = &detail.contacts[..] else { panic!("{detail:#?}") };
    assert_eq!((contact.pid, contact.comm.as_deref()), (Some(100), Some("curl")));
    assert_eq!(contact.raddr.as_deref(), Some(&*raddr));
    assert_eq!(contact.closes, Closes { active: 100, passive: 0, reset: 0 });
    for other in [
        Focus::Destination { netns: row.netns, laddr: None, raddr: raddr.clone(), rport: 81 },
        Focus::Destination { netns: None, laddr: None, raddr, rport: 80 },
        Focus::Destination {
            netns: row.netns,
            laddr: None,
            raddr: "no address".to_owned(),
            rport: 80,
        },
        Focus::Process { pid: 101, start_time: None },
        Focus::Process { pid: 100, start_time: Some("another time".to_owned()) },
    ] {
        assert_eq!(pipeline.detail(&other), Some(Detail::default()), "{other:?}");
    }
    // Where nobody asked for it, it is not known.
    let (meta, max_connections, rows) = fixture.run();
    let pipeline = Pipeline::new(meta, max_connections, rows);
    assert_eq!(pipeline.detail(&focus), None);
}

#[test]
fn counting_anew_forgets_counts_and_nothing_that_is_there() {
    for (name, fixture) in fixture::all() {
        let (mut pipeline, before, ticked_ns) = run(&fixture);
        pipeline.restart(ticked_ns).expect("what it knows it can take in");
        let tick = Frame::Tick { time_ns: ticked_ns, wall_ns: 0 };
        let after = pipeline.apply(&tick).expect("a tick is sound").expect("and gives a Snapshot");
        assert_eq!(after.elapsed_s, 0.0, "{name}");
        assert_eq!(after.states, before.states, "{name}");
        let now = |s: &Snapshot| s.time_wait.as_ref().and_then(|minis| minis.now);
        assert_eq!(now(&after), now(&before), "{name}");
        assert_eq!(after.close_wait, before.close_wait, "{name}");
        let closes = after.closes.as_ref().map_or(0, |it| it.active + it.passive + it.reset);
        assert_eq!(closes, 0, "{name}");
        // A destination towards which no port is taken is there for what was counted alone.
        let taken = |s: &Snapshot| {
            let rows = s.destinations.iter().flatten().filter(|row| row.ports_used > 0);
            rows.map(|row| (row.raddr.clone(), row.rport, row.ports_used)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&after), taken(&before), "{name}");
        for row in before.closers.iter().flatten().filter(|row| row.pid.is_some()) {
            assert_eq!(of_process(&pipeline, row), Detail::default(), "{name}");
        }
    }
}
