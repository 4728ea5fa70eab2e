//! `twtrace top` on a terminal: every key, what the screen says beside what the kernel and JSON
//! say, and a terminal that is as it was, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use twtrace_tests::snapshot::number;
use twtrace_tests::terminal::Terminal;
use twtrace_tests::tool::{Tool, helper, program};
use twtrace_tests::wait_for;

/// What each tab shows that the others do not, by its key.
const TABS: [(&str, &str); 7] = [
    ("1", "PORTS TOWARDS"),
    ("2", "CLOSES FIRST"),
    ("3", "LEAVES TIME_WAIT"),
    ("4", "SEARCHES PORTS"),
    ("5", "PORTS TOWARDS"),
    ("6", "DOES NOT CLOSE"),
    ("7", "ENDED BY"),
];
/// The line that the tabs are in, and the first of a table.
const TAB_LINE: usize = 5;
const ENOUGH: Duration = Duration::from_secs(20);

/// One demo shows the sockets of another, too.
static STAGE: Mutex<()> = Mutex::new(());

fn take_the_stage() -> MutexGuard<'static, ()> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal in a folder of its own, and what `stty -g` says there.
fn terminal() -> (tempfile::TempDir, Terminal, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let terminal = Terminal::start(folder.path(), 120, 40);
    let settings = terminal.output_of("stty -g");
    (folder, terminal, settings)
}

fn top(args: &str) -> String {
    format!("{} top {args}", program().display())
}

/// Waits until rows of the demo are there.
#[track_caller]
fn wait_for_rows(terminal: &Terminal) -> String {
    const COMPANY: [&str; 6] = ["shop", "legacy", "worker", "catalog", "poller", "database"];
    terminal.wait_for("the demo", |text| {
        let is_there = |name: &&str| text.contains(&format!("demo-{name}"));
        COMPANY.iter().all(is_there) && text.contains("5432")
    })
}

/// The only file in `folder` that is called so.
#[track_caller]
fn file(folder: &Path, extension: &str) -> PathBuf {
    let found = || {
        let files = fs::read_dir(folder).expect("the folder can be listed").flatten();
        let mut files = files.map(|entry| entry.path());
        files.find(|path| path.extension().is_some_and(|it| it == extension))
    };
    wait_for("a file", ENOUGH, found)
}

/// A number as it is shown, with groups of digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(if first == 0 { 0 } else { first });
    let groups = tail.as_bytes().chunks(3).map(|it| String::from_utf8_lossy(it).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

/// The number behind a label at the beginning of a line.
#[track_caller]
fn behind(text: &str, label: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(label)).expect("the label is there");
    let number = line[label.len()..].split_whitespace().next().expect("a number is behind it");
    number.replace(',', "").parse().unwrap_or_else(|_| panic!("{number} is no number"))
}

/// For how long the screen counts, as its first line says.
fn elapsed_s(text: &str) -> Option<f64> {
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "for").skip(1);
    let number = words.next()?.parse::<f64>().ok()?;
    Some(if words.next() == Some("ms") { number / 1e3 } else { number })
}

#[test]
fn every_key_on_a_terminal() {
    let _stage = take_the_stage();
    let (folder, terminal, settings) = terminal();
    terminal.run(&top("--demo --flight 60"));
    wait_for_rows(&terminal);

    for (key, shown) in TABS {
        terminal.press(key);
        terminal.wait_for(&format!("tab {key}"), |text| text.contains(shown));
    }
    terminal.press("Tab");
    terminal.wait_for("the first tab behind the last", |text| {
        text.contains("PORTS TOWARDS") && text.contains("CLOSES FIRST")
    });
    terminal.press("BTab");
    terminal.wait_for("the last tab before the first", |text| text.contains("ENDED BY"));

    rows_are_moved_sorted_and_filtered(&terminal);
    a_process_and_a_destination_are_looked_at(&terminal);
    the_mouse_selects(&terminal);

    for key in ["?", "h"] {
        terminal.press(key);
        terminal.wait_for("help", |text| text.contains("write the last minutes to a file"));
        escape(&terminal, "write the last minutes to a file");
    }
    terminal.press("+");
    terminal.wait_for("a longer interval", |text| text.contains("every 2.0 s"));
    for interval in ["every 1.0 s", "every 500 ms"] {
        terminal.press("-");
        terminal.wait_for("a shorter interval", |text| text.contains(interval));
    }
    terminal.press("Left");
    terminal.wait_for("why nothing is sought", |text| text.contains("only a replay goes back"));

    // Long enough to go on in it by ten seconds.
    terminal.wait_for("a quarter of a minute to be over", |text| elapsed_s(text) >= Some(15.0));
    terminal.press("w");
    terminal.wait_for("the flight trace", |text| text.contains("the last minutes are written"));
    let flight = file(folder.path(), "twt");
    let verified = Command::new(program()).arg("verify").arg(&flight).output();
    let verified = verified.expect("twtrace can be started");
    assert!(verified.status.success(), "{verified:?}");

    terminal.press("c");
    terminal.wait_for("everything to count anew", |text| {
        elapsed_s(text).is_some_and(|elapsed| elapsed <= 2.0)
    });

    terminal.press("C-z");
    terminal.wait_for("the shell", |text| text.contains("Stopped"));
    assert_eq!(terminal.output_of("echo between").trim(), "between");
    terminal.run("fg");
    terminal.wait_for("the screen again", |text| text.contains("1 Overview"));
    terminal.press("2");
    terminal.wait_for("keys to work again", |text| text.contains("PASSIVE"));

    terminal.press("q");
    let last = terminal.wait_for_prompt();
    assert!(last.contains("PORTS TOWARDS"), "the last snapshot stays to be read:\n{last}");
    assert_eq!(terminal.output_of("echo code $?").trim(), "code 0");
    terminal.assert_sane(&settings);
    a_replay_is_steered(&terminal, &flight);
    terminal.assert_sane(&settings);
}

