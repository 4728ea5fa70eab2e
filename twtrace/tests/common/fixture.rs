//! Fixtures: what happened on a host, in readable lines, and what must be said about it.
//!
//! A fixture is a JSON file of `tests/fixtures`:
//! - `about`: what it shows;
//! - `hook`: `tp_btf` (the default) or `classic`;
//! - `top`, `max_connections`: as on the command line;
//! - `repeat`: how often the transitions happen, one second later each time;
//! - `processes`: `PID NAME [start=S] [kernel]`; one not listed was never introduced;
//! - `places`: `PID CGROUP [CONTAINER]`: what /proc said;
//! - `seeds`: `STATE LADDR:LPORT > RADDR:RPORT [netns=N]`, read at `seeded_s`;
//! - `transitions`: `SECONDS SOCKET OLD>NEW LADDR:LPORT > RADDR:RPORT` and then any of
//!   `locked` (a process holds the socket lock), `task=PID` or `task=PID@START` (what runs on
//!   that CPU), `error=ERRNO`, `shutdown=BITS`, `netns=N`, `ring_full`;
//! - `tick_s`: when the Snapshot is taken;
//! - `expected`: a part of the Snapshot.

use std::{collections::HashMap, fs, net::IpAddr, path::Path};

use serde::Deserialize;
use serde_json::Value;
use twtrace::{
    event::Tuple,
    frame::{Frame, ProcessFacts, SeedSocket},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::Snapshot,
};
use twtrace_common::{ProcessKey, TcpState};

use super::kernel::{self, CLASSIC, NETNS, PaperKernel, Seen, TP_BTF, Task};

/// See the module's documentation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    pub(crate) about: String,
    #[serde(default)]
    hook: Hook,
    #[serde(default = "default_top")]
    top: usize,
    #[serde(default = "default_max_connections")]
    max_connections: usize,
    #[serde(default = "once")]
    repeat: u64,
    #[serde(default)]
    processes: Vec<String>,
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    seeds: Vec<String>,
    #[serde(default)]
    seeded_s: f64,
    transitions: Vec<String>,
    tick_s: f64,
    pub(crate) expected: Value,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hook {
    #[default]
    TpBtf,
    Classic,
}

fn default_top() -> usize {
    50
}

fn default_max_connections() -> usize {
    1_000
}

fn once() -> u64 {
    1
}

/// All fixtures by name, in order.
pub(crate) fn all() -> Vec<(String, Fixture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut fixtures: Vec<(String, Fixture)> = files
        .map(|file| file.expect("the folder of fixtures can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            let fixture = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, fixture)
        })
        .collect();
    fixtures.sort_by(|(a, _), (b, _)| a.cmp(b));
    fixtures
}

