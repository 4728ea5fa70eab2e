//! The screen of `top`: each tab at three sizes, with no rows, few, and ten thousand; and what
//! keys and the mouse make of it. `UPDATE_GOLDEN=1` rewrites the files in `tests/golden/`.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    fixture,
    golden::assert_golden,
    kernel::{self, NETNS, PaperKernel, TP_BTF, meta},
};
use hdrhistogram::Histogram;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{
        Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
    },
    layout::Rect,
    style::{Color, Modifier},
};
use twtrace::{
    event::Role,
    pipeline::Pipeline,
    probes::Hooks,
    stats::{
        contacts::{Closes, Contact, Detail, Focus, Recent},
        snapshot::{
            CloseWait, Closer, Destination, Encoded, SearchOp, SearchingProcess, Snapshot, Summary,
        },
    },
    view::tui::{self, ClosersBy, Cost, Intent, Model, Moment, Notice, Playback, Theme},
};

/// Small, as people have it, and large.
const SIZES: [(u16, u16); 3] = [(50, 18), (80, 24), (200, 40)];
const TABS: [&str; 7] =
    ["overview", "closers", "lifetimes", "ports", "destinations", "leaks", "causes"];

#[test]
fn each_tab_at_each_size_with_no_rows_few_and_ten_thousand() {
    let snapshots = [("no rows", none()), ("few rows", few()), ("10,000 rows", many())];
    for (place, tab) in TABS.iter().enumerate() {
        let mut seen = String::new();
        for (rows, snapshot) in &snapshots {
            for (width, height) in SIZES {
                let mut screen = Screen::new(width, height);
                screen.show(moment(snapshot.clone()));
                screen.key(KeyCode::Char(char::from(b'1' + place as u8)));
                seen += &format!("=== {rows}, {width} columns, {height} lines\n{}", screen.text());
            }
        }
        assert_golden(&format!("tests/golden/screen_{tab}.txt"), &seen);
    }
}

#[test]
fn one_process_and_one_destination() {
    let mut seen = String::new();
    for (tab, detail) in [('2', of_process()), ('5', of_destination())] {
        for (width, height) in SIZES {
            let mut screen = Screen::new(width, height);
            screen.show(moment(few()));
            screen.key(KeyCode::Char(tab));
            let Some(Intent::Focus(Some(_))) = screen.key(KeyCode::Enter) else {
                panic!("the first row can be looked at");
            };
            for _ in 0..3 {
                screen.show(Moment { detail: Some(detail.clone()), ..moment(few()) });
            }
            seen += &format!("=== {width} columns, {height} lines\n{}", screen.text());
        }
    }
    assert_golden("tests/golden/screen_detail.txt", &seen);
}

#[test]
fn help_and_what_is_not_known() {
    let mut screen = Screen::new(80, 24);
    let mut seen = format!("=== before the first moment\n{}", screen.text());
    let mut unknown = none();
    (unknown.loss, unknown.closers, unknown.destinations) = (None, None, None);
    (unknown.port_search, unknown.time_wait, unknown.transitions) = (None, None, None);
    unknown.close_wait = None;
    screen.show(Moment { events_per_s: None, cost: Cost::default(), ..moment(unknown) });
    for tab in '1'..='7' {
        screen.key(KeyCode::Char(tab));
        seen += &format!("=== nothing is known, tab {tab}\n{}", screen.text());
    }
    screen.key(KeyCode::Char('?'));
    seen += &format!("=== help\n{}", screen.text());
    assert_golden("tests/golden/screen_unknown.txt", &seen);
}

#[test]
fn no_name_speaks_to_the_terminal() {
    let mut snapshot = few();
    let evil = "\u{1b}[2J\u{7}\r\nevil\u{9b}31m";
    snapshot.host.hostname = evil.to_owned();
    snapshot.filter = Some(evil.to_owned());
    for row in snapshot.closers.iter_mut().flatten() {
        row.comm = Some(evil.to_owned());
        row.cgroup = Some(evil.to_owned());
        row.container = Some(evil.to_owned());
    }
    for row in snapshot.close_wait.iter_mut().flatten() {
        row.comm = Some(evil.to_owned());
    }
    for row in snapshot.destinations.iter_mut().flatten() {
        (row.comm, row.raddr) = (Some(evil.to_owned()), Some(evil.to_owned()));
    }
    let mut screen = Screen::new(200, 40);
    screen.show(moment(snapshot));
    for tab in '1'..='7' {
        screen.key(KeyCode::Char(tab));
        screen.key(KeyCode::Enter);
        screen.model.notice(Notice { text: evil.to_owned(), is_failure: true });
        let text = screen.text();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "tab {tab}: {text:?}");
        screen.key(KeyCode::Esc);
    }
}

