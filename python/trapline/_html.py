"""What objects look like in a notebook. A trace may come from a stranger: everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

_CELL = "padding:1px 10px 1px 0;border:none;background:none"


def card(title: str, facts: Mapping[str, str | None]) -> str:
    """A title and a list of facts; those that are None are left out."""
    rows = (
        f'<tr><td style="text-align:left;opacity:.65;{_CELL}">{escape(name)}</td>'
        f'<td style="text-align:left;{_CELL}">{escape(fact)}</td></tr>'
        for name, fact in facts.items()
        if fact is not None
    )
    return f'<div><b>{escape(title)}</b><table style="border:none">{"".join(rows)}</table></div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str | float | int | None]]) -> str:
    """Rows under their names: numbers to the right, None as a dash."""

    def cell(value: str | float | int | None) -> str:
        side = "left" if isinstance(value, str) else "right"
        text = "–" if value is None else value if isinstance(value, str) else f"{value:,}"
        return f'<td style="text-align:{side};{_CELL}">{escape(text)}</td>'

    head = "".join(f'<th style="text-align:left;{_CELL}">{escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f'<table style="border:none"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def text(body: str) -> str:
    """Text as it stands."""
    return f'<pre style="line-height:1.25">{escape(body)}</pre>'


def duration(ns: float) -> str:
    """A time for people."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns:.4g} ns"
