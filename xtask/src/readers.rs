//! What reads what twtrace writes: the data frames of Python, and a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{apt, command};

/// Debian's own Python, the modules of which Debian's packages are.
const PYTHON: &str = "/usr/bin/python3";
/// What the tests run, or import, and Debian's packages that have it.
const COMMANDS: [(&str, &str); 2] = [("chromium", "chromium"), ("chromedriver", "chromium-driver")];
const MODULES: [(&str, &str); 2] =
    [("selenium", "python3-selenium"), ("ensurepip", "python3-venv")];
/// What is taken from PyPI, by exact version.
const REQUIREMENTS: &str = "tests/dataframes/requirements.txt";

/// Installs Python, the browser, and what steers it.
pub(crate) fn provide() -> Result<()> {
    let missing = |(module, _): &&(&str, &str)| {
        let import = format!("import {module}");
        !Command::new(PYTHON).args(["-c", &import]).output().is_ok_and(|it| it.status.success())
    };
    let packages: Vec<&str> = MODULES.iter().filter(missing).map(|(_, package)| *package).collect();
    apt::provide_packages(&packages)?;
    apt::provide(&COMMANDS)
}

/// A Python that has pandas, pyarrow, polars and DuckDB; made below `target/` the first time.
pub(crate) fn data_frames(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/data-frames");
    let (python, done) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = fs::read(root.join(REQUIREMENTS)).context(REQUIREMENTS)?;
    if fs::read(&done).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }
    command::run(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    command::run(install.arg(root.join(REQUIREMENTS)))?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}