#[test]
fn without_colours_there_is_none_and_with_them_no_word_is_lost() {
    let drawn = |colors: bool| {
        let mut screen = Screen::new(80, 24);
        screen.model = Model::new(Theme::new(colors), Rect::new(0, 0, 80, 24));
        screen.show(moment(few()));
        screen.buffer()
    };
    let (plain, coloured) = (drawn(false), drawn(true));
    let has_color = |buffer: &Buffer| {
        buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!has_color(&plain) && has_color(&coloured));
    assert_eq!(text_of(&plain), text_of(&coloured));
    let is_selected = |buffer: &Buffer| {
        buffer.content().iter().any(|cell| cell.modifier.contains(Modifier::REVERSED))
    };
    assert!(is_selected(&plain), "the selected row is seen without colours, too");
}

#[test]
fn the_selected_row_stays_selected_when_others_overtake_it() {
    let mut screen = Screen::new(80, 24);
    screen.show(moment(few()));
    screen.key(KeyCode::Char('2'));
    screen.key(KeyCode::Down);
    assert!(screen.selected().contains("python3"), "{}", screen.text());
    let mut later = few();
    let rows = later.closers.as_mut().expect("they are known");
    rows[1].active_closes = 1_000_000;
    screen.show(moment(later));
    assert!(screen.selected().contains("python3"), "{}", screen.text());
    let first = screen.line(7);
    assert!(first.contains("python3"), "it is the first row now: {first}");
    // Enter opens it, and not who is where it was.
    let Some(Intent::Focus(Some(Focus::Process { pid, .. }))) = screen.key(KeyCode::Enter) else {
        panic!("a process can be looked at");
    };
    assert_eq!(pid, 902);
}

#[test]
fn rows_are_sorted_by_any_column_and_the_rest_stays_the_last() {
    let mut screen = Screen::new(200, 40);
    screen.show(moment(few()));
    screen.key(KeyCode::Char('2'));
    for _ in 0..14 {
        let text = screen.text();
        let last = text.lines().rfind(|line| line.contains("all others"));
        let row_after = text.lines().skip_while(|line| !line.contains("all others")).nth(1);
        assert!(last.is_some() && row_after.is_some_and(|line| line.trim().is_empty()), "{text}");
        screen.key(KeyCode::Char('s'));
    }
    let orders = |screen: &Screen| -> Vec<String> {
        let rows = screen.text();
        let rows = rows.lines().skip(7).take_while(|line| !line.trim().is_empty());
        rows.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect()
    };
    let by_pid = |screen: &mut Screen| {
        screen.model.sort_closers(ClosersBy::named("pid").expect("it is a column"));
        screen.show(moment(few()));
        orders(screen)
    };
    let descending = by_pid(&mut screen);
    screen.key(KeyCode::Char('r'));
    let mut ascending = orders(&screen);
    let known = ascending.iter().position(|name| name == "unknown").expect("it has no pid");
    ascending[..known].reverse();
    assert_eq!(descending, ascending, "what is unknown is last either way");
    assert_eq!(ClosersBy::named("nonsense"), None);
}

#[test]
fn a_filter_shows_only_rows_with_it_in_them() {
    let mut screen = Screen::new(80, 24);
    screen.show(moment(many()));
    screen.key(KeyCode::Char('2'));
    screen.key(KeyCode::Char('/'));
    "worker-77".chars().for_each(|letter| drop(screen.key(KeyCode::Char(letter))));
    screen.key(KeyCode::Enter);
    let text = screen.text();
    let rows = text.lines().filter(|line| line.contains("worker-")).count();
    // 77, 770 to 779 and 7700 to 7799, of which 17 fit the screen.
    assert!(rows > 10 && !text.contains("worker-76"), "{text}");
    assert!(text.contains("only \"worker-77\""), "{text}");
    // While it is typed, letters are no keys.
    screen.key(KeyCode::Char('/'));
    assert_eq!(screen.key(KeyCode::Char('q')), None);
    assert!(screen.text().contains("no row passes the filter"), "{}", screen.text());
    assert_eq!(screen.control('c'), Some(Intent::Quit));
    screen.key(KeyCode::Esc);
    assert!(screen.text().contains("worker-1 "), "{}", screen.text());
}

