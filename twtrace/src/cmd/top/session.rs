//! What the screen shows: frames in, moments out; and what the user asks for.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::mpsc::{self, UnboundedReceiver},
};

use super::{
    Shown,
    export::export,
    flight::Flight,
    play,
    screen::{Message, Screen},
    terminal,
};
use crate::{
    cmd::{
        cost::CostMeter,
        run::{self, Ends},
    },
    config::Top,
    decode,
    filter::Filtered,
    frame::Frame,
    log_lines::Diverted,
    source::{
        Playback,
        replay::{Recording, Speed},
    },
    stats::{
        contacts::{Detail, Focus},
        snapshot::Snapshot,
    },
    view::{
        text,
        tui::{self, Intent, Moment, Notice, Theme},
    },
};

/// How long a terminal that stalls may keep us from ending.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked whether the screen has ended.
const LOOK: Duration = Duration::from_millis(10);
/// A replay is played no slower, and no faster but without waiting.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1e6;

/// Shows the screen until somebody has enough of it; then prints what it showed last.
pub(super) async fn show(config: &Top, colors: bool, shown: Shown, mut ends: Ends) -> Result<()> {
    // What can fail fails while the terminal is the shell's.
    let mut session = Session::new(config, shown)?;
    let signals = (catch(Signal::TSTP)?, catch(Signal::CONT)?);
    let (sender, intents) = mpsc::unbounded_channel();
    let screen = Screen::start(Theme::new(colors), config.sort, sender)?;
    let messages = screen.messages();
    let diverted = Diverted::to(move |line| {
        let notice = Notice { text: line.to_owned(), is_failure: true };
        // A screen that stalls, or is gone, does without.
        let _ = messages.try_send(Message::Notice(notice));
    });
    let ran = session.run(intents, signals, &mut ends, &screen).await;
    let last = session.last.take();
    let left = leave(screen).await;
    drop(diverted);
    let stop = session.shown.source.stopper();
    let finished = tokio::select! {
        biased;
        () = ends.patience_lost(&stop) => Ok(()),
        finished = session.finish() => finished,
    };
    if let (Some(moment), Ok(Left::AsItWas)) = (last, &left) {
        let text = text::snapshot(&moment.snapshot);
        io::stdout().write_all(text.as_bytes()).context("cannot write the snapshot")?;
    }
    ran.and(left.map(drop)).and(finished)
}

/// How the terminal was left.
enum Left {
    AsItWas,
    /// It stalls, and so would whoever writes to it.
    Stalled,
}

/// Gives the terminal back.
async fn leave(screen: Screen) -> Result<Left> {
    screen.tell(Message::Quit);
    let waited = async {
        while !screen.is_over() {
            screen.tell(Message::Quit);
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waited).await.is_err() {
        terminal::give_up();
        return Ok(Left::Stalled);
    }
    screen.join().map(|()| Left::AsItWas)
}

/// See the module's documentation.
struct Session<'a> {
    config: &'a Top,
    shown: Shown,
    pipeline: Filtered,
    /// Of a recording, that there is no more of it.
    ended: bool,
    focus: Option<Focus>,
    cost: CostMeter,
    flight: Option<Flight>,
    /// Records since the last moment.
    events: u64,
    /// When the last moment was.
    ticked_ns: u64,
    /// Moments before this are passed over: the user wants to see a later one.
    shown_from_ns: u64,
    /// Everything is to be counted anew after the next tick, when totals and records agree.
    is_cleared: bool,
    /// The last one that was.
    passed_over: Option<(u64, Snapshot)>,
    moments: u64,
    last: Option<Arc<Moment>>,
}

impl<'a> Session<'a> {
    fn new(config: &'a Top, shown: Shown) -> Result<Self> {
        let meta = &shown.source.meta;
        let flight = config.flight_ns.map(|flight_ns| {
            let (limit, netns) = (shown.max_connections, config.trace.netns);
            Flight::start(flight_ns, meta, limit, netns, &config.filter)
        });
        Ok(Self {
            config,
            pipeline: pipeline(config, &shown)?,
            ended: false,
            focus: None,
            cost: CostMeter::new(shown.source.reach.clone()),
            flight: flight.transpose()?,
            events: 0,
            ticked_ns: meta.started_ns,
            shown_from_ns: 0,
            is_cleared: false,
            passed_over: None,
            moments: 0,
            last: None,
            shown,
        })
    }

