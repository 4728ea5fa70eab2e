//! Single packages from suites of Debian that the machine does not follow.
//!
//! Nothing of the machine's own apt is changed: the sources, the lists and the caches are private
//! to a directory. Signatures are checked as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::{command, user};

/// Where Debian keeps its keys; the second name is the newer one.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// How the names of Debian's suites of security updates end.
const SECURITY: &str = "-security";

/// A suite of Debian, read through private sources and lists.
pub(crate) struct Suite {
    dir: PathBuf,
    name: String,
}

impl Suite {
    /// Downloads the suite's package lists into `dir`, from the first of the machine's own
    /// mirrors that has the suite.
    pub(crate) fn open(name: &str, dir: &Path) -> Result<Self> {
        let suite = Self { dir: dir.to_owned(), name: name.to_owned() };
        for inner in ["lists/partial", "cache/archives/partial"] {
            let inner = dir.join(inner);
            fs::create_dir_all(&inner)
                .with_context(|| format!("cannot create {}", inner.display()))?;
        }
        let mut failure = anyhow!("apt knows no Debian mirror on this machine");
        for mirror in mirrors(name)? {
            match suite.update(&mirror) {
                Ok(()) => return Ok(suite),
                Err(error) => failure = error,
            }
        }
        Err(failure.context(format!("no package lists of Debian's {name}")))
    }

    /// Downloads the newest package whose version starts with `version` and unpacks it into `to`.
    pub(crate) fn unpack(&self, package: &str, version: &str, to: &Path) -> Result<()> {
        let listed = command::capture(self.apt("apt-cache").args(["madison", package]))?;
        let full = newest(&listed, version).with_context(|| {
            format!("Debian's {} has no {package} of version {version}", self.name)
        })?;
        let request = format!("{package}={full}");
        // Nothing of an interrupted run may be taken for what was asked for.
        let scratch =
            tempfile::tempdir_in(&self.dir).context("cannot create a download directory")?;
        let mut download = self.apt("apt-get");
        command::capture(download.current_dir(&scratch).args(["download", &request]))?;
        let file = downloaded(scratch.path())?;
        command::capture(Command::new("dpkg").arg("-x").args([&file, to])).map(drop)
    }

    /// The packages whose names start so, each with every version that the suite has of it.
    pub(crate) fn versions(&self, prefix: &str) -> Result<Vec<(String, String)>> {
        let names = command::capture(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        if names.trim().is_empty() {
            return Ok(Vec::new());
        }
        let listed =
            command::capture(self.apt("apt-cache").arg("madison").args(names.split_whitespace()))?;
        Ok(parse_madison(&listed))
    }

    /// What that version of a package says it depends on, alternatives and versions left out.
    pub(crate) fn dependencies(&self, package: &str, version: &str) -> Result<Vec<String>> {
        let request = format!("{package}={version}");
        let shown = command::capture(self.apt("apt-cache").args(["show", &request]))?;
        Ok(parse_depends(&shown))
    }

    fn update(&self, mirror: &str) -> Result<()> {
        let line = source_line(mirror, &self.name, keyring());
        fs::write(self.sources(), line).context("cannot write a private list of sources")?;
        // Without this a mirror that cannot be reached is a warning, and the lists stay empty.
        let strict = ["-o", "APT::Update::Error-Mode=any"];
        command::capture(self.apt("apt-get").args(strict).arg("update")).map(drop)
    }

    fn apt(&self, program: &str) -> Command {
        let option = |key: &str, value: &Path| format!("{key}={}", value.display());
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .args(["-o", &option("Dir::Etc::SourceList", &self.sources())])
            .args(["-o", &option("Dir::Etc::SourceParts", Path::new("/dev/null"))])
            .args(["-o", &option("Dir::State::Lists", &self.dir.join("lists"))])
            .args(["-o", &option("Dir::Cache", &self.dir.join("cache"))]);
        command
    }

    fn sources(&self) -> PathBuf {
        self.dir.join("sources.list")
    }
}

fn downloaded(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).context("cannot read the download directory")?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .context("apt-get download left no package behind")
}

/// Installs what has those commands that are not in PATH, each named with its package; who is not
/// root is told how to.
pub(crate) fn provide(commands: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = commands
        .iter()
        .filter(|(program, _)| command::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    provide_packages(&missing)
}

/// Installs packages, if there are any; who is not root is told how to.
pub(crate) fn provide_packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !user::is_root() {
        bail!("packages are missing: run `sudo apt-get install {wanted}`");
    }
    eprintln!("installing {wanted}");
    install(missing)
}

