//! The counting rules by example: `tests/fixtures/01` to `10` are the ten worked examples of the
//! rules; the others are the cases in which a tracer goes wrong.
//!
//! Raw records go in, the JSON of the Snapshot comes out: decoder, tracker, statistics and view
//! have to agree. What this version does not count must be `null`, and the fixtures say so.

mod common;

use common::{fixture, subset};
use twtrace::view::json;

#[test]
fn every_fixture_is_told_as_it_happened() {
    let mut wrong = Vec::new();
    let fixtures = fixture::all();
    for (name, fixture) in &fixtures {
        let line = json::line(&fixture.snapshot()).expect("a Snapshot can be written");
        let seen = serde_json::from_str(&line).expect("it is JSON");
        let found = subset::differences(&fixture.expected, &seen);
        if !found.is_empty() {
            wrong.push(format!("{name}: {}\n  {}", fixture.about, found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(fixtures.len() >= 56, "only {} fixtures were found", fixtures.len());
}

#[test]
fn the_comparison_sees_what_is_missing_and_what_differs() {
    let seen = serde_json::json!({"a": 1, "b": null, "c": [{"d": 0.5}]});
    let differs = |expected| subset::differences(&expected, &seen);
    assert!(differs(serde_json::json!({"a": 1.0, "c": [{"d": 0.5}]})).is_empty());
    assert_eq!(differs(serde_json::json!({"z": null})), [".z is missing, not null"]);
    assert_eq!(differs(serde_json::json!({"b": 0})), [".b is null, not 0"]);
    assert_eq!(differs(serde_json::json!({"c": []})).len(), 1);
    assert_eq!(differs(serde_json::json!({"c": [{"d": 0.6}]})).len(), 1);
}