impl Fixture {
    /// What twtrace says about this.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let hooks = self.hooks();
        let mut pipeline = Pipeline::new(kernel::meta(hooks), self.max_connections, self.top);
        let mut last = None;
        for frame in self.frames(hooks) {
            last = pipeline.apply(&frame).unwrap_or_else(|e| panic!("{}: {e}", self.about));
        }
        last.expect("the last frame is a tick")
    }

    fn hooks(&self) -> Hooks {
        match self.hook {
            Hook::TpBtf => TP_BTF,
            Hook::Classic => CLASSIC,
        }
    }

    fn frames(&self, hooks: Hooks) -> Vec<Frame> {
        let mut kernel = PaperKernel::new(hooks);
        let mut frames = vec![Frame::Seed {
            sockets: self.seeds.iter().map(|line| seed(line, hooks)).collect(),
            until_ns: kernel::at(self.seeded_s),
            complete: true,
        }];
        let mut sockets = HashMap::new();
        for round in 0..self.repeat {
            for line in &self.transitions {
                let mut seen = self.transition(line, &mut sockets);
                seen.time_ns += round * 1_000_000_000;
                kernel.transition(&seen);
            }
        }
        let processes = self.tasks();
        let places = self.places.iter().map(|line| place(line, &processes)).collect();
        let tick = kernel::tick(self.tick_s);
        frames.extend([kernel.records(), Frame::Processes(places), kernel.totals(), tick]);
        frames
    }

    fn tasks(&self) -> Vec<Task> {
        self.processes.iter().map(|line| task(line)).collect()
    }

    fn transition(&self, line: &str, sockets: &mut HashMap<String, u64>) -> Seen {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [time, socket, pair, local, ">", remote, facts @ ..] = words.as_slice() else {
            panic!("no transition: {line}");
        };
        let (old, new) = pair.split_once('>').unwrap_or_else(|| panic!("no pair: {line}"));
        let next = 0xffff_8880_0000_0000 + 0x1000 * sockets.len() as u64;
        let mut seen = Seen {
            time_ns: kernel::at(time.parse().unwrap_or_else(|e| panic!("{e}: {line}"))),
            sk: *sockets.entry((*socket).to_owned()).or_insert(next),
            netns: NETNS,
            old: state(old),
            new: state(new),
            tuple: tuple(local, remote),
            locked: false,
            error: 0,
            shutdown: 0,
            current: None,
            ring_full: false,
        };
        for fact in facts {
            let (key, value) = fact.split_once('=').unwrap_or((fact, ""));
            match key {
                "locked" => seen.locked = true,
                "ring_full" => seen.ring_full = true,
                "error" => seen.error = number(value),
                "shutdown" => seen.shutdown = number(value),
                "netns" => seen.netns = number(value),
                "task" => seen.current = Some(self.running(value)),
                _ => panic!("{key}? {line}"),
            }
        }
        seen
    }

    /// The process `PID` or `PID@START`, introduced or not.
    fn running(&self, named: &str) -> Task {
        let (pid, start) = named.split_once('@').unwrap_or((named, "1"));
        let stranger = Task { comm: None, ..Task::new(number(pid), number(start), b"") };
        self.tasks().into_iter().find(|task| task.key == stranger.key).unwrap_or(stranger)
    }
}

fn task(line: &str) -> Task {
    let mut words = line.split_whitespace();
    let pid = number(words.next().expect("a process has a number"));
    let comm = words.next().unwrap_or_else(|| panic!("a process has a name: {line}"));
    let mut task = Task::new(pid, 1, comm.as_bytes());
    for word in words {
        match word.split_once('=') {
            Some(("start", start)) => {
                task.key.start_time_ns = number::<u64>(start) * 1_000_000_000;
            }
            _ if word == "kernel" => task.kernel_thread = true,
            _ => panic!("{word}? {line}"),
        }
    }
    task
}

fn place(line: &str, tasks: &[Task]) -> ProcessFacts {
    let mut words = line.split_whitespace();
    let pid: u32 = number(words.next().expect("a process has a number"));
    let stranger = Task::new(pid, 1, b"").key;
    let key: ProcessKey =
        tasks.iter().map(|task| task.key).find(|key| key.tgid == pid).unwrap_or(stranger);
    let mut word = || words.next().map(str::to_owned);
    ProcessFacts { key, cgroup: word(), container: word() }
}

fn seed(line: &str, hooks: Hooks) -> SeedSocket {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [named, local, ">", remote, facts @ ..] = words.as_slice() else {
        panic!("no seed: {line}");
    };
    let netns = facts.iter().find_map(|fact| fact.strip_prefix("netns=")).map_or(NETNS, number);
    SeedSocket {
        netns: hooks.fields_known.then_some(netns),
        state: state(named),
        tuple: tuple(local, remote),
    }
}

/// The state of that name.
pub(crate) fn state(name: &str) -> TcpState {
    let found = TcpState::ALL.into_iter().find(|state| state.name() == name);
    found.unwrap_or_else(|| panic!("there is no state {name}"))
}

/// The tuple of two ends, each `ADDRESS:PORT` or `[ADDRESS]:PORT`.
pub(crate) fn tuple(local: &str, remote: &str) -> Tuple {
    let ((laddr, lport), (raddr, rport)) = (end(local), end(remote));
    Tuple { laddr, raddr, lport, rport }
}

fn end(text: &str) -> ([u8; 16], u16) {
    let (address, port) = text.rsplit_once(':').unwrap_or_else(|| panic!("no port: {text}"));
    let address = address.trim_matches(['[', ']']).parse();
    let address = match address.unwrap_or_else(|error| panic!("{error}: {text}")) {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    (address, number(port))
}

#[track_caller]
fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}
