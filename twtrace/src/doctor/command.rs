//! Commands, exact for a host and a namespace.

/// How a command gets into a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is the one where the doctor ran.
    Own,
    /// By a process that is in it.
    Process(u32),
    /// By a file that it is mounted on.
    File(String),
    /// It is another time or another host: a recording.
    Unknown(Option<u32>),
}

/// What sets a sysctl there.
pub(super) fn sysctl(entry: &Entry, name: &str, value: &str) -> String {
    let quoted =
        if value.contains([' ', '\t']) { format!("\"{value}\"") } else { value.to_owned() };
    inside(entry, &format!("sysctl -w {name}={quoted}"))
}

/// What runs a command there.
pub(super) fn inside(entry: &Entry, command: &str) -> String {
    match entry {
        Entry::Own | Entry::Unknown(None) => command.to_owned(),
        Entry::Process(pid) => format!("nsenter --target {pid} --net {command}"),
        Entry::File(path) => format!("nsenter --net={} {command}", quoted(path)),
        Entry::Unknown(Some(netns)) => format!("{command}  # in network namespace {netns}"),
    }
}

/// What looks again.
pub(super) fn again(entry: &Entry) -> String {
    match entry {
        Entry::Process(pid) => format!("twtrace doctor --netns pid:{pid}"),
        Entry::Own => "twtrace doctor --netns self".to_owned(),
        Entry::File(_) => inside(entry, "twtrace doctor --netns self"),
        Entry::Unknown(_) => "twtrace doctor".to_owned(),
    }
}

/// A path as a shell takes it, whatever is in it: others may have named the file.
pub(super) fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.:-".contains(c);
    if path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_run_where_it_is_meant() {
        let set = |entry: &Entry| sysctl(entry, "net.ipv4.tcp_tw_reuse", "1");
        assert_eq!(set(&Entry::Own), "sysctl -w net.ipv4.tcp_tw_reuse=1");
        assert_eq!(
            set(&Entry::Process(7)),
            "nsenter --target 7 --net sysctl -w net.ipv4.tcp_tw_reuse=1"
        );
        assert_eq!(
            set(&Entry::File("/run/netns/a".to_owned())),
            "nsenter --net=/run/netns/a sysctl -w net.ipv4.tcp_tw_reuse=1"
        );
        assert_eq!(
            set(&Entry::Unknown(Some(9))),
            "sysctl -w net.ipv4.tcp_tw_reuse=1  # in network namespace 9"
        );
        assert_eq!(sysctl(&Entry::Own, "a", "1 2"), "sysctl -w a=\"1 2\"");
    }

    #[test]
    fn a_name_cannot_speak_to_the_shell() {
        assert_eq!(quoted("/run/netns/a-1.b"), "/run/netns/a-1.b");
        assert_eq!(quoted("/run/netns/$(rm x)'"), r"'/run/netns/$(rm x)'\'''");
        let entry = Entry::File("/run/netns/a b".to_owned());
        assert_eq!(again(&entry), "nsenter --net='/run/netns/a b' twtrace doctor --netns self");
    }
}
