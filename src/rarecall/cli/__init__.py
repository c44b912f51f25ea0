"""The command line: each command parses its options, calls the library and prints.

Nothing here imports PyTorch before a command runs, so that `--help` answers at once.
"""

import errno
import sys
import warnings
from typing import Any, NoReturn

import typer

from rarecall.cli import audit, evaluate, predict, report, study, train
from rarecall.errors import RarecallError, is_out_of_memory

app = typer.Typer(
    help="Train and choose multi-label classifiers that recall the rare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(audit.audit)
app.command()(study.study)
app.command()(train.train)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(report.report)

# Typer brings its own copy of Click or uses the installed one, by version; this is its class in either.
UsageError: Any = typer.BadParameter.__base__
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
USER_ERROR, INTERRUPTED = 2, 130


def main() -> NoReturn:
    """Run the command line; every error that a user can cause is one line and exit code 2."""
    warnings.filterwarnings("ignore", module="PIL")  # an odd image is no reason to worry a user
    try:
        code = app(standalone_mode=False) or 0
    except RarecallError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except OSError as error:
        _fail(_explain(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail("out of memory: try --workers 1, a smaller --hidden or --batch-size; what is finished is kept")
    if code == INTERRUPTED:  # Typer has caught the Ctrl-C
        _interrupted()
    sys.exit(code)


def _explain(error: OSError) -> str:
    where = error.filename or "output"
    if error.errno in NO_SPACE:
        return f"{where}: no space left to write: free some and run the same command again; what is finished is kept"
    return f"{where}: {error.strerror or error}: check the path and its permissions"


def _fail(message: str) -> NoReturn:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(USER_ERROR)


def _interrupted() -> NoReturn:
    print("stopped: what is finished is kept; the same command goes on from there", file=sys.stderr)
    sys.exit(INTERRUPTED)
