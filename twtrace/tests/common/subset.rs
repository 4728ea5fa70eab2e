//! Comparing JSON: every key that is expected must be there, and equal.

use serde_json::Value;

/// What differs, one line each; empty if nothing does.
///
/// Objects may have more keys than expected; lists have as many elements.
pub(crate) fn differences(expected: &Value, seen: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, seen, &mut found);
    found
}

fn compare(path: &str, expected: &Value, seen: &Value, found: &mut Vec<String>) {
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => {
            for (key, expected) in expected {
                let path = format!("{path}.{key}");
                match seen.get(key) {
                    Some(seen) => compare(&path, expected, seen, found),
                    None => found.push(format!("{path} is missing, not {expected}")),
                }
            }
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() => {
            for (index, (expected, seen)) in expected.iter().zip(seen).enumerate() {
                compare(&format!("{path}[{index}]"), expected, seen, found);
            }
        }
        (Value::Number(expected), Value::Number(seen)) if equal(expected, seen) => {}
        _ if expected == seen => {}
        _ => found.push(format!("{path} is {seen}, not {expected}")),
    }
}

/// 1 and 1.0 are the same number; shares are compared to a millionth.
fn equal(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    match (a.as_u64(), b.as_u64()) {
        (Some(a), Some(b)) => a == b,
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-6,
            _ => false,
        },
    }
}
