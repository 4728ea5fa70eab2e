//! One kernel, and what came of booting it.

use anyhow::Result;

use super::answer::{Answer, Ended};
use super::boot::Heard;
use super::churn::Churn;
use super::kernel::Kernel;
use super::matrix::Row;
use super::tiers::TierCost;

/// A machine that was booted, or could not be.
pub(super) struct Run<'a> {
    kernel: &'a Kernel,
    heard: Result<Heard>,
}

impl<'a> Run<'a> {
    /// What was heard of a kernel. What went wrong when it was set up is told now: the tasks may
    /// have done without.
    pub(super) fn new(kernel: &'a Kernel, heard: Result<Heard>) -> Self {
        if let Ok(heard) = &heard {
            let setup = heard.frames.text("setup").unwrap_or_default();
            setup.lines().for_each(|line| println!("{}, setting up: {line}", kernel.version));
        }
        Self { kernel, heard }
    }

    /// What came of the connections with each of the tiers, and what the hooks cost.
    pub(super) fn churned(&self, tiers: &[String]) -> (Row, Vec<TierCost>) {
        let churned =
            tiers.iter().map(|tier| match self.ended(tier).map(|ended| Churn::of(&ended)) {
                Ok(Ok(Churn { cases, costs })) => (Answer::Cases(cases), costs),
                Ok(Err(error)) => (Answer::None(format!("{error:#}")), Vec::new()),
                Err(why) => (Answer::None(why), Vec::new()),
            });
        let (answers, hooks): (_, Vec<_>) = churned.unzip();
        let of_tier = |(tier, hooks): (&String, _)| TierCost { tier: tier.clone(), hooks };
        let costs = tiers.iter().zip(hooks).map(of_tier).collect();
        (Row { release: self.release(), version: self.kernel.version.clone(), answers }, costs)
    }

    /// The release and the package.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.release(), self.kernel.version)
    }

    /// How a task ended, or why it did not.
    pub(super) fn ended(&self, task: &str) -> Result<Ended, String> {
        let heard = self.heard.as_ref().map_err(|error| format!("{error:#}"))?;
        let unknown = || heard.trouble.clone().unwrap_or_else(|| "it left no trace".into());
        Ended::of(&heard.frames, task).ok_or_else(unknown)
    }

    /// What the selftest said with each of the tiers.
    pub(super) fn row(&self, tiers: &[String]) -> Row {
        let answer = |tier: &String| match self.ended(tier) {
            Ok(ended) => Answer::of(&ended),
            Err(why) => Answer::None(why),
        };
        Row {
            release: self.release(),
            version: self.kernel.version.clone(),
            answers: tiers.iter().map(answer).collect(),
        }
    }

    /// The series, of a kernel that did not tell its release.
    fn release(&self) -> String {
        let told = self.heard.as_ref().ok().and_then(|heard| heard.frames.text("release"));
        told.unwrap_or_else(|| self.kernel.series.to_string())
    }
}
