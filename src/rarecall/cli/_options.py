"""Options and output that several commands share."""

import re
from typing import Annotated, Any

import typer
from rich.console import Console

from rarecall.errors import OptionError

output = Console(soft_wrap=False, highlight=False)
messages = Console(stderr=True, highlight=False)

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A path whose format is recognised, `format:path`, or `digits` (built in)."),
]
Blank = Annotated[str | None, typer.Option(help="A blank in a class column is `unknown` (default) or `absent`.")]
Unlisted = Annotated[
    str | None, typer.Option(help="A tag that a row does not list is `absent` (default) or `unknown`.")
]
Images = Annotated[str | None, typer.Option(help="Folder that a CSV's image paths are relative to.")]
ImageColumn = Annotated[str | None, typer.Option(help="Column of a CSV that names the images.")]
TagsColumn = Annotated[str | None, typer.Option(help="Column of a CSV that lists tags.")]
SplitColumn = Annotated[str | None, typer.Option(help="Column of a CSV that says train, val or test.")]
Separator = Annotated[str | None, typer.Option(help="Separator between tags. Default: found among | ; ,")]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of `HxW`, or of one number for both.

    >>> parse_size("128x64")
    (128, 64)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.strip().lower())
    if not match or "0" in (match[1], match[2]):
        raise OptionError(f"--image-size {text}: write height x width, as in 128x64")
    return int(match[1]), int(match[2] or match[1])


def parse_rates(text: str | None) -> tuple[float, ...] | None:
    """Learning rates separated by commas.

    >>> parse_rates("1e-3, 0.01")
    (0.001, 0.01)
    """
    if text is None:
        return None
    try:
        rates = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise OptionError(f"--rates {text}: write numbers separated by commas, as in 1e-3,3e-3,1e-2") from None
    if not all(0 < rate < float("inf") for rate in rates):
        raise OptionError(f"--rates {text}: a learning rate must be above 0")
    return rates


def say(kind: str, sentence: str) -> None:
    """One line on stderr: a `warning` about something lost, or a `note`."""
    messages.print(f"{kind}: {sentence}", markup=False, soft_wrap=True)
