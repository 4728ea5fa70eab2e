//! What is wrong here, by what was measured, and what would help; what would change nothing.
//!
//! Pure: [`facts`] is everything that was gathered, each fact known or with the reason why it is
//! not; a file of [`rules`] looks at facts and finds something or nothing; [`myths`] are claims
//! about TIME_WAIT, each beside the number of this host that decides it; [`audit`] is every
//! setting as it runs.

pub mod audit;
pub mod command;
pub mod facts;
pub mod finding;
pub mod gathering;
pub mod myths;
pub mod rules;
mod words;

use schemars::JsonSchema;
use serde::Serialize;

use self::{audit::Setting, facts::Facts, finding::Finding, myths::Myth};
use crate::stats::snapshot::Host;

/// Everything that the doctor has to say.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The version of this contract.
    pub schema: u32,
    /// When the last of the facts was gathered: RFC 3339, UTC.
    pub time: String,
    /// Where.
    pub host: Host,
    /// Over how many seconds.
    pub window_s: f64,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Claims and what is true here.
    pub myths: Vec<Myth>,
    /// Each setting of each namespace that decides anything about TIME_WAIT and its neighbours,
    /// whether anything is wrong with it or not.
    pub audit: Vec<Setting>,
    /// What could not be looked at, and why.
    pub unknown: Vec<Unknown>,
}

/// A fact that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unknown {
    /// Which.
    pub what: &'static str,
    /// Why not.
    pub why: String,
}

/// What follows from the facts.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    Diagnosis {
        schema: 1,
        time: facts.snapshot.time.clone(),
        host: facts.snapshot.host.clone(),
        window_s: facts.snapshot.elapsed_s,
        findings: rules::findings(facts),
        myths: myths::myths(facts),
        audit: audit::audit(facts),
        unknown: facts.unknown(),
    }
}
