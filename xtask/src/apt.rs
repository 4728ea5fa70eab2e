//! Single packages from suites of Debian that the machine does not follow.
//!
//! Nothing of the machine's own apt is changed: the sources, the lists and the caches are private
//! to a directory. Signatures are checked as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::command;

/// Where Debian keeps its keys; the second name is the newer one.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

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
        for mirror in mirrors()? {
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
        command::capture(self.apt("apt-get").args(["download", &request]))?;
        let file = self.downloaded()?;
        command::capture(Command::new("dpkg").arg("-x").args([&file, to]))?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
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

    fn downloaded(&self) -> Result<PathBuf> {
        let entries = fs::read_dir(&self.dir).context("cannot read the download directory")?;
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
            .context("apt-get download left no package behind")
    }
}

/// Installs what has those commands that are not in PATH, each named with its package; as root
/// only.
pub(crate) fn provide(commands: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = commands
        .iter()
        .filter(|(program, _)| command::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    install(&missing)
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

/// The machine's own mirrors of the Debian archive, in the order of its sources.
fn mirrors() -> Result<Vec<String>> {
    let release = fs::read_to_string("/etc/os-release").context("this is not Debian")?;
    let codename = codename(&release).context("this is not Debian")?;
    // Needs no network, and unlike `indextargets` no lists either, which a fresh machine lacks.
    let uris = command::capture(
        Command::new("apt-get").env("LC_ALL", "C").args(["update", "--print-uris"]),
    )?;
    Ok(parse_mirrors(&uris, codename))
}

fn codename(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty())
}

/// The repositories that carry the suite of that exact name: this leaves out security updates
/// and most third parties; what is left and is no mirror of Debian fails its signature.
fn parse_mirrors(uris: &str, codename: &str) -> Vec<String> {
    let suffix = format!("/dists/{codename}/InRelease");
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
