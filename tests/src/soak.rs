//! A long run under mixed load, for `cargo xtask soak`: what twtrace takes must not grow, what it
//! says must agree with the kernel at the end, and what it lost must be told.
//!
//! Three of it run at once: `serve`, scraped each second, and `record`, file after file, both of all
//! namespaces; `top --json` of the one namespace whose connections are counted here.

mod load;
mod samples;
mod verdict;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bpf_objects::BpfObject;
use crate::netns::PrivateNetns;
use crate::recording::{Place, Recording, reading, record};
use crate::serve::Serve;
use crate::snapshot::{missed, number};
use crate::tool::{Run, Tool, program};
use load::{Done, Load};
use samples::{Sampled, children_of, look};
use verdict::{Known, Promise, grown};

/// Between two looks, and two scrapes.
const BEAT: Duration = Duration::from_secs(1);
/// Until TIME_WAITs end as fast as they begin, tables and queues have had their first use.
const WARM_UP: Duration = Duration::from_secs(120);
/// A file of the recording, and how many of them are kept.
const FILES: [&str; 6] = ["-C", "50", "-G", "10", "-W", "4"];
/// No scrape may take longer, on a machine that is busy with much else.
const SCRAPE: Duration = Duration::from_secs(2);

/// Runs for so long, and returns what there is to say of it; `held` in it is whether every promise
/// was kept.
///
/// # Panics
/// Where it could not be run at all.
#[track_caller]
pub fn run(duration: Duration) -> Value {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = place.file("soak-%s.twt");
    let output = files.to_str().expect("UTF-8");
    let mut serve = Serve::start(&[]);
    let recording = Recording::launch(&mut record(&[&["-o", output][..], &FILES].concat()));
    let tool = Tool::on(&netns, &["-d", "1"]);
    let helper = children_of(serve.pid());
    let mut watched = vec![
        Sampled::new("serve", serve.pid()),
        Sampled::new("record", recording.pid()),
        Sampled::new("top", tool.pid()),
    ];
    watched.extend(helper.into_iter().map(|pid| Sampled::new("helper of serve", pid)));
    settle(&mut watched);
    let held: Vec<BpfObject> =
        watched.iter().flat_map(|it| crate::bpf_objects::held_by(it.pid)).collect();

    let start = Instant::now();
    let load = Load::start(&netns);
    let (mut scrapes, mut beats) = (Scrapes::default(), 0);
    while start.elapsed() < duration {
        scrapes.ask(&serve);
        watched.iter_mut().for_each(|it| it.sample(start.elapsed()));
        beats += 1;
        std::thread::sleep((BEAT * beats).saturating_sub(start.elapsed()));
    }
    let done = load.end();
    let reconciled = reconciled(&tool);
    settle(&mut watched);

    let warm = WARM_UP.min(duration / 2);
    let served = serve.snapshot();
    let of_host = done.known_to_a_host(&served);
    let known = |it: &Sampled| if it.name == "top" { Known::default() } else { of_host.clone() };
    let mut promises: Vec<Promise> =
        watched.iter().flat_map(|it| verdict::of_process(it, warm, &known(it))).collect();
    promises.extend(verdict::of_numbers(&reconciled, &done));
    promises.extend(verdict::of_losses("serve", &served));
    let told = serve.scrape().number("lost_total{loss=\"ring_full\"}") as u64;
    let lost = number(&serve.snapshot(), "loss.ring_full");
    promises.push(Promise::at_least("serve: ring_full told by /metrics", told, lost));
    promises.push(Promise::at_most("serve: scrapes that failed", scrapes.failed, 0));
    promises.push(Promise::at_most(
        "serve: the slowest scrape, in ms",
        scrapes.slowest.as_millis() as u64,
        SCRAPE.as_millis() as u64,
    ));
    promises.extend(ended(serve, recording, tool));
    promises.extend(of_files(&place));
    promises.push(Promise::at_most(
        "BPF objects left behind",
        crate::wait_for_none(Duration::from_secs(10), || {
            held.iter().filter(|object| object.exists()).count() as u64
        }),
        0,
    ));
    let all = promises.iter().all(|it| it.held);
    json!({
        "twtrace": Run::of(std::process::Command::new(program()).arg("--version")).stdout.trim(),
        "kernel": served["host"]["kernel"],
        "seconds": duration.as_secs_f64(),
        "warm_up_s": warm.as_secs_f64(),
        "load": done.json(),
        "scrapes": { "answered": scrapes.answered, "slowest_ms": scrapes.slowest.as_secs_f64() * 1e3 },
        "missed": missed(&reconciled),
        "ring_full_of_the_host": number(&served, "loss.ring_full"),
        "closes_of_others": done.of_others(&served),
        "growth": watched.iter().map(|it| json!({
            "name": it.name, "bytes": grown(&it.samples, warm),
        })).collect::<Vec<_>>(),
        "processes": watched.iter().map(Sampled::json).collect::<Vec<_>>(),
        "promises": promises.iter().map(Promise::json).collect::<Vec<_>>(),
        "held": all,
    })
}

