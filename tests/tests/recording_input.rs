//! What is no recording, or not a whole one, is refused in one line or read as far as it is
//! sound; everything that is not sound is named.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use twtrace::trace::layout::{FILE_HEADER, FileHeader};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, Told, reading, report, report_is_end};
use twtrace_tests::snapshot::number;
use twtrace_tests::tool::Run;
use twtrace_tests::traffic::{End, Traffic};
use zerocopy::{FromBytes, IntoBytes};

/// A small recording, made once.
fn recording() -> &'static [u8] {
    static RECORDING: OnceLock<Vec<u8>> = OnceLock::new();
    RECORDING.get_or_init(|| {
        let (netns, place) = (PrivateNetns::new(), Place::new());
        let file = place.file("trace.twt");
        let recording = Recording::on(&netns, &file, &[]);
        netns.run(|| Traffic::closed_by(End::Client, 100).run());
        recording.finish();
        report_is_end(&file);
        fs::read(&file).expect("it is there")
    })
}

/// The commands that read one file, to their end.
fn all_readers(place: &Place, file: &Path) -> Vec<(&'static str, Run)> {
    let repaired = place.file("repaired.twt");
    let output = repaired.to_str().expect("UTF-8");
    let replay = ["top", "--batch", "--json", "--speed", "max", "--replay"];
    let commands: [(&str, &[&str]); 4] = [
        ("report", &["report", "--json"]),
        ("top", &replay),
        ("verify", &["verify"]),
        ("repair", &["repair", "--force", "-o", output]),
    ];
    commands.into_iter().map(|(name, args)| (name, reading(args, &[file]))).collect()
}

/// Checks that every command refuses the file in one line that says why.
#[track_caller]
fn assert_refused(content: &[u8], why: &str) {
    let place = Place::new();
    let file = place.file("input");
    fs::write(&file, content).expect("writing a file");
    for (name, run) in all_readers(&place, &file) {
        assert_eq!((run.code, &run.stdout[..]), (Some(2), ""), "{name}");
        assert_eq!(run.stderr.lines().count(), 1, "{name}: {}", run.stderr);
        assert!(run.stderr.contains(why), "{name}: {}", run.stderr);
    }
    assert_eq!(place.names(), ["input"], "nothing was written");
}

#[test]
fn what_is_no_recording_is_refused_in_one_line() {
    assert_refused(b"", "is empty");
    assert_refused(b"\n", "is no twtrace recording");
    assert_refused("time,closes\n12:00,5\n".repeat(100_000).as_bytes(), "is no twtrace recording");
    assert_refused(&[0; 1 << 20], "is no twtrace recording");
}

#[test]
fn a_recording_that_is_cut_before_it_says_what_it_is_tells_nothing() {
    let place = Place::new();
    let file = place.file("trace.twt");
    fs::write(&file, &recording()[..FILE_HEADER]).expect("writing a file");
    for (name, run) in all_readers(&place, &file) {
        if name == "verify" {
            assert_eq!(run.code, Some(1), "{}", run.stderr);
            assert!(run.stdout.contains("unsound, 0 frames"), "{}", run.stdout);
            continue;
        }
        assert_eq!((run.code, &run.stdout[..]), (Some(2), ""), "{name}");
        let last = run.stderr.lines().last().expect("it says why");
        assert!(last.contains("nothing tells what this is a recording of"), "{name}: {last}");
    }
    assert_eq!(place.names(), ["trace.twt"], "nothing was written");
}

