//! The schemas in `docs/` are what the types say of the Snapshot, of what `states` and of what
//! `doctor` prints, and what twtrace prints fits them.
//!
//! The validator is written here, for the few keywords that schemars writes, and refuses any
//! other: the crate jsonschema would bring 45 packages into the lock file for this one test, one
//! of them (borrow-or-share) under a licence that deny.toml does not allow.

mod common;

use common::{fixture, golden, kernel};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};
use twtrace::{
    census::report::Report,
    doctor::Diagnosis,
    frame::{Frame, Polled, PolledMini},
    pipeline::Pipeline,
    probes::Hooks,
    stats::snapshot::Snapshot,
    view::json,
};
use twtrace_common::TcpState;

const DOCUMENTATION: &str = include_str!("../../docs/json.md");
/// The top level of the contract.
const KEYS: [&str; 24] = [
    "schema",
    "time",
    "elapsed_s",
    "host",
    "probes",
    "loss",
    "rates",
    "transitions",
    "connects",
    "closes",
    "roles",
    "time_wait",
    "fin_wait2",
    "closers",
    "port_search",
    "destinations",
    "clients",
    "proxies",
    "tw_reuse",
    "close_wait",
    "states",
    "kernel",
    "reconcile",
    "hdr",
];

/// The schema of each contract, and its name in `docs/`.
fn schemas() -> [(&'static str, Value); 3] {
    [
        ("snapshot", schema_of::<Snapshot>()),
        ("states", schema_of::<Report>()),
        ("doctor", schema_of::<Diagnosis>()),
    ]
}

#[test]
fn the_committed_schemas_are_the_generated_ones() {
    for (name, schema) in schemas() {
        let schema = serde_json::to_string_pretty(&schema).expect("a schema can be written");
        golden::assert_golden(&format!("../docs/{name}.schema.json"), &(schema + "\n"));
    }
}

/// The golden files are what these commands print, key by key.
#[test]
fn reports_and_diagnoses_fit_their_schemas() {
    let [_, (_, states), (_, doctor)] = schemas();
    let cases = [
        ("states_busy", &states),
        ("states_cut", &states),
        ("doctor_findings", &doctor),
        ("doctor_healthy", &doctor),
    ];
    for (name, schema) in cases {
        let golden = std::fs::read_to_string(format!("tests/golden/{name}.json"));
        let mut printed: Value =
            serde_json::from_str(&golden.expect("it is there")).expect("it is JSON");
        let wrong = |printed: &Value| {
            let mut found = Vec::new();
            validate(schema, schema, printed, "", &mut found);
            found
        };
        assert_eq!(wrong(&printed), Vec::<String>::new(), "{name}");
        printed["left"] = Value::from("over");
        assert_eq!(wrong(&printed), [".left is not described"], "{name}");
        printed.as_object_mut().map(|it| it.remove("left")).expect("it is an object");
        printed["schema"] = Value::from("1");
        assert!(!wrong(&printed).is_empty(), "{name}");
    }
}

#[test]
fn snapshots_fit_the_schema() {
    let schema = schema();
    let mut snapshots: Vec<(String, Snapshot)> =
        fixture::all().into_iter().map(|(name, fixture)| (name, fixture.snapshot())).collect();
    snapshots.push(("polled".to_owned(), polled()));
    for (name, snapshot) in snapshots {
        let mut found = Vec::new();
        validate(&schema, &schema, &printed(&snapshot), "", &mut found);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
    }
}

#[test]
fn every_key_of_the_contract_is_there() {
    for snapshot in [polled(), fixture::all()[0].1.snapshot()] {
        let printed = printed(&snapshot);
        let printed = printed.as_object().expect("a Snapshot is an object");
        let seen: Vec<&str> = printed.keys().map(String::as_str).collect();
        assert_eq!(seen, KEYS);
        let required = schema();
        let required = required["required"].as_array().expect("some keys are required");
        assert!(KEYS.iter().all(|key| required.contains(&Value::from(*key))), "{required:?}");
    }
}

#[test]
fn every_key_is_documented() {
    let schemas = schemas().map(|(_, schema)| schema);
    let parts = |schema: &Value| schema["$defs"].as_object().expect("it has parts").clone();
    let types: Vec<Value> = schemas.iter().flat_map(|it| parts(it).into_values()).collect();
    let missing: Vec<String> = schemas
        .iter()
        .chain(&types)
        .filter_map(|part| part["properties"].as_object())
        .flat_map(Map::keys)
        .filter(|key| !is_documented(key))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "docs/json.md does not explain {}", missing.join(", "));
}

/// By itself, or behind the key that it is within.
fn is_documented(key: &str) -> bool {
    [format!("`{key}`"), format!(".{key}`")].iter().any(|it| DOCUMENTATION.contains(it))
}

