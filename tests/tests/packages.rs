//! What `cargo xtask dist` makes, installed and used as its users do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use twtrace_tests::bpf_objects;
use twtrace_tests::debian::{Debian, dist};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::wait_for;

/// What attaching takes on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(30);

fn made(ending: &str) -> PathBuf {
    let files = std::fs::read_dir(dist()).expect("listing a folder").flatten();
    let mut files = files.map(|entry| entry.path()).filter(|it| it.to_str().is_some_and(|it| it.ends_with(ending)));
    files.next().unwrap_or_else(|| panic!("no {ending} in {}", dist().display()))
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a command prints UTF-8")
}

#[test]
fn checksums_are_right_and_the_archive_runs() {
    let said = output(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(dist()));
    assert_eq!(said.lines().count(), 3, "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    output(Command::new("tar").arg("-xzf").arg(made(".tar.gz")).arg("-C").arg(folder.path()).arg("--strip-components=1"));
    let said = output(Command::new(folder.path().join("twtrace")).arg("--version").env_clear());
    assert_eq!(said.trim(), concat!("twtrace ", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let scripts = folder.path().join("completions").join(shell);
        assert_eq!(std::fs::read_dir(scripts).expect("a folder for each shell").count(), 1);
    }
}

#[test]
fn the_list_of_parts_is_what_cyclonedx_says_it_is() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/data-frames/bin/python");
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataframes/parts.py");
    let said = output(Command::new(python).arg(check).arg(made(".cdx.json")));
    assert!(said.contains("aya 0.14.0") && said.contains("twtrace-common"), "{said}");
}

#[test]
fn the_package_is_installed_serves_and_is_purged() {
    let objects = bpf_objects::of_twtrace();
    let netns = PrivateNetns::new();
    let folder = tempfile::tempdir().expect("a folder");
    let debian = Debian::boot(&netns, &folder.path().join("console"));
    let before = files(&debian);

    let deb = made(".deb");
    let deb = format!("/dist/{}", deb.file_name().expect("a file").display());
    debian.output("dpkg", &["--install", &deb]);
    wait_for("the service to be ready", LIMIT, || {
        let state = debian.command("systemctl", &["is-active", "twtrace"]).output().ok()?;
        (state.stdout == b"active\n").then_some(())
    });

    debian.output("dpkg", &["--purge", "twtrace"]);
    assert_eq!(files(&debian), before);
    bpf_objects::wait_until(&objects);
}

/// Every file that a package could leave behind.
fn files(debian: &Debian) -> BTreeSet<String> {
    let places = ["/usr", "/etc", "/lib", "/var/lib/systemd", "/var/lib/private", "/run/systemd"];
    let found = debian.output("find", &[&places[..], &["-not", "-type", "d"]].concat());
    found.lines().map(str::to_owned).collect()
}
