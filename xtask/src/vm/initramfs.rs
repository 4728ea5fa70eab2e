//! What a virtual machine has instead of a disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::PT_INTERP;
use object::read::elf::{ElfFile64, ProgramHeader};

use super::kernel::Kernel;
use super::task::Tasks;
use crate::command;
use crate::dist::program;

const INIT: &str = include_str!("init.sh");

/// The programs inside.
pub(super) struct Programs {
    twtrace: PathBuf,
    /// What makes connections
    peer: PathBuf,
    busybox: PathBuf,
}

impl Programs {
    /// Builds ours; busybox is the machine's own, and has to be a static one.
    pub(super) fn build(root: &Path) -> Result<Self> {
        let busybox = command::find("busybox").context("busybox is not in PATH")?;
        let content =
            fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
        if !is_static(&content)? {
            bail!("{} needs libraries: run `apt-get install busybox-static`", busybox.display());
        }
        println!("building a static twtrace");
        Ok(Self { twtrace: program::build(root)?, peer: program::build_peer(root)?, busybox })
    }
}

/// Lays out everything that the machine needs in `dir` and packs it into an archive beside it.
pub(super) fn pack(
    programs: &Programs,
    kernel: &Kernel,
    tasks: &Tasks,
    dir: &Path,
) -> Result<PathBuf> {
    let root = dir.join("root");
    lay_out(programs, kernel, tasks, &root)
        .with_context(|| format!("cannot lay out {}", root.display()))?;
    let archive = dir.join("initramfs");
    archive_into(&root, &archive)?;
    Ok(archive)
}

fn lay_out(programs: &Programs, kernel: &Kernel, tasks: &Tasks, root: &Path) -> Result<()> {
    for inner in ["bin", "modules", "tasks"] {
        fs::create_dir_all(root.join(inner))?;
    }
    fs::copy(&programs.busybox, root.join("bin/busybox"))?;
    fs::copy(&programs.twtrace, root.join("bin/twtrace"))?;
    fs::copy(&programs.peer, root.join("bin/twtrace-peer"))?;
    symlink("busybox", root.join("bin/sh"))?;

    let mut order = String::new();
    for module in kernel.modules() {
        let name = module.file_name().context("a module is a file")?;
        fs::copy(&module, root.join("modules").join(name))?;
        order += &format!("{}\n", name.to_string_lossy());
    }
    fs::write(root.join("modules/order"), order)?;
    for task in &tasks.list {
        fs::write(root.join("tasks").join(&task.name), &task.script)?;
    }
    fs::write(root.join("limit"), tasks.limit.as_secs().to_string())?;
    let init = root.join("init");
    fs::write(&init, INIT)?;
    Ok(fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?)
}

/// Not compressed: the emulated processor would take longer to unpack it than qemu to load it.
fn archive_into(root: &Path, archive: &Path) -> Result<()> {
    let names = command::capture(Command::new("find").arg(".").current_dir(root))?;
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0", "-F"])
        .arg(archive)
        .current_dir(root)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start cpio")?;
    let mut input = cpio.stdin.take().context("cpio has no input")?;
    input.write_all(names.as_bytes()).context("cpio takes no names")?;
    drop(input);
    if !cpio.wait().context("cpio cannot be waited for")?.success() {
        bail!("cpio failed: see above");
    }
    Ok(())
}

/// A program that names no loader needs none.
fn is_static(program: &[u8]) -> Result<bool> {
    let elf = ElfFile64::<Endianness>::parse(program).context("busybox is no 64-bit program")?;
    let mut headers = elf.elf_program_headers().iter();
    Ok(!headers.any(|header| header.p_type(elf.endian()) == PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_libraries() {
        let own = std::env::current_exe().expect("a test is a program");
        assert!(!is_static(&fs::read(own).expect("it can be read")).expect("it is ELF"));
        assert!(is_static(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn the_init_is_a_script_for_the_shell_that_is_there() {
        let mut shell = Command::new("sh").args(["-n"]).stdin(Stdio::piped()).spawn();
        let shell = shell.as_mut().expect("there is a shell");
        let mut input = shell.stdin.take().expect("it is piped");
        input.write_all(INIT.as_bytes()).expect("it reads");
        drop(input);
        assert!(shell.wait().expect("it ends").success());
        assert!(INIT.starts_with("#!/bin/busybox sh\n"));
    }
}
