"""One test for many small cases, where a test for each would say no more and take longer to collect than to run."""

import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any


def each(**tables: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a test run for every combination of the values under the names of its arguments.

    The first that fails ends it, and says for which values; fixtures are those of the whole test.
    """
    names, rows = tuple(tables), list(itertools.product(*tables.values()))
    assert rows, f"nothing to test: {tables}"

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        def test(**fixtures: Any) -> None:
            for row in rows:
                chosen = dict(zip(names, row, strict=True))
                try:
                    check(**chosen, **fixtures)
                except Exception as error:
                    error.add_note("for " + ", ".join(f"{name} = {_shown(value)}" for name, value in chosen.items()))
                    raise

        signature = inspect.signature(check)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in names]
        test.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        test.pytestmark = list(getattr(check, "pytestmark", []))  # type: ignore[attr-defined]
        return test

    return decorate


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