    async fn run(
        &mut self,
        mut intents: UnboundedReceiver<Intent>,
        (mut suspended, mut continued): (unix::Signal, unix::Signal),
        ends: &mut Ends,
        screen: &Screen,
    ) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = ends.next() => return Ok(()),
                intent = intents.recv() => match intent {
                    // The screen has ended, and says why.
                    None | Some(Intent::Quit) => return Ok(()),
                    Some(intent) => self.follow(intent, screen)?,
                },
                _ = suspended.recv() => screen.tell(Message::Suspend),
                _ = continued.recv() => {
                    terminal::go_on();
                    screen.tell(Message::Renew);
                }
                failed = flight_over(&mut self.flight) => {
                    self.flight = None;
                    let why = failed.err().map_or_else(String::new, |error| format!("{error:#}"));
                    screen.tell(failure(format!("the last minutes are no longer kept: {why}")));
                }
                frame = self.shown.source.frames.recv(), if !self.ended => match frame {
                    Some(frame) => {
                        if self.take(&frame, screen)? {
                            return Ok(());
                        }
                    }
                    // What made a live source give up is said when the terminal is left.
                    None if self.shown.playback.is_none() => return Ok(()),
                    None => self.ended(screen),
                },
            }
        }
    }

    /// Takes in a frame; returns whether that was all that was wanted.
    fn take(&mut self, frame: &Frame, screen: &Screen) -> Result<bool> {
        if let Frame::Records(batch) = frame {
            self.events += decode::records(batch).count() as u64;
        }
        if let Some(flight) = &mut self.flight {
            flight.take(frame)?;
        }
        let snapshot = run::apply(&mut self.pipeline, frame)?;
        let (&Frame::Tick { time_ns, .. }, Some(snapshot)) = (frame, snapshot) else {
            return Ok(false);
        };
        if let Some(flight) = &mut self.flight {
            flight.tick(time_ns, self.pipeline.pipeline());
            if let Some(path) = flight.written() {
                screen.tell(said(format!("the last minutes are written to {}", path.display())));
            }
        }
        if std::mem::take(&mut self.is_cleared) {
            run::decoded(self.pipeline.pipeline_mut().restart(time_ns))?;
        }
        if time_ns >= self.shown_from_ns {
            self.passed_over = None;
            self.show(time_ns, snapshot, screen);
        } else {
            self.passed_over = Some((time_ns, snapshot));
            (self.ticked_ns, self.events) = (time_ns, 0);
        }
        Ok(self.config.snapshots.is_some_and(|wanted| self.moments >= wanted))
    }

    fn show(&mut self, time_ns: u64, snapshot: Snapshot, screen: &Screen) {
        let passed_s = time_ns.saturating_sub(self.ticked_ns) as f64 / 1e9;
        let events = std::mem::take(&mut self.events);
        let traces = snapshot.transitions.is_some();
        let moment = Arc::new(Moment {
            events_per_s: (traces && passed_s > 0.0).then(|| events as f64 / passed_s),
            cost: self.cost.read(),
            interval: self.shown.interval.get(),
            detail: self.detail(),
            time_ns,
            keeps_flight: self.flight.is_some(),
            playback: self.playback(),
            snapshot,
        });
        self.ticked_ns = time_ns;
        self.moments += 1;
        self.last = Some(Arc::clone(&moment));
        screen.tell(Message::Moment(moment));
    }

    /// Shows the last moment again, with what has changed but for time.
    fn show_again(&mut self, screen: &Screen) {
        let Some(last) = &self.last else { return };
        let moment = Arc::new(Moment {
            interval: self.shown.interval.get(),
            detail: self.detail(),
            playback: self.playback(),
            ..Moment::clone(last)
        });
        self.last = Some(Arc::clone(&moment));
        screen.tell(Message::Again(moment));
    }

    fn detail(&self) -> Option<Detail> {
        self.pipeline.pipeline().detail(self.focus.as_ref()?)
    }

    fn playback(&self) -> Option<tui::Playback> {
        let state = self.shown.playback.as_ref()?.state();
        let speed = match state.speed {
            Speed::Times(times) => Some(times),
            Speed::Unlimited => None,
        };
        Some(tui::Playback { paused: state.is_held, speed, ended: self.ended })
    }

    /// There is no more of a recording. A live source says at the end why it gave up.
    fn ended(&mut self, screen: &Screen) {
        self.ended = true;
        self.shown_from_ns = 0;
        match self.passed_over.take() {
            // It ended before the moment that was wanted.
            Some((time_ns, snapshot)) => self.show(time_ns, snapshot, screen),
            None => self.show_again(screen),
        }
    }

    fn follow(&mut self, intent: Intent, screen: &Screen) -> Result<()> {
        match intent {
            Intent::Quit | Intent::Suspend => {}
            Intent::Interval(interval) => {
                self.shown.interval.set(interval);
                self.show_again(screen);
            }
            Intent::Clear => {
                self.is_cleared = true;
                screen.tell(said("counting anew from the next moment on".to_owned()));
            }
            Intent::Export(moment) => screen.tell(match export(&moment.snapshot) {
                Ok(name) => said(format!("written to {name}")),
                Err(error) => failure(format!("{error:#}")),
            }),
            Intent::Flight => screen.tell(match &mut self.flight {
                Some(flight) => {
                    flight.ask();
                    said("writing the last minutes …".to_owned())
                }
                None => failure("nothing is kept: `top --flight 120` keeps two minutes".to_owned()),
            }),
            Intent::Focus(focus) => self.focus = focus,
            Intent::Hold(hold) => self.play(screen, |playback| playback.hold(hold)),
            Intent::Faster(times) => self.play(screen, |playback| {
                playback.set_speed(faster(playback.state().speed, times));
            }),
            Intent::Seek(seconds) => return self.seek(seconds, screen),
        }
        if self.focus.is_some()
            || matches!(self.last.as_deref(), Some(last) if last.detail.is_some())
        {
            self.show_again(screen);
        }
        Ok(())
    }

    fn play(&mut self, screen: &Screen, change: impl FnOnce(&Playback)) {
        if let Some(playback) = &self.shown.playback {
            change(playback);
            self.show_again(screen);
        }
    }

    /// Goes on to a later moment of a recording; for an earlier one, begins anew.
    fn seek(&mut self, seconds: i32, screen: &Screen) -> Result<()> {
        let (Some(playback), Some(replay)) = (&self.shown.playback, &self.config.replay) else {
            screen.tell(failure("only a replay goes back and on: `top --replay FILE`".to_owned()));
            return Ok(());
        };
        let distance_ns = u64::from(seconds.unsigned_abs()) * 1_000_000_000;
        // Where it is, or is on its way to.
        let at_ns = self.ticked_ns.max(self.shown_from_ns);
        if seconds >= 0 {
            let wanted_ns = at_ns.saturating_add(distance_ns);
            self.shown_from_ns = wanted_ns;
            playback.pass_until(wanted_ns);
            return Ok(());
        }
        if replay.files.iter().any(|path| path.as_os_str() == "-") {
            screen.tell(failure("the standard input cannot be read again".to_owned()));
            return Ok(());
        }
        let started_ns = self.shown.source.meta.started_ns;
        let wanted_ns = at_ns.saturating_sub(distance_ns).max(started_ns);
        match Recording::open(&replay.files) {
            Ok(recording) => self.begin_anew(recording, wanted_ns, playback.clone(), screen),
            Err(error) => {
                screen.tell(failure(format!("cannot go back: {error:#}")));
                Ok(())
            }
        }
    }

    /// Plays a recording from its beginning, and shows it from a moment on.
    fn begin_anew(
        &mut self,
        recording: Recording,
        wanted_ns: u64,
        playback: Playback,
        screen: &Screen,
    ) -> Result<()> {
        // Who plays it now must no longer listen to what the next one is told.
        if let Err(error) = self.shown.source.end() {
            screen.tell(failure(format!("{error:#}")));
        }
        playback.pass_until(wanted_ns);
        (self.shown.source, self.shown.max_connections) = play(recording, playback)?;
        self.pipeline = pipeline(self.config, &self.shown)?;
        (self.shown_from_ns, self.ended, self.events) = (wanted_ns, false, 0);
        self.ticked_ns = self.shown.source.meta.started_ns;
        screen.tell(Message::AnotherTime);
        Ok(())
    }

    /// Ends the source, and what is written meanwhile.
    async fn finish(mut self) -> Result<()> {
        if self.shown.playback.is_some() {
            // It may wait for an input that stalls: then nobody waits for it.
            self.shown.source.stopper().raise();
            self.shown.source.frames.close();
            let is_over = async {
                while !self.shown.source.is_over() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if tokio::time::timeout(PATIENCE, is_over).await.is_err() {
                return Ok(());
            }
        }
        let kept = match self.flight {
            Some(flight) => flight.finish().await,
            None => Ok(()),
        };
        self.shown.source.join().and(kept)
    }
}

