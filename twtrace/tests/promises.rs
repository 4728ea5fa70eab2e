//! Every promise in `docs/reliability.md` and `docs/security.md` names what holds it, and that is there.

use std::{collections::BTreeSet, fs, path::Path};

const DOCS: [&str; 2] = ["docs/reliability.md", "docs/security.md"];
/// Where a sentence and not a test holds: what is said there is what there is.
const POINTS_ELSEWHERE: &str = "](";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A test, as `file::name`, or a file of tests.
fn tests(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    quoted(text).filter_map(|word| match word.split_once(".rs::") {
        Some((file, name)) => Some((file, Some(name))),
        None => word.strip_suffix(".rs").map(|file| (file, None)),
    })
}

/// The rows of tables in which something is promised, below the heading and the line under it.
fn promises(text: &str) -> Vec<&str> {
    let rows: Vec<&str> = text.lines().collect();
    let promising = rows.iter().enumerate().filter(|(at, row)| {
        let heading = rows[..*at].iter().rev().take_while(|row| row.starts_with('|')).last();
        let holds = |row: &&&str| row.contains("| test |") || row.contains("| held by |");
        row.starts_with('|') && !row.starts_with("|--") && heading.as_ref().is_some_and(holds)
    });
    promising.map(|(_, row)| *row).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = BTreeSet::new();
    let mut named = 0;
    for doc in DOCS {
        for (file, name) in tests(&read(doc)) {
            named += 1;
            let path = format!("{file}.rs");
            let Ok(source) = fs::read_to_string(root().join(&path)) else {
                missing.insert(format!("{doc}: {path}"));
                continue;
            };
            // Its attribute is above it, or above the line that says why it is so.
            let is_test = name.is_none_or(|name| {
                let at = source.find(&format!("fn {name}("));
                at.is_some_and(|at| {
                    source[..at]
                        .trim_end()
                        .lines()
                        .rev()
                        .take(3)
                        .any(|line| line.trim() == "#[test]")
                })
            });
            if !is_test {
                missing.insert(format!("{doc}: {path}::{}", name.unwrap_or_default()));
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
    assert!(named > 50, "so many are named: {named}");
}

#[test]
fn every_command_that_is_named_exists() {
    let main = read("xtask/src/main.rs");
    for doc in DOCS {
        let text = read(doc);
        for command in quoted(&text).filter_map(|word| word.strip_prefix("cargo xtask ")) {
            let name = command.split(' ').next().expect("a word");
            let (first, rest) = name.split_at(1);
            let variant = format!("    {}{rest}(", first.to_uppercase());
            assert!(main.contains(&variant), "{doc}: cargo xtask {name}");
        }
    }
}

#[test]
fn every_promise_names_what_holds_it() {
    for doc in DOCS {
        let text = read(doc);
        let promises = promises(&text);
        assert!(promises.len() > 15, "{doc}: {promises:?}");
        for row in promises {
            let holds = tests(row).next().is_some() || row.contains("`cargo xtask ");
            assert!(holds || row.contains(POINTS_ELSEWHERE), "{doc}: nothing holds {row}");
        }
    }
}
