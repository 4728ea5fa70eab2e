//! The command that `ports` measures, in a cgroup of its own, or that `record` records: heard
//! to its end.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{self, Child, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{Access, access},
    process::{Pid, Signal, kill_process},
};
use thiserror::Error;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::oneshot,
};

use super::run::Ends;
use crate::{
    cli::{COMMAND, CommandArgs},
    config,
    host::{self, CommandCgroup},
};

/// What shells exit with for a command that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
/// What shells add to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;
/// Where shells look when nobody says where.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How often we look whether a command has left anything running.
const LOOK: Duration = Duration::from_millis(20);

/// A command cannot be run.
#[derive(Debug, Error)]
#[error("cannot run {program}: {why}")]
pub struct CannotRun {
    program: String,
    why: String,
    /// What to exit with.
    pub exit_code: u8,
}

impl CannotRun {
    fn new(program: &OsStr, error: &io::Error) -> Self {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let why =
            if is_missing { "there is no such command".to_owned() } else { error.to_string() };
        Self {
            program: program.to_string_lossy().into_owned(),
            why,
            exit_code: if is_missing { NOT_FOUND } else { NOT_RUN },
        }
    }
}

/// A command, and what it needs to be measured alone.
pub(super) struct Measured {
    words: Vec<OsString>,
    open_files: Option<u64>,
    cgroup: Option<CommandCgroup>,
    running: Option<Running>,
    status: Option<ExitStatus>,
}

struct Running {
    child: Child,
    /// A child of ours, which has none but this one, may have ended.
    changed: unix::Signal,
}

impl Measured {
    /// A command that can be run, to all appearance, but does not run yet.
    pub(super) fn new(command: &config::Command) -> Result<Self, CannotRun> {
        let words = command.words.clone();
        let program = words.first().cloned().unwrap_or_default();
        find(&program).map_err(|error| CannotRun::new(&program, &error))?;
        let open_files = command.open_files;
        Ok(Self { words, open_files, cgroup: None, running: None, status: None })
    }

    /// Makes the cgroup that it will run in, and tries it out.
    pub(super) fn isolate(&mut self) -> Result<&CommandCgroup> {
        let cgroup = CommandCgroup::new(process::id())?;
        // Who may make a cgroup need not be allowed to move a process there.
        let tried = launch(Some(&cgroup), None, &[]).and_then(|mut child| child.wait());
        let tried = tried.context("cannot start a process of our own program: mount /proc")?;
        ensure!(tried.success(), "no process may be moved to {}", cgroup.path());
        Ok(self.cgroup.insert(cgroup))
    }

    pub(super) fn start(&mut self) -> Result<()> {
        // Before there is a child, so that its end cannot be missed.
        let changed = signal(SignalKind::child()).context("cannot catch signals")?;
        let child = launch(self.cgroup.as_ref(), self.open_files, &self.words)
            .context("cannot start a process of our own program: mount /proc")?;
        self.running = Some(Running { child, changed });
        Ok(())
    }

    /// Waits until it has ended, and all that it has started. A signal is its to follow
    /// first; after another one we wait no longer.
    pub(super) async fn gone(&mut self, ends: &mut Ends) -> Result<()> {
        let mut asked = false;
        while self.status.is_none() {
            tokio::select! {
                biased;
                ended = self.ended() => ended?,
                signal = ends.next() => {
                    if std::mem::replace(&mut asked, true) {
                        return Ok(());
                    }
                    self.pass_on(signal);
                }
            }
        }
        if !asked {
            tokio::select! {
                () = self.left_nothing() => {}
                _ = ends.next() => {}
            }
        }
        Ok(())
    }

    /// Waits for the end of the command itself.
    async fn ended(&mut self) -> Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        while self.status.is_none() {
            running.changed.recv().await;
            self.status = running.child.try_wait().context("cannot wait for the command")?;
        }
        Ok(())
    }

    async fn left_nothing(&self) {
        while self.cgroup.as_ref().is_some_and(CommandCgroup::is_populated) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A terminal has sent its Ctrl-C to the command too, and that may not be disturbed
    /// by a second one; other signals are meant for us, who stand for it.
    fn pass_on(&self, signal: Signal) {
        if let Some(running) = self.running.as_ref().filter(|_| signal != Signal::INT) {
            // It fails only if the command has just ended.
            let _ = kill_process(Pid::from_child(&running.child), signal);
        }
    }

    /// Waits for its end, if that is still to come, and says what it exited with; `None`
    /// if it runs on after a second signal.
    pub(super) async fn exit_code(&mut self, ends: &mut Ends) -> Result<Option<u8>> {
        if self.running.is_some() && self.status.is_none() {
            self.gone(ends).await?;
        }
        Ok(self.status.map(exit_code))
    }
}

