//! Names that mean harm, of processes, cgroups and files: every view shows them, and none obeys them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use twtrace_tests::cgroup::Cgroup;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::recording::{Place, Recording, reading};
use twtrace_tests::serve::{Scrape, Serve};
use twtrace_tests::terminal::Terminal;
use twtrace_tests::tool::{Run, Tool, helper, program};
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

/// `serve` ticks once a second.
const TOLD: Duration = Duration::from_secs(10);
/// What a process may call itself, in the fifteen bytes that the kernel keeps.
const NAMES: [&[u8]; 8] = [
    b"\x1b[2J\x1b]0;x\x07",
    b"\xc2\x9b31mred\r\x08",
    b"=cmd|' /C calc'",
    b"@SUM(1+9)*cmd",
    b"\"}\n{\"a\":1}",
    b"<script>alert(1",
    b"</script><b>&am",
    b"a\\\",b=\"c\"} 1\n",
];

/// One process for each name, of which each makes a connection, in a cgroup whose name means harm too.
fn misbehave(netns: &PrivateNetns, cgroup: &Cgroup) {
    let all = Traffic::closed_by(End::Client, NAMES.len() as u64);
    // A process of its own: what a child of ours holds until it executes, it closes.
    let (server, port) = Peer::server(netns, &all);
    let port = port.to_string();
    for name in NAMES {
        let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(cgroup.path());
        command.arg(helper("twtrace-named")).args(["as", &hex, &port]).stdin(Stdio::null());
        let status = netns.spawn(&mut command).wait().expect("waiting for a process");
        assert!(status.success(), "{status}");
    }
    server.finish();
}

/// A terminal obeys control characters, and what reads lines takes one more for a line.
#[track_caller]
fn assert_harmless(view: &str, shown: &str) {
    let control = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{view} lets a control character through: {shown:?}");
}

/// Checks that each name is among those that are told, with its control characters replaced.
#[track_caller]
fn assert_told<'a>(view: &str, comms: impl Iterator<Item = &'a str>) {
    let comms: Vec<&str> = comms.collect();
    for name in NAMES {
        let name = String::from_utf8_lossy(name).replace(char::is_control, "\u{fffd}");
        assert!(comms.contains(&&name[..]), "{view} does not tell of {name:?}: {comms:?}");
    }
}

fn comms<'a>(rows: &'a Value, of: &'a str) -> impl Iterator<Item = &'a str> {
    let rows = rows.as_array().expect("a list");
    rows.iter().filter_map(move |row| row[of].as_str())
}

#[test]
fn every_view_shows_names_and_obeys_none() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let cgroup = Cgroup::new(&format!("twtrace-test-{}-\u{1b}[2J=1<b>", std::process::id()));
    let file = place.file("trace.twt");
    let tool = Tool::on(&netns, &["--top", "40"]);
    let serve = Serve::start(&["--netns", &netns.selector(), "--top", "40"]);
    let recording = Recording::on(&netns, &file, &[]);
    misbehave(&netns, &cgroup);
    // Where a process runs is looked up a moment later.
    tool.next_snapshot();
    in_metrics(&serve);
    drop(serve);
    recording.finish();
    let snapshot = tool.finish();

    // A line that is no JSON would have ended it.
    assert_told("json", comms(&snapshot["closers"], "comm"));
    comms(&snapshot["closers"], "comm").for_each(|comm| assert_harmless("json", comm));
    comms(&snapshot["closers"], "cgroup").for_each(|path| assert_harmless("json", path));
    in_text(&file);
    on_a_page(&place, &file);
    in_exports(&file);
    on_the_screen(&place, &file);
}

fn in_metrics(serve: &Serve) {
    // It has ticks of its own.
    let answer = wait_for("a line of its own for each name", TOLD, || {
        let answer = serve.get("/metrics");
        let lines = answer.text().lines();
        let told = lines.filter(|it| it.starts_with("twtrace_closer_time_wait")).count();
        (told >= NAMES.len()).then_some(answer)
    });
    assert_harmless("metrics", answer.text());
    Scrape::read(answer.text());
}

