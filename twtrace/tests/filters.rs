//! A filtered Snapshot is that of a host on which there are no other sockets.
//!
//! Each fixture is told through each filter that could find anything in it, and again, without
//! a filter, with those parts alone that pass by the rules of `docs/json.md`, as a second
//! reader has them.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::fixture::{self, Fixture, Part};
use serde_json::Value;
use twtrace::{
    event::{Event, SearchEvent, Tuple},
    filter::{Family, Filter, Filtered, Pid, Scope},
    frame::{Frame, Meta},
    pipeline::Pipeline,
    stats::snapshot::{SCHEMA, Snapshot},
    trace::{End, FileMeta, Found, Reader, Recording, Writer},
    view::json,
};
use twtrace_common::{
    ProcessKey, Search,
    TcpState::{Close, Listen},
};

/// What no filter touches, or what is about more than what passes.
const NOT_COMPARED: [&str; 6] = ["host", "probes", "loss", "kernel", "reconcile", "filter"];
/// What may be unknown through a filter, where it asks for more than a namespace.
const MAY_BE_NULL: [&str; 8] = [
    "rearmed",
    "refused",
    "seeded",
    "knee_in_s",
    "exhausted_in_s",
    "last",
    "samples",
    "cpu_core_pct",
];

#[test]
fn each_fixture_through_each_filter() {
    let mut told = 0;
    let mut wrong = Vec::new();
    for (name, fixture) in fixture::all() {
        if fixture.is_lossy() {
            continue;
        }
        for filter in filters(&fixture) {
            let Some(filtered) = through(&filter, &fixture) else { continue };
            let alone = alone(&filter, &fixture);
            let differences = differences(&alone, &filtered, filter.asks_beyond_netns());
            told += 1;
            if !differences.is_empty() {
                wrong.push(format!("{name} {filter}:\n  {}", differences.join("\n  ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {told}\n{}", wrong.len(), wrong.join("\n"));
    assert!(told > 500, "only {told} were told");
}

/// The second file of a recording, wherever the first one ends: through a filter it is the
/// second file of a host on which there are no other sockets.
#[test]
fn each_second_file_through_each_filter() {
    let mut told = 0;
    let mut wrong = Vec::new();
    for (name, fixture) in fixture::all() {
        // An end that is told when its memory has another mini-socket already is nobody's
        // in the next file.
        if fixture.is_lossy() || name == "58-late-other" {
            continue;
        }
        let filters = filters(&fixture);
        for after in cuts(&fixture) {
            let cut = Cut::new(&fixture, after).reread();
            for filter in &filters {
                let Some(filtered) = cut.through(filter) else { continue };
                let alone = Cut::alone(filter, &fixture, after);
                let differences = differences(&alone, &filtered, filter.asks_beyond_netns());
                told += 1;
                if !differences.is_empty() {
                    let differences = differences.join("\n  ");
                    wrong.push(format!("{name} after {after} {filter}:\n  {differences}"));
                }
                assert_eq!(value(&cut.later(filter)), value(&filtered), "{name} {filter}");
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {told}\n{}", wrong.len(), wrong.join("\n"));
    assert!(told > 1_000, "only {told} were told");
}

/// Where a recording goes on in another file: at most three of each fixture's events.
fn cuts(fixture: &Fixture) -> impl Iterator<Item = usize> {
    let cuts = (1..=fixture.events()).step_by(fixture.events().div_ceil(3).max(1));
    cuts.filter(|after| !has_newborn_child(fixture, *after))
}

/// Whether there is a listener's child, so many events after the beginning, that no record has
/// told of: recounted, it comes to be with its first one.
fn has_newborn_child(fixture: &Fixture, after: usize) -> bool {
    let mut silent = BTreeSet::new();
    let is_event = |part: &Part| matches!(part, Part::Event { .. });
    for part in fixture.parts().into_iter().filter(is_event).take(after) {
        let Part::Event { line, round } = part else { continue };
        let name = (fixture.socket_of(line), round);
        if fixture.records_of(line, round).is_empty() {
            silent.insert(name);
        } else {
            silent.remove(&name);
        }
    }
    !silent.is_empty()
}

/// A recording in two files.
struct Cut<'a> {
    fixture: &'a Fixture,
    first: Vec<Frame>,
    /// What the second file is, and all that is in it.
    meta: Meta,
    second: Vec<Frame>,
    /// The second without what tells of what was there.
    rest: Vec<Frame>,
}

impl<'a> Cut<'a> {
    fn new(fixture: &'a Fixture, after: usize) -> Self {
        Self::of(fixture, after, &|_| true, &Scope::default())
    }

    fn of(fixture: &'a Fixture, after: usize, keeps: &dyn Fn(Part) -> bool, scope: &Scope) -> Self {
        let [first, rest] = fixture.frames_in_two(keeps, after);
        let (meta, max_connections, top) = fixture.run();
        let mut pipeline = Pipeline::new(meta, max_connections, top);
        pipeline.filtered(scope.clone());
        for frame in &first {
            pipeline.apply(frame).expect("it is sound");
        }
        let (meta, frames) = pipeline.checkpoint(ticked(&first));
        let second = [frames, rest.clone()].concat();
        Self { fixture, first, meta, second, rest }
    }

    /// The same, as it is read from the file.
    fn reread(self) -> Self {
        let (_, max_connections, rows) = self.fixture.run();
        let meta = FileMeta {
            tool: "twtrace test".to_owned(),
            schema: SCHEMA,
            recording: Recording { id: "0123".to_owned(), file: 1 },
            run: self.meta,
            max_connections,
            rows,
            netns: None,
        };
        let mut writer = Writer::new(Vec::new(), &meta).expect("memory can be written");
        for frame in &self.second {
            writer.frame(frame).expect("memory can be written");
        }
        let end = End { snapshot: None, events: writer.events(), goes_on: false };
        let file = writer.end(&end).expect("memory can be written");
        let mut reader = Reader::new(file.as_slice()).expect("it is sound");
        let mut second = Vec::new();
        while let Some(found) = reader.next().expect("memory can be read") {
            match found {
                Found::Frame(frame) => second.push(frame),
                Found::File(_) | Found::End(_) => {}
                other => panic!("{other:?}"),
            }
        }
        Self { meta: meta.run, second, ..self }
    }

    /// The last Snapshot of the second file behind a filter; `None` if the run tells too
    /// little for it.
    fn through(&self, filter: &Filter) -> Option<Snapshot> {
        let (_, max_connections, top) = self.fixture.run();
        let filtered = Filtered::new(filter.clone(), self.meta.clone(), max_connections, top);
        Some(last(&mut filtered.ok()?, &self.second))
    }

    /// The same of both files, counted from where the second begins.
    fn later(&self, filter: &Filter) -> Snapshot {
        let (meta, max_connections, top) = self.fixture.run();
        let filtered = Filtered::later(filter.clone(), meta, max_connections, top);
        let mut filtered = filtered.expect("it tells enough");
        last(&mut filtered, &self.first);
        filtered.count_from(ticked(&self.first)).expect("it is sound");
        last(&mut filtered, &self.rest)
    }

    /// The last Snapshot of the second file of a host with what is wanted alone.
    fn alone(filter: &Filter, fixture: &Fixture, after: usize) -> Snapshot {
        let wanted = wanted(filter, fixture);
        let scope = scope_alone(filter, fixture, &wanted);
        let cut = Cut::of(fixture, after, &|part| wanted.contains(&part), &scope);
        let (_, max_connections, top) = fixture.run();
        let home_netns = filter.netns.or(cut.meta.home_netns);
        let mut pipeline = Pipeline::new(Meta { home_netns, ..cut.meta }, max_connections, top);
        pipeline.filtered(scope);
        let apply = |frame| pipeline.apply(frame).expect("it is sound");
        let snapshot = cut.second.iter().filter_map(apply).last();
        snapshot.expect("the last frame is a tick")
    }
}

/// When the last tick was.
fn ticked(frames: &[Frame]) -> u64 {
    let Some(Frame::Tick { time_ns, .. }) = frames.last() else { panic!("no tick") };
    *time_ns
}

fn last(filtered: &mut Filtered, frames: &[Frame]) -> Snapshot {
    let apply = |frame| filtered.apply(frame).expect("it is sound");
    let snapshot = frames.iter().filter_map(apply).last();
    snapshot.expect("the last frame is a tick")
}

/// Every filter that finds anything in a fixture, and some that find nothing.
fn filters(fixture: &Fixture) -> Vec<Filter> {
    let mut ports = BTreeSet::from([(1, 1)]);
    let mut addresses = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    let seeds = fixture.parts().into_iter().filter_map(|part| match part {
        Part::Seed { line } => Some(fixture.seed_of(line).0),
        Part::Event { .. } => None,
    });
    let events = fixture.parts().into_iter().filter_map(|part| match part {
        // Rounds are all alike.
        Part::Event { line, round: 0 } => Some(fixture.records_of(line, 0)),
        _ => None,
    });
    let ends = events.flatten().filter_map(|event| ends_of(&event));
    for (netns, tuple) in ends.chain(seeds.map(|seed| (seed.netns, seed.tuple))) {
        ports.insert((tuple.lport.max(1), tuple.rport.max(1)));
        addresses.insert(Tuple::shown(tuple.raddr));
        namespaces.extend(netns);
    }
    let mut filters = vec![
        Filter { family: Some(Family::V4), ..Filter::default() },
        Filter { family: Some(Family::V6), ..Filter::default() },
    ];
    for (lport, rport) in ports {
        let set = |port: u16| Some(port.to_string().parse().expect("it is a port"));
        filters.push(Filter { lports: set(lport), ..Filter::default() });
        filters.push(Filter { rports: set(rport), ..Filter::default() });
        filters.push(Filter { lports: set(lport), rports: set(rport), ..Filter::default() });
    }
    for address in addresses {
        let raddr = Some(address.parse().expect("it is an address"));
        filters.push(Filter { raddr, ..Filter::default() });
    }
    filters.extend(
        namespaces.into_iter().map(|netns| Filter { netns: Some(netns), ..Filter::default() }),
    );
    for process in fixture.processes() {
        let mut words = process.split(' ');
        let (pid, comm) = (words.next(), words.next());
        let tgid = pid.and_then(|pid| pid.parse().ok()).expect("it has a number");
        filters.push(Filter { pid: Some(Pid { tgid, started_ns: None }), ..Filter::default() });
        filters.push(Filter { comm: comm.map(str::to_owned), ..Filter::default() });
    }
    for place in fixture.places() {
        let path = place.split(' ').nth(1).filter(|path| path.starts_with('/'));
        let cgroup = path.map(|path| path.parse().expect("it is a path"));
        filters.extend(cgroup.map(|cgroup| Filter { cgroup: Some(cgroup), ..Filter::default() }));
    }
    filters
}

/// The Snapshot of a fixture behind a filter; `None` if the run tells too little for it.
fn through(filter: &Filter, fixture: &Fixture) -> Option<Snapshot> {
    let (meta, max_connections, top) = fixture.run();
    let mut filtered = Filtered::new(filter.clone(), meta, max_connections, top).ok()?;
    let frames = fixture.frames_of(&|_| true);
    frames.iter().find_map(|frame| filtered.apply(frame).expect("it is sound"))
}

/// The Snapshot of a host with those parts of a fixture alone that are wanted. Who is left
/// out and listens is known: whether a socket was accepted does not depend on a filter.
fn alone(filter: &Filter, fixture: &Fixture) -> Snapshot {
    let wanted = wanted(filter, fixture);
    let (meta, max_connections, top) = fixture.run();
    let home_netns = filter.netns.or(meta.home_netns);
    let meta = Meta { home_netns, ..meta };
    let mut pipeline = Pipeline::new(meta, max_connections, top);
    pipeline.filtered(scope_alone(filter, fixture, &wanted));
    let frames = fixture.frames_of(&|part| wanted.contains(&part));
    let snapshot = frames.iter().find_map(|frame| pipeline.apply(frame).expect("it is sound"));
    snapshot.expect("the last frame is a tick")
}

/// Where others listen, besides the parts that are wanted.
fn scope_alone(filter: &Filter, fixture: &Fixture, wanted: &BTreeSet<Part>) -> Scope {
    let listens = |part: Part| {
        let Part::Seed { line } = part else { return None };
        let (seed, _) = fixture.seed_of(line);
        (seed.state == Listen).then_some((seed.netns?, seed.tuple.lport))
    };
    let left_out = fixture.parts().into_iter().filter(|part| !wanted.contains(part));
    let other_listeners = left_out.filter_map(listens).filter(|_| filter.netns.is_none()).collect();
    Scope { other_listeners, ..Scope::default() }
}

/// The parts that pass.
fn wanted(filter: &Filter, fixture: &Fixture) -> BTreeSet<Part> {
    let mut lives: BTreeMap<(&str, u16), Vec<Life>> = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    for part in fixture.parts() {
        let Part::Event { line, round } = part else { continue };
        let events = fixture.records_of(line, round);
        match events.as_slice() {
            // Others are of a socket of which more is told.
            [Event::Search(search)]
                if binds(search) || !lives.contains_key(&(fixture.socket_of(line), round)) =>
            {
                let tuple = Tuple {
                    laddr: [0; 16],
                    raddr: search.raddr,
                    lport: search.lport,
                    rport: search.rport,
                };
                let is_connect = search.search == Search::Connect;
                let asks_more =
                    filter.rports.is_some() || filter.raddr.is_some() || filter.family.is_some();
                if (is_connect || !asks_more)
                    && has_ends(filter, Some(search.netns), &tuple)
                    && is_process(filter, fixture, search.owner)
                {
                    wanted.insert(part);
                }
            }
            _ => {
                let named = lives.entry((fixture.socket_of(line), round)).or_default();
                life_of(named, &events).push((part, events));
            }
        }
    }
    let mut begun = BTreeSet::new();
    for life in lives.values().flatten() {
        let events = || life.iter().flat_map(|(_, events)| events);
        let has_ends =
            events().filter_map(ends_of).any(|(netns, tuple)| has_ends(filter, netns, &tuple));
        let owners = events().filter_map(|event| match event {
            Event::Transition(event) => event.owner,
            _ => None,
        });
        let mut owners = owners.filter(|owner| is_process(filter, fixture, *owner));
        if has_ends && (!filter.asks_for_process() || owners.next().is_some()) {
            wanted.extend(life.iter().map(|(part, _)| *part));
            begun.extend(events().filter_map(ends_of));
        }
    }
    for part in fixture.parts() {
        let Part::Seed { line } = part else { continue };
        let (seed, is_mini) = fixture.seed_of(line);
        let passes = if filter.asks_for_process() {
            !is_mini && begun.contains(&(seed.netns, seed.tuple))
        } else {
            has_ends(filter, seed.netns, &seed.tuple)
        };
        wanted.extend(passes.then_some(part));
    }
    wanted
}

fn binds(search: &SearchEvent) -> bool {
    matches!(search.search, Search::Bind | Search::BindExplicit)
}

/// What happened to one socket and to its mini-socket.
type Life = Vec<(Part, Vec<Event>)>;

/// The life of those of one name that `events` belong to: a name may be given again.
fn life_of<'a>(named: &'a mut Vec<Life>, events: &[Event]) -> &'a mut Life {
    let begins =
        |event: &Event| matches!(event, Event::Transition(event) if event.change.old == Close);
    let is_mini = |event: &Event| matches!(event, Event::End(..) | Event::Step(_));
    let has_ends = |life: &Life, event: &Event| {
        life.iter().flat_map(|(_, events)| events).any(|other| ends_of(other) == ends_of(event))
    };
    if named.is_empty() || events.iter().any(begins) {
        named.push(Life::new());
    }
    let mini = events.iter().find(|event| is_mini(event));
    let place = mini.and_then(|mini| named.iter().rposition(|life| has_ends(life, mini)));
    let last = named.len() - 1;
    &mut named[place.unwrap_or(last)]
}

fn ends_of(event: &Event) -> Option<(Option<u32>, Tuple)> {
    Some(match event {
        Event::Transition(event) => (event.netns, event.tuple),
        Event::Birth(mini) | Event::Step(mini) | Event::Refused(mini) | Event::End(mini, _) => {
            (Some(mini.netns), mini.tuple)
        }
        _ => return None,
    })
}

fn has_ends(filter: &Filter, netns: Option<u32>, tuple: &Tuple) -> bool {
    let v4 = |address: [u8; 16]| Tuple::shown(address).contains('.');
    let remote = |wanted: bool| wanted && tuple.rport != 0;
    filter.netns.is_none_or(|wanted| netns == Some(wanted))
        && filter
            .lports
            .as_ref()
            .is_none_or(|ports| tuple.lport != 0 && ports.contains(tuple.lport))
        && filter.rports.as_ref().is_none_or(|ports| remote(ports.contains(tuple.rport)))
        && filter.raddr.is_none_or(|network| remote(network.contains(tuple.raddr)))
        && filter
            .family
            .is_none_or(|family| (family == Family::V4) == (v4(tuple.raddr) || v4(tuple.laddr)))
}

fn is_process(filter: &Filter, fixture: &Fixture, owner: ProcessKey) -> bool {
    let listed = |line: &str| {
        let mut words = line.split(' ');
        let is_pid = words.next() == Some(&owner.tgid.to_string());
        let comm = words.next().expect("a process has a name");
        let start = words.find_map(|word| word.strip_prefix("start=")).unwrap_or("1");
        let start: u64 = start.parse().expect("it is a number");
        let is_start = owner.start_time_ns == 0 || owner.start_time_ns == start * 1_000_000_000;
        (is_pid && is_start).then(|| comm.to_owned())
    };
    let placed = |line: &str| {
        let mut words = line.split(' ');
        (words.next() == Some(&owner.tgid.to_string())).then(|| words.next().map(str::to_owned))?
    };
    let comm = fixture.processes().find_map(listed);
    let place = fixture.places().find_map(placed);
    filter.pid.as_ref().is_none_or(|pid| pid.tgid == owner.tgid)
        && filter.comm.as_ref().is_none_or(|wanted| comm.as_ref() == Some(wanted))
        && filter.cgroup.as_ref().is_none_or(|wanted| place.is_some_and(|path| wanted.holds(&path)))
}

fn value(snapshot: &Snapshot) -> Value {
    let line = json::line(snapshot).expect("a Snapshot can be written");
    serde_json::from_str(&line).expect("it is JSON")
}

/// Where two Snapshots differ, a line each.
fn differences(alone: &Snapshot, filtered: &Snapshot, may_be_null: bool) -> Vec<String> {
    let mut found = Vec::new();
    let (mut alone, mut filtered) = (value(alone), value(filtered));
    for key in NOT_COMPARED {
        for snapshot in [&mut alone, &mut filtered] {
            snapshot.as_object_mut().expect("it is an object").shift_remove(key);
        }
    }
    compare("", &alone, &filtered, may_be_null, &mut found);
    found
}

fn compare(path: &str, a: &Value, b: &Value, may_be_null: bool, found: &mut Vec<String>) {
    let key = path.rsplit(['.', '[']).next().unwrap_or(path);
    match (a, b) {
        (_, Value::Null) if may_be_null && MAY_BE_NULL.contains(&key) => {}
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let of = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or_else(|| "not there".into())
                };
                compare(&format!("{path}.{key}"), &of(a), &of(b), may_be_null, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), a, b, may_be_null, found);
            }
        }
        _ if a == b => {}
        _ => found.push(format!("{path} is {b} through the filter and {a} alone")),
    }
}
