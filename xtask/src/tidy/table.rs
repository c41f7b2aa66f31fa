//! Reads a Markdown table that follows a marker.

/// The rows, without header and rule, of the table after `<!-- tidy: NAME -->`.
///
/// # Errors
///
/// When there is no marker, no table, or a row of another length.
pub(super) fn rows<'a>(text: &'a str, name: &str) -> Result<Vec<Vec<&'a str>>, String> {
    let marker = format!("<!-- tidy: {name} -->");
    let (_, rest) = text
        .split_once(&marker)
        .ok_or_else(|| format!("no table after `{marker}`"))?;
    let mut lines = rest.lines().map(str::trim).skip_while(|l| l.is_empty());
    let cells = |line: &'a str| -> Option<Vec<&'a str>> {
        let inner = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(str::trim).collect())
    };
    let header = lines
        .next()
        .and_then(cells)
        .ok_or_else(|| format!("no table after `{marker}`"))?;
    let rows: Vec<_> = lines.map_while(cells).skip(1).collect();
    match rows.iter().find(|row| row.len() != header.len()) {
        Some(row) => Err(format!(
            "table `{name}`, row `{}`: {} cells, the header has {}",
            row[0],
            row.len(),
            header.len()
        )),
        None if rows.is_empty() => Err(format!("table `{name}` is empty")),
        None => Ok(rows),
    }
}

/// The items of a cell: separated by commas, without code font; a dash means none.
pub(super) fn items(cell: &str) -> Vec<&str> {
    let items = cell.split(',').map(|item| item.trim().trim_matches('`'));
    items
        .filter(|item| !matches!(*item, "" | "–" | "-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "a\n<!-- tidy: x -->\n\n| h | i |\n|---|---|\n| `a` | b, `c` |\n| d | – |\n\n| no |\n";

    #[test]
    fn the_table_after_the_marker_is_read_to_its_end() {
        let rows = rows(TEXT, "x").unwrap();
        assert_eq!(rows, [["`a`", "b, `c`"], ["d", "–"]]);
        assert_eq!(items(rows[0][1]), ["b", "c"]);
        assert!(items(rows[1][1]).is_empty());
    }

    #[test]
    fn a_missing_marker_and_a_short_row_are_said() {
        assert!(rows(TEXT, "y").unwrap_err().contains("tidy: y"));
        let short = TEXT.replace("| d | – |", "| d |");
        assert!(rows(&short, "x").unwrap_err().contains("row `d`: 1 cells"));
    }
}
