//! Reports and exports, written as root into folders where everybody may write: nothing that somebody else
//! has put there is followed or written into, and nobody else may read what is made. Recordings:
//! `recording_files.rs`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, reading};
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::{End, Traffic};

/// Nobody.
const STRANGER: u32 = 65_534;

/// A recording, and a folder like /tmp.
fn scene() -> (Place, PathBuf, Place) {
    let (netns, place, shared) = (PrivateNetns::new(), Place::new(), Place::new());
    let file = place.file("trace.twt");
    let recording = Recording::on(&netns, &file, &[]);
    netns.run(|| Traffic::closed_by(End::Client, 20).run());
    recording.finish();
    let mode = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(shared.path(), mode).expect("opening a folder to everybody");
    (place, file, shared)
}

/// What writes to a file that it is told to.
fn writers(output: &Path) -> [Vec<&str>; 3] {
    let output = output.to_str().expect("UTF-8");
    [
        vec!["report", "--html", output],
        vec!["export", "--format", "csv", "-o", output],
        vec!["export", "--format", "parquet", "-o", output],
    ]
}

#[track_caller]
fn assert_refused(run: &Run, why: &str) {
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[test]
fn a_link_of_a_stranger_is_not_followed() {
    let (place, file, shared) = scene();
    let (precious, nowhere) = (place.file("precious"), place.file("nowhere"));
    fs::write(&precious, "precious").expect("a file that somebody needs");
    for target in [&precious, &nowhere] {
        let link = shared.file("link");
        symlink(target, &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(STRANGER), Some(STRANGER)).expect("giving it away");
        for args in writers(&link) {
            assert_refused(&reading(&args, &[&file]), "is a link of another user's: remove it");
        }
        fs::remove_file(&link).expect("removing the link");
    }
    assert_eq!(fs::read_to_string(&precious).expect("it is still there"), "precious");
    assert!(!nowhere.exists(), "nothing was made behind it");
}

#[test]
fn a_file_of_a_stranger_is_not_written_into() {
    let (_place, file, shared) = scene();
    let trap = shared.file("page.html");
    fs::write(&trap, "mine").expect("a file");
    chown(&trap, Some(STRANGER), Some(STRANGER)).expect("giving it away");
    for args in writers(&trap) {
        let run = reading(&args, &[&file]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        // The kernel may refuse it first (fs.protected_regular).
        let why = ["belongs to another user", "Permission denied"];
        assert!(why.iter().any(|why| run.stderr.contains(why)), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(&trap).expect("it is still there"), "mine");
}

#[test]
fn what_is_made_is_for_its_maker_alone() {
    let (_place, file, shared) = scene();
    for (number, args) in writers(&shared.file("made")).into_iter().enumerate() {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(program()).args(args).arg(&file);
        let run = Run::of(&mut command);
        assert_eq!((run.code, &run.stderr[..]), (Some(0), ""), "{number}");
        let made = shared.file("made");
        let mode = made.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "it tells of processes what only root may know");
        fs::remove_file(&made).expect("removing it");
    }
}

/// `setcap` gives the rights to this program, and not to whatever programs a user has for it to load.
#[test]
fn a_program_with_rights_of_its_own_loads_no_object_of_its_user() {
    let place = Place::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("opening the folder");
    let copy = place.file("twtrace");
    fs::copy(program(), &copy).expect("copying the tool");
    let all = "cap_bpf,cap_perfmon,cap_syslog,cap_net_admin+ep";
    let run = Run::of(Command::new("setcap").arg(all).arg(&copy));
    assert_eq!(run.code, Some(0), "setcap of libcap2-bin: {}", run.stderr);
    let object = place.file("object");
    fs::write(&object, "whatever").expect("a file");
    let as_stranger = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command.args(["top", "--batch", "--json", "-n", "1", "-d", "0.2", "--netns", "self"]);
        command.args(args).current_dir("/");
        command
    };
    let traced = Run::of(&mut as_stranger(&[]));
    assert_eq!(traced.code, Some(0), "{}", traced.stderr);
    assert!(traced.snapshots()[0]["closes"].is_object(), "it has its rights: {}", traced.stderr);
    let path = object.to_str().expect("UTF-8");
    let why = "is not for a program that has its rights from its file";
    assert_refused(&Run::of(&mut as_stranger(&["--bpf-object", path])), why);
    assert_refused(&Run::of(as_stranger(&[]).env("TWTRACE_BPF_OBJECT", path)), why);
}
