//! Closers show the cgroup of their process, and the container in its path.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use twtrace_tests::cgroup::Cgroup;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::peer::Peer;
use twtrace_tests::snapshot::closer;
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Family, Traffic};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A program that joins `cgroup` and becomes the helper program.
fn joiner(directory: &Path, cgroup: &Path) -> PathBuf {
    let script = directory.join("joiner");
    let procs = cgroup.join("cgroup.procs");
    let text = format!(
        "#!/bin/sh\necho $$ > '{}'\nexec '{}' \"$@\"\n",
        procs.display(),
        Peer::program().display()
    );
    fs::write(&script, text).expect("writing the script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("making it executable");
    script
}

#[test]
fn a_closer_in_a_container_is_shown_with_its_id() {
    let netns = PrivateNetns::new();
    // Named as Docker names its own under systemd.
    let cgroup = Cgroup::new(&format!("docker-{ID}.scope"));
    let directory = tempfile::tempdir().expect("a directory for the script");
    let tool = Tool::on(&netns, &[]);
    let listener = netns.run(|| Family::V4.listen());
    let port = listener.local_addr().expect("an address").port();
    let traffic = Traffic::closed_by(End::Client, 20);
    let pid = std::thread::scope(|scope| {
        scope.spawn(|| traffic.serve(&listener));
        let program = joiner(directory.path(), cgroup.path());
        let client = Peer::client_named(&netns, program, port, &traffic);
        let pid = client.pid();
        assert_eq!(client.finish().closed_first, 20);
        pid
    });
    let snapshot = tool.finish();
    let row = closer(&snapshot, pid, netns.inode(), "client")
        .unwrap_or_else(|| panic!("no row of the client: {:#}", snapshot["closers"]));
    assert_eq!(row["cgroup"], format!("/docker-{ID}.scope"), "{row:#}");
    assert_eq!(row["container"], ID, "{row:#}");
}
