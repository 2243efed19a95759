//! Columns of text that fit a width: optional ones give way, long text is cut, nothing wraps.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;
/// A text column is not cut below this.
const LEAST: usize = 10;
/// Optional columns give way until every text column has this much of what it wants, unless it says otherwise.
const COMFORT: usize = 24;

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Right-aligned, never cut.
    Number,
    /// Left-aligned, cut where there is no room.
    Text,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) kind: Kind,
    /// Heading of neighbouring columns together; empty for none.
    pub(super) group: String,
    pub(super) head: String,
    pub(super) cells: Vec<String>,
    /// 0 stays; of the others, the largest gives way first.
    pub(super) spare: u8,
    /// What a text column has before others must give way for it.
    comfort: usize,
}

impl Column {
    pub(super) fn number(head: impl Into<String>, cells: Vec<String>) -> Self {
        Self {
            kind: Kind::Number,
            group: String::new(),
            head: head.into(),
            cells,
            spare: 0,
            comfort: COMFORT,
        }
    }

    pub(super) fn text(head: impl Into<String>, cells: Vec<String>) -> Self {
        Self { kind: Kind::Text, ..Self::number(head, cells) }
    }

    pub(super) fn in_group(self, group: impl Into<String>) -> Self {
        Self { group: group.into(), ..self }
    }

    pub(super) fn spare(self, spare: u8) -> Self {
        Self { spare, ..self }
    }

    pub(super) fn content_with(self, comfort: usize) -> Self {
        Self { comfort, ..self }
    }

    fn wanted(&self) -> usize {
        self.cells.iter().chain([&self.head]).map(|c| c.width()).max().unwrap_or(0)
    }
}

/// Lays columns out: headings, a rule, one line per row, and further rules before the rows in `rules`.
pub(super) fn table(mut columns: Vec<Column>, width: usize, rules: &[usize]) -> Vec<String> {
    while needed(&columns) > width {
        let Some(first) =
            (0..columns.len()).filter(|&i| columns[i].spare > 0).max_by_key(|&i| columns[i].spare)
        else {
            break;
        };
        columns.remove(first);
    }
    make_room_for_groups(&mut columns);
    let widths = widths(&columns, width);
    let rule = fit(&"─".repeat(widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)), width);
    let mut lines = Vec::new();
    if columns.iter().any(|c| !c.group.is_empty()) {
        lines.push(groups(&columns, &widths));
    }
    lines.push(line(&columns, &widths, |c| &c.head));
    lines.push(rule.clone());
    for row in 0..columns.first().map_or(0, |c| c.cells.len()) {
        if rules.contains(&row) {
            lines.push(rule.clone());
        }
        lines.push(line(&columns, &widths, |c| c.cells.get(row).map_or("", String::as_str)));
    }
    lines.into_iter().map(|l| fit(l.trim_end(), width)).collect()
}

fn needed(columns: &[Column]) -> usize {
    let of = |c: &Column| if c.kind == Kind::Text { c.wanted().min(c.comfort) } else { c.wanted() };
    columns.iter().map(of).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

/// What each column gets: what it wants, less what the texts most at ease must give up.
fn widths(columns: &[Column], width: usize) -> Vec<usize> {
    let mut widths: Vec<_> = columns.iter().map(Column::wanted).collect();
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let texts = (0..columns.len()).filter(|&i| columns[i].kind == Kind::Text && widths[i] > LEAST);
        let at_ease = |&i: &usize| (widths[i] as i64 - columns[i].comfort as i64, widths[i]);
        let Some(widest) = texts.max_by_key(at_ease) else { break };
        widths[widest] -= 1;
    }
    widths
}

/// Gives the first column of each group the room that the heading of the group needs.
fn make_room_for_groups(columns: &mut [Column]) {
    let mut i = 0;
    while i < columns.len() {
        let next = group_end(columns, i);
        let span = columns[i..next].iter().map(Column::wanted).sum::<usize>() + GAP * (next - i - 1);
        let missing = columns[i].group.width().saturating_sub(span);
        if missing > 0 {
            let head = &columns[i].head;
            columns[i].head = format!("{}{head}", " ".repeat(columns[i].wanted() + missing - head.width()));
        }
        i = next;
    }
}

fn group_end(columns: &[Column], i: usize) -> usize {
    (i..columns.len()).find(|&j| columns[j].group != columns[i].group).unwrap_or(columns.len())
}

fn line<'a>(columns: &'a [Column], widths: &[usize], cell: impl Fn(&'a Column) -> &'a str) -> String {
    let one = |(column, &width): (&'a Column, &usize)| {
        let text = fit(cell(column), width);
        let pad = " ".repeat(width.saturating_sub(text.width()));
        if column.kind == Kind::Number { pad + &text } else { text + &pad }
    };
    columns.iter().zip(widths).map(one).collect::<Vec<_>>().join(&" ".repeat(GAP))
}

/// The line above the headings: "── VMM time, µs ──" over the columns of a group.
fn groups(columns: &[Column], widths: &[usize]) -> String {
    let mut text = String::new();
    let mut i = 0;
    while i < columns.len() {
        let next = group_end(columns, i);
        let span = widths[i..next].iter().sum::<usize>() + GAP * (next - i - 1);
        let group = &columns[i].group;
        if group.is_empty() {
            text.push_str(&" ".repeat(span));
        } else {
            let label = if group.width() + 2 <= span { format!(" {group} ") } else { fit(group, span) };
            let left = span.saturating_sub(label.width()) / 2;
            text.push_str(&"─".repeat(left));
            text.push_str(&label);
            text.push_str(&"─".repeat(span.saturating_sub(left + label.width())));
        }
        text.push_str(&" ".repeat(GAP));
        i = next;
    }
    text
}

/// Columns that a text takes on the screen.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Text of at most `width` columns on the screen: what is too long ends in an ellipsis.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&t| t.to_owned()).collect()
    }

    #[test]
    fn a_table_lines_up() {
        let columns = vec![
            Column::number("n", cells(&["1", "200"])),
            Column::number("p50", cells(&["0.5", "1.25"])).in_group("t, µs"),
            Column::number("p99", cells(&["17.5", "2"])).in_group("t, µs"),
            Column::text("what", cells(&["a", "a long text that is cut"])),
        ];
        let lines = table(columns, 30, &[1]);
        let expected = [
            "     ─ t, µs ──",
            "  n   p50   p99  what",
            "──────────────────────────────",
            "  1   0.5  17.5  a",
            "──────────────────────────────",
            "200  1.25     2  a long text …",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn spare_columns_give_way_before_text_is_cut() {
        let columns = vec![
            Column::text("what", cells(&["twenty characters..."])),
            Column::number("rare", cells(&["1"])).spare(2),
            Column::number("max", cells(&["2"])).spare(1),
        ];
        assert_eq!(table(columns, 26, &[])[0], "what                  max");
    }

    #[test]
    fn a_group_of_one_column_is_as_wide_as_its_heading() {
        let columns = vec![
            Column::number("p50", cells(&["1"])).in_group("KVM_RUN, µs"),
            Column::text("what", cells(&["a"])),
        ];
        assert_eq!(table(columns, 40, &[])[..2], ["KVM_RUN, µs", "        p50  what"]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked(text: String, width in 1usize..60) {
            let text = trapline_formats::printable(text.as_bytes(), false);
            prop_assert!(fit(&text, width).width() <= width);
            let columns = vec![Column::number("number", cells(&["1"])), Column::text("t", vec![text.clone()]), Column::text("u", vec![text])];
            for line in table(columns, width, &[0]) {
                prop_assert!(line.width() <= width);
            }
        }
    }
}
