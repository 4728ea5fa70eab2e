//! The files that are packed, as one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// What lies in the repository and is packed as it is.
const COPIED: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "contrib"];
/// The shells that have completions, and what their files are called.
const SHELLS: [(&str, &str); 3] =
    [("bash", "twtrace"), ("zsh", "_twtrace"), ("fish", "twtrace.fish")];

/// The folder:
///
/// ```text
/// twtrace                      the program
/// man/twtrace.1 …              a page for each subcommand
/// completions/bash/twtrace …   for each shell
/// THIRD-PARTY                  notices of what is linked in
/// contrib/ README.md …         as in the repository
/// ```
pub(super) struct Tree(PathBuf);

impl Tree {
    /// Copies what is there, and lets the program write the rest: it knows its own arguments.
    pub(super) fn lay_out(root: &Path, program: &Path, folder: &Path) -> Result<Self> {
        let inner = |name: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            Ok(path)
        };
        let manual = inner("man")?;
        fs::copy(program, folder.join("twtrace")).context("cannot copy the program")?;
        command::capture(Command::new(program).arg("manual").arg(manual))?;
        for (shell, name) in SHELLS {
            let script = command::capture(Command::new(program).args(["completions", shell]))?;
            let path = inner(&format!("completions/{shell}"))?.join(name);
            fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        }
        for name in COPIED {
            command::capture(Command::new("cp").arg("-r").arg(root.join(name)).arg(folder))?;
        }
        Ok(Self(folder.to_owned()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}
