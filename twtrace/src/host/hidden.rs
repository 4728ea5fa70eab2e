//! Processes that /proc does not show.

use std::fs;

/// Why processes of other users do not show in /proc; `None` if they do: mounted with `hidepid`
/// ([proc(5)](https://man7.org/linux/man-pages/man5/proc.5.html)), and we are not of those whom
/// that leaves alone.
pub(super) fn hidden_processes() -> Option<String> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    let option = hidepid(&String::from_utf8_lossy(&table))?;
    // A capability or a group may show them all the same.
    fs::read("/proc/1/stat").is_err().then(|| {
        format!("/proc is mounted with {option}: run as root, or in the group of its option gid=")
    })
}

/// The option of the mount on /proc that is seen: of several the last. Its own options stand
/// behind the file system's type and source.
pub fn hidepid(table: &str) -> Option<String> {
    let options = |line: &str| -> Option<String> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split_ascii_whitespace();
        let is_proc =
            mount.split_ascii_whitespace().nth(4)? == "/proc" && file_system.next()? == "proc";
        is_proc.then(|| file_system.nth(1).unwrap_or_default().to_owned())
    };
    let last = table.lines().filter_map(options).next_back()?;
    let mut hidepid = last.split(',').filter(|it| it.starts_with("hidepid="));
    hidepid.find(|it| !matches!(*it, "hidepid=0" | "hidepid=off")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_is_seen_counts() {
        let plain = "22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n";
        let hidden = "40 22 0:30 / /proc rw - proc proc rw,gid=4,hidepid=invisible\n";
        let elsewhere = "41 22 0:31 / /mnt/proc rw - proc proc rw,hidepid=2\n";
        assert_eq!(hidepid(plain), None);
        assert_eq!(hidepid(&[plain, hidden].concat()).as_deref(), Some("hidepid=invisible"));
        assert_eq!(hidepid(&[hidden, plain].concat()), None);
        assert_eq!(hidepid(&[plain, elsewhere].concat()), None);
        assert_eq!(hidepid("40 22 0:30 / /proc rw - proc proc rw,hidepid=0\n"), None);
        assert_eq!(hidepid("nonsense"), None);
    }
}
