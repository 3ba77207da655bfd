"""A command whose help lists its options in groups, and whose -h is one screen."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from s2crop.choices import VERSION

MESSAGES = "Messages and help"  # heading of options without a group
_COLUMN = 24  # characters for the options' names


class Option(click.Option):
    """An option below a heading of the help.

    Args:
        group: the heading.
        brief: its line on the one screen of -h; None to leave it to --help.
    """

    def __init__(self, *args: Any, group: str = MESSAGES, brief: str | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.group, self.brief = group, brief


class Command(click.Command):
    """Its help lists the options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (entry := param.get_help_record(ctx)):
                groups.setdefault(getattr(param, "group", MESSAGES), []).append(entry)
        for group, entries in groups.items():
            with formatter.section(group):
                # padded, so that the second column starts at the same place in every group
                formatter.write_dl([(first.ljust(_COLUMN), rest) for first, rest in entries], _COLUMN)


def _show_brief(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Callback of -h: one screen with the options that most people need; --help has them all."""
    if not value or ctx.resilient_parsing:
        return
    formatter = ctx.make_formatter()
    ctx.command.format_usage(ctx, formatter)
    ctx.command.format_help_text(ctx, formatter)
    named = []
    for option in ctx.command.get_params(ctx):
        if isinstance(option, Option) and option.brief and (record := option.get_help_record(ctx)):
            # the choices of some are too long for a line of the screen
            name = record[0] if len(record[0]) < _COLUMN - 2 else record[0].partition(" [")[0]
            named.append((name.ljust(_COLUMN), option.brief))
    with formatter.section("The options that most people need"):
        formatter.write_dl(named, _COLUMN)
    formatter.write(f"\n{ctx.command_path} --help lists all options, in groups.\n")
    click.echo(formatter.getvalue().rstrip("\n"))
    ctx.exit()


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"s2crop {VERSION}")
        ctx.exit()


ABOUT = (
    click.option(
        "-V", "--version", cls=Option, is_flag=True, is_eager=True, expose_value=False,
        callback=_show_version, help="Show the version and exit.",
    ),
    click.option(
        "-h", "brief_help", cls=Option, is_flag=True, is_eager=True, expose_value=False,
        callback=_show_brief, help="Show the options that most people need, on one screen.",
    ),
)  # fmt: skip


def with_options(options: Iterable[Callable]) -> Callable[[Callable], Callable]:
    """A decorator that gives a command these options, which its help lists in their order."""

    def add(function: Callable) -> Callable:
        for option in reversed(list(options)):
            function = option(function)
        return function

    return add
