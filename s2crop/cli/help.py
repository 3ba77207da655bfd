"""A command whose help lists its options in groups."""

from collections.abc import Callable, Iterable
from typing import Any

import click

_REST = "Messages and help"  # heading of options without a group
_COLUMN = 24  # characters for the options' names


class Option(click.Option):
    """An option below a heading of the help."""

    def __init__(self, *args: Any, group: str = _REST, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
    """Its help lists the options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (entry := param.get_help_record(ctx)):
                groups.setdefault(getattr(param, "group", _REST), []).append(entry)
        for group, entries in groups.items():
            with formatter.section(group):
                # padded, so that the second column starts at the same place in every group
                formatter.write_dl([(first.ljust(_COLUMN), rest) for first, rest in entries], _COLUMN)


def with_options(options: Iterable[Callable]) -> Callable[[Callable], Callable]:
    """A decorator that gives a command these options, which its help lists in their order."""

    def add(function: Callable) -> Callable:
        for option in reversed(list(options)):
            function = option(function)
        return function

    return add
