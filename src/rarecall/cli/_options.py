"""Options and output that several commands share.

The options of a recipe are made from its fields (`takes(settings=…)`): what a setting is called, what it may be and
what it does is said there, once.
"""

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rarecall.errors import OptionError

if TYPE_CHECKING:
    from rarecall.data import LabelTable
    from rarecall.listener import Listener

output = Console(soft_wrap=False, highlight=False)
messages = Console(stderr=True, highlight=False)

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A path whose format is recognised, `format:path`, or `digits` (built in)."),
]
Images = Annotated[str | None, typer.Option(help="Folder that a CSV's image paths are relative to.")]
ImageColumn = Annotated[str | None, typer.Option(help="Column of a CSV that names the images.")]
Device = Annotated[str, typer.Option(help="`auto` (a GPU if there is one), `cpu` or `cuda`.")]
Strict = Annotated[bool, typer.Option(help="Refuse a data set with an unreadable image.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that `rarecall train` wrote.")]

FORMAT_OPTIONS: dict[str, Any] = {
    "blank": Annotated[
        str | None,
        typer.Option(rich_help_panel="Data", help="A blank in a class column is `unknown` (default) or `absent`."),
    ],
    "unlisted": Annotated[
        str | None,
        typer.Option(rich_help_panel="Data", help="A tag that a row does not list is `absent` (default) or `unknown`."),
    ],
    "images": Images,
    "image_column": ImageColumn,
    "tags_column": Annotated[str | None, typer.Option(rich_help_panel="Data", help="Column of a CSV that lists tags.")],
    "split_column": Annotated[
        str | None, typer.Option(rich_help_panel="Data", help="Column of a CSV that says train, val or test.")
    ],
    "separator": Annotated[
        str | None, typer.Option(rich_help_panel="Data", help="Separator between tags. Default: found among | ; ,")
    ],
    "group": Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Data", help="Column whose rows stay together in one part: a patient, product or person."
        ),
    ],
    "option": Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            rich_help_panel="Data",
            metavar="NAME=VALUE",
            help="Option of DATA's format; may stand several times.",
        ),
    ],
}
BACKBONE_OPTIONS: dict[str, Any] = {
    "model": Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Backbone", help="timm backbone. Default: the one named beside the weights, or resnet18."
        ),
    ],
    "weights": Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Backbone",
            help="`pretrained` (default), `none`, or a .safetensors file with perhaps a JSON beside it.",
        ),
    ],
    "image_size": Annotated[
        str | None,
        typer.Option(rich_help_panel="Backbone", help="Height x width, as in 128x64. Default: the backbone's own."),
    ],
}


def takes(
    *, default: str | None = None, settings: dict[str, Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the argument DATA as its parameter `data`, and in `options` all others that were given.

    These are the options of the formats, and with settings those and the backbone's.

    Args:
        default: of DATA; none: it has to be given.
        settings: the options of a recipe by their names, each an annotation.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        others = {**settings, **BACKBONE_OPTIONS, **FORMAT_OPTIONS} if settings else FORMAT_OPTIONS

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            options = given(**{name: values.pop(name) for name in others})
            options["format_options"] = parse_options(options.pop("option", []))
            command(options=options, **values)

        own = inspect.signature(command).parameters
        start = inspect.Parameter.empty if default is None else default
        parameters = [
            one.replace(annotation=Data, default=start) if name == "data" else one
            for name, one in own.items()
            if name != "options"
        ]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters += [
            inspect.Parameter(name, kind, default=None, annotation=annotation) for name, annotation in others.items()
        ]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        del with_options.__wrapped__
        return with_options

    return decorate


def load(data: str, options: dict[str, Any], listener: "Listener") -> "LabelTable":
    """The table, whose notes are said."""
    from rarecall.data import load

    named = {name: value for name, value in options.items() if name != "format_options"}
    table = load(data, **named, **options["format_options"])
    for note in table.notes:
        listener.say("note", note)
    return table


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def parse_options(words: Iterable[str]) -> dict[str, str]:
    """Options of a format as `name=value` each.

    >>> parse_options(["difficult=absent"])
    {'difficult': 'absent'}
    """
    options: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip().replace("-", "_").isidentifier():
            raise OptionError(f"--option {word}: write NAME=VALUE, as in difficult=absent")
        name = name.strip().replace("-", "_")
        if name in options:
            raise OptionError(f"--option {word}: {name} is given twice")
        options[name] = value
    return options


def say(kind: str, sentence: str) -> None:
    """One line on stderr: a `warning` about something lost, or a `note`."""
    messages.print(f"{kind}: {sentence}", markup=False, soft_wrap=True)


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["rarecall", *sys.argv[1:]])
