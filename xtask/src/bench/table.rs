//! Tables: aligned text, or Markdown.

/// One of the two ways.
pub(super) type Render = fn(&[&str], &[Vec<String>]) -> String;

/// A header and rows of as many cells; the first column is left-aligned, the others right.
pub(super) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let header = header.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<&Vec<String>> = [&header].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    rows.into_iter().map(|row| line(row, &widths)).collect()
}

/// The same in Markdown.
pub(super) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let escaped = |text: &str| text.trim().replace('|', "\\|");
    // What is indented is a part of what is above it.
    let first = |text: &str| {
        let indent = if text.starts_with(' ') { "– " } else { "" };
        format!("{indent}{}", escaped(text))
    };
    let is_number = |row: &Vec<String>, at: usize| {
        let cell = row.get(at).map_or("", |cell| cell.trim());
        cell.starts_with(|first: char| first.is_ascii_digit() || "-?≤≥<>".contains(first))
    };
    let right = |at: usize| at > 0 && rows.iter().all(|row| is_number(row, at));
    let ruler = (0..header.len()).map(|at| if right(at) { "--:" } else { "---" }.to_owned());
    let row = |row: &Vec<String>| {
        let (head, tail) = row.split_first().map_or(("", &row[..]), |(head, tail)| (head, tail));
        cells(std::iter::once(first(head)).chain(tail.iter().map(|it| escaped(it))).collect())
    };
    let header = cells(header.iter().map(|it| escaped(it)).collect());
    format!("{header}{}{}", cells(ruler.collect()), rows.iter().map(row).collect::<String>())
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, &width))| {
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    let cells: Vec<String> = cells.collect();
    format!("{}\n", cells.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "1.0".into()], vec!["longer".into(), "22.0".into()]];
        assert_eq!(render(&["name", "µs"], &rows), "name      µs\na        1.0\nlonger  22.0\n");
    }

    #[test]
    fn markdown_shows_what_belongs_together() {
        let rows = [vec!["a|b".into(), "1".into()], vec!["  by c".into(), "2".into()]];
        let wanted = "| what | µs |\n| --- | --: |\n| a\\|b | 1 |\n| – by c | 2 |\n";
        assert_eq!(markdown(&["what", "µs"], &rows), wanted);
    }

    #[test]
    fn no_rows_leave_the_header() {
        assert_eq!(render(&["name", "ns"], &[]), "name  ns\n");
    }
}
