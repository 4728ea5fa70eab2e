//! Fixtures: what happened on a host, in readable lines, and what must be said about it.
//!
//! A fixture is a JSON file of `tests/fixtures`:
//! - `about`: what it shows;
//! - `hook`: `tp_btf` (the default, with the hooks for mini-sockets and port searches),
//!   `fentry` (with their functions probed) or `classic` (without them);
//! - `top`, `max_connections`: as on the command line;
//! - `processes`: `PID NAME [start=S] [kernel]`; one not listed was never introduced;
//! - `places`: `PID CGROUP [CONTAINER]`: what /proc said;
//! - `namespaces`: `N [later]`: those whose own counters the kernel shows, besides the first;
//!   `later`, if it was made while we counted;
//! - `ports`, what namespaces offer to the search: `LOW-HIGH [netns=N] [reserved=LOW-HIGH]
//!   [tw_reuse=SETTING]`;
//! - `seeds`, read at `seeded_s`: `STATE LADDR:LPORT > RADDR:RPORT [netns=N]`, where the state
//!   `mini` stands for a timewait mini-socket; `incomplete`, if a namespace could not be read;
//! - `events`, in the order of the ring: `SECONDS NAME WHAT …` (below);
//! - `repeat`, `every_s`: how often all of them happen, so much later each time (1 s); a port
//!   written `1000+` is the next one each time;
//! - `tick_s`: when the Snapshot is taken;
//! - `expected`: a part of the Snapshot.
//!
//! What happens to the socket NAME, or to the mini-socket that it left:
//! - `OLD>NEW LADDR:LPORT > RADDR:RPORT` and then any of `locked` (a process holds the socket
//!   lock), `task=PID` or `task=PID@START` (what runs on that CPU), `error=ERRNO`,
//!   `shutdown=BITS`, `netns=N`, `ring_full`;
//! - `birth SUBSTATE LADDR:LPORT > RADDR:RPORT` and `end CAUSE SUBSTATE LADDR:LPORT >
//!   RADDR:RPORT`, with `netns=N`, `ring_full`, or `missed` (our program did not run);
//! - `step LADDR:LPORT > RADDR:RPORT [netns=N]`: it goes from FIN_WAIT2 to TIME_WAIT;
//! - `refused [LADDR:LPORT > RADDR:RPORT] [netns=N]`: the kernel makes no mini-socket, since
//!   there are too many;
//! - `search KIND PORT LATENCY_NS > RADDR:RPORT task=PID [error=ERRNO] [tried=N]`: the function that looks
//!   for a port returns; KIND is `connect`, `bind`, `explicit` or `listen`;
//! - `connect [ring_full]`: it has the port that its connect searched for;
//! - `bind PORT LATENCY_NS task=PID [netns=N] [explicit]`: it has a port.

use std::{collections::HashMap, fs, net::IpAddr, path::Path};

use serde::Deserialize;
use serde_json::Value;
use twtrace::{
    decode,
    event::{ConnectEvent, Event, MiniEvent, PortRange, SearchEvent, Tuple},
    frame::{Frame, Meta, PortFacts, ProcessFacts, SeedMini, SeedSocket},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::Snapshot,
};
use twtrace_common::{End, ProcessKey, Search, TcpState};

use super::kernel::{self, CLASSIC, FENTRY, Fate, NETNS, PaperKernel, Seen, TP_BTF, Task};

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
    pub(crate) max_connections: usize,
    #[serde(default = "once")]
    pub(crate) repeat: u16,
    #[serde(default = "one_second")]
    every_s: f64,
    #[serde(default)]
    processes: Vec<String>,
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    seeds: Vec<String>,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    seeded_s: f64,
    events: Vec<String>,
    tick_s: f64,
    pub(crate) expected: Value,
}

/// One thing that happens in a fixture, or that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A line of `events`, in one of its rounds.
    Event { line: usize, round: u16 },
    /// A line of `seeds`.
    Seed { line: usize },
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hook {
    #[default]
    TpBtf,
    Fentry,
    Classic,
}

fn default_top() -> usize {
    50
}

fn default_max_connections() -> usize {
    1_000
}

fn once() -> u16 {
    1
}

