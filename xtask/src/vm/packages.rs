//! Which packages hold a kernel: pure, from what the package lists say.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::series::Series;

/// How the names of packages with kernels start.
pub(super) const PREFIX: &str = "linux-image-";

/// The flavour for virtual machines, half as large as the others; unsigned is the same kernel.
const FLAVOURS: [&str; 2] = ["-cloud-amd64", "-cloud-amd64-unsigned"];

/// A package with a kernel, or with the parts of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Its name
    pub(super) package: String,
    /// Its version, which is more exact than the name
    pub(super) version: String,
}

/// The kernels of a series among packages and their versions, the newest first.
pub(super) fn of_series(listed: &[(String, String)], series: Series) -> Vec<Image> {
    let mut images: Vec<Image> = listed
        .iter()
        .filter(|(package, _)| series_of(package) == Some(series))
        .map(|(package, version)| Image { package: package.clone(), version: version.clone() })
        .collect();
    images.sort_by_key(|image| (Reverse(numbers(&image.version)), image.package.clone()));
    images.dedup();
    images
}

/// The series that there are.
pub(super) fn offered(listed: &[(String, String)]) -> BTreeSet<Series> {
    listed.iter().filter_map(|(package, _)| series_of(package)).collect()
}

/// The packages that hold the kernel: since 7.x the image is empty and depends on them.
pub(super) fn with_parts(image: &str, dependencies: Vec<String>) -> Vec<String> {
    let is_part =
        |name: &String| ["linux-binary-", "linux-modules-"].iter().any(|of| name.starts_with(of));
    let mut packages = vec![image.to_owned()];
    packages.extend(dependencies.into_iter().filter(is_part));
    packages
}

/// What orders versions of one suite: the numbers in them. What Debian's own order knows beyond
/// that, tildes and letters, is the same in all kernels of a suite.
pub(super) fn numbers(version: &str) -> Vec<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|number| number.parse().ok()).collect()
}

/// None for packages that only depend on the newest kernel, and for debug symbols.
fn series_of(package: &str) -> Option<Series> {
    let rest = package.strip_prefix(PREFIX)?;
    let release = FLAVOURS.iter().find_map(|flavour| rest.strip_suffix(flavour))?;
    Series::of(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<(String, String)> {
        [
            ("linux-image-6.12-cloud-amd64", "6.12.111-1"),
            ("linux-image-6.12.90+deb13.1-cloud-amd64", "6.12.90-2"),
            ("linux-image-6.12.111+deb13-cloud-amd64-unsigned", "6.12.111-1"),
            ("linux-image-6.12.111+deb13-cloud-amd64", "6.12.111-1"),
            ("linux-image-6.12.111+deb13-cloud-amd64", "6.12.111-1"),
            ("linux-image-6.12.111+deb13-cloud-amd64-dbg", "6.12.111-1"),
            ("linux-image-6.12.111+deb13-rt-amd64", "6.12.111-1"),
            ("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"),
            ("linux-image-cloud-amd64", "6.12.111-1"),
        ]
        .map(|(package, version)| (package.to_owned(), version.to_owned()))
        .to_vec()
    }

    fn names(series: &str) -> Vec<String> {
        let series = series.parse().expect("X.Y is a series");
        of_series(&listed(), series).into_iter().map(|image| image.package).collect()
    }

    #[test]
    fn the_newest_kernel_of_a_series_comes_first() {
        assert_eq!(
            names("6.12"),
            [
                "linux-image-6.12.111+deb13-cloud-amd64",
                "linux-image-6.12.111+deb13-cloud-amd64-unsigned",
                "linux-image-6.12.90+deb13.1-cloud-amd64",
            ]
        );
        assert_eq!(names("6.1"), ["linux-image-6.1.0-56-cloud-amd64"]);
        assert!(names("6.2").is_empty());
    }

    #[test]
    fn what_is_offered_is_listed_in_order() {
        let offered: Vec<String> = offered(&listed()).iter().map(ToString::to_string).collect();
        assert_eq!(offered, ["6.1", "6.12"]);
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert!(numbers("6.12.111-1") > numbers("6.12.90-2"));
        assert!(numbers("6.12.115-2") > numbers("6.12.115-1"));
        assert!(numbers("7.2.12-1~bpo13+1") > numbers("7.2.9-1~bpo13+1"));
    }

    #[test]
    fn an_image_in_parts_brings_them() {
        let depends = ["dracut", "linux-base-7.2", "linux-binary-7.2", "linux-modules-7.2"];
        let packages = with_parts("linux-image-7.2", depends.map(str::to_owned).to_vec());
        assert_eq!(packages, ["linux-image-7.2", "linux-binary-7.2", "linux-modules-7.2"]);
    }
}
