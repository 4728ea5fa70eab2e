//! Something that is wrong.

use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does no harm, and not what it is there for.
    Info,
    /// It costs more than it should, or will fail if it goes on.
    Notice,
    /// It is about to fail.
    Warning,
    /// It fails.
    Critical,
}

impl Severity {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Which rule found it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The network namespace that it is about, if it is about one.
    pub netns: Option<u32>,
    /// The process that it is about, if that is known.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// What was measured.
    pub what: String,
    /// Why that matters: the kernel's rule.
    pub why: String,
    /// What to do in the application, which comes first.
    pub do_first: String,
    /// What to do in the kernel then, where that helps here.
    pub then: Vec<Remedy>,
    /// What is often advised and would change nothing here.
    pub futile: Vec<Futile>,
    /// How to see that it worked.
    pub check: String,
}

/// A command that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Remedy {
    /// The exact command for this host.
    pub command: String,
    /// What it does, and what else.
    pub side_effects: String,
}

/// Advice that would change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Futile {
    /// The advice.
    pub advice: String,
    /// Why not.
    pub because: String,
}

impl Futile {
    /// This advice is futile, because.
    pub(super) fn new(advice: &str, because: String) -> Self {
        Self { advice: advice.to_owned(), because }
    }
}

/// A process in words.
pub(super) fn process(comm: Option<&str>, pid: Option<u32>) -> Option<String> {
    let comm = comm?;
    Some(pid.map_or(comm.to_owned(), |pid| format!("{comm} (pid {pid})")))
}