#[test]
fn what_is_no_file_is_refused_in_one_line() {
    let place = Place::new();
    for (path, why) in [
        (place.path().to_owned(), "is a directory"),
        (place.file("missing"), "cannot open "),
        (PathBuf::from("/dev/null"), "is empty"),
    ] {
        let run = reading(&["report"], &[&path]);
        assert_eq!((run.code, &run.stdout[..]), (Some(2), ""));
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

#[test]
fn a_later_version_is_refused_with_what_to_do() {
    let header = FileHeader::read_from_bytes(&recording()[..FILE_HEADER]).expect("its length");
    let patched = |major: u16, minor: u16| {
        let header = FileHeader { major: major.into(), minor: minor.into(), ..header };
        [header.sealed().as_bytes(), &recording()[FILE_HEADER..]].concat()
    };
    assert_refused(
        &patched(2, 7),
        "has format version 2.7, and this twtrace reads up to 1.x: use a newer twtrace",
    );
    // What a later minor version adds can be passed over.
    let place = Place::new();
    let file = place.file("trace.twt");
    fs::write(&file, patched(1, 9)).expect("writing a file");
    report_is_end(&file);
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let place = Place::new();
    let (file, pipe) = (place.file("trace.twt"), place.file("pipe"));
    fs::write(&file, recording()).expect("writing a file");
    let run = Run::of(Command::new("mkfifo").arg(&pipe));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let to = pipe.clone();
    let writer = thread::spawn(move || {
        // As `cat` does.
        let mut pipe = OpenOptions::new().write(true).open(to).expect("opening the pipe");
        std::io::copy(&mut recording(), &mut pipe).expect("writing to the pipe");
    });
    let piped = report(&[&pipe]);
    writer.join().expect("all of it is read");
    assert_eq!(piped, report(&[&file]));
}

#[test]
fn of_two_recordings_in_one_file_the_first_is_told_and_the_other_is_named() {
    let place = Place::new();
    let (one, other) = (place.file("trace.twt"), place.file("other.twt"));
    fs::write(&one, recording()).expect("writing a file");
    let netns = PrivateNetns::new();
    let second = Recording::on(&netns, &other, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 7).run());
    second.finish();
    let both = place.file("both.twt");
    let second = fs::read(&other).expect("it is there");
    fs::write(&both, [recording(), &second].concat()).expect("writing a file");

    let verified = reading(&["verify"], &[&both]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert!(verified.stdout.contains(", 2 recordings"), "{}", verified.stdout);
    let run = reading(&["report", "--json"], &[&both]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let offset = format!("at offset {} another recording begins", recording().len() + FILE_HEADER);
    assert!(run.stderr.contains(&offset), "{offset}: {}", run.stderr);
    assert_eq!(run.snapshots(), [report(&[&one])]);

    // Without its header it is told apart all the same, and the header is named.
    let damaged = [recording(), &second[3..]].concat();
    fs::write(&both, damaged).expect("writing a file");
    let told = Told::of(&both);
    assert_eq!((told.metas.len(), told.ends.len()), (2, 2), "{:?}", told.damages);
    let [damage] = &told.damages[..] else { panic!("{:?}", told.damages) };
    assert_eq!((damage.offset, damage.len), (recording().len() as u64, 13));
}

#[test]
fn a_recording_that_is_damaged_is_read_and_the_damage_is_named() {
    let place = Place::new();
    let file = place.file("trace.twt");
    let mut damaged = recording().to_vec();
    let at = damaged.len() / 2;
    damaged[at] ^= 0x10;
    fs::write(&file, &damaged).expect("writing a file");
    let [damage] = &Told::of(&file).damages[..] else { panic!("one frame is damaged") };
    let named = damage.to_string();
    for (name, run) in all_readers(&place, &file) {
        let (code, said) = if name == "verify" { (1, &run.stdout) } else { (0, &run.stderr) };
        assert_eq!(run.code, Some(code), "{name}: {}", run.stderr);
        assert!(said.contains(&named), "{name} does not say {named:?}: {said}");
    }
    let repaired = report_is_end(&place.file("repaired.twt"));
    let whole = reading(&["report", "--json"], &[&file]).snapshots();
    assert_eq!(whole, std::slice::from_ref(&repaired));
    if damage.records() > 0 {
        assert_eq!(number(&repaired, "loss.ring_full"), damage.records(), "it is told as lost");
    }
}

#[test]
fn a_file_is_not_repaired_in_its_place() {
    let place = Place::new();
    let file = place.file("trace.twt");
    fs::write(&file, recording()).expect("writing a file");
    let output = file.to_str().expect("UTF-8");
    for force in [&["--force"][..], &[]] {
        let run = reading(&[&["repair", "-o", output], force].concat(), &[&file]);
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains("cannot be repaired in its place"), "{}", run.stderr);
    }
    assert_eq!(fs::read(&file).expect("it is still there"), recording());
}

#[test]
fn what_is_sound_is_repaired_to_the_same() {
    let place = Place::new();
    let file = place.file("trace.twt");
    fs::write(&file, recording()).expect("writing a file");
    let repaired = place.file("repaired.twt");
    let run = reading(&["repair", "-o", repaired.to_str().expect("UTF-8")], &[&file]);
    assert_eq!((run.code, &run.stderr[..]), (Some(0), ""));
    assert_eq!(fs::read(&repaired).expect("it is there"), recording(), "to the byte");
}
