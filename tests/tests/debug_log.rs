//! The BPF programs' own log lines, in an object built with them.

use std::path::PathBuf;
use std::process::Command;

use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::tool::{Run, program};
use twtrace_tests::traffic::{End, Traffic};

/// Where `cargo xtask bpf --features log` puts the object.
fn object_with_log() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/twtrace-log.bpf.o");
    assert!(path.exists(), "build it first: cargo xtask bpf --features log");
    path
}

#[test]
fn vv_shows_what_the_programs_log() {
    let netns = PrivateNetns::new();
    let mut command = Command::new(program());
    command
        .args(["top", "--batch", "--json", "-n", "3", "-d", "0.3", "-vv", "--bpf-object"])
        .arg(object_with_log())
        .args(["--netns", &netns.selector()]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| Run::of(&mut command));
        // Some of these connections fall into the time in which it is attached.
        for _ in 0..40 {
            netns.run(|| Traffic::closed_by(End::Client, 2).run());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        run.join().expect("the tool ends")
    });
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let logged = format!("netns {} port", netns.inode());
    assert!(run.stderr.contains(&logged), "no line from the programs in: {}", run.stderr);
}