fn one_second() -> f64 {
    1.0
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
        let (meta, max_connections, top) = self.run();
        let mut pipeline = Pipeline::new(meta, max_connections, top);
        let mut last = None;
        for frame in self.frames() {
            last = pipeline.apply(&frame).unwrap_or_else(|e| panic!("{}: {e}", self.about));
        }
        last.expect("the last frame is a tick")
    }

    /// The parts that it is made of: each event in each of its rounds, and each seed.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let events = |round| (0..self.events.len()).map(move |line| Part::Event { line, round });
        let seeds = (0..self.seeds.len()).map(|line| Part::Seed { line });
        seeds.chain((0..self.repeat).flat_map(events)).collect()
    }

    /// The name of the socket that an event is about.
    pub(crate) fn socket_of(&self, line: usize) -> &str {
        Line::new(&self.events[line], 0, 0.0).name()
    }

    /// What is recorded of one event, if nothing else happens.
    pub(crate) fn records_of(&self, line: usize, round: u16) -> Vec<Event> {
        let mut kernel = PaperKernel::new(self.hooks());
        let line = Line::new(&self.events[line], round, self.every_s);
        self.event(&line, &mut Names::default(), &mut kernel);
        let Frame::Records(records) = kernel.records() else { panic!("they are records") };
        let decoded = decode::events(&records).map(|event| event.expect("it is sound"));
        decoded.filter(|event| !matches!(event, Event::Process(_))).collect()
    }

    /// A seed, by namespace and ends, and whether it is a mini-socket.
    pub(crate) fn seed_of(&self, line: usize) -> (SeedSocket, bool) {
        match seed(&self.seeds[line], self.hooks()) {
            Seeded::Socket(socket) => (socket, false),
            Seeded::Mini(mini) => {
                let (netns, tuple) = (Some(mini.netns), mini.tuple);
                (SeedSocket { netns, state: mini.substate, tuple }, true)
            }
        }
    }

    /// Whether anything is lost, or forgotten for want of room.
    pub(crate) fn is_lossy(&self) -> bool {
        let lost = |line: &String| line.contains("ring_full") || line.contains("missed");
        self.max_connections != default_max_connections() || self.events.iter().any(lost)
    }

    /// What a process is called, and where it runs: as many as are listed.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &str> {
        self.processes.iter().map(String::as_str)
    }

    /// Where processes run.
    pub(crate) fn places(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(String::as_str)
    }

    /// What the run is, and its limits.
    pub(crate) fn run(&self) -> (Meta, usize, usize) {
        (kernel::meta(self.hooks()), self.max_connections, self.top)
    }

    pub(crate) fn hooks(&self) -> Hooks {
        match self.hook {
            Hook::TpBtf => TP_BTF,
            Hook::Fentry => FENTRY,
            Hook::Classic => CLASSIC,
        }
    }

    /// All that happens, the last of it a tick.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.frames_of(&|_| true)
    }

    /// The frames of a host on which only the parts exist that are kept.
    pub(crate) fn frames_of(&self, keeps: &dyn Fn(Part) -> bool) -> Vec<Frame> {
        self.frames_in_two(keeps, usize::MAX).concat()
    }

    /// How many events there are, rounds counted.
    pub(crate) fn events(&self) -> usize {
        self.events.len() * usize::from(self.repeat)
    }

    /// The same with one more tick, after so many events; and what comes after it.
    pub(crate) fn frames_in_two(
        &self,
        keeps: &dyn Fn(Part) -> bool,
        after: usize,
    ) -> [Vec<Frame>; 2] {
        let hooks = self.hooks();
        let mut kernel = PaperKernel::new(hooks);
        let seed = self.seed(hooks, &mut kernel, keeps);
        let ports = Frame::Ports(self.ports.iter().map(|line| port_facts(line)).collect());
        let counters = kernel.own_counters(&self.namespaces(false));
        let mut frames = vec![seed, ports, kernel.totals(), counters];
        let mut names = Names::default();
        let mut first = Vec::new();
        let processes = self.tasks();
        let places = || self.places.iter().map(|line| place(line, &processes)).collect();
        let lines = |round| self.events.iter().enumerate().map(move |(line, it)| (round, line, it));
        let lines = (0..self.repeat).flat_map(lines);
        for (count, (round, at, text)) in lines.enumerate() {
            let line = Line::new(text, round, self.every_s);
            if keeps(Part::Event { line: at, round }) {
                self.event(&line, &mut names, &mut kernel);
            }
            if count + 1 == after {
                let counters = kernel.own_counters(&self.namespaces(false));
                let places = Frame::Processes(places());
                frames.extend([kernel.records(), places, kernel.totals(), counters]);
                let time_ns = line.time_ns();
                frames.push(Frame::Tick { time_ns, wall_ns: time_ns });
                first = std::mem::take(&mut frames);
            }
        }
        frames.extend([
            kernel.records(),
            Frame::Processes(places()),
            kernel.totals(),
            kernel.own_counters(&self.namespaces(true)),
            kernel::tick(self.tick_s),
        ]);
        [first, frames]
    }

    fn seed(&self, hooks: Hooks, kernel: &mut PaperKernel, keeps: &dyn Fn(Part) -> bool) -> Frame {
        let (mut sockets, mut minis) = (Vec::new(), Vec::new());
        let kept = self.seeds.iter().enumerate();
        for (_, line) in kept.filter(|(line, _)| keeps(Part::Seed { line: *line })) {
            match seed(line, hooks) {
                Seeded::Socket(socket) => sockets.push(socket),
                Seeded::Mini(mini) => {
                    kernel.mini_from_before(mini.netns, mini.tuple);
                    minis.push(mini);
                }
            }
        }
        let until_ns = kernel::at(self.seeded_s);
        Frame::Seed { sockets, minis, until_ns, complete: !self.incomplete }
    }

    /// Those whose counters can be read: `late`, at the end.
    fn namespaces(&self, late: bool) -> Vec<u32> {
        let others = self.namespaces.iter().filter_map(|line| match line.split_once(' ') {
            None => Some(number(line)),
            Some((netns, "later")) => late.then(|| number(netns)),
            Some(_) => panic!("no namespace: {line}"),
        });
        std::iter::once(NETNS).chain(others).collect()
    }

    fn tasks(&self) -> Vec<Task> {
        self.processes.iter().map(|line| task(line)).collect()
    }

    fn event(&self, line: &Line<'_>, names: &mut Names, kernel: &mut PaperKernel) {
        let netns = line.value("netns").map_or(NETNS, number);
        match line.words[2..] {
            ["birth", substate, local, ">", remote] => {
                kernel.birth(&line.mini(names, netns, substate, local, remote), line.fate());
            }
            ["end", cause, substate, local, ">", remote] => {
                let mini = line.mini(names, netns, substate, local, remote);
                kernel.end(&mini, end_named(cause), line.fate());
            }
            ["step", local, ">", remote] => {
                kernel.step(&line.mini(names, netns, "TIME_WAIT", local, remote), line.fate());
            }
            ["refused"] => {
                let nobody = line.mini(names, netns, "TIME_WAIT", "0.0.0.0:0", "0.0.0.0:0");
                kernel.refuse(&nobody, line.fate());
            }
            ["refused", local, ">", remote] => {
                kernel.refuse(&line.mini(names, netns, "TIME_WAIT", local, remote), line.fate());
            }
            ["search", kind, port, latency_ns, ">", remote] => {
                let task = self.running(line.value("task").expect("a process searches"));
                let Tuple { raddr, rport, .. } = line.tuple("0.0.0.0:0", remote);
                let search = SearchEvent {
                    sk: names.socket(line.name()),
                    error: line.value("error").map_or(0, number),
                    tried: line.value("tried").map(number),
                    raddr,
                    rport,
                    ..kernel::bound(netns, search_named(kind), number(latency_ns), task.key)
                };
                kernel.search(line.time_ns(), number(port), &search, &task);
            }
            ["connect"] => {
                let sk = names.socket(line.name());
                kernel
                    .connect(&ConnectEvent { time_ns: line.time_ns(), sk, lport: 0 }, line.fate());
            }
            ["bind", port, latency_ns] => {
                let task = self.running(line.value("task").expect("a process binds"));
                let explicit = line.has("explicit");
                let search = if explicit { Search::BindExplicit } else { Search::Bind };
                let latency_ns = number(latency_ns);
                let bind = kernel::bound(netns, search, latency_ns, task.key);
                kernel.bind(line.time_ns(), number(port), &bind, &task);
            }
            [pair, local, ">", remote] => {
                kernel.transition(&self.transition(line, names, netns, pair, local, remote));
            }
            _ => panic!("no event: {line:?}"),
        }
    }

    fn transition(
        &self,
        line: &Line<'_>,
        names: &mut Names,
        netns: u32,
        pair: &str,
        local: &str,
        remote: &str,
    ) -> Seen {
        let (old, new) = pair.split_once('>').unwrap_or_else(|| panic!("no pair: {line:?}"));
        Seen {
            time_ns: line.time_ns(),
            sk: names.socket(line.name()),
            netns,
            old: state(old),
            new: state(new),
            tuple: line.tuple(local, remote),
            locked: line.has("locked"),
            error: line.value("error").map_or(0, number),
            shutdown: line.value("shutdown").map_or(0, number),
            own_range: None,
            current: line.value("task").map(|task| self.running(task)),
            ring_full: line.fate() == Fate::RingFull,
        }
    }

    /// The process `PID` or `PID@START`, introduced or not.
    fn running(&self, named: &str) -> Task {
        let (pid, start) = named.split_once('@').unwrap_or((named, "1"));
        let stranger = Task { comm: None, ..Task::new(number(pid), number(start), b"") };
        self.tasks().into_iter().find(|task| task.key == stranger.key).unwrap_or(stranger)
    }
}

