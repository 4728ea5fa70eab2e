//! What became of one task in one machine.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::frame::Frames;

/// The exit code of what the time limit ended.
const KILLED: i32 = 137;

/// What a task left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code
    pub(super) code: i32,
    /// How long it took
    pub(super) seconds: u64,
    /// What it printed
    pub(super) out: String,
    /// What it complained about
    pub(super) err: String,
}

/// What the selftest found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It ran
    Cases(Cases),
    /// It did not tell, for this reason
    None(String),
}

/// The cases of a selftest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cases {
    /// How many were as expected
    pub(super) passed: usize,
    /// How many were, as far as can be known on that kernel
    pub(super) inferred: usize,
    /// Those that were not
    pub(super) failed: Vec<Failure>,
}

/// A case that was not as expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its name
    pub(super) name: String,
    /// What is wrong, in words
    pub(super) why: String,
    /// What there should have been
    pub(super) expected: Value,
    /// What there was
    pub(super) seen: Value,
}

impl Ended {
    /// None if the machine went down before the task had ended.
    pub(super) fn of(frames: &Frames, task: &str) -> Option<Self> {
        let text = |what: &str| frames.text(&format!("{task}.{what}"));
        let code = text("code")?;
        let (code, seconds) = code.split_once(' ')?;
        Some(Self {
            code: code.parse().ok()?,
            seconds: seconds.parse().ok()?,
            out: text("out")?,
            err: text("err")?,
        })
    }
}

impl Answer {
    /// The answer of a selftest that ended.
    pub(super) fn of(ended: &Ended) -> Self {
        if ended.code == KILLED {
            return Self::None(format!("ended after {} s, which is too long", ended.seconds));
        }
        match cases(&ended.out) {
            // Something is wrong that it did not tell.
            Ok(cases) if ended.code != 0 && cases.failed.is_empty() => {
                Self::None(format!("exit {} without a failing case", ended.code))
            }
            Ok(cases) => Self::Cases(cases),
            Err(error) => Self::None(match ended.err.lines().next_back() {
                Some(complaint) => complaint.to_owned(),
                None => format!("exit {}: {error:#}", ended.code),
            }),
        }
    }

    /// Whether nothing is wrong.
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Cases(cases) if cases.failed.is_empty())
    }
}

fn cases(json: &str) -> Result<Cases> {
    let report: Value = serde_json::from_str(json).context("the selftest printed no JSON")?;
    let list = report["cases"].as_array().context("the selftest printed no cases")?;
    if list.is_empty() {
        bail!("the selftest had no cases");
    }
    let mut cases = Cases::default();
    for case in list {
        match case["verdict"].as_str() {
            Some("pass") => cases.passed += 1,
            Some("inferred") => cases.inferred += 1,
            Some("fail") => cases.failed.push(Failure::of(case)),
            _ => bail!("the selftest gave a verdict that is not known here"),
        }
    }
    Ok(cases)
}

impl Failure {
    fn of(case: &Value) -> Self {
        let text = |key: &str| case[key].as_str().unwrap_or("?").to_owned();
        Self {
            name: text("name"),
            why: text("why"),
            expected: case["expected"].clone(),
            seen: case["seen"].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(code: i32, out: &str, err: &str) -> Ended {
        Ended { code, seconds: 7, out: out.into(), err: err.into() }
    }

    fn none(code: i32, out: &str, err: &str) -> String {
        match Answer::of(&ended(code, out, err)) {
            Answer::None(why) => why,
            Answer::Cases(cases) => panic!("an answer: {cases:?}"),
        }
    }

    #[test]
    fn verdicts_are_counted_and_failures_kept() {
        let report = json!({"kernel": "6.1", "tier": "fentry", "cases": [
            {"name": "a", "verdict": "pass", "expected": {}, "seen": {}},
            {"name": "b", "verdict": "inferred"},
            {"name": "c", "verdict": "fail", "why": "two", "expected": {"n": 1}, "seen": {"n": 2}},
        ]});
        let failure = Failure {
            name: "c".into(),
            why: "two".into(),
            expected: json!({"n": 1}),
            seen: json!({"n": 2}),
        };
        let answer = Answer::of(&ended(1, &report.to_string(), ""));
        assert!(!answer.is_good());
        let cases = Cases { passed: 1, inferred: 1, failed: vec![failure] };
        assert_eq!(answer, Answer::Cases(cases));
    }

    #[test]
    fn whatever_is_no_answer_says_why() {
        let pass = r#"{"cases": [{"name": "a", "verdict": "pass"}]}"#;
        assert!(Answer::of(&ended(0, pass, "a warning")).is_good());
        assert_eq!(none(1, pass, ""), "exit 1 without a failing case");
        assert_eq!(none(2, "", "warning: x\nerror: no BPF here"), "error: no BPF here");
        assert_eq!(none(0, "{}", ""), "exit 0: the selftest printed no cases");
        assert_eq!(none(137, pass, ""), "ended after 7 s, which is too long");
        assert!(none(0, r#"{"cases": [{"verdict": "new"}]}"#, "").contains("not known"));
        assert!(none(0, r#"{"cases": []}"#, "").contains("no cases"));
    }

    #[test]
    fn a_task_is_ended_when_all_of_it_arrived() {
        let frames = Frames::read(b"a.out 3\nyes\na.err 0\n\na.code 4\n1 42\nb.out 2\nno\n");
        let ended = Ended::of(&frames, "a").expect("all of it is there");
        assert_eq!((ended.code, ended.seconds), (1, 42));
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("yes", ""));
        assert_eq!(Ended::of(&frames, "b"), None);
    }
}
