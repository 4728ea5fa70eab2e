//! What `twtrace doctor` shows of a diagnosis that is made up.

#[path = "common/golden.rs"]
mod golden;

use golden::assert_golden;
use twtrace::{
    doctor::{
        Diagnosis, Unknown,
        audit::Setting,
        finding::{Finding, Futile, Remedy, Severity},
        myths::Myth,
    },
    stats::snapshot::Host,
    view::doctor,
};

fn diagnosis(findings: Vec<Finding>, unknown: Vec<Unknown>) -> Diagnosis {
    let [hostname, kernel, boot_id] = ["web1", "6.18.0", "boot"].map(str::to_owned);
    let myth = |measured: Option<&str>| Myth {
        claim: "TIME_WAIT holds file descriptors",
        measured: measured.map(str::to_owned),
        verdict: "false: the descriptor is gone with close(); what stays is a mini-socket that no \
                  process holds",
    };
    Diagnosis {
        schema: 1,
        time: "2026-11-21T16:20:02.000Z".to_owned(),
        host: Host { hostname, kernel, boot_id },
        window_s: 10.04,
        findings,
        myths: vec![myth(Some("2,000 TIME_WAITs, 0 of them held by a process")), myth(None)],
        audit: vec![
            setting("net.ipv4.tcp_fin_timeout", Some("60"), None),
            setting("net.ipv4.tcp_tw_reuse_delay", None, Some("this kernel has no such setting")),
        ],
        unknown,
    }
}

fn setting(name: &'static str, value: Option<&str>, why: Option<&str>) -> Setting {
    let [value, why] = [value, why].map(|it| it.map(str::to_owned));
    Setting { netns: 4_026_532_201, name, value, why, decides: "something" }
}

fn ports() -> Finding {
    Finding {
        id: "ports",
        severity: Severity::Critical,
        netns: Some(4_026_532_201),
        pid: Some(90),
        comm: Some("\u{1b}[2Jclient".to_owned()),
        what: "10.0.0.1 → 10.0.0.9:6379: 200 local ports taken of 200 (100 %), 200 of them by \
               TIME_WAIT; the last was taken by \u{1b}[2Jclient (pid 90)"
            .to_owned(),
        why: "a local port serves once per local address, remote address and remote port"
            .to_owned(),
        do_first: "keep connections open and use them again".to_owned(),
        then: vec![Remedy {
            command: "nsenter --net=/run/docker/netns/0123456789ab sysctl -w \
                      net.ipv4.ip_local_port_range=\"1024 65535\""
                .to_owned(),
            side_effects: "64,512 ports instead of 200".to_owned(),
        }],
        futile: vec![Futile {
            advice: "net.ipv4.tcp_fin_timeout".to_owned(),
            because: "it bounds FIN_WAIT2".to_owned(),
        }],
        check: "`twtrace doctor --netns self` no longer names 10.0.0.9:6379".to_owned(),
    }
}

fn machine() -> Finding {
    Finding {
        id: "open_files",
        severity: Severity::Warning,
        netns: None,
        pid: None,
        comm: None,
        then: Vec::new(),
        futile: Vec::new(),
        ..ports()
    }
}

#[test]
fn a_diagnosis_as_text_and_json() {
    let unknown = vec![Unknown { what: "open files", why: "a recording does not tell".to_owned() }];
    let cases = [
        ("doctor_findings", diagnosis(vec![ports(), machine()], unknown)),
        ("doctor_healthy", diagnosis(Vec::new(), Vec::new())),
    ];
    for (name, diagnosis) in cases {
        let text = doctor::text(&diagnosis);
        // A command is to be copied, so it stays whole.
        for line in text.lines().filter(|line| !line.contains("sysctl -w")) {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
        let raw = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(raw, None, "a control character reaches the output");
        let json = doctor::json(&diagnosis).expect("a diagnosis can be written");
        assert_eq!(json.matches('\n').count(), 1, "one line of JSON");
        let pretty: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let pretty = serde_json::to_string_pretty(&pretty).expect("it still is") + "\n";
        assert_golden(&format!("tests/golden/{name}.txt"), &text);
        assert_golden(&format!("tests/golden/{name}.json"), &pretty);
    }
}