#[track_caller]
fn rows_are_moved_sorted_and_filtered(terminal: &Terminal) {
    terminal.press("2");
    terminal.wait_for("the closers", |text| text.contains("demo-catalog"));
    let rows = |text: &str| -> Vec<String> {
        let rows = text.lines().skip(TAB_LINE + 2).take_while(|line| !line.trim().is_empty());
        rows.filter_map(|row| row.split_whitespace().nth(1).map(str::to_owned)).collect()
    };
    // Rows overtake each other, and the selected one with them: where it is can only be said
    // while they stand still.
    terminal.press("Space");
    let all = rows(&terminal.wait_for("the screen to stand still", |it| it.contains("PAUSED")));
    assert!(all.len() >= 6, "{all:?}");
    terminal.press("Home");
    for (key, place) in [("j", 1), ("Down", 2), ("k", 1), ("Up", 0), ("End", all.len() - 1)] {
        terminal.press(key);
        wait_for(&format!("row {place} by {key}"), ENOUGH, || {
            let selected = terminal.selected(TAB_LINE + 1);
            (selected.split_whitespace().nth(1)? == all[place]).then_some(())
        });
    }
    terminal.press("Space");
    terminal.wait_for("the screen to go on", |text| !text.contains("PAUSED"));
    for key in ["NPage", "PPage", "G", "g"] {
        terminal.press(key);
    }
    terminal.press("s");
    terminal.wait_for("another column to be sorted by", |text| text.contains("SHARE▾"));
    terminal.press("r");
    terminal.wait_for("the other way round", |text| text.contains("SHARE▴"));
    for key in ["/", "f"] {
        terminal.press(key);
        terminal.type_in("WORKER");
        terminal.wait_for("what is typed", |text| text.contains("show only rows with: WORKER"));
        terminal.press("Enter");
        let text = terminal.wait_for("the filter", |text| text.contains("only \"WORKER\""));
        assert_eq!(rows(&text), ["demo-worker"], "{text}");
        escape(terminal, "only \"");
    }
}

#[track_caller]
fn a_process_and_a_destination_are_looked_at(terminal: &Terminal) {
    terminal.press("/");
    terminal.type_in("demo-shop");
    terminal.press("Enter");
    terminal.press("Enter");
    let text = terminal.wait_for("one process", |text| {
        text.contains("CLOSED LAST") && text.contains(" ago  active") && text.contains("[::1]:8080")
    });
    assert!(text.contains("demo-shop (pid ") && text.contains("as client"), "{text}");
    escape(terminal, "CLOSED LAST");
    escape(terminal, "only \"");
    terminal.press("5");
    terminal.wait_for("the destinations", |text| text.contains("OPENS/S"));
    terminal.press("/");
    terminal.type_in("5432");
    terminal.press("Enter");
    terminal.press("Enter");
    let text = terminal.wait_for("one destination", |text| {
        text.contains("CLOSED BY") && text.contains("demo-worker (")
    });
    assert!(text.contains("127.0.0.1:5432  in netns ") && text.contains("no port in"), "{text}");
    escape(terminal, "CLOSED BY");
    escape(terminal, "only \"");
    terminal.press("2");
    terminal.wait_for("all rows", |text| text.contains("demo-shop"));
}