fn install(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    if command::find("apt-get").is_none() {
        bail!("there is no apt-get here: install {wanted} with this system's own tool");
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    command::capture(apt().arg("update"))?;
    command::capture(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
        .map(drop)
}

/// The machine's own mirrors of the archive that has that suite, in the order of its sources.
pub(crate) fn mirrors(suite: &str) -> Result<Vec<String>> {
    let release = fs::read_to_string("/etc/os-release").context("this is not Debian")?;
    let codename = codename(&release).context("this is not Debian")?;
    // Needs no network, and unlike `indextargets` no lists either, which a fresh machine lacks.
    let uris = command::capture(
        Command::new("apt-get").env("LC_ALL", "C").args(["update", "--print-uris"]),
    )?;
    Ok(parse_mirrors(&uris, &sibling(codename, suite)))
}

/// The suite of the machine's own release that lies in the same archive: security updates are in
/// one of their own.
fn sibling(codename: &str, suite: &str) -> String {
    let ending = if suite.ends_with(SECURITY) { SECURITY } else { "" };
    format!("{codename}{ending}")
}

fn codename(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty())
}

/// The repositories that carry the suite of that exact name: this leaves out other archives and
/// most third parties; what is left and is no mirror of Debian fails its signature.
fn parse_mirrors(uris: &str, suite: &str) -> Vec<String> {
    let suffix = format!("/dists/{suite}/InRelease");
    let mut found = Vec::new();
    for line in uris.lines() {
        let uri = line.split_whitespace().next().unwrap_or_default().trim_matches('\'');
        if let Some(mirror) = uri.strip_suffix(&suffix)
            && !found.iter().any(|known| known == mirror)
        {
            found.push(mirror.to_owned());
        }
    }
    found
}

fn keyring() -> Option<&'static str> {
    KEYRINGS.into_iter().find(|path| Path::new(path).is_file())
}

/// Without a keyring of its own, apt checks against the keys it trusts anyway.
fn source_line(mirror: &str, suite: &str, keyring: Option<&str>) -> String {
    let options = keyring.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
    format!("deb {options}{mirror} {suite} main\n")
}

/// The first version in the output of `apt-cache madison`, newest first, of an upstream version.
fn newest<'a>(madison: &'a str, upstream: &str) -> Option<&'a str> {
    let of_upstream = |version: &&str| {
        version
            .strip_prefix(upstream)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-', '~']))
    };
    madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).find(of_upstream)
}

/// Names and versions in the output of `apt-cache madison`.
fn parse_madison(madison: &str) -> Vec<(String, String)> {
    let fields = |line: &str| {
        let mut fields = line.split('|').map(|field| field.trim().to_owned());
        Some((fields.next()?, fields.next()?))
    };
    madison.lines().filter_map(fields).collect()
}

/// The packages in the field `Depends` of a package's description, the first of alternatives.
fn parse_depends(description: &str) -> Vec<String> {
    let field = description.lines().find_map(|line| line.strip_prefix("Depends:"));
    let name = |one: &str| one.split_whitespace().next().map(str::to_owned);
    field.unwrap_or_default().split(',').filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URIS: &str = "\
'http://mirror.example/debian/dists/bookworm/InRelease' mirror_InRelease 0 
'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror-updates_InRelease 0 
'http://mirror.example/debian-security/dists/bookworm-security/InRelease' security_InRelease 0 
'http://mirror.example/debian/dists/bookworm/InRelease' again 0 
'http://other.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' packages 0 
'https://third.example/node/dists/nodistro/InRelease' third 0 
";

    const MADISON: &str = "\
  rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main
  rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main
  rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror.example/debian trixie-backports/main
";

    #[test]
    fn mirrors_are_those_of_the_suite_itself() {
        assert_eq!(parse_mirrors(URIS, "bookworm"), ["http://mirror.example/debian"]);
        assert!(parse_mirrors(URIS, "trixie").is_empty());
        assert!(parse_mirrors("", "bookworm").is_empty());
    }

    #[test]
    fn the_newest_package_of_a_version_is_taken() {
        assert_eq!(newest(MADISON, "1.95.0"), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(newest(MADISON, "1.95"), None);
        assert_eq!(newest("", "1.95.0"), None);
    }

    #[test]
    fn security_updates_come_from_their_own_archive() {
        let mirrors = |suite| parse_mirrors(URIS, &sibling("bookworm", suite));
        assert_eq!(mirrors("bullseye-security"), ["http://mirror.example/debian-security"]);
        assert_eq!(mirrors("trixie-backports"), ["http://mirror.example/debian"]);
    }

    #[test]
    fn packages_are_listed_with_their_versions() {
        let listed = parse_madison(MADISON);
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[1], ("rust-src".into(), "1.95.0+dfsg1-2~bpo13+1".into()));
        assert!(parse_madison("").is_empty());
    }

    #[test]
    fn dependencies_are_names() {
        let shown = "Package: a\nDepends: dracut | initramfs, base (= 1-2), kmod\nSize: 1\n";
        assert_eq!(parse_depends(shown), ["dracut", "base", "kmod"]);
        assert!(parse_depends("Package: a\n").is_empty());
    }

    #[test]
    fn the_codename_is_read_with_and_without_quotes() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\n"), Some("trixie"));
        assert_eq!(codename("ID=arch\n"), None);
        assert_eq!(codename("VERSION_CODENAME=\n"), None);
    }

    #[test]
    fn a_source_names_its_keyring_when_there_is_one() {
        let with = source_line("http://mirror.example/debian", "sid", Some("/k.gpg"));
        assert_eq!(with, "deb [signed-by=/k.gpg] http://mirror.example/debian sid main\n");
        let without = source_line("http://mirror.example/debian", "sid", None);
        assert_eq!(without, "deb http://mirror.example/debian sid main\n");
    }
}