/// Starts the command when `ready`, and waits until there is no more to see of it:
/// as long as `duration`, if there is one.
pub(super) async fn over(
    duration: Option<Duration>,
    command: Option<&mut Measured>,
    ends: &mut Ends,
    ready: oneshot::Receiver<()>,
) -> Result<()> {
    let is_ready = tokio::select! {
        biased;
        _ = ends.next() => false,
        ready = ready => ready.is_ok(),
    };
    if !is_ready {
        return Ok(());
    }
    let stopped = async {
        let Some(command) = command else {
            ends.next().await;
            return Ok(());
        };
        command.start()?;
        command.gone(ends).await
    };
    let Some(duration) = duration else {
        return stopped.await;
    };
    // What is stopped by the clock is no failure.
    tokio::time::timeout(duration, stopped).await.unwrap_or(Ok(()))
}

/// Starts ourselves, to become the command: a process enters its cgroup before it runs
/// anything else, and only it itself can give back the limit on files.
fn launch(
    cgroup: Option<&CommandCgroup>,
    open_files: Option<u64>,
    words: &[OsString],
) -> io::Result<Child> {
    let mut command = process::Command::new("/proc/self/exe");
    command.arg0("twtrace").arg(COMMAND);
    if let Some(cgroup) = cgroup {
        command.arg("--procs").arg(cgroup.procs());
    }
    if let Some(open_files) = open_files {
        command.arg(format!("--open-files={open_files}"));
    }
    command.arg("--").args(words).spawn()
}

/// What `ports` starts as a process of its own: enters the cgroup and becomes the
/// command; without one it has shown that it can.
///
/// # Errors
/// The command cannot be run.
pub fn become_command(args: &CommandArgs) -> Result<process::ExitCode> {
    if let Some(procs) = &args.procs {
        // 0 stands for the writer.
        fs::write(procs, "0").with_context(|| format!("cannot write to {}", procs.display()))?;
    }
    let Some((program, rest)) = args.command.split_first() else {
        return Ok(process::ExitCode::SUCCESS);
    };
    if let Some(limit) = args.open_files {
        host::limit_files(limit);
    }
    let error = process::Command::new(program).args(rest).exec();
    Err(CannotRun::new(program, &error).into())
}

/// Looks for `program` as exec does.
fn find(program: &OsStr) -> io::Result<()> {
    if program.as_bytes().contains(&b'/') {
        return can_run(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut found = Err(io::ErrorKind::NotFound.into());
    for directory in env::split_paths(&path) {
        let candidate: PathBuf = directory.join(program);
        match can_run(&candidate) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = Err(error),
            Err(_) => {}
        }
    }
    found
}

fn can_run(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// As shells have it: 128 and the number of a signal.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| BY_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        // As wait(2) has it: the code in the second byte, a signal in the first.
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (2, 130), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code, "{raw:#x}");
        }
    }

    #[test]
    fn what_cannot_be_run_says_why_and_has_the_code_of_shells() {
        let refused = |program: &str| {
            let error = find(program.as_ref()).expect_err(program);
            CannotRun::new(program.as_ref(), &error)
        };
        let missing = refused("no-such-command-anywhere");
        assert_eq!(missing.exit_code, 127);
        assert_eq!(
            missing.to_string(),
            "cannot run no-such-command-anywhere: there is no such command"
        );
        assert_eq!(refused("/no/such/command").exit_code, 127);
        assert_eq!(refused("/").exit_code, 126);
        assert_eq!(refused("/proc/self/status").exit_code, 126);
        assert!(find("sh".as_ref()).is_ok() && find("/bin/sh".as_ref()).is_ok());
    }
}
