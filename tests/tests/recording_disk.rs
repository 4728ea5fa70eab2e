//! Disks that are full, files that must not grow, directories that go, readers that stall,
//! SIGKILL: what was written stays readable, and what was not is said.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{
    Done, Place, Recording, Told, reading, record_to, report, report_is_end, wait_for_next,
};
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::tool::Run;
use twtrace_tests::traffic::{End, Traffic};
use twtrace_tests::wait_for;

/// Connections, again and again, until `enough`.
fn churn(netns: &PrivateNetns, enough: &AtomicBool) {
    while !enough.load(Ordering::Relaxed) {
        netns.run(|| Traffic::closed_by(End::Client, 200).run());
    }
}

/// Runs `recording` to its end while connections are made.
#[track_caller]
fn ended_under_churn(netns: &PrivateNetns, recording: Recording) -> Done {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| churn(netns, &enough));
        // A panic here must not leave the other thread to go on for ever.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recording.ended()));
        enough.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Checks that the run failed for this reason, and says it in one line besides what it
/// recorded.
#[track_caller]
fn assert_failed(done: &Done, why: &str) {
    let [said] = &done.complaints[..] else { panic!("one reason: {:?}", done.complaints) };
    assert!(said.contains(why), "{said}");
    assert_eq!(done.code, Some(2), "{said}");
    assert!(done.summary.is_some(), "it is told what was recorded");
}

/// Checks that what there is of a file can be read, and that it is told what is not there.
#[track_caller]
fn assert_readable_but_cut(file: &Path) {
    let told = Told::of(file);
    assert!(told.ends.is_empty() && told.ticks().len() > 1, "{:?}", told.damages);
    let run = reading(&["verify"], &[file]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    // No more than a tail, and that END is missing.
    assert!((2..=3).contains(&run.stdout.lines().count()), "{}", run.stdout);
    assert!(run.stdout.contains("the recording ends without END"), "{}", run.stdout);
    let run = reading(&["report", "--json"], &[file]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("without END"), "{}", run.stderr);
    assert!(number(&run.snapshots()[0], "closes.active") > 0);
}

/// Repairs a file, and checks that the rest is sound and tells the same.
#[track_caller]
fn assert_repaired(place: &Place, file: &Path) {
    let repaired = place.file("repaired.twt");
    let output = repaired.to_str().expect("UTF-8");
    let run = reading(&["repair", "-o", output], &[file]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let cut = reading(&["report", "--json"], &[file]).snapshots().remove(0);
    assert_eq!(report_is_end(&repaired), cut);
}

/// A file system of two megabytes, gone with this value: so large that a tick comes before it is full.
struct SmallDisk {
    place: Place,
}

impl SmallDisk {
    fn new() -> Self {
        let place = Place::new();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(place.path());
        let run = Run::of(&mut command);
        assert_eq!(run.code, Some(0), "mounting a tmpfs takes root: {}", run.stderr);
        Self { place }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It is left to whoever cleans up if this fails, and must not hide the test's failure.
        let _ = Command::new("umount").arg(self.place.path()).status();
    }
}

#[test]
fn a_full_disk_ends_it_and_what_was_written_can_be_read() {
    let (netns, disk) = (PrivateNetns::new(), SmallDisk::new());
    let file = disk.place.file("trace.twt");
    let done = ended_under_churn(&netns, Recording::on(&netns, &file, &[]));
    assert_failed(&done, ": make room, or record to another disk; what was written until then");
    assert_readable_but_cut(&file);
    assert_repaired(&Place::new(), &file);
    let damages = Told::of(&file).damages;
    assert_eq!(damages.len(), 1, "the frame that did not fit was taken back: {damages:?}");
}

#[test]
fn a_disk_without_room_for_the_beginning_is_said_at_once() {
    let (netns, disk) = (PrivateNetns::new(), SmallDisk::new());
    fs::write(disk.place.file("full"), vec![1; 3 << 20]).expect_err("two megabytes are all");
    let file = disk.place.file("trace.twt");
    let done = Recording::spawn(&mut record_to(&netns, &file, &[])).ended();
    assert_eq!(done.code, Some(2));
    let [said] = &done.complaints[..] else { panic!("one reason: {:?}", done.complaints) };
    assert!(said.contains("make room"), "{said}");
}

#[test]
fn a_limit_on_the_size_of_files_ends_it_alike() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let record = record_to(&netns, &file, &[]);
    let mut limited = Command::new("sh");
    // Two megabytes, so that a tick comes before they are full; the shell counts in blocks of
    // 512 bytes.
    limited.args(["-c", "ulimit -f 4096 && exec \"$@\"", "sh"]);
    limited.arg(record.get_program()).args(record.get_args());
    let done = ended_under_churn(&netns, Recording::launch(&mut limited));
    assert_failed(&done, ": raise the limit on file sizes (ulimit -f), or use -C");
    assert_readable_but_cut(&file);
    assert!(file.metadata().expect("it is there").len() <= 2 << 20);
}

#[test]
fn a_directory_that_is_gone_ends_it_at_the_next_file() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let directory = place.file("gone");
    fs::create_dir(&directory).expect("a directory");
    let file = directory.join("trace.twt");
    let recording = Recording::on(&netns, &file, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 50).run());
    let first = File::open(&file).expect("it is there");
    fs::remove_dir_all(&directory).expect("removing the directory");
    recording.signal(Signal::HUP);
    let done = recording.ended();
    assert_failed(&done, "cannot make ");
    // Whoever has it open finds it whole.
    let told = Told::read(first).expect("a recording");
    assert_eq!(told.damages, []);
    let closes = number(&told.snapshot(), "closes.active");
    assert!(closes.abs_diff(50) <= missed(&told.snapshot()), "{closes} of 50");
}

