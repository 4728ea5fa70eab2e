//! What `cargo xtask dist` makes, installed and used as its users do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use twtrace_tests::debian::{Debian, dist};
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::prometheus::Prometheus;
use twtrace_tests::scenario::Pair;
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::status::Status;
use twtrace_tests::withheld::Witness;
use twtrace_tests::{bpf_objects, http, wait_for};

/// What attaching takes on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(30);
/// Scrapes, rules and alerts follow each other every second.
const SOON: Duration = Duration::from_secs(30);
/// A TIME_WAIT lives for 60 to 64 s, and the last of them tells when all are gone.
const EXPIRY: Duration = Duration::from_secs(90);
/// Where the service listens unless it is told otherwise.
const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9748);
/// Where connections go, of which alone it is to tell.
const PORT: u16 = 8_080;
const ARGUMENTS: &str = "TWTRACE_ARGS=--netns self --rport 8080";
/// More than half of the local ports.
const CONNECTIONS: u64 = 110;
const KNEE: &str = "TwtracePortsPastKnee";

fn made(ending: &str) -> PathBuf {
    let files = std::fs::read_dir(dist()).expect("listing a folder").flatten();
    let mut files = files
        .map(|entry| entry.path())
        .filter(|it| it.to_str().is_some_and(|it| it.ends_with(ending)));
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
    let said =
        output(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(dist()));
    assert_eq!(said.lines().count(), 3, "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    output(
        Command::new("tar")
            .arg("-xzf")
            .arg(made(".tar.gz"))
            .arg("-C")
            .arg(folder.path())
            .arg("--strip-components=1"),
    );
    let said = output(Command::new(folder.path().join("twtrace")).arg("--version").env_clear());
    assert_eq!(said.trim(), concat!("twtrace ", env!("CARGO_PKG_VERSION")));
    // There is nothing but the archive: no library, no /proc.
    let mut alone = Command::new("/usr/sbin/chroot");
    let help = output(alone.arg(folder.path()).args(["/twtrace", "serve", "--help"]).env_clear());
    assert!(help.contains("--listen"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let scripts = folder.path().join("completions").join(shell);
        assert_eq!(std::fs::read_dir(scripts).expect("a folder for each shell").count(), 1);
    }
}

/// What one of Debian's or Python's own readers prints of a file.
#[track_caller]
fn read_by(script: &str, file: &Path) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = tests.join("../target/data-frames/bin/python");
    output(Command::new(python).arg(tests.join("dataframes").join(script)).arg(file))
}

#[test]
fn the_list_of_parts_is_what_cyclonedx_says_it_is() {
    let said = read_by("parts.py", &made(".cdx.json"));
    assert!(said.contains("aya 0.14.0") && said.contains("twtrace-common"), "{said}");
    assert!(said.contains("glibc 2.") && said.contains("rust-std 1."), "{said}");
    for not_linked in ["proptest", "syn", "prost-derive"] {
        let begins = |line: &str| line.split(' ').next() == Some(not_linked);
        assert!(!said.lines().any(begins), "{not_linked} is not linked in: {said}");
    }
}

/// The service, the DaemonSet and what `serve` gives up are about the same rights.
#[test]
fn the_daemon_set_is_what_kubernetes_says_it_is() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib");
    let said = read_by("manifest.py", &contrib.join("kubernetes/daemonset.yaml"));
    let mut of_pods: BTreeSet<String> =
        said.split_whitespace().map(|it| format!("CAP_{it}")).collect();
    // A pod starts as root, which it has to leave; the service never is.
    assert!(of_pods.remove("CAP_SETUID") && of_pods.remove("CAP_SETGID"), "{of_pods:?}");
    let unit = std::fs::read_to_string(contrib.join("systemd/twtrace.service")).expect("the unit");
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        let of_unit: BTreeSet<String> =
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
        assert_eq!(of_unit, of_pods, "{key}");
    }
}

#[test]
fn the_package_is_installed_serves_and_is_purged() {
    let netns = PrivateNetns::new();
    // Room for 200 connections towards a destination at a time.
    netns.sysctl_set("net.ipv4.ip_local_port_range", "40000 40199");
    let folder = tempfile::tempdir().expect("a folder");
    let debian = Debian::boot(&netns, &folder.path().join("console"));
    let before = files(&debian);

    let deb = made(".deb");
    let deb = format!("/dist/{}", deb.file_name().expect("a file has a name").display());
    debian.output("dpkg", &["--install", &deb]);
    let page = debian.output("gzip", &["-dc", "/usr/share/man/man1/twtrace-serve.1.gz"]);
    assert!(page.contains("twtrace\\-serve"), "{page}");
    // It is in the namespace that it is asked in: what is asked for would be counted.
    debian.output(
        "sed",
        &["-i", &format!("s/^TWTRACE_ARGS=.*/{ARGUMENTS}/"), "/etc/default/twtrace"],
    );
    debian.output("systemctl", &["restart", "twtrace"]);
    netns.run(|| {
        wait_for("the service to be ready", LIMIT, || {
            http::get(SERVICE, "/readyz", "").ok().filter(|answer| answer.status == 200)
        });
        runs_as_told(&debian);
        serves_as_told();
    });

    let held = bpf_objects::held_by(main_process(&debian));
    assert!(!held.is_empty(), "it traces");
    debian.output("dpkg", &["--purge", "twtrace"]);
    assert_eq!(files(&debian), before);
    let left: Vec<_> = held.into_iter().filter(|object| object.exists()).collect();
    assert!(left.is_empty(), "left in the kernel: {left:?}");
    let state = ["show", "--property=LoadState,ActiveState", "--value", "twtrace.service"];
    assert_eq!(debian.output("systemctl", &state), "not-found\ninactive\n");
}

