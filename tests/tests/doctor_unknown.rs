//! `twtrace doctor` where it may not see everything: what it cannot know is unknown, with the
//! reason, and no reason to fail.

use std::process::Command;

use twtrace_tests::doctor::{Said, apply, text};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::shared::Shared;
use twtrace_tests::tool::{Run, program};

/// Runs what follows as nobody, without a capability.
const NOBODY: [&str; 6] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--no-new-privs",
];

const UNTRACED: [&str; 6] = ["doctor", "--json", "--probes", "none", "--duration", "0.1"];

#[test]
fn without_rights_it_says_what_it_could_not_see() {
    let (shared, other) = (Shared::new(&program()), PrivateNetns::new());
    let mut command = Command::new("setpriv");
    command.args(NOBODY).arg(shared.path("twtrace")).args(UNTRACED).current_dir("/");
    let said = Said::of(&mut command);
    assert!(said.unknown("who closes first").contains("run as root"));
    assert!(said.unknown("sizes of TIME_WAIT sockets").contains("slabinfo"));
    let hidden = said.unknown("a part of the sockets");
    assert!(hidden.contains("CAP_SYS_PTRACE") || hidden.contains("CAP_SYS_ADMIN"), "{hidden}");
    let audit = said.diagnosis["audit"].as_array().expect("a list");
    assert!(audit.iter().any(|it| it["value"].is_string()), "its own namespace is audited");
    assert!(audit.iter().all(|it| it["netns"] != other.inode()), "it cannot see that one");
}

/// A mount of /proc of its own, in a namespace of processes of its own.
fn hiding(then: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount -t proc -o hidepid=2 proc /proc\n{then}\nexit $?");
    command.args(["--net", "--pid", "--fork", "--mount", "sh", "-ec", &script]);
    command
}

#[test]
fn what_hidepid_hides_is_told() {
    let shared = Shared::new(&program());
    let tool = shared.path("twtrace");
    let tool = tool.display();
    let untraced = UNTRACED.join(" ");
    let as_nobody = format!("setpriv {} {tool} {untraced} --netns self", NOBODY.join(" "));
    let said = Said::of(&mut hiding(&as_nobody));
    let why = said.unknown("processes of other users");
    assert!(why.starts_with("/proc is mounted with hidepid="), "{why}");

    let states = format!("setpriv {} {tool} states --json", NOBODY.join(" "));
    let run = Run::of(&mut hiding(&states));
    assert!(run.code == Some(0) && run.stdout.contains("hidepid="), "{}{}", run.stdout, run.stderr);

    let said = Said::of(&mut hiding(&format!("{tool} {untraced} --netns self")));
    let unknown = said.diagnosis["unknown"].as_array().expect("a list");
    let is_hidden = unknown.iter().any(|it| it["what"] == "processes of other users");
    assert!(!is_hidden, "root sees them all the same: {unknown:#?}");
}

#[test]
fn a_namespace_without_a_process_is_entered_by_its_file() {
    let netns = PrivateNetns::new();
    netns.sysctl_set("net.ipv4.tcp_syncookies", "0");
    let name = netns.publish();
    let inode = netns.inode();
    drop(netns);
    let look = || Said::of(Command::new(program()).args(UNTRACED).args(["--netns", name.as_str()]));
    let said = look();
    let finding = said.finding("sysctl");
    assert_eq!(finding["netns"], inode, "{finding:#}");
    let command = text(&finding["then"][0], "command");
    let wanted = format!("nsenter --net=/run/netns/{} sysctl", name.as_str());
    assert!(command.starts_with(&wanted), "{command}");
    apply(finding, "tcp_syncookies=1");
    look().healthy();
}

#[test]
fn a_setting_that_the_kernel_does_not_have_is_unknown() {
    let netns = PrivateNetns::new();
    let said = Said::untraced(&netns);
    let audit = said.diagnosis["audit"].as_array().expect("a list");
    for row in audit {
        let name = text(row, "name");
        assert_eq!(row["value"].is_string(), netns.sysctl_exists(name), "{row:#}");
        assert_eq!(row["value"].is_null(), row["why"].is_string(), "{row:#}");
        if row["value"].is_null() {
            assert_eq!(said.unknown(name), text(row, "why"));
        }
    }
}

#[test]
fn how_it_ends_tells_health_findings_and_failure_apart() {
    let netns = PrivateNetns::new();
    Said::untraced(&netns).healthy();
    netns.sysctl_set("net.ipv4.tcp_timestamps", "0");
    assert_eq!(Said::untraced(&netns).code, Some(1));
    for wrong in [&["--netns", "1"][..], &["/nonexistent.twt"], &["/proc/version"]] {
        let run =
            Run::of(Command::new(program()).args(["doctor", "--duration", "0.1"]).args(wrong));
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{wrong:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
