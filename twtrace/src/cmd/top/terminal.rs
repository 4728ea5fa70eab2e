//! The terminal while a screen is on it. Whatever happens, it is given back as it was.

use std::{
    io::{self, BufWriter, Stdout, Write},
    mem::ManuallyDrop,
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use ratatui::{
    Frame,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{
            DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
        },
        execute,
        terminal::{
            Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
            enable_raw_mode,
        },
    },
    layout::Rect,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

/// A screen is written at once.
const SCREEN_BYTES: usize = 64 << 10;

/// Whether the terminal is ours now: who panics must know.
static IS_OURS: AtomicBool = AtomicBool::new(false);
/// Whether it is to be taken again.
static GOES_ON: AtomicBool = AtomicBool::new(false);

type Drawn = ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// The terminal, as long as it is ours.
pub struct Terminal {
    /// Never dropped: it would show the cursor, as [`give_back`] does, and where it cannot it
    /// complains to standard error, which may be closed, too: that panics.
    drawn: ManuallyDrop<Drawn>,
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// It is none, or is gone.
    pub fn take() -> Result<Self> {
        give_back_on_panic();
        Ok(Self { drawn: ManuallyDrop::new(take()?) })
    }

    /// Its size.
    pub(super) fn area(&self) -> Result<Rect> {
        let size = self.drawn.size().or_gone()?;
        Ok(Rect::new(0, 0, size.width, size.height))
    }

    /// Draws a screen, if it is still ours.
    pub(super) fn draw(&mut self, screen: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        if GOES_ON.swap(false, Ordering::Relaxed) {
            self.drawn = ManuallyDrop::new(take()?);
        }
        if IS_OURS.load(Ordering::Relaxed) {
            self.drawn.draw(screen).or_gone()?;
        }
        Ok(())
    }

    /// Stops our process. Any thread may be the one that takes the signal and stops the others:
    /// whoever goes on for a moment finds that the terminal is not ours, until [`go_on`].
    pub(super) fn suspend(&mut self) -> Result<()> {
        give_back();
        kill_process(getpid(), Signal::STOP).context("cannot stop ourselves")
    }
}

/// The shell goes on with our process: the terminal is ours again, whatever is on it.
pub(super) fn go_on() {
    GOES_ON.store(true, Ordering::Relaxed);
}

/// Leaves a terminal that stalls: whatever is written to it would wait with it.
pub(super) fn give_up() {
    IS_OURS.store(false, Ordering::Relaxed);
    let _ = disable_raw_mode();
}

/// Makes the terminal ours, or leaves it as it was. What is on it is not asked for: the answer would come among the keys.
fn take() -> Result<Drawn> {
    take_as_it_is().inspect_err(|_| give_back())
}

fn take_as_it_is() -> Result<Drawn> {
    IS_OURS.store(true, Ordering::Relaxed);
    enable_raw_mode().or_gone()?;
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        Clear(ClearType::All),
        EnableMouseCapture,
        EnableBracketedPaste
    )
    .or_gone()?;
    let out = BufWriter::with_capacity(SCREEN_BYTES, io::stdout());
    let mut drawn = Drawn::new(CrosstermBackend::new(out)).or_gone()?;
    drawn.hide_cursor().or_gone()?;
    Ok(drawn)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// What did not work on the terminal.
trait OrGone<T> {
    /// If it was closed, says so as a write to it does: whatever else is said, and crossterm says
    /// many things, nobody reads it any more.
    fn or_gone(self) -> Result<T>;
}

impl<T> OrGone<T> for io::Result<T> {
    fn or_gone(self) -> Result<T> {
        let closed = || io::Error::from(Errno::IO);
        let result = self.map_err(|error| if is_closed() { closed() } else { error });
        result.context("cannot use the terminal")
    }
}

fn is_closed() -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    let looked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    looked.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Leaves the terminal as it was; does nothing if it is so already.
pub(super) fn give_back() {
    if !IS_OURS.swap(false, Ordering::Relaxed) {
        return;
    }
    // If it is gone, there is nobody to tell.
    let _ = execute!(
        io::stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// Before a panic is told, so that it can be read.
fn give_back_on_panic() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        told(info);
    }));
}
