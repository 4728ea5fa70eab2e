//! The screen, in a thread of its own: whatever else goes on, keys are answered at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use ratatui::crossterm::{
    event::{self, Event},
    style::force_color_output,
};
use tokio::sync::mpsc::UnboundedSender;

use super::terminal::Terminal;
use crate::view::tui::{self, ClosersBy, Intent, Model, Moment, Notice, Theme};

/// How long a key may be waited for before it is looked whether the screen has ended.
const LOOK: Duration = Duration::from_millis(50);
/// What may wait for a terminal that stalls.
const WAITING: usize = 64;

/// What the screen is told.
#[derive(Debug)]
pub(super) enum Message {
    /// What the user did.
    Input(Event),
    /// What is true now.
    Moment(Arc<Moment>),
    /// What else is known of the same moment.
    Again(Arc<Moment>),
    /// Something to be said.
    Notice(Notice),
    /// What follows is of another time.
    AnotherTime,
    /// To stop our process until the shell goes on with it.
    Suspend,
    /// Somebody else has written on the terminal.
    Renew,
    /// To end.
    Quit,
}

/// The screen. See the module's documentation.
pub(super) struct Screen {
    messages: SyncSender<Message>,
    thread: JoinHandle<Result<()>>,
}

impl Screen {
    /// Takes the terminal. What the user wants comes through `intents`, until the screen ends.
    ///
    /// # Errors
    /// No terminal, no thread.
    pub(super) fn start(
        theme: Theme,
        sort: Option<ClosersBy>,
        intents: UnboundedSender<Intent>,
    ) -> Result<Self> {
        // What was asked for holds: crossterm has an opinion on NO_COLOR, too.
        force_color_output(theme.has_colors());
        let terminal = Terminal::take()?;
        let mut model = Model::new(theme, terminal.area()?);
        if let Some(by) = sort {
            model.sort_closers(by);
        }
        let (messages, queue) = mpsc::sync_channel(WAITING);
        let ended = Arc::new(AtomicBool::new(false));
        start_input(messages.clone(), Arc::clone(&ended))?;
        let thread = thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                let shown = run(terminal, model, &queue, &intents);
                ended.store(true, Ordering::Relaxed);
                shown
            })
            .context("cannot start a thread; raise the limit on tasks (ulimit -u)")?;
        Ok(Self { messages, thread })
    }

    /// Tells the screen something. If the terminal stalls, it is left out.
    pub(super) fn tell(&self, message: Message) {
        match self.messages.try_send(message) {
            // Who is gone says why at the end.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// What tells it something from elsewhere.
    pub(super) fn messages(&self) -> SyncSender<Message> {
        self.messages.clone()
    }

    /// Whether it has given the terminal back.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has.
    ///
    /// # Errors
    /// The terminal could not be written.
    pub(super) fn join(self) -> Result<()> {
        self.thread.join().map_err(|_| anyhow!("the screen panicked"))?
    }
}

/// Reads keys until the screen has `ended`: what is typed afterwards is for the shell.
fn start_input(messages: SyncSender<Message>, ended: Arc<AtomicBool>) -> Result<()> {
    let is_over = move || ended.load(Ordering::Relaxed);
    let read_all = move || {
        // If the terminal is gone, so are the keys.
        while let Ok(is_there) = event::poll(LOOK) {
            if is_over() {
                return;
            }
            if !is_there {
                continue;
            }
            let Ok(event) = event::read() else { return };
            if messages.send(Message::Input(event)).is_err() {
                return;
            }
        }
    };
    let started = thread::Builder::new().name("input".to_owned()).spawn(read_all);
    started.context("cannot start a thread; raise the limit on tasks (ulimit -u)").map(drop)
}

/// Takes in what comes, and draws when there is no more of it.
fn run(
    mut terminal: Terminal,
    mut model: Model,
    queue: &Receiver<Message>,
    intents: &UnboundedSender<Intent>,
) -> Result<()> {
    terminal.draw(|frame| tui::draw(frame, &model))?;
    while let Ok(message) = queue.recv() {
        for message in std::iter::once(message).chain(queue.try_iter()) {
            match message {
                Message::Quit => return Ok(()),
                Message::Suspend => terminal.suspend()?,
                // Whoever draws next takes the terminal again.
                Message::Renew => {}
                Message::Moment(moment) => model.show(moment),
                Message::Again(moment) => model.show_again(moment),
                Message::Notice(notice) => model.notice(notice),
                Message::AnotherTime => model.forget_history(),
                Message::Input(event) => match model.input(&event) {
                    Some(Intent::Suspend) => terminal.suspend()?,
                    // Who no longer listens is about to end.
                    Some(intent) => drop(intents.send(intent)),
                    None => {}
                },
            }
        }
        terminal.draw(|frame| tui::draw(frame, &model))?;
    }
    Ok(())
}
