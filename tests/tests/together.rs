//! Two at once, on the same sockets: what one says the other says, to the unit.

use serde_json::Value;
use twtrace_tests::netns::PrivateNetns;
use twtrace_tests::recording::{Place, Recording, report_is_end};
use twtrace_tests::snapshot::{missed, number};
use twtrace_tests::tool::Tool;
use twtrace_tests::traffic::{End, Traffic};

const CONNECTIONS: u64 = 10_000;

/// Everything that is counted, by its path; times and sizes are each one's own.
fn counts(snapshot: &Value) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for part in ["transitions", "connects", "closes", "time_wait", "states", "roles", "loss"] {
        collect(part.to_owned(), &snapshot[part], &mut found);
    }
    for key in ["count", "failed"] {
        for search in ["connect", "bind", "bind_explicit"] {
            let path = format!("port_search.{search}.{key}");
            collect(path, &snapshot["port_search"][search][key], &mut found);
        }
    }
    // Each misses what it misses, and that is what they are compared within.
    found.retain(|(path, _)| !path.contains("missed") && !path.contains("lifetime"));
    found
}

fn collect(path: String, value: &Value, found: &mut Vec<(String, u64)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                collect(format!("{path}.{key}"), value, found);
            }
        }
        value => found.extend(value.as_u64().map(|number| (path, number))),
    }
}

#[test]
fn two_at_full_speed_agree_to_the_unit() {
    let (netns, place) = (PrivateNetns::new(), Place::new());
    let file = place.file("trace.twt");
    let top = Tool::on(&netns, &["--ring-size", "64M"]);
    let recording = Recording::on(&netns, &file, &["--ring-size", "64M"]);
    netns.run(|| {
        Traffic::closed_by(End::Client, CONNECTIONS).threads(2).run();
        Traffic::aborted(500).run()
    });
    netns.wait_for_tw(CONNECTIONS);
    let done = recording.finish();
    let top = top.finish();
    let recorded = done.forgiving(report_is_end(&file));
    let missed = missed(&top) + missed(&recorded);
    assert!(number(&top, "closes.active").abs_diff(CONNECTIONS) <= missed);
    let (one, other) = (counts(&top), counts(&recorded));
    assert!(one.len() > 40, "so much is counted: {one:?}");
    for ((path, one), (same, other)) in one.iter().zip(&other) {
        assert_eq!(path, same);
        assert!(one.abs_diff(*other) <= missed, "{path}: {one} and {other}, {missed} were missed");
    }
    assert_eq!(one.len(), other.len());
}
