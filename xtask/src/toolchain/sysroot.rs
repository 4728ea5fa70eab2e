//! A sysroot of our own, so that the object does not depend on where anything is installed.
//!
//! Cargo hashes the path of each crate of the library into its symbols: relative to what rustc
//! says is its sysroot if the crate lies in it, else absolute. In this sysroot the relative path
//! is always the same, wherever the source comes from, and nobody's toolchain is written to.
//! The flag `--sysroot` would do it for the crates of the target alone; the library's build
//! scripts are compiled for the host, without those flags, and their hashes count too.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Rustc;
use super::library::IN_SYSROOT;

/// Links the library's source and the compiled library of the host into one directory.
pub(super) fn lay_out(rustc: &Rustc, source: &Path, tools: &Path) -> Result<PathBuf> {
    let sysroot = tools.join("sysroot");
    let host = Path::new("lib/rustlib").join(&rustc.version.host);
    link(&rustc.sysroot().join(&host), &sysroot.join(&host))?;
    link(source, &sysroot.join(IN_SYSROOT))?;
    Ok(sysroot)
}

/// A program that is the compiler with that sysroot, whatever cargo compiles for.
pub(super) fn shim(rustc: &Rustc, sysroot: &Path, tools: &Path) -> Result<PathBuf> {
    let file = tools.join("rustc");
    let content = script(&rustc.tool("rustc"), sysroot)?;
    // Cargo takes a newer compiler for another one and compiles everything again.
    if fs::read_to_string(&file).is_ok_and(|known| known == content) {
        return Ok(file);
    }
    let failed = || format!("cannot write {}", file.display());
    fs::write(&file, content).with_context(failed)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).with_context(failed)?;
    Ok(file)
}

fn script(rustc: &Path, sysroot: &Path) -> Result<String> {
    let (rustc, sysroot) = (quoted(rustc)?, quoted(sysroot)?);
    Ok(format!("#!/bin/sh\nexec {rustc} --sysroot {sysroot} \"$@\"\n"))
}

fn quoted(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8: use another folder", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// Makes `link` lead to `target`, whatever it led to before.
fn link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|known| known == target) {
        return Ok(());
    }
    let failed = || format!("cannot make {} a link to {}", link.display(), target.display());
    fs::create_dir_all(link.parent().unwrap_or(link)).with_context(failed)?;
    if link.is_symlink() {
        fs::remove_file(link).with_context(failed)?;
    }
    symlink(target, link).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_follows_its_target() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("in/a/link");
        for target in ["one", "one", "two"] {
            link(Path::new(target), &file).expect("a link can be made");
            assert_eq!(fs::read_link(&file).expect("the link is there"), Path::new(target));
        }
    }

    #[test]
    fn paths_are_safe_from_the_shell() {
        let script = script(Path::new("/it's/rustc"), Path::new("/a b")).expect("UTF-8");
        assert_eq!(script, "#!/bin/sh\nexec '/it'\\''s/rustc' --sysroot '/a b' \"$@\"\n");
    }
}
