//! The harness of the live tests: real TCP traffic in network namespaces of
//! its own, and the tool under test watching it from outside.
//!
//! Everything here panics with a sentence that says what could not be done:
//! a live test that cannot run has failed. The tests need root, BPF, and the
//! commands `ip`, `ss` and `tc` (iproute2), `tmux`, `unshare`, `setpriv`,
//! `mount` and `umount` (util-linux). Each test has its own namespace and its
//! own tool process, so they run side by side.

pub mod bpf_objects;
pub mod brief_netns;
pub mod cgroup;
pub mod clock;
pub mod conntrack;
pub mod debian;
pub mod doctor;
pub mod faults;
pub mod http;
pub mod left_behind;
pub mod netns;
pub mod peer;
pub mod prometheus;
pub mod recording;
pub mod scenario;
pub mod searching;
pub mod serve;
pub mod shared;
pub mod snapshot;
pub mod soak;
pub mod sockets;
pub mod status;
pub mod terminal;
pub mod tool;
pub mod traffic;
pub mod withheld;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The directory that this build's programs are in, `target/release` or like it.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test executable");
    let dir = test.parent().expect("an executable is in a directory");
    // A test executable is in `deps`, a helper program one level above.
    let dir = if dir.ends_with("deps") { dir.parent().expect("deps has a parent") } else { dir };
    dir.to_owned()
}

/// Asks `ready` every 10 ms until it gives something; panics after `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks `count` every 10 ms until it is 0 or `limit` is over; returns the last answer.
pub fn wait_for_none(limit: Duration, mut count: impl FnMut() -> u64) -> u64 {
    let start = Instant::now();
    loop {
        let left = count();
        if left == 0 || start.elapsed() >= limit {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