fn in_text(file: &Path) {
    for args in [&["report", "--top", "40"][..], &["doctor"]] {
        let run = reading(args, &[file]);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
        assert_harmless(args[0], &run.stdout);
    }
}

fn on_a_page(place: &Place, file: &Path) {
    let page = place.file("page.html");
    let run = reading(&["report", "--html", page.to_str().expect("UTF-8")], &[file]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let page = fs::read_to_string(page).expect("the page");
    for tag in ["<script>alert", "</script><b>", "=1<b>"] {
        assert!(!page.contains(tag), "{tag} is a tag of the page");
    }
    assert!(page.contains("&lt;script&gt;alert(1"), "the name is shown");
    assert_harmless("html", &page);
}

fn in_exports(file: &Path) {
    let export = |format: &str| {
        let run = reading(&["export", "--connections", "--format", format], &[file]);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{format}");
        assert_harmless(format, &run.stdout);
        run.stdout
    };
    let csv = export("csv");
    for formula in [",=", ",@", ",\"=", ",\"@"] {
        assert!(!csv.contains(formula), "a spreadsheet computes what follows {formula}: {csv}");
    }
    let rows: Vec<Value> = export("jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let all: String = rows.iter().map(Value::to_string).collect();
    assert!(all.contains("alert(1"), "names are among the columns: {}", rows[0]);
    let perfetto: Value = serde_json::from_str(&export("perfetto")).expect("it is JSON");
    assert!(perfetto.is_object() || perfetto.is_array());
    // A table of bytes with their lengths: nothing in it can end anything.
    let (parquet, other) = (file.with_extension("parquet"), file.with_extension("arrow"));
    for (format, output) in [("parquet", parquet), ("arrow", other)] {
        let output = output.to_str().expect("UTF-8");
        let run = reading(&["export", "--format", format, "-o", output], &[file]);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{format}");
    }
}

fn on_the_screen(place: &Place, file: &Path) {
    let terminal = Terminal::start(place.path(), 160, 50);
    let line = format!("{} top --replay {} --speed max", program().display(), file.display());
    terminal.run(&line);
    let wanted = ["<script>alert(1", "=cmd|' /C calc'", "\u{fffd}[2J"];
    let text = terminal.wait_for("the names", |text| wanted.iter().all(|it| text.contains(it)));
    // The first of the names would have cleared it.
    assert!(text.contains("</script><b>"), "{text}");
    terminal.press("q");
    terminal.wait_for_prompt();
}

/// Names of files come from whoever made them, and are told when something is wrong with them.
#[test]
fn a_name_of_a_file_is_told_and_not_obeyed() {
    let place = Place::new();
    let file = place.file("\u{1b}[2J\u{7}<b>.twt");
    let path = file.to_str().expect("UTF-8");
    let all: [&[&str]; 9] = [
        &["verify", path],
        &["report", path],
        &["export", "--format", "csv", path],
        &["repair", "-o", "/dev/null", path],
        &["doctor", path],
        &["top", "--batch", "--replay", path],
        &["record", "--duration", "1", "-o", path],
        &["top", "--bpf-object", path],
        &["top", path],
    ];
    for content in [None, Some(&b""[..]), Some(b"no recording")] {
        if let Some(content) = content {
            fs::write(&file, content).expect("writing a file");
        }
        for args in all {
            if content.is_none() && args[0] == "record" {
                continue;
            }
            let run = Run::of(Command::new(program()).args(args));
            assert_eq!(run.code, Some(2), "{args:?}: {}{}", run.stdout, run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{args:?}: {}", run.stderr);
            assert_harmless(args[0], &run.stderr);
            assert_harmless(args[0], &run.stdout);
        }
    }
}
