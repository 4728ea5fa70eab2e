//! Where this is, how much can be trusted, what it takes, and how many there are.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Sparkline, SparklineBar},
};

use super::{
    cells,
    history::Series,
    layout::NARROW,
    model::Model,
    moment::{Cost, Moment},
    theme::Theme,
};
use crate::{
    stats::snapshot::{Loss, Snapshot},
    view::text::{
        format::{count, harmless_line, human_bytes, shortened, span},
        mark,
    },
};

/// Columns of what stands before a sparkline.
const LABEL: u16 = 22;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, population: Rect, model: &Model) {
    let Some(moment) = model.moment() else { return };
    let [first, second] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let state = Line::from(state(model, moment, area.width));
    let widths = [Constraint::Fill(1), Constraint::Length(state.width() as u16)];
    let [left, right] = Layout::horizontal(widths).areas(first);
    frame.render_widget(where_it_is(model, moment, left.width), left);
    frame.render_widget(state, right);
    frame.render_widget(what_it_takes(moment, model.theme, second.width), second);
    if population.height > 0 {
        sparklines(frame, population, model, moment);
    }
}

fn where_it_is(model: &Model, moment: &Moment, width: u16) -> Line<'static> {
    let s = &moment.snapshot;
    let theme = model.theme;
    let mut words =
        vec![Span::styled("twtrace ", theme.title()), Span::raw(shortened(&s.host.hostname, 20))];
    if width >= NARROW / 2 {
        words.push(Span::styled(
            format!("  Linux {}", shortened(&s.host.kernel, 20)),
            theme.label(),
        ));
    }
    words.push(Span::styled(format!("  {}", tiers(s)), theme.label()));
    if let Some(filter) = &s.filter {
        words.push(Span::styled(format!("  only {}", harmless_line(filter)), theme.watch()));
    }
    Line::from(words)
}

/// The tier of what is traced: one word if it is the same for all.
fn tiers(s: &Snapshot) -> String {
    let name = |tier: Option<crate::probes::Tier>| tier.map_or("none", crate::probes::Tier::name);
    let (all, minis, ports) = (s.probes.transitions, s.probes.time_wait, s.probes.port_search);
    // Nobody asks for searches then.
    let light = if s.probes.light { " · light" } else { "" };
    if all == minis && (minis == ports || s.probes.light) {
        return name(all).to_owned() + light;
    }
    if s.probes.light {
        return format!("{} · TIME_WAIT {}{light}", name(all), name(minis));
    }
    format!("{} · TIME_WAIT {} · ports {}", name(all), name(minis), name(ports))
}

/// Whether it moves, how fast, and since when it counts.
fn state(model: &Model, moment: &Moment, width: u16) -> Vec<Span<'static>> {
    let theme = model.theme;
    let s = &moment.snapshot;
    let time = s.time.get(11..19).unwrap_or(&s.time).to_owned();
    let elapsed = span(s.elapsed_s);
    let pace = match moment.playback {
        None if model.is_held() => Span::styled("PAUSED ", theme.watch()),
        None => {
            Span::styled(format!("every {} ", span(moment.interval.as_secs_f64())), theme.label())
        }
        Some(playback) if playback.ended => Span::styled("END OF RECORDING ", theme.watch()),
        Some(playback) if playback.paused => Span::styled("PAUSED ", theme.watch()),
        Some(playback) => {
            let speed = playback.speed.map_or("max".to_owned(), |speed| format!("{speed}×"));
            Span::styled(format!("replay {speed} "), theme.label())
        }
    };
    let mut words = vec![Span::raw(" "), pace];
    if width >= NARROW {
        words.push(Span::styled(format!("for {elapsed} "), theme.label()));
    }
    words.push(Span::raw(time));
    words
}

fn what_it_takes(moment: &Moment, theme: Theme, width: u16) -> Line<'static> {
    let Cost { own_cpu_pct, rss_bytes, bpf_cpu_pct } = moment.cost;
    let mut words = vec![
        Span::styled("events ", theme.label()),
        Span::raw(format!("{}/s", cells::rate(moment.events_per_s))),
    ];
    words.extend(loss(moment.snapshot.loss.as_ref(), theme));
    words.extend([
        Span::styled("  own CPU ", theme.label()),
        Span::raw(cells::core_percent(own_cpu_pct)),
        Span::styled("  BPF ", theme.label()),
        Span::raw(cells::core_percent(bpf_cpu_pct)),
    ]);
    if width >= NARROW {
        let rss = rss_bytes.map_or("-".to_owned(), human_bytes);
        words.extend([Span::styled("  memory ", theme.label()), Span::raw(rss)]);
    }
    Line::from(words)
}

/// What was lost, by its names; one word if nothing was.
fn loss(loss: Option<&Loss>, theme: Theme) -> Vec<Span<'static>> {
    let label = Span::styled("  loss ", theme.label());
    let Some(loss) = loss else { return vec![label, Span::raw("-")] };
    let named = [
        ("ring_full", Some(loss.ring_full)),
        ("missed", loss.missed),
        ("unmatched", Some(loss.unmatched)),
        ("evicted", Some(loss.evicted)),
    ];
    let lost: Vec<String> = named
        .iter()
        .filter(|(_, lost)| *lost != Some(0))
        .map(|(name, lost)| format!("{name} {}", lost.map_or("?".to_owned(), count)))
        .collect();
    if lost.is_empty() {
        return vec![label, Span::styled("0", theme.fine())];
    }
    vec![label, Span::styled(lost.join(" "), theme.watch())]
}

fn sparklines(frame: &mut Frame<'_>, area: Rect, model: &Model, moment: &Moment) {
    let s = &moment.snapshot;
    let now = s.time_wait.as_ref().and_then(|minis| minis.now);
    let per_s =
        |key: &str, rate: Option<f64>| cells::marked(mark(s, key), cells::rate(rate)) + "/s";
    let rows = [
        (
            "TIME_WAIT",
            cells::marked(mark(s, "time_wait.now"), cells::maybe_count(now)),
            Series::Now,
        ),
        ("  born", per_s("rates.births_per_s", s.rates.births_per_s), Series::Births),
        ("  ended", per_s("rates.ends_per_s", s.rates.ends_per_s), Series::Ends),
    ];
    for (place, ((label, number, series), row)) in rows.into_iter().zip(area.rows()).enumerate() {
        let widths = [Constraint::Length(LABEL), Constraint::Fill(1)];
        let [left, right] = Layout::horizontal(widths).areas(row);
        let label = Line::from(vec![
            Span::styled(format!("{label:<10}"), model.theme.label()),
            Span::styled(format!("{number:>11}"), model.theme.title()),
        ]);
        frame.render_widget(label, left);
        sparkline(frame, right, model, series, place);
    }
}

/// How a number has been, up to now at the right.
pub(super) fn sparkline(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    series: Series,
    place: usize,
) {
    let values = model.history().last(series, usize::from(area.width));
    let empty = usize::from(area.width).saturating_sub(values.len());
    let bars = std::iter::repeat_n(None, empty).chain(values).map(SparklineBar::from);
    let bars: Vec<SparklineBar> = bars.collect();
    let line = Sparkline::default().data(bars).style(model.theme.series(place));
    frame.render_widget(line, area);
}