fn search_named(kind: &str) -> Search {
    match kind {
        "connect" => Search::Connect,
        "bind" => Search::Bind,
        "explicit" => Search::BindExplicit,
        "listen" => Search::Listen,
        _ => panic!("no kind of search: {kind}"),
    }
}

/// The addresses of what has a name.
#[derive(Debug, Default)]
struct Names {
    sockets: HashMap<String, u64>,
    minis: HashMap<(String, u16), u64>,
}

impl Names {
    fn socket(&mut self, name: &str) -> u64 {
        let next = 0xffff_8880_0000_0000 + 0x1000 * self.sockets.len() as u64;
        *self.sockets.entry(name.to_owned()).or_insert(next)
    }

    fn mini(&mut self, name: &str, round: u16) -> u64 {
        let next = 0xffff_8881_0000_0000 + 0x100 * self.minis.len() as u64;
        *self.minis.entry((name.to_owned(), round)).or_insert(next)
    }
}

/// One line of `events`, in one of its rounds.
#[derive(Debug)]
struct Line<'a> {
    /// Time, name, and what happened.
    words: Vec<&'a str>,
    facts: Vec<&'a str>,
    round: u16,
    later_s: f64,
}

impl<'a> Line<'a> {
    /// What may be said about an event, besides what it is.
    const FACTS: [&'static str; 9] = [
        "locked",
        "task",
        "error",
        "shutdown",
        "netns",
        "ring_full",
        "missed",
        "explicit",
        "tried",
    ];