/// Looks at each when nothing happens: descriptors that are open for a moment are none that are held.
fn settle(watched: &mut [Sampled]) {
    /// Every five seconds a thread looks for CLOSE_WAIT, for a part of a second.
    const LOOKS: usize = 30;
    for _ in 0..LOOKS {
        watched.iter_mut().for_each(|it| it.at_rest.push(look(it.pid)));
        std::thread::sleep(Duration::from_millis(200));
    }
    watched.iter_mut().for_each(Sampled::rest);
}

/// A Snapshot in which nothing is between two readings, if there is one soon; else the last.
fn reconciled(tool: &Tool) -> Value {
    const TRIES: usize = 20;
    let mut snapshot = tool.next_snapshot();
    for _ in 0..TRIES {
        if verdict::disagreement(&snapshot) <= missed(&snapshot) {
            break;
        }
        snapshot = tool.next_snapshot();
    }
    snapshot
}

#[derive(Default)]
struct Scrapes {
    answered: u64,
    failed: u64,
    slowest: Duration,
}

impl Scrapes {
    fn ask(&mut self, serve: &Serve) {
        let start = Instant::now();
        let answer = crate::http::get(serve.address(), "/metrics", "");
        self.slowest = self.slowest.max(start.elapsed());
        if answer.is_ok_and(|it| it.status == 200) {
            self.answered += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Ends all three, which must have nothing to complain about.
fn ended(serve: Serve, recording: Recording, tool: Tool) -> Vec<Promise> {
    let (status, said) = serve.stop(Signal::TERM);
    let done = recording.stop(Signal::INT);
    let top = tool.stop(Signal::INT);
    let codes = [status.code(), done.code, top.status.code()];
    let clean = codes.iter().filter(|code| **code == Some(0)).count() as u64;
    let complaints = said.lines().filter(|line| !line.contains("listening at")).collect::<Vec<_>>();
    let complaints = complaints.iter().filter(|line| line.contains("warn")).count();
    let complaints = complaints + done.complaints.len() + top.stderr.lines().count();
    let told = done.summary.is_some_and(|it| it.ring_full.is_some());
    vec![
        Promise::at_least("ended with exit code 0", clean, 3),
        Promise::at_most("lines of complaint", complaints as u64, 0),
        Promise::at_least("record: told what found no room", u64::from(told), 1),
    ]
}

/// The files that are left can be read, each by itself.
fn of_files(place: &Place) -> Vec<Promise> {
    let names = place.names();
    let sound = names.iter().filter(|name| {
        let run = reading(&["verify"], &[place.file(name)]);
        run.code == Some(0)
    });
    let sound = sound.count() as u64;
    vec![
        Promise::at_least("record: files kept", names.len() as u64, 1),
        Promise::at_least("record: files that verify finds sound", sound, names.len() as u64),
    ]
}

impl Done {
    fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "connections_elsewhere": self.elsewhere,
            "no_port": self.no_port,
            "namespaces": self.namespaces,
            "processes": self.processes,
        })
    }

    /// What else closed first on the host.
    fn of_others(&self, of_host: &Value) -> u64 {
        number(of_host, "closes.active").saturating_sub(self.connections + self.elsewhere)
    }

    fn known_to_a_host(&self, of_host: &Value) -> Known {
        let (ours, others) = (self.connections + self.elsewhere, self.of_others(of_host));
        let disturbed = format!("others closed {others} connections on this host meanwhile");
        Known {
            passers_by: self.processes + self.namespaces,
            disturbed: (others > ours / 10).then_some(disturbed),
        }
    }

    /// By how much the Snapshot says something else.
    fn counted(&self, snapshot: &Value) -> u64 {
        number(snapshot, "closes.active").abs_diff(self.connections)
    }
}
