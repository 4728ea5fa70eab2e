//! Aligned text.

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
    fn no_rows_leave_the_header() {
        assert_eq!(render(&["name", "ns"], &[]), "name  ns\n");
    }
}
