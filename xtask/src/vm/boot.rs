//! One virtual machine, from its start until it has answered or is given up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::frame::Frames;

/// How often a kernel that goes down before its init has begun is started: emulated, recent ones
/// do so at times.
const ATTEMPTS: usize = 5;

/// What the way to the init may take: it takes 2 to 5 seconds, and longer on busy processors.
const HELLO: Duration = Duration::from_secs(90);

/// What switching itself off may take.
const POWER_OFF: Duration = Duration::from_secs(15);

const LOOK: Duration = Duration::from_millis(100);

/// A machine that was not started yet.
pub(super) struct Boot<'a> {
    /// What it is called when something is said about it
    pub(super) name: &'a str,
    /// The kernel
    pub(super) vmlinuz: &'a Path,
    /// Its first and only file system
    pub(super) initramfs: &'a Path,
    /// Where what it says is kept
    pub(super) dir: &'a Path,
    /// What it may take, once its init has begun
    pub(super) limit: Duration,
}

/// What a machine said.
pub(super) struct Heard {
    /// Whole answers
    pub(super) frames: Frames,
    /// Why it did not come to its end, if it did not
    pub(super) trouble: Option<String>,
}

impl Heard {
    /// The tasks that took too long, and what everything was waiting for then.
    pub(super) fn stuck(&self) -> impl Iterator<Item = (&str, String)> {
        self.frames.texts(".stuck").filter(|(_, stuck)| !stuck.is_empty())
    }

    /// Whether something came to no end, rather than to a wrong one.
    pub(super) fn is_stuck(&self) -> bool {
        self.trouble.is_some() || self.stuck().next().is_some()
    }
}

/// qemu, which must not outlive us.
struct Machine(Child);

impl Boot<'_> {
    /// Starts it, and starts it again if it goes down early.
    pub(super) fn run(&self) -> Result<Heard> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let heard = self.once()?;
            if heard.frames.text("release").is_some() {
                return Ok(heard);
            }
            last = heard.trouble.unwrap_or_default();
            println!("{}: went down before its init began: {last}", self.name);
        }
        bail!("did not boot in {ATTEMPTS} attempts: {last}")
    }

    fn once(&self) -> Result<Heard> {
        let mut machine = Machine(self.start()?);
        let started = Instant::now();
        let mut begun: Option<Instant> = None;
        loop {
            // Looked at first, so that nothing said before the end is overheard.
            let ended = machine.0.try_wait().context("qemu cannot be waited for")?.is_some();
            let frames = self.heard();
            if frames.text("end").is_some() {
                machine.power_off();
                return Ok(Heard { frames, trouble: None });
            }
            if begun.is_none() && frames.text("release").is_some() {
                begun = Some(Instant::now());
            }
            let trouble = if ended { Some(self.why()) } else { self.too_long(started, begun) };
            if trouble.is_some() {
                return Ok(Heard { frames, trouble });
            }
            thread::sleep(LOOK);
        }
    }

    fn start(&self) -> Result<Child> {
        let stderr = File::create(self.qemu()).context("cannot write qemu's complaints")?;
        for file in [self.console(), self.answers()] {
            File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        self.command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .context("cannot start qemu")
    }

    /// Emulated even where /dev/kvm exists: inside a virtual machine it may hang. By one thread:
    /// with one for each processor, a guest that patches its code while another processor runs it
    /// now and then hangs, or dies of an int3; and two machines at a time keep two cores busy.
    fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg,thread=single", "-m", "2G", "-smp", "2"])
            .args(["-nographic", "-no-reboot", "-monitor", "none"])
            .args(["-serial", &serial(&self.console())])
            .args(["-serial", &serial(&self.answers())])
            .arg("-kernel")
            .arg(self.vmlinuz)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", "console=ttyS0 panic=-1 quiet"]);
        qemu
    }

    fn heard(&self) -> Frames {
        Frames::read(&fs::read(self.answers()).unwrap_or_default())
    }

    fn too_long(&self, started: Instant, begun: Option<Instant>) -> Option<String> {
        let (since, limit) = begun.map_or((started, HELLO), |begun| (begun, self.limit));
        (since.elapsed() > limit).then(|| format!("took longer than {} s", limit.as_secs()))
    }

    /// The last that the kernel, or qemu, said before it ended.
    fn why(&self) -> String {
        let read = |file: PathBuf| fs::read(file).unwrap_or_default();
        let said = [read(self.console()), read(self.qemu())];
        let line = said.iter().find_map(|text| telling(&String::from_utf8_lossy(text)));
        line.unwrap_or_else(|| "the machine went down without a word".into())
    }

    /// The kernel's messages.
    fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    fn answers(&self) -> PathBuf {
        self.dir.join("answers")
    }

    fn qemu(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }
}

impl Machine {
    /// Leaves it time to switch itself off; if it does not, it is dropped with everything said.
    fn power_off(&mut self) {
        let started = Instant::now();
        while started.elapsed() < POWER_OFF && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn serial(file: &Path) -> String {
    // A comma would begin an option.
    format!("file:{}", file.display().to_string().replace(',', ",,"))
}

/// The words with which a kernel goes down, or else the last line.
fn telling(said: &str) -> Option<String> {
    const DOWN: [&str; 3] = ["Kernel panic", "BUG:", "Oops"];
    let down = said.lines().find_map(|line| {
        let at = DOWN.iter().filter_map(|word| line.find(word)).min()?;
        Some(&line[at..])
    });
    let last = || said.lines().rfind(|line| !line.trim().is_empty());
    // The firmware leaves codes for a terminal behind.
    let printable = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    down.or_else(last).map(|line| printable(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_more_than_what_follows_it() {
        let said = "\x1b[2J[ 1.0] Kernel panic - no init\r\n[ 1.1] CPU: 0\r\n\r\n";
        assert_eq!(telling(said).as_deref(), Some("Kernel panic - no init"));
        assert_eq!(telling("one\n\x1bctwo\n\n").as_deref(), Some("ctwo"));
        assert_eq!(telling("\r\n"), None);
    }

    #[test]
    fn a_comma_in_a_path_is_no_option() {
        assert_eq!(serial(Path::new("/a,b/c")), "file:/a,,b/c");
    }
}