#[test]
fn every_row_of_ten_thousand_can_be_reached() {
    let mut screen = Screen::new(80, 24);
    screen.show(moment(many()));
    screen.key(KeyCode::Char('2'));
    screen.key(KeyCode::End);
    assert!(screen.selected().contains("all others"), "{}", screen.text());
    screen.key(KeyCode::PageUp);
    assert!(screen.selected().contains("worker-99"), "{}", screen.text());
    screen.key(KeyCode::Home);
    assert!(screen.selected().contains("worker-0"), "{}", screen.text());
    screen.key(KeyCode::Up);
    assert!(screen.selected().contains("worker-0"), "{}", screen.text());
}

#[test]
fn the_mouse_selects_rows_and_tabs() {
    let mut screen = Screen::new(80, 24);
    screen.show(moment(few()));
    let tabs = screen.line(5);
    let column = |name: &str| tabs.chars().take(tabs.find(name).expect("it is a tab")).count();
    screen.click(column("Closers") as u16, 5);
    assert!(screen.selected().contains("nginx"), "{}", screen.text());
    screen.click(10, 8);
    assert!(screen.selected().contains("python3"), "{}", screen.text());
    let Some(Intent::Focus(Some(Focus::Process { pid: 902, .. }))) = screen.click(10, 8) else {
        panic!("a click on the selected row opens it");
    };
    assert_eq!(screen.click(10, 8), None, "in a detail there is no row");
    screen.click(column("Causes") as u16, 5);
    assert!(screen.text().contains("fin_wait2_timeout"), "{}", screen.text());
    assert_eq!(screen.click(10, 23), None, "below the rows there is nothing");
    assert_eq!(screen.click(79, 5), None, "beside the tabs there is nothing");
}

#[test]
fn the_wheel_and_keys_beyond_the_ends_do_no_harm() {
    const CODES: [KeyCode; 11] = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageDown,
        KeyCode::PageUp,
        KeyCode::End,
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Esc,
    ];
    let letters = |letters: &str| letters.chars().map(KeyCode::Char).collect::<Vec<_>>();
    for (width, height) in [(1, 1), (3, 2), (10, 5), (20, 8), (500, 200)] {
        let mut screen = Screen::new(width, height);
        let snapshots = [
            (none(), letters("12345673?hsr/x\n j k+-ce w")),
            (few(), letters("1234567s/x ")),
            (many(), letters("5")),
        ];
        for (snapshot, letters) in snapshots {
            screen.show(moment(snapshot));
            for letter in letters {
                screen.key(letter);
                for code in CODES {
                    screen.key(code);
                    screen.text();
                }
                for kind in [MouseEventKind::ScrollDown, MouseEventKind::ScrollUp] {
                    screen.mouse(kind, 0, 0);
                }
                screen.click(width - 1, height - 1);
                screen.text();
            }
        }
    }
}

#[test]
fn what_keys_ask_for() {
    let mut screen = Screen::new(80, 24);
    assert_eq!(screen.key(KeyCode::Char('e')), None, "there is nothing to write yet");
    screen.show(moment(few()));
    assert_eq!(screen.key(KeyCode::Char('q')), Some(Intent::Quit));
    assert_eq!(screen.control('c'), Some(Intent::Quit));
    assert_eq!(screen.control('z'), Some(Intent::Suspend));
    assert_eq!(screen.key(KeyCode::Char('+')), Some(Intent::Interval(Duration::from_secs(2))));
    let half = Intent::Interval(Duration::from_millis(500));
    assert_eq!(screen.key(KeyCode::Char('-')), Some(half));
    assert_eq!(screen.key(KeyCode::Char('c')), Some(Intent::Clear));
    assert_eq!(screen.key(KeyCode::Char('w')), Some(Intent::Flight));
    assert_eq!(screen.key(KeyCode::Left), Some(Intent::Seek(-10)));
    let Some(Intent::Export(exported)) = screen.key(KeyCode::Char('e')) else {
        panic!("what is shown can be written");
    };
    assert_eq!(exported.snapshot, few());
    // The first key after help only ends it.
    screen.key(KeyCode::Char('?'));
    assert_eq!(screen.key(KeyCode::Char('c')), None);
    screen.key(KeyCode::Char('7'));
    assert_eq!(screen.key(KeyCode::Enter), None);
    assert!(screen.text().contains("there is no more to be seen of this row"));
}

