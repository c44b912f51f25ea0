"""A test that loops over its cases runs every one of them, and says which one fails."""

import pytest

from tests.loops import each


def test_every_combination_runs_with_the_fixtures_of_the_test() -> None:
    seen = []

    @each(first=[1, 2], second="ab")
    def check(first: int, second: str, fixture: str) -> None:
        seen.append((first, second, fixture))

    check(fixture="given")
    assert seen == [(1, "a", "given"), (1, "b", "given"), (2, "a", "given"), (2, "b", "given")]


def test_the_values_of_a_failure_are_told() -> None:
    @each(number=[1, 2, 3], kind=[int])
    def check(number: int, kind: type) -> None:
        assert kind(number) < 2

    with pytest.raises(AssertionError) as error:
        check()
    assert error.value.__notes__ == ["for number = 2, kind = int"]


def test_a_table_without_values_is_refused() -> None:
    with pytest.raises(AssertionError, match="nothing to test"):
        each(case=[])