#[test]
fn the_validator_sees_what_does_not_fit() {
    let schema = schema();
    let fits = |change: fn(&mut Value)| {
        let mut printed = printed(&polled());
        change(&mut printed);
        let mut found = Vec::new();
        validate(&schema, &schema, &printed, "", &mut found);
        found.is_empty()
    };
    assert!(fits(|_| {}));
    assert!(!fits(|s| s["schema"] = Value::from("1")));
    assert!(!fits(|s| s["loss"] = serde_json::json!({"ring_full": 0})));
    assert!(!fits(|s| s["states"]["LISTEN"] = Value::from(-1)));
    assert!(!fits(|s| s["probes"]["time_wait"] = Value::from("magic")));
    assert!(!fits(|s| drop(s.as_object_mut().map(|s| s.remove("closers")))));
}

/// As twtrace writes it: every key that is not skipped is there, also where it is `null`.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::default().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn schema() -> Value {
    schema_of::<Snapshot>()
}

fn printed(snapshot: &Snapshot) -> Value {
    let line = json::line(snapshot).expect("a Snapshot can be written");
    serde_json::from_str(&line).expect("it is JSON")
}

fn polled() -> Snapshot {
    let mut pipeline = Pipeline::new(kernel::meta(Hooks::POLLING), 100, 50);
    let states = vec![(TcpState::Listen, 3), (TcpState::TimeWait, 7)];
    let mini = |cookie| PolledMini {
        netns: kernel::NETNS,
        cookie,
        substate: TcpState::TimeWait,
        expires_ms: 30_000,
        tuple: fixture::tuple(&format!("10.0.0.1:{cookie}"), "10.0.0.2:443"),
    };
    let minis = (0..7).map(mini).collect();
    let look = Frame::Polled(Some(Polled {
        time_ns: kernel::at(1.0),
        states,
        minis,
        complete: true,
        ..Polled::default()
    }));
    pipeline.apply(&look).expect("it is no record");
    let snapshot = pipeline.apply(&kernel::tick(1.0)).expect("nor is this");
    snapshot.expect("a tick gives a Snapshot")
}

/// Adds what is wrong with `value` at `path` to `found`.
fn validate(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        assert_eq!(schema, &Value::Bool(true), "a schema is an object or true");
        return;
    };
    for (keyword, rule) in schema {
        let fits = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => true,
            "$ref" => {
                let at = rule.as_str().and_then(|at| at.strip_prefix('#')).expect("a local $ref");
                let target = root.pointer(at).unwrap_or_else(|| panic!("{at} is not there"));
                validate(root, target, value, path, found);
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is(name, value)),
                name => is(name, value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => value.as_f64().is_none_or(|n| rule.as_f64().is_some_and(|min| n >= min)),
            "maximum" => value.as_f64().is_none_or(|n| rule.as_f64().is_some_and(|max| n <= max)),
            "anyOf" | "oneOf" => rule.as_array().is_some_and(|schemas| {
                schemas.iter().any(|schema| {
                    let mut inner = Vec::new();
                    validate(root, schema, value, path, &mut inner);
                    inner.is_empty()
                })
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, rule, item, &format!("{path}[{index}]"), found);
                }
                true
            }
            "required" => value.as_object().is_none_or(|object| {
                let keys = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                keys.into_iter().all(|key| object.contains_key(key))
            }),
            "properties" => {
                let properties = rule.as_object().expect("properties are an object");
                let closed = !schema.contains_key("additionalProperties");
                if let Some(object) = value.as_object() {
                    members(root, properties, closed, object, path, found);
                }
                true
            }
            "additionalProperties" => {
                let described = |key: &String| {
                    schema.get("properties").is_some_and(|listed| listed.get(key).is_some())
                };
                let others = value.as_object().into_iter().flatten();
                for (key, value) in others.filter(|(key, _)| !described(key)) {
                    validate(root, rule, value, &format!("{path}.{key}"), found);
                }
                true
            }
            _ => panic!("{path}: this validator does not know {keyword}"),
        };
        if !fits {
            found.push(format!("{path}: {value} does not fit {keyword} {rule}"));
        }
    }
}

/// The members of an object; if it is `closed`, each must be described.
fn members(
    root: &Value,
    properties: &Map<String, Value>,
    closed: bool,
    object: &Map<String, Value>,
    path: &str,
    found: &mut Vec<String>,
) {
    for (key, value) in object {
        let path = format!("{path}.{key}");
        match properties.get(key) {
            Some(schema) => validate(root, schema, value, &path, found),
            None if closed => found.push(format!("{path} is not described")),
            None => {}
        }
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => panic!("there is no type {name}"),
    }
}