#[test]
fn a_screen_that_is_paused_stands_still_and_is_what_is_exported() {
    let mut screen = Screen::new(80, 24);
    screen.show(moment(few()));
    screen.key(KeyCode::Char(' '));
    assert!(screen.text().contains("PAUSED"));
    let before = screen.text();
    let mut later = few();
    later.time_wait.as_mut().expect("it is known").now = Some(123_456);
    screen.show(moment(later.clone()));
    assert_eq!(screen.text(), before);
    let Some(Intent::Export(exported)) = screen.key(KeyCode::Char('e')) else {
        panic!("what is shown can be written");
    };
    assert_eq!(exported.snapshot, few());
    screen.key(KeyCode::Char(' '));
    assert!(screen.text().contains("123,456"), "{}", screen.text());
}

#[test]
fn a_replay_stands_still_itself() {
    let playing = |paused, ended| Moment {
        playback: Some(Playback { paused, speed: Some(4.0), ended }),
        ..moment(few())
    };
    let mut screen = Screen::new(80, 24);
    screen.show(playing(false, false));
    assert!(screen.text().contains("replay 4×"), "{}", screen.text());
    assert_eq!(screen.key(KeyCode::Char(' ')), Some(Intent::Hold(true)));
    screen.show(playing(true, false));
    assert!(screen.text().contains("PAUSED"));
    assert_eq!(screen.key(KeyCode::Char(' ')), Some(Intent::Hold(false)));
    assert_eq!(screen.key(KeyCode::Char('+')), Some(Intent::Faster(2.0)));
    assert_eq!(screen.key(KeyCode::Char('-')), Some(Intent::Faster(0.5)));
    assert_eq!(screen.key(KeyCode::Right), Some(Intent::Seek(10)));
    screen.show(playing(false, true));
    assert!(screen.text().contains("END OF RECORDING"), "{}", screen.text());
}

/// A screen, and what was done to it.
struct Screen {
    model: Model,
    width: u16,
    height: u16,
}

impl Screen {
    fn new(width: u16, height: u16) -> Self {
        let model = Model::new(Theme::new(true), Rect::new(0, 0, width, height));
        Self { model, width, height }
    }

    fn show(&mut self, moment: Moment) {
        self.model.show(Arc::new(moment));
    }

    fn key(&mut self, code: KeyCode) -> Option<Intent> {
        self.model.input(&Event::Key(KeyEvent::from(code)))
    }

    fn control(&mut self, letter: char) -> Option<Intent> {
        let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        self.model.input(&Event::Key(key))
    }

    fn click(&mut self, column: u16, row: u16) -> Option<Intent> {
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row)
    }

    fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) -> Option<Intent> {
        let modifiers = KeyModifiers::NONE;
        self.model.input(&Event::Mouse(MouseEvent { kind, column, row, modifiers }))
    }

    fn buffer(&self) -> Buffer {
        let backend = TestBackend::new(self.width, self.height);
        let mut terminal = Terminal::new(backend).expect("a test has a terminal");
        terminal.draw(|frame| tui::draw(frame, &self.model)).expect("it can be drawn");
        terminal.backend().buffer().clone()
    }

    fn text(&self) -> String {
        text_of(&self.buffer())
    }

    fn line(&self, row: usize) -> String {
        self.text().lines().nth(row).unwrap_or_default().to_owned()
    }

    /// The row that is selected.
    fn selected(&self) -> String {
        let buffer = self.buffer();
        let is_reversed =
            |row: u16| buffer[(0, row)].modifier.contains(Modifier::REVERSED) && row > 5;
        let row = (0..self.height).find(|row| is_reversed(*row));
        self.line(usize::from(row.expect("a row is selected")))
    }
}

fn text_of(buffer: &Buffer) -> String {
    let line = |row: &[ratatui::buffer::Cell]| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    };
    buffer.content().chunks(usize::from(buffer.area.width)).map(line).collect()
}

fn moment(snapshot: Snapshot) -> Moment {
    Moment {
        snapshot,
        events_per_s: Some(42_100.0),
        cost: Cost {
            own_cpu_pct: Some(1.24),
            rss_bytes: Some(34_567_890),
            bpf_cpu_pct: Some(0.81),
        },
        interval: Duration::from_secs(1),
        detail: None,
        time_ns: kernel::at(5.0),
        keeps_flight: false,
        playback: None,
    }
}