#[test]
fn the_last_minutes_cannot_be_kept_where_the_disk_is_full() {
    let (netns, disk) = (PrivateNetns::new(), SmallDisk::new());
    let file = disk.place.file("flight.twt");
    let recording = Recording::on(&netns, &file, &["--flight", "600"]);
    let done = ended_under_churn(&netns, recording);
    assert_eq!(done.code, Some(2));
    let last = done.complaints.last().expect("it is said");
    assert!(last.contains("cannot keep the last minutes in "), "{last}");
}

#[test]
fn sigkill_costs_no_more_than_the_last_second() {
    for round in 0..5_u32 {
        let (netns, place) = (PrivateNetns::new(), Place::new());
        let file = place.file("trace.twt");
        let recording = Recording::on(&netns, &file, &[]);
        let enough = AtomicBool::new(false);
        let killed_at = thread::scope(|scope| {
            scope.spawn(|| churn(&netns, &enough));
            // Somewhere in a second.
            let nanos = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos();
            thread::sleep(Duration::from_millis(u64::from((nanos / 7 + round * 137) % 1_000)));
            let killed_at = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
            let done = recording.stop(Signal::KILL);
            enough.store(true, Ordering::Relaxed);
            assert_eq!(done.code, None);
            killed_at
        });
        let told = Told::of(&file);
        let last = *told.ticks().last().expect("there was a tick");
        let missing = killed_at.saturating_sub(Duration::from_nanos(last));
        // A tick a second, and what it takes to write one on a busy machine.
        assert!(missing <= Duration::from_millis(1_500), "round {round}: {missing:?} are missing");
        assert!(told.damages.len() <= 2, "{:?}", told.damages);
        let run = reading(&["report", "--json"], &[&file]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_repaired(&place, &file);
    }
}

/// A pipe with a name.
fn pipe(place: &Place) -> PathBuf {
    let path = place.file("pipe");
    let run = Run::of(Command::new("mkfifo").arg(&path));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    path
}

#[test]
fn a_pipe_is_written_to_and_read_from() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let path = pipe(&place);
    let from = path.clone();
    let report = thread::spawn(move || reading(&["report", "--json"], &[from]));
    let recording = Recording::on(&netns, &path, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 50).run());
    recording.signal(Signal::HUP);
    recording.wait_to_hear("SIGHUP: there is no other file to go on in");
    let done = recording.stop(Signal::INT);
    assert_eq!(done.code, Some(0));
    let run = report.join().expect("report ends with its input");
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    let snapshot = done.forgiving(run.snapshots().remove(0));
    let closes = number(&snapshot, "closes.active");
    assert!(closes.abs_diff(50) <= missed(&snapshot), "{closes} of 50");
}

