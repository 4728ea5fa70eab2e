//! A series of kernels: all patch levels of X.Y.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

/// X.Y, as typed and as compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl Series {
    /// The series of a release or a version that starts with X.Y and goes on.
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.splitn(3, '.');
        let (major, minor) = (parts.next()?, parts.next()?);
        parts.next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl FromStr for Series {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || format!("`{text}` is no series of kernels: X.Y is wanted, as in 6.12");
        let (major, minor) = text.split_once('.').with_context(wrong)?;
        let number = |part: &str| part.parse().with_context(wrong);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        text.parse().expect("X.Y is a series")
    }

    #[test]
    fn a_version_belongs_to_a_series() {
        assert_eq!(Series::of("6.12.117-1"), Some(series("6.12")));
        assert_eq!(Series::of("5.10.0-43"), Some(series("5.10")));
        assert_eq!(Series::of("6.12"), None);
        assert_eq!(Series::of("cloud"), None);
    }

    #[test]
    fn only_x_y_is_typed() {
        assert_eq!(series("7.2").to_string(), "7.2");
        for text in ["6", "6.", "6.12.1", "six.one", ""] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }

    #[test]
    fn series_are_ordered_as_numbers() {
        assert!(series("5.10") < series("6.1") && series("6.1") < series("6.12"));
    }
}