/// Of a host on which nothing happens.
fn none() -> Snapshot {
    let kernel = PaperKernel::new(TP_BTF);
    let mut pipeline = Pipeline::new(meta(Hooks { ..TP_BTF }), 1_000, 10);
    for frame in [kernel.totals(), kernel.own_counters(&[NETNS])] {
        pipeline.apply(&frame).expect("it is sound");
    }
    let tick = pipeline.apply(&kernel::tick(1.0)).expect("it is sound");
    Snapshot { close_wait: Some(Vec::new()), ..tick.expect("a tick gives a Snapshot") }
}

/// Of a host with a few processes, one of which runs out of ports.
fn few() -> Snapshot {
    let (_, fixture) = fixture::all().into_iter().find(|(name, _)| name.starts_with("62")).unwrap();
    let mut s = fixture.snapshot();
    s.rates.active_closes_per_s = Some(4_210.4);
    let minis = s.time_wait.as_mut().expect("it is known");
    minis.now = Some(252_600);
    minis.ended.expired = Some(180_000);
    minis.ended.reused = Some(1_204);
    minis.ended.fin_wait2_timeout = Some(3);
    minis.lifetime_s = Some(summary(181_207, 61.1));
    let by_end = [("expired", summary(180_000, 61.2)), ("reused", summary(1_204, 1.4))];
    minis.lifetime_by_end = Some(by_end.into_iter().collect());
    let hdr = s.hdr.as_mut().expect("it is known");
    let mut lifetimes = Histogram::new(3).expect("three figures are allowed");
    for (lived_us, count) in [(1_400_000, 1_204), (60_400_000, 99_000), (61_900_000, 81_003)] {
        lifetimes.record_n(lived_us, count).expect("it grows");
    }
    hdr.time_wait_lifetime = Some(Encoded(lifetimes));
    s.closers = Some(closers());
    s.close_wait = Some(vec![
        close_wait(1_234, "gorouter", 412, 3_700.5, Some(12.3)),
        CloseWait { pid: None, ..close_wait(0, "unknown", 3, 2.0, None) },
    ]);
    let search = s.port_search.as_mut().expect("it is known");
    search.by_process.push(searching(902, "python3", SearchOp::Bind));
    let destinations = s.destinations.as_mut().expect("they are known");
    destinations.push(destination("2001:db8:85a3::8a2e:370:7334", 6_379, 12_000, 0.425));
    destinations.push(destination("10.0.0.5", 5_432, 28_232, 1.0));
    destinations[2].exhausted_in_s = Some(0.0);
    destinations[2].knee_in_s = Some(0.0);
    destinations[2].connect_errors.insert("EADDRNOTAVAIL", 4_210);
    s
}

/// As [`few`], with ten thousand processes and destinations.
fn many() -> Snapshot {
    let mut s = few();
    let closer = |place: u32| Closer {
        pid: Some(10_000 + place),
        comm: Some(format!("worker-{place}")),
        netns: Some(NETNS + place % 7),
        role: Some("client"),
        active_closes: u64::from(20_000 - place),
        share: Some(f64::from(20_000 - place) / 1.5e8),
        time_wait_now: Some(u64::from(place)),
        ..Closer::default()
    };
    let rest = Closer { other: true, active_closes: 99, ..Closer::default() };
    s.closers = Some((0..10_000).map(closer).chain([rest]).collect());
    let towards = |place: u32| {
        let raddr = format!("10.1.{}.{}", place / 256, place % 256);
        destination(&raddr, 443, 28_232 - u64::from(place) * 2, 1.0 - f64::from(place) / 20_000.0)
    };
    s.destinations = Some((0..10_000).map(towards).collect());
    s.close_wait = Some(
        (0..10_000).map(|place| close_wait(place, "leaky", u64::from(place), 9.0, None)).collect(),
    );
    let search = s.port_search.as_mut().expect("it is known");
    search.by_process =
        (0..10_000).map(|place| searching(place, "seeker", SearchOp::Connect)).collect();
    s
}

