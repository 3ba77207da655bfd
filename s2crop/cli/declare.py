"""Options as fields of a dataclass: each is declared once, for Python, for the command line and for the help."""

from collections.abc import Callable, Iterator
from dataclasses import Field, field, fields
from typing import Any

import click

from s2crop.cli.help import Option


def option(
    group: str,
    flags: str,
    help: str,
    *,
    brief: str | None = None,
    chooses: bool = False,
    needs: tuple[str, str] | None = None,
    **click_arguments: Any,
) -> Any:
    """A field that a user sets.

    Args:
        group: the heading of the help that it stands under.
        brief: its line on the one screen of -h, if it has one.
        chooses: it says what to choose, or among what: wrong usage where boxes are given.
        needs: the fields without one of which it has no effect, and what is said then behind its name.
        click_arguments: of `click.Option`; an option without type and default is a flag.
    """
    given = {"help": help} | click_arguments
    if not click_arguments.keys() & {"type", "metavar", "default"}:
        given |= {"is_flag": True}
    if "default" in given and "[default: " not in help:
        given |= {"show_default": True}
    default = () if "multiple" in given else given.get("default", False if "is_flag" in given else None)
    default = default() if callable(default) else default
    about = {"group": group, "flags": flags.split(), "brief": brief, "chooses": chooses, "needs": needs, "click": given}
    return field(default=default, metadata=about)


def declared(options: Any) -> Iterator[Field]:
    """The fields of a dataclass, or of one of its objects, that `option` made."""
    return (about for about in fields(options) if about.metadata)


def is_given(options: Any, name: str) -> bool:
    """Whether a field has another value than its default."""
    return any(getattr(options, name) != about.default for about in fields(options) if about.name == name)


def flag_of(options: Any, name: str) -> str:
    """How users write an option whose Python name is known."""
    flags = {about.name: about.metadata["flags"][-1] for about in declared(options)}
    return flags.get(name, f"--{name.replace('_', '-')}")


def for_click(options: Any) -> list[Callable]:
    """The fields that `option` made as click's options, in their order."""
    return [
        click.option(
            *about.metadata["flags"], about.name, cls=Option, group=about.metadata["group"],
            brief=about.metadata["brief"], **about.metadata["click"],
        )
        for about in declared(options)
    ]  # fmt: skip