    fn new(line: &'a str, round: u16, every_s: f64) -> Self {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let is_fact = |word: &&&str| {
            let key = word.split_once('=').map_or(**word, |(key, _)| key);
            Self::FACTS.contains(&key)
        };
        let facts = words.iter().rev().take_while(is_fact).count();
        let facts = words.split_off(words.len() - facts);
        assert!(words.len() > 2, "no event: {line}");
        Self { words, facts, round, later_s: f64::from(round) * every_s }
    }

    fn name(&self) -> &'a str {
        self.words[1]
    }

    fn time_ns(&self) -> u64 {
        kernel::at(number::<f64>(self.words[0]) + self.later_s)
    }

    fn has(&self, fact: &str) -> bool {
        self.facts.contains(&fact)
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.facts.iter().find_map(|fact| fact.strip_prefix(key)?.strip_prefix('='))
    }

    fn fate(&self) -> Fate {
        match (self.has("ring_full"), self.has("missed")) {
            (true, _) => Fate::RingFull,
            (_, true) => Fate::Missed,
            _ => Fate::Written,
        }
    }

    fn mini(
        &self,
        names: &mut Names,
        netns: u32,
        substate: &str,
        local: &str,
        remote: &str,
    ) -> MiniEvent {
        MiniEvent {
            time_ns: self.time_ns(),
            tw: names.mini(self.name(), self.round),
            netns,
            substate: state(substate),
            tuple: self.tuple(local, remote),
            timestamps: None,
        }
    }

    fn tuple(&self, local: &str, remote: &str) -> Tuple {
        let port = |text: &str| if text.ends_with('+') { self.round } else { 0 };
        let mut tuple = tuple(local.trim_end_matches('+'), remote.trim_end_matches('+'));
        tuple.lport += port(local);
        tuple.rport += port(remote);
        tuple
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

/// `LOW-HIGH`, then `netns=`, `reserved=LOW-HIGH`, `tw_reuse=`.
fn port_facts(line: &str) -> PortFacts {
    let mut words = line.split_whitespace();
    let range = |text: &str| {
        let (low, high) = text.split_once('-').unwrap_or_else(|| panic!("no range: {line}"));
        PortRange { low: number(low), high: number(high) }
    };
    let mut facts = PortFacts { range: words.next().map(range), ..PortFacts::unknown(NETNS) };
    for word in words {
        match word.split_once('=') {
            Some(("netns", netns)) => facts.netns = number(netns),
            Some(("reserved", reserved)) => facts.reserved.push(range(reserved)),
            Some(("tw_reuse", setting)) => facts.tw_reuse = Some(number(setting)),
            _ => panic!("no facts about ports: {line}"),
        }
    }
    facts
}

enum Seeded {
    Socket(SeedSocket),
    Mini(SeedMini),
}

fn seed(line: &str, hooks: Hooks) -> Seeded {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [named, local, ">", remote, facts @ ..] = words.as_slice() else {
        panic!("no seed: {line}");
    };
    let netns = facts.iter().find_map(|fact| fact.strip_prefix("netns=")).map_or(NETNS, number);
    let tuple = tuple(local, remote);
    if *named == "mini" {
        return Seeded::Mini(SeedMini {
            netns,
            substate: TcpState::TimeWait,
            expires_ms: 30_000,
            tuple,
        });
    }
    let netns = hooks.fields_known.then_some(netns);
    Seeded::Socket(SeedSocket { netns, state: state(named), tuple })
}

/// The end of that name.
pub(crate) fn end_named(name: &str) -> End {
    let found = End::ALL.into_iter().find(|end| end.name() == name);
    found.unwrap_or_else(|| panic!("there is no end {name}"))
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
