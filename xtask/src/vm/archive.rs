//! The suites of Debian, newest first, as far as they were opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use super::packages::{self, Image};
use super::series::Series;
use crate::apt::Suite;

/// The first that offers a series is asked for it, so that a kernel comes from the release whose
/// own it is before it comes from an older one's backports.
const SUITES: [&str; 7] = [
    "trixie-backports",
    "trixie-security",
    "trixie",
    "bookworm-security",
    "bookworm",
    "bullseye-security",
    "bullseye",
];

/// Packages tried in one suite: the newest are at times listed before they can be had.
const ATTEMPTS: usize = 8;

/// The suites; their lists are downloaded once.
pub(super) struct Archive {
    dir: PathBuf,
    /// None is a suite that could not be had
    opened: BTreeMap<&'static str, Option<Opened>>,
}

struct Opened {
    suite: Suite,
    listed: Vec<(String, String)>,
}

impl Archive {
    /// Suites whose lists will lie in `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, opened: BTreeMap::new() }
    }

    /// Unpacks the newest kernel of a series that can be had into `to`, which is emptied, and says
    /// what it was. Of the versions that are known already nothing is unpacked.
    pub(super) fn unpack(&mut self, series: Series, known: &[String], to: &Path) -> Result<Image> {
        let mut offered = BTreeSet::new();
        let mut failure = None;
        for name in SUITES {
            let Some(opened) = self.open(name) else { continue };
            offered.extend(packages::offered(&opened.listed));
            match opened.unpack(series, known, to) {
                Ok(Some(image)) => return Ok(image),
                Ok(None) => {}
                Err(error) => failure = Some(error.context(format!("no kernel {series}"))),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => bail!("{}", not_offered(series, &offered)),
        }
    }

    /// A suite that cannot be had is told once, and is no failure: another may have the kernel.
    fn open(&mut self, name: &'static str) -> Option<&Opened> {
        let dir = self.dir.join(name);
        let open = || {
            println!("reading the package lists of Debian's {name}");
            let left_out = |error: &Error| println!("left out: {}", error.root_cause());
            Opened::new(name, &dir).inspect_err(left_out).ok()
        };
        self.opened.entry(name).or_insert_with(open).as_ref()
    }
}

impl Opened {
    fn new(name: &str, dir: &Path) -> Result<Self> {
        let suite = Suite::open(name, dir)?;
        let listed = suite.versions(packages::PREFIX)?;
        Ok(Self { suite, listed })
    }

    /// None if the suite does not have the series.
    fn unpack(&self, series: Series, known: &[String], to: &Path) -> Result<Option<Image>> {
        let mut failure = None;
        for image in packages::of_series(&self.listed, series).into_iter().take(ATTEMPTS) {
            if known.contains(&image.version) {
                return Ok(Some(image));
            }
            println!("fetching {} {}", image.package, image.version);
            match self.unpack_image(&image, to) {
                Ok(()) => return Ok(Some(image)),
                Err(error) => {
                    println!("not to be had: {}", error.root_cause());
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    fn unpack_image(&self, image: &Image, to: &Path) -> Result<()> {
        // Parts of a kernel that could not be had whole must not get into another one.
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("cannot empty {}", to.display()))?;
        }
        let dependencies = self.suite.dependencies(&image.package, &image.version)?;
        for package in packages::with_parts(&image.package, dependencies) {
            self.suite.unpack(&package, &image.version, to)?;
        }
        Ok(())
    }
}

fn not_offered(series: Series, offered: &BTreeSet<Series>) -> String {
    if offered.is_empty() {
        return "no package lists of Debian could be read: see above, and check the network and \
                apt's sources"
            .into();
    }
    let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
    format!("Debian offers no kernel {series}: take one of {}", offered.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_nobody_offers_is_answered_with_those_there_are() {
        let series = |text: &str| text.parse().expect("X.Y is a series");
        let offered = BTreeSet::from([series("6.12"), series("6.1")]);
        let said = not_offered(series("6.3"), &offered);
        assert_eq!(said, "Debian offers no kernel 6.3: take one of 6.1 6.12");
        assert!(not_offered(series("6.3"), &BTreeSet::new()).contains("see above"));
    }
}