fn closers() -> Vec<Closer> {
    let row = |pid: Option<u32>, comm: &str, role, active, passive| Closer {
        pid,
        start_time: pid.map(|pid| format!("2026-01-01T00:00:{:02}.000Z", pid % 60)),
        comm: Some(comm.to_owned()),
        netns: Some(NETNS),
        role: Some(role),
        active_closes: active,
        share: Some(active as f64 / 259_000.0),
        peer_closes: passive,
        resets: Some(active / 1_000),
        refused: Some(0),
        time_wait_now: Some(active / 2),
        port_seconds: Some(active as f64 * 61.0),
        ..Closer::default()
    };
    let nginx = Closer {
        cgroup: Some("/system.slice/nginx.service".to_owned()),
        lifetime_s: Some(summary(181_207, 61.1)),
        ..row(Some(812), "nginx", "client", 251_230, 12)
    };
    let python = Closer {
        container: Some("3f4c3f4c3f4c3f4c".to_owned()),
        ..row(Some(902), "python3", "server", 7_000, 0)
    };
    let unknown = row(None, "unknown", "unknown", 3, 251_242);
    let rest = Closer { other: true, comm: None, ..row(None, "", "unknown", 767, 40) };
    vec![nginx, python, unknown, Closer { role: None, ..rest }]
}

fn close_wait(
    pid: u32,
    comm: &str,
    count: u64,
    oldest_s: f64,
    growth_per_min: Option<f64>,
) -> CloseWait {
    CloseWait {
        other: false,
        pid: Some(pid),
        comm: Some(comm.to_owned()),
        cgroup: None,
        container: None,
        netns: Some(NETNS),
        count,
        unaccepted: 0,
        oldest_s: Some(oldest_s),
        growth_per_min,
    }
}

fn searching(pid: u32, comm: &str, op: SearchOp) -> SearchingProcess {
    SearchingProcess {
        other: false,
        pid: Some(pid),
        comm: Some(comm.to_owned()),
        op: Some(op),
        count: 1_000 + u64::from(pid),
        failed: Some([("EADDRINUSE", 7)].into_iter().collect()),
        latency_ns: Summary {
            count: 1_000,
            min: Some(900),
            mean: Some(2_000),
            p50: Some(1_800),
            p90: Some(5_000),
            p99: Some(230_000),
            max: Some(1_490_000),
        },
        total_ns: 2_000_000 + u64::from(pid),
        cpu_core_pct: Some(0.4),
    }
}

fn destination(raddr: &str, rport: u16, used: u64, ratio: f64) -> Destination {
    Destination {
        netns: Some(NETNS),
        laddr: Some("10.0.0.1".to_owned()),
        raddr: Some(raddr.to_owned()),
        rport: Some(rport),
        ports_used: used,
        ports_time_wait: used * 9 / 10,
        ports_available: Some(28_232),
        ports_reusable: Some(0),
        used_ratio: Some(ratio),
        opens_per_s: Some(123.4),
        comm: Some("nginx".to_owned()),
        pid: Some(812),
        ..Destination::default()
    }
}

fn summary(count: u64, p50: f64) -> Summary<f64> {
    Summary {
        count,
        min: Some(p50 - 1.0),
        mean: Some(p50),
        p50: Some(p50),
        p90: Some(p50 + 0.5),
        p99: Some(p50 + 1.0),
        max: Some(p50 + 2.0),
    }
}

fn of_process() -> Detail {
    let contact = |raddr: Option<&str>, port, active| Contact {
        pid: Some(812),
        comm: Some("nginx".to_owned()),
        netns: Some(NETNS),
        role: if raddr.is_some() { Role::Client } else { Role::Server },
        raddr: raddr.map(str::to_owned),
        port,
        closes: Closes { active, passive: 3, reset: 1 },
    };
    let recent = |port: u16| Recent {
        time_ns: kernel::at(4.9 - f64::from(port) / 100.0),
        tuple: fixture::tuple(&format!("10.0.0.1:{}", 40_000 + port), "10.0.0.5:5432"),
        role: Role::Client,
        how: if port % 5 == 4 { "reset" } else { "active" },
    };
    Detail {
        contacts: vec![
            contact(Some("10.0.0.5"), 5_432, 240_000),
            contact(Some("2001:db8:85a3::8a2e:370:7334"), 6_379, 11_230),
            contact(None, 443, 12),
        ],
        recent: (0..20).map(recent).collect(),
    }
}

fn of_destination() -> Detail {
    Detail { recent: Vec::new(), ..of_process() }
}
