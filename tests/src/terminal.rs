//! A terminal as users have it: a shell in tmux, keys that are pressed, and what is to be seen.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::wait_for;

/// What a screen takes to show what it should.
const LIMIT: Duration = Duration::from_secs(20);
/// What tells that the shell waits for a command.
const PROMPT: &str = "$ ";
/// Terminals of this process, and commands in them.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A shell on a terminal; ends with this value.
pub struct Terminal {
    /// The socket of a tmux of its own.
    socket: String,
}

impl Terminal {
    /// A shell in `folder`, on a terminal of `columns` by `lines`.
    #[track_caller]
    pub fn start(folder: &Path, columns: u16, lines: u16) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: format!("twtrace-test-{}-{number}", std::process::id()) };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let shell = format!("PS1='{PROMPT}' exec bash --norc --noprofile");
        let size = ["new-session", "-d", "-x", &columns, "-y", &lines];
        // Without a configuration of the user's.
        let mut command = terminal.tmux(&["-f", "/dev/null"]);
        let folder = folder.to_str().expect("the folder's name is text");
        let status = command.args(size).args(["-c", folder, &shell]).status();
        assert!(status.expect("tmux can be started").success(), "tmux made no session");
        terminal.wait_for_prompt();
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(args).env_remove("TMUX");
        command
    }

    #[track_caller]
    fn said(&self, args: &[&str]) -> String {
        let output = self.tmux(args).output().expect("tmux can be started");
        assert!(output.status.success(), "tmux {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses a key, by tmux's name.
    #[track_caller]
    pub fn press(&self, key: &str) {
        self.said(&["send-keys", key]);
    }

    /// Types letters as they are.
    #[track_caller]
    pub fn type_in(&self, text: &str) {
        self.said(&["send-keys", "-l", text]);
    }

    /// Has the shell run a line.
    #[track_caller]
    pub fn run(&self, line: &str) {
        self.type_in(line);
        self.press("Enter");
    }

    /// Has the shell run a line, and returns what that printed.
    #[track_caller]
    pub fn output_of(&self, line: &str) -> String {
        self.wait_for_prompt();
        // What is typed is not what is printed, and no two are the same.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let done = format!("done-{number}");
        self.run(&format!("clear; {line}; echo done-$((0+{number}))"));
        let is_done = |line: &str| line.trim() == done;
        let text = self.wait_for("the command to end", |text| text.lines().any(is_done));
        text.lines().take_while(|line| !is_done(line)).collect::<Vec<_>>().join("\n")
    }

    /// Clicks at a column and a line, as the terminal would tell of it (SGR).
    #[track_caller]
    pub fn click(&self, column: usize, line: usize) {
        self.type_in(&format!("\u{1b}[<0;{};{}M", column + 1, line + 1));
    }

    /// What is to be seen.
    #[track_caller]
    pub fn text(&self) -> String {
        self.said(&["capture-pane", "-p"])
    }

    /// The same, with what makes it bold, coloured, or the other way round.
    #[track_caller]
    pub fn styled(&self) -> String {
        self.said(&["capture-pane", "-p", "-e"])
    }

    /// The line that is drawn the other way round, below line `below`; empty if none is.
    #[track_caller]
    pub fn selected(&self, below: usize) -> String {
        let styled = self.styled();
        let is_reversed = |line: &str| line.contains("\u{1b}[7m") || line.contains("[0;7m");
        let line = styled.lines().skip(below).position(is_reversed);
        let text = self.text();
        line.and_then(|line| text.lines().nth(below + line)).unwrap_or_default().to_owned()
    }

    /// Waits for a screen that `wanted` accepts.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_long_for(what, LIMIT, wanted)
    }

    /// Waits longer.
    #[track_caller]
    pub fn wait_long_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let begun = std::time::Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(begun.elapsed() < limit, "waited in vain for {what}; last was\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the shell waits for a command.
    #[track_caller]
    pub fn wait_for_prompt(&self) -> String {
        self.wait_for("the shell", |text| {
            text.trim_end().lines().last().is_some_and(|line| line.trim() == PROMPT.trim())
        })
    }

    /// Asserts that the terminal is as a shell needs it: the first screen, a cursor, letters
    /// that are shown, and nobody who wants the mouse.
    #[track_caller]
    pub fn assert_sane(&self, settings: &str) {
        let state = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag}";
        wait_for("the first screen", LIMIT, || {
            (self.said(&["display-message", "-p", state]).trim() == "0 1 0 0").then_some(())
        });
        assert_eq!(self.output_of("stty -g").trim(), settings.trim(), "stty -g");
        assert_eq!(self.output_of("echo sane").trim(), "sane");
    }

    /// The process that the shell waits for, by its name.
    #[track_caller]
    pub fn child(&self, name: &str) -> u32 {
        let shell = self.said(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim().to_owned();
        wait_for("the process", LIMIT, || {
            let children = format!("/proc/{shell}/task/{shell}/children");
            let children = std::fs::read_to_string(children).ok()?;
            children.split_whitespace().find_map(|pid| {
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
                (comm.trim() == name).then(|| pid.parse().ok()).flatten()
            })
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It fails only if the shell has ended already.
        let _ = self.tmux(&["kill-server"]).output();
    }
}