/// With all that can be looked at one by one.
fn pipeline(config: &Top, shown: &Shown) -> Result<Filtered> {
    let (filter, meta) = (config.filter.clone(), shown.source.meta.clone());
    let mut pipeline = Filtered::new(filter, meta, shown.max_connections, config.rows)?;
    pipeline.pipeline_mut().keep_contacts();
    Ok(pipeline)
}

async fn flight_over(flight: &mut Option<Flight>) -> Result<()> {
    match flight {
        Some(flight) => flight.over().await,
        None => std::future::pending().await,
    }
}

fn catch(signal_of: Signal) -> Result<unix::Signal> {
    signal(SignalKind::from_raw(signal_of.as_raw())).context("cannot catch signals")
}

fn faster(speed: Speed, times: f64) -> Speed {
    let now = match speed {
        Speed::Times(now) => now,
        Speed::Unlimited => *SPEEDS.end() * 2.0,
    };
    let wanted = now * times;
    if wanted > *SPEEDS.end() {
        Speed::Unlimited
    } else {
        Speed::Times(wanted.max(*SPEEDS.start()))
    }
}

fn said(text: String) -> Message {
    Message::Notice(Notice { text, is_failure: false })
}

fn failure(text: String) -> Message {
    Message::Notice(Notice { text, is_failure: true })
}
