"""Tables as Markdown: columns are data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column of a table.

    Args:
        title: its heading.
        cell: the key of its value in a row, or what makes it of the row; a row without the key has an empty cell.
        form: how a value is written, as `format` takes it.
    """

    title: str
    cell: str | Callable[[Mapping[str, Any]], Any]
    form: str = ""

    def of(self, row: Mapping[str, Any]) -> str:
        """The cell of a row."""
        value = row.get(self.cell, "") if isinstance(self.cell, str) else self.cell(row)
        return format(value, "" if isinstance(value, str) else self.form)


SCORER = Column("scorer", "scorer")


def table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows below the titles of the columns."""
    lines = [[column.title for column in columns], *([column.of(row) for column in columns] for row in rows)]
    heading, *cells = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([heading, f"|{'---|' * len(columns)}", *cells])
