//! Distributions as bars that lie.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
};

use super::{cells, layout::NARROW, theme::Theme};

/// A distribution.
pub(super) struct Bars<'a> {
    pub(super) title: Line<'a>,
    /// What each counts, in order, and how many there are of it.
    pub(super) bars: &'a [(String, u64)],
}

/// Draws as many bars as fit; where there are more, empty ones are left out, and then neighbours
/// are summed.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, bars: &Bars<'_>, theme: Theme) {
    let [title, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(&bars.title, title);
    let fitting = fitted(bars.bars, usize::from(below.height));
    let total: u64 = fitting.iter().map(|(_, count)| count).sum();
    let fullest = fitting.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let label = fitting.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for ((name, count), row) in fitting.iter().zip(below.rows()) {
        let share = *count as f64 / total.max(1) as f64;
        let start = format!(
            "{name:>label$} {:>7} {:>6} ",
            cells::count(*count),
            cells::percent(Some(share))
        );
        let room = usize::from(row.width).saturating_sub(start.chars().count());
        let line = Line::from(vec![
            Span::styled(start, theme.label()),
            Span::styled(bar(*count, fullest, room), theme.series(0)),
        ]);
        frame.render_widget(line, row);
    }
}

/// At most `most` bars: some neighbours are summed, under the name of the first.
fn fitted(bars: &[(String, u64)], most: usize) -> Vec<(String, u64)> {
    let is_full = |(_, count): &&(String, u64)| *count > 0;
    let full: Vec<_> = bars.iter().filter(is_full).cloned().collect();
    let bars = if bars.len() > most { &full } else { bars };
    let each = bars.len().div_ceil(most.max(1)).max(1);
    let sum = |part: &[(String, u64)]| {
        let (name, _) = part.first()?;
        Some((name.clone(), part.iter().map(|(_, count)| count).sum()))
    };
    bars.chunks(each).filter_map(sum).collect()
}

/// As long as `count` is large beside `fullest`, to an eighth of a column; none is so small
/// that it is not seen.
pub(super) fn bar(count: u64, fullest: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(count) * width as u128 * 8 / u128::from(fullest.max(1));
    let eighths = (eighths as usize).max(usize::from(count > 0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Two parts side by side, or the first alone where the screen is narrow.
pub(super) fn halves(area: Rect) -> Vec<Rect> {
    if area.width < NARROW {
        return vec![area];
    }
    let halves = [Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)];
    let [left, _, right] = Layout::horizontal(halves).areas(area);
    vec![left, right]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_none_is_lost() {
        assert_eq!(bar(0, 10, 10), "");
        assert_eq!(bar(1, 1_000_000, 10), "▏");
        assert_eq!(bar(5, 10, 10), "█████");
        assert_eq!(bar(55, 100, 10), "█████▌");
        assert_eq!(bar(u64::MAX, u64::MAX, 10), "██████████");
        assert_eq!(bar(0, 0, 10), "");
    }

    #[test]
    fn where_there_are_too_many_neighbours_are_summed() {
        let bars: Vec<_> = (0..5).map(|n| (n.to_string(), 1)).collect();
        assert_eq!(fitted(&bars, 5), bars);
        let summed = [("0", 2), ("2", 2), ("4", 1)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(fitted(&bars, 3), summed);
        assert_eq!(fitted(&bars, 0).len(), 1);
        let mut gaps = bars.clone();
        (gaps[1].1, gaps[3].1) = (0, 0);
        assert_eq!(fitted(&gaps, 5), gaps);
        let full = [("0", 1), ("2", 1), ("4", 1)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(fitted(&gaps, 3), full);
    }
}
