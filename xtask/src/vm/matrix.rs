//! What the selftest found on every kernel with every tier, as text.

use super::answer::{Answer, Cases, Failure};

/// The table and what led to it.
pub(super) struct Matrix {
    /// The columns
    pub(super) tiers: Vec<String>,
    /// A row for each kernel
    pub(super) rows: Vec<Row>,
}

/// One kernel.
pub(super) struct Row {
    /// What `uname -r` says, or the series if the kernel did not get that far
    pub(super) release: String,
    /// The version of its package
    pub(super) version: String,
    /// One for each tier, in the same order
    pub(super) answers: Vec<Answer>,
}

impl Matrix {
    /// The table, as Markdown that can be read as it is.
    pub(super) fn table(&self) -> String {
        let mut header = vec!["kernel".to_owned(), "package".to_owned()];
        header.extend(self.tiers.iter().cloned());
        let mut lines = vec![header];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..lines[0].len()).map(|at| width(&lines, at)).collect();
        lines.insert(1, widths.iter().map(|&width| "-".repeat(width)).collect());
        lines.iter().map(|cells| line(cells, &widths)).collect()
    }

    /// Each case that failed, in full; empty if there is none.
    pub(super) fn failures(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (tier, answer) in self.tiers.iter().zip(&row.answers) {
                let Answer::Cases(Cases { failed, .. }) = answer else { continue };
                text.extend(failed.iter().map(|failure| detail(&row.release, tier, failure)));
            }
        }
        text
    }

    /// What is wrong with each tier.
    pub(super) fn wrong_in_words(&self) -> Vec<String> {
        let of_row = |row: &Row| {
            let pairs = self.tiers.iter().zip(&row.answers);
            let wrong = pairs.filter(|(_, answer)| !answer.is_good());
            wrong.map(|(tier, answer)| format!("{tier}, {}", cell(answer))).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of_row).collect()
    }

    /// Kernels and tiers with something wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        let of_row = |row: &Row| {
            let pairs = self.tiers.iter().zip(&row.answers);
            let wrong = pairs.filter(|(_, answer)| !answer.is_good());
            wrong.map(|(tier, _)| format!("{} {tier}", row.release)).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of_row).collect()
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.release.clone(), self.version.clone()];
        cells.extend(self.answers.iter().map(|answer| cell(answer).replace('|', "/")));
        cells
    }
}

fn cell(answer: &Answer) -> String {
    match answer {
        Answer::None(why) => format!("no answer: {why}"),
        Answer::Cases(Cases { passed, inferred: 0, failed }) if failed.is_empty() => {
            format!("{passed} pass")
        }
        Answer::Cases(Cases { passed, inferred, failed }) if failed.is_empty() => {
            format!("{passed} pass, {inferred} inferred")
        }
        Answer::Cases(Cases { failed, .. }) => {
            let names: Vec<&str> = failed.iter().map(|failure| failure.name.as_str()).collect();
            format!("FAIL: {}", names.join(", "))
        }
    }
}

fn detail(release: &str, tier: &str, failure: &Failure) -> String {
    let Failure { name, why, expected, seen } = failure;
    format!("{release} {tier} {name}: {why}\n  expected {expected}\n  seen     {seen}\n")
}

fn width(lines: &[Vec<String>], at: usize) -> usize {
    lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0)
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, &width)| format!(" {cell:<width$} |"));
    format!("|{}\n", padded.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matrix() -> Matrix {
        let good = |inferred| Answer::Cases(Cases { passed: 31, inferred, failed: vec![] });
        let failure = |name: &str| Failure {
            name: name.into(),
            why: "one too many".into(),
            expected: json!({"births": 1}),
            seen: json!({"births": 2}),
        };
        let failed = vec![failure("reuse"), failure("reset")];
        let row = |release: &str, answers| Row {
            release: release.into(),
            version: "1-2".into(),
            answers,
        };
        Matrix {
            tiers: vec!["fentry".into(), "tracepoint".into()],
            rows: vec![
                row("6.1.0", vec![good(0), good(6)]),
                row(
                    "7.2",
                    vec![
                        Answer::Cases(Cases { passed: 1, inferred: 0, failed }),
                        Answer::None("a|b".into()),
                    ],
                ),
            ],
        }
    }

    #[test]
    fn a_row_is_a_kernel_and_a_column_a_tier() {
        let table = "\
| kernel | package | fentry             | tracepoint          |
| ------ | ------- | ------------------ | ------------------- |
| 6.1.0  | 1-2     | 31 pass            | 31 pass, 6 inferred |
| 7.2    | 1-2     | FAIL: reuse, reset | no answer: a/b      |
";
        assert_eq!(matrix().table(), table);
    }

    #[test]
    fn failures_are_told_in_full() {
        let told = matrix().failures();
        let first = "7.2 fentry reuse: one too many\n  expected {\"births\":1}\n  \
                     seen     {\"births\":2}\n";
        assert!(told.starts_with(first), "{told}");
        assert_eq!(told.lines().count(), 6);
    }

    #[test]
    fn failing_and_not_answering_are_both_wrong() {
        assert_eq!(matrix().wrong(), ["7.2 fentry", "7.2 tracepoint"]);
    }
}