#[test]
fn a_pipe_that_nobody_reads_can_be_given_up() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let path = pipe(&place);
    let recording = Recording::spawn(&mut record_to(&netns, &path, &[]));
    let waits = format!("/proc/{}/wchan", recording.pid());
    wait_for("it to wait for a reader", Duration::from_secs(10), || {
        fs::read_to_string(&waits).ok().filter(|it| it.contains("wait_for_partner"))
    });
    let done = recording.stop(Signal::INT);
    assert_eq!(done.code, None, "as the signal ends whoever does not catch it");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let netns = PrivateNetns::new();
    let mut command = record_to(&netns, "-".as_ref(), &[]);
    let mut recording = Recording::launch(command.stdout(Stdio::piped()));
    drop(recording.stdout());
    let done = recording.ended();
    assert_eq!((done.code, &done.complaints[..]), (Some(0), &[][..]));
}

#[test]
fn what_waits_for_a_slow_reader_is_bounded_and_what_does_not_fit_is_counted() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let (path, copy) = (pipe(&place), place.file("copy.twt"));
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let reader = {
        let (path, copy) = (path.clone(), copy.clone());
        thread::spawn(move || {
            let mut pipe = File::open(path).expect("opening the pipe");
            let mut kept = File::create(copy).expect("a file");
            let mut begun = [0; 4096];
            let read = pipe.read(&mut begun).expect("reading the pipe");
            std::io::copy(&mut &begun[..read], &mut kept).expect("copying the beginning");
            may_go_on.recv().expect("the test says when");
            std::io::copy(&mut pipe, &mut kept).expect("copying the rest");
        })
    };
    let recording = Recording::on(&netns, &path, &[]);
    let enough = AtomicBool::new(false);
    let connections = Traffic { threads: 2, ..Traffic::aborted(2_000) };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                netns.run(|| connections.run());
            }
        });
        wait_for("what waits to be too much", Duration::from_secs(120), || {
            recording.status().ring_full.filter(|lost| *lost > 0)
        });
        enough.store(true, Ordering::Relaxed);
    });
    let peak = peak_memory(recording.pid());
    assert!(peak < 256 << 20, "{peak} bytes");
    go_on.send(()).expect("the reader waits");
    let done = recording.finish();
    reader.join().expect("the reader ends with the pipe");
    let told = Told::of(&copy);
    let (lost, live) = (told.lost_on_the_way(), report_is_end(&copy));
    assert_eq!(told.ring_full(), 0, "the ring was read all the time");
    assert!(lost > 0);
    assert_eq!(number(&live, "loss.ring_full"), lost);
    assert_eq!(done.summary().ring_full, Some(lost));
    assert_eq!(done.summary().events, told.ends[0].events);
    // Totals come from the kernel's counters, whatever got lost.
    assert!(number(&live, "connects.ok") > 2_000);
}

/// The most memory that a process ever had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("/proc tells the peak") << 10
}

#[test]
fn what_got_lost_in_every_file_is_told_at_the_end() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let files = [place.file("trace.twt"), place.file("trace.1.twt")];
    // A page is too small for what happens between two looks.
    let recording = Recording::on(&netns, &files[0], &["--ring-size", "4096"]);
    let lose = |at_least: u64| {
        wait_for("records that find no room", Duration::from_secs(60), || {
            netns.run(|| Traffic::closed_by(End::Client, 500).run());
            recording.status().ring_full.filter(|lost| *lost >= at_least)
        })
    };
    let first = lose(1);
    recording.signal(Signal::HUP);
    wait_for_next(&files[1]);
    lose(first + 1);
    let done = recording.finish();
    let lost = |file: &PathBuf| number(&report_is_end(file), "loss.ring_full");
    let [first, second] = files.each_ref().map(lost);
    assert!(first > 0 && second > 0, "{first} and {second}");
    assert_eq!(done.summary().ring_full, Some(first + second));
    assert_eq!(number(&report(&files), "loss.ring_full"), first + second);
}