/// Goes back, and waits until what was there is gone: two Escapes at once are one.
#[track_caller]
fn escape(terminal: &Terminal, what: &str) {
    terminal.press("Escape");
    terminal.wait_for(&format!("{what} to be gone"), |text| !text.contains(what));
}

#[track_caller]
fn the_mouse_selects(terminal: &Terminal) {
    terminal.press("Home");
    terminal.press("Space");
    let text = terminal.wait_for("the screen to stand still", |it| it.contains("PAUSED"));
    let line = text.lines().position(|line| line.contains("demo-legacy")).expect("it is a row");
    terminal.click(20, line);
    wait_for("the row that was clicked", ENOUGH, || {
        terminal.selected(TAB_LINE + 1).contains("demo-legacy").then_some(())
    });
    terminal.press("Space");
    terminal.wait_for("the screen to go on", |text| !text.contains("PAUSED"));
    let tabs = text.lines().nth(TAB_LINE).expect("there are tabs").to_owned();
    terminal.click(tabs.find("Causes").expect("it is a tab"), TAB_LINE);
    terminal.wait_for("the tab that was clicked", |text| text.contains("ENDED BY"));
    terminal.press("2");
    terminal.wait_for("the closers again", |text| text.contains("CLOSES FIRST"));
}

#[track_caller]
fn a_replay_is_steered(terminal: &Terminal, recording: &Path) {
    // So slowly that its end is far, however long a test takes.
    terminal.run(&top(&format!("--speed 0.25 --replay {}", recording.display())));
    terminal.wait_for("the replay", |text| text.contains("replay 0.25×"));
    terminal.press("+");
    terminal.wait_for("a faster replay", |text| text.contains("replay 0.5×"));
    terminal.press("-");
    terminal.wait_for("a slower replay", |text| text.contains("replay 0.25×"));
    terminal.press("Space");
    terminal.wait_for("the replay to stand still", |text| text.contains("PAUSED"));
    // A moment that was under way may still come.
    std::thread::sleep(Duration::from_millis(500));
    let text = terminal.text();
    let clock = |text: &str| {
        text.lines().next().and_then(|it| it.split_whitespace().last().map(str::to_owned))
    };
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(clock(&terminal.text()), clock(&text), "it stands still");
    terminal.press("Right");
    let on = terminal.wait_for("a later moment", |now| clock(now) != clock(&text));
    assert!(on.contains("PAUSED"), "it still stands still:\n{on}");
    terminal.press("Left");
    terminal.wait_for("an earlier moment", |now| clock(now) != clock(&on));
    terminal.press("Space");
    for _ in 0..8 {
        terminal.press("+");
    }
    terminal.wait_for("the end of the recording", |text| text.contains("END OF RECORDING"));
    terminal.press("C-c");
}