/// A user of its own with nothing left of its capabilities, and a helper with three. The bounding set stays
/// what the unit says: taking from it is a right that the unit does not give (CAP_SETPCAP), and with
/// no_new_privs nothing comes back through it.
#[track_caller]
fn runs_as_told(debian: &Debian) {
    let main = main_process(debian);
    for thread in Status::of_threads(main) {
        let is = |key: &str, value: &str| assert_eq!(thread.field(key), value, "{thread:#?}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            is(set, "0000000000000000");
        }
        is("NoNewPrivs", "1");
        is("Seccomp", "2");
        let user: u32 =
            thread.field("Uid").split('\t').next().expect("a user").parse().expect("a number");
        // https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#DynamicUser=
        assert!((61_184..=65_519).contains(&user), "no dynamic user: {user}");
    }
    let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
    let children = children.expect("its children");
    let helpers: Vec<&str> = children.split_whitespace().collect();
    assert_eq!(helpers.len(), 1, "one helper: {helpers:?}");
    let helper = Status::of(helpers[0].parse().expect("a process id"));
    // CAP_DAC_READ_SEARCH 2, CAP_SYS_PTRACE 19, CAP_SYS_ADMIN 21.
    assert_eq!(helper.set("CapEff"), (1 << 2) | (1 << 19) | (1 << 21));
}

/// A real Prometheus has what the service told, an alert fires at the knee, and resolves when the
/// TIME_WAITs have expired.
#[track_caller]
fn serves_as_told() {
    let rules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/prometheus/twtrace.rules.yml");
    let prometheus = Prometheus::scrape(SERVICE, &rules, &[]);
    assert!(!prometheus.fires(KNEE), "nothing is taken yet");
    let mut witness = Witness::new().ok();
    connect_and_close(CONNECTIONS);
    wait_for("the alert at the knee", SOON, || prometheus.fires(KNEE).then_some(()));
    let snapshot = http::get(SERVICE, "/snapshot.json", "").expect("an answer");
    let snapshot: Value = serde_json::from_str(snapshot.text()).expect("JSON");
    // Where there is no witness nothing is forgiven but what twtrace itself says it missed.
    let mut unseen = || missed(&snapshot) + witness.as_mut().map_or(0, Witness::count);
    let unseen_then = unseen();
    for (query, key, made) in [
        ("sum(twtrace_closes_total{kind=\"active\"})", "closes.active", CONNECTIONS),
        ("sum(twtrace_closes_total{kind=\"passive\"})", "closes.passive", 0),
        ("sum(twtrace_time_wait_born_total)", "time_wait.born", CONNECTIONS),
        ("twtrace_time_wait_sockets", "time_wait.now", CONNECTIONS),
        ("twtrace_connects_total{result=\"ok\"}", "connects.ok", CONNECTIONS),
    ] {
        let told = number(&snapshot, key);
        let difference = told.abs_diff(made);
        assert!(difference <= unseen_then, "{key}: {told} of {made}, {unseen_then} unseen");
        let scraped = prometheus.number(query).unwrap_or_else(|| panic!("no {query}"));
        // Roles come from records, and what was missed is in none.
        assert!(
            (scraped - told as f64).abs() <= unseen_then as f64,
            "{query}: {scraped}, {key}: {told}"
        );
    }
    wait_for("the alert to resolve", EXPIRY, || (!prometheus.fires(KNEE)).then_some(()));
    wait_for("all TIME_WAITs to have expired", SOON, || {
        let ended = prometheus.number("twtrace_time_wait_ended_total{end=\"expired\"}")?;
        ((ended - CONNECTIONS as f64).abs() <= unseen() as f64).then_some(())
    });
    let lost = prometheus.number("sum(twtrace_lost_total{loss=~\"ring_full|evicted\"})");
    assert_eq!(lost, Some(0.0));
}

/// So many, one after the other, of which the client closes each first.
fn connect_and_close(connections: u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("binding a listener");
    for _ in 0..connections {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("a port is left");
        let (server, _) = listener.accept().expect("accepting");
        Pair { client, server }.close_client_first();
    }
}

/// The number that the service's main process has outside.
#[track_caller]
fn main_process(debian: &Debian) -> u32 {
    let shown = debian.output("systemctl", &["show", "--property=MainPID", "--value", "twtrace"]);
    let inside = shown.trim();
    let is_it = |status: &&Status| {
        status.field("NSpid").split('\t').next_back() == Some(inside)
            && status.field("Name") == "twtrace"
    };
    let all = Status::of_all();
    let found = all.iter().find(is_it).unwrap_or_else(|| panic!("no process {inside} inside"));
    found.field("Pid").parse().expect("a number")
}

/// Every file that a package could leave behind.
fn files(debian: &Debian) -> BTreeSet<String> {
    let places = ["/usr", "/etc", "/lib", "/var/lib/systemd", "/var/lib/private", "/var/cache"];
    let found = debian.output("find", &[&places[..], &["-not", "-type", "d"]].concat());
    found.lines().map(str::to_owned).collect()
}
