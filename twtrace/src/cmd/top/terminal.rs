//! The terminal while a screen is on it. Whatever happens, it is given back as it was.

use std::{
    io::{self, BufWriter, Stdout, Write},
    panic,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};
use ratatui::{
    Frame, Terminal as Drawn,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{
            DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
        },
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::Rect,
};
use rustix::process::{Signal, getpid, kill_process};

/// A screen is written at once.
const SCREEN_BYTES: usize = 64 << 10;

/// Whether the terminal is ours now: who panics must know.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// The terminal, as long as it is ours.
pub struct Terminal {
    drawn: Drawn<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// It is none, or is gone.
    pub fn take() -> Result<Self> {
        give_back_on_panic();
        let out = BufWriter::with_capacity(SCREEN_BYTES, io::stdout());
        let drawn = Drawn::new(CrosstermBackend::new(out)).context("cannot use the terminal")?;
        let mut terminal = Self { drawn };
        terminal.take_again()?;
        Ok(terminal)
    }

    fn take_again(&mut self) -> Result<()> {
        IS_OURS.store(true, Ordering::Relaxed);
        enable_raw_mode().context("cannot use the terminal")?;
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
            .context("cannot use the terminal")?;
        self.drawn.clear().context("cannot clear the terminal")
    }

    /// Its size.
    pub(super) fn area(&self) -> Result<Rect> {
        let size = self.drawn.size().context("cannot tell the size of the terminal")?;
        Ok(Rect::new(0, 0, size.width, size.height))
    }

    /// Draws a screen, if it is still ours.
    pub(super) fn draw(&mut self, screen: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        if IS_OURS.load(Ordering::Relaxed) {
            self.drawn.draw(screen).context("cannot write to the terminal")?;
        }
        Ok(())
    }

    /// Stops our process, until the shell goes on with it.
    pub(super) fn suspend(&mut self) -> Result<()> {
        give_back();
        kill_process(getpid(), Signal::STOP).context("cannot stop ourselves")?;
        self.take_again()
    }

    /// Draws everything again: somebody else has written on it.
    pub(super) fn renew(&mut self) -> Result<()> {
        self.take_again()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
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