#[test]
fn the_screen_says_what_json_says() {
    let _stage = take_the_stage();
    let (folder, terminal, settings) = terminal();
    terminal.run(&top("--demo"));
    wait_for_rows(&terminal);

    // A twtrace beside it, of the same moment but for what it takes to look at both.
    let batch = Tool::start(&["-d", "0.5"]);
    let before = number(&batch.next_snapshot(), "time_wait.now");
    let shown = behind(&terminal.text(), "TIME_WAIT");
    std::thread::sleep(Duration::from_secs(1));
    let after = number(&batch.next_snapshot(), "time_wait.now");
    batch.finish();
    // In the demo's first minute hardly any ends; a screen is up to a second old.
    let second = after.abs_diff(before).max(100);
    let bounds = before.min(after).saturating_sub(2 * second)..=before.max(after) + second;
    assert!(bounds.contains(&shown), "{before} {shown} {after}");

    terminal.press("Space");
    terminal.wait_for("the screen to stand still", |text| text.contains("PAUSED"));
    terminal.press("e");
    terminal.wait_for("the file", |text| text.contains("written to twtrace-"));
    let path = file(folder.path(), "json");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&path).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(path).expect("the file can be read");
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    terminal.press("2");
    let closers = terminal.wait_for("the closers", |text| text.contains("PASSIVE"));
    assert_eq!(behind(&closers, "TIME_WAIT"), number(&json, "time_wait.now"));
    let rows = json["closers"].as_array().expect("they are known");
    let is_ours = |row: &&Value| row["comm"].as_str().is_some_and(|it| it.starts_with("demo-"));
    let with_pid = rows.iter().filter(is_ours).filter(|row| row["pid"].is_number());
    let seen = with_pid.filter(|row| {
        let (pid, comm) = (row["pid"].to_string(), row["comm"].as_str().expect("a name"));
        let line = closers.lines().find(|line| line.split_whitespace().next() == Some(&pid));
        let line = line.unwrap_or_else(|| panic!("{comm} is not on the screen:\n{closers}"));
        let wanted = [comm.to_owned()]
            .into_iter()
            .chain(["active_closes", "peer_closes"].map(|key| grouped(number(row, key))));
        wanted.for_each(|word| {
            assert!(line.split_whitespace().any(|it| it == word), "{word} is not in {line}");
        });
        true
    });
    assert!(seen.count() >= 6, "{closers}");

    terminal.press("5");
    let text = terminal.wait_for("the destinations", |text| text.contains("OPENS/S"));
    let rows = json["destinations"].as_array().expect("they are known");
    let seen = rows.iter().filter(is_ours).filter(|row| {
        let (raddr, rport) = (row["raddr"].as_str().expect("an address"), &row["rport"]);
        let name = if raddr.contains(':') {
            format!("[{raddr}]:{rport}")
        } else {
            format!("{raddr}:{rport}")
        };
        let used = grouped(number(row, "ports_used"));
        let percent = format!("{:.1}%", row["used_ratio"].as_f64().expect("a ratio") * 100.0);
        let has = |line: &str, word: &str| line.split_whitespace().any(|it| it == word);
        // Another namespace may have the same name.
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("{name} ")));
        assert!(
            lines.any(|line| has(line, &used) && has(line, &percent)),
            "{name} with {used} and {percent} is not in\n{text}"
        );
        true
    });
    assert!(seen.count() >= 5, "{text}");

    terminal.press("7");
    let text = terminal.wait_for("the causes", |text| text.contains("ENDED BY"));
    for cause in ["expired", "reused", "fin_wait2_timeout", "purged"] {
        let line = text.lines().find(|line| line.starts_with(cause)).expect("each cause has a row");
        let count = grouped(number(&json, &format!("time_wait.ended.{cause}")));
        let shown = line.split_whitespace().nth(1).map(|it| it.trim_start_matches('~'));
        assert_eq!(shown, Some(&*count), "{line}");
    }
    terminal.press("q");
    terminal.assert_sane(&settings);
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let _stage = take_the_stage();
    let (_folder, terminal, settings) = terminal();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        terminal.run(&top(""));
        terminal.wait_for("the screen", |text| text.contains("1 Overview"));
        let pid = Pid::from_raw(terminal.child("twtrace").cast_signed()).expect("a process");
        kill_process(pid, signal).expect("signalling the tool");
        terminal.assert_sane(&settings);
    }

    // Stopped from elsewhere, and by what nobody can catch.
    terminal.run(&top(""));
    terminal.wait_for("the screen", |text| text.contains("1 Overview"));
    let pid = Pid::from_raw(terminal.child("twtrace").cast_signed()).expect("a process");
    kill_process(pid, Signal::TSTP).expect("signalling the tool");
    terminal.wait_for("the shell", |text| text.contains("Stopped"));
    terminal.run("fg");
    terminal.wait_for("the screen again", |text| text.contains("1 Overview"));
    terminal.press("q");
    terminal.assert_sane(&settings);

    let said = terminal.output_of(&helper("twtrace-panics").display().to_string());
    assert!(said.contains("as a programmer never intends"), "a panic can be read:\n{said}");
    terminal.assert_sane(&settings);
}

#[test]
fn colours_are_as_asked_for() {
    let _stage = take_the_stage();
    let (_folder, terminal, _) = terminal();
    let has_color = |line: &str| {
        terminal.run(line);
        terminal.wait_for("the screen", |text| text.contains("1 Overview"));
        let styled = terminal.styled();
        terminal.press("q");
        terminal.output_of("true");
        styled.contains("\u{1b}[38;5;") || styled.contains(";38;5;")
    };
    assert!(has_color(&top("")));
    assert!(!has_color(&top("--color never")));
    assert!(!has_color(&format!("NO_COLOR=1 {}", top(""))));
    assert!(has_color(&format!("NO_COLOR=1 {}", top("--color always"))));
    // Where the terminal can do nothing, there is no screen.
    terminal.run(&format!("TERM=dumb {}", top("-n 1")));
    terminal.wait_for("a snapshot of text", |text| text.contains("states "));
}
