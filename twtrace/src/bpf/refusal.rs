//! An obstacle, as a sentence with its fix.

use std::fmt;

/// Why something is not tried or did not work, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way.
    pub why: String,
    /// What the user can do; `None` if nothing on this kernel helps.
    pub fix: Option<String>,
    /// Whether it only follows from another one.
    pub is_consequence: bool,
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { why: why.into(), fix: Some(fix.into()), is_consequence: false }
    }

    pub(super) fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), fix: None, is_consequence: false }
    }

    pub(super) fn in_consequence(why: impl Into<String>) -> Self {
        Self { is_consequence: true, ..Self::for_good(why) }
    }
}

/// One line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}
