"""The page: complete, self-contained, and the same for the same results."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from rarecall import data, studies
from rarecall.audit import audit
from rarecall.reports import figures, page, ranks_page, terminal
from rarecall.studies import results as study_results
from tests.commands import assert_one_line, run_process

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> studies.Results:
    """Results of a small study with a class name that would like to be markup."""
    from tests.files import write_table

    folder = tmp_path_factory.mktemp("study")
    write_table(folder / "t.npz")
    table, notes = data.complete_split(data.load(str(folder / "t.npz")))
    table = data.LabelTable(
        table.items, [HOSTILE, "b & c", "plain"], table.labels, table.split, "features:t.npz", None, table.features
    )
    protocol = studies.default_protocol(table, hidden=8, epochs=3, batch_size=32)
    plan = studies.Plan(losses=studies.parse_losses("bce,focal(gamma=1.0),two-way"), seeds=2, protocol=protocol)
    done = studies.study(plan, table, folder / "s", workers=1)
    return studies.collect(done, audit(table), "rarecall study t.npz --seeds 2", notes)


@pytest.fixture(scope="module")
def html(results: studies.Results) -> str:
    """The page."""
    return page.render(results)


def test_the_page_needs_no_network_and_no_script(html: str) -> None:
    assert "<script" not in html
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", html)
    assert not re.search(r"url\(\s*['\"]?(https?:)?//", html)
    assert "@import" not in html


def test_names_from_the_data_are_escaped(html: str) -> None:
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert "b &amp; c" in html


def test_the_page_holds_what_it_promises(html: str, results: studies.Results) -> None:
    for heading in ("Leaderboard", "How sure is that?", "The sparsity wall", "Class by class", "Convergence",
                    "Learning rates", "At the common rate", "The data", "How it was made"):  # fmt: skip
        assert f">{heading}</h" in html
    for sentence in results.summary["verdict"]:
        assert sentence.split("(")[0] in html
    assert "rarecall study t.npz --seeds 2" in html
    assert html.count('<div class="wide"><svg') == html.count('<div class="narrow"><svg') == 5


class Balance(HTMLParser):
    """Checks that every element is closed in order."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_well_formed(html: str) -> None:
    balance = Balance()
    balance.feed(html)
    assert not balance.open
    assert not balance.wrong


def test_the_same_results_give_the_same_page(html: str, results: studies.Results) -> None:
    assert page.render(results) == html


def test_the_terminal_shows_every_loss_whole_within_80_columns(results: studies.Results) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    terminal.print_leaderboard(results.summary, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("two-way", "mAP@class", "mAP@sample", "macro F1", "best"):
        assert word in text
    console.file.close()


def test_the_audit_plot_is_a_png(tmp_path: Path) -> None:
    facts = audit(data.load("digits")).as_dict()
    content = figures.to_png(figures.class_counts(facts, figures.WIDE))
    (tmp_path / "a.png").write_bytes(content)
    assert content.startswith(b"\x89PNG")


def test_narrow_figures_are_for_narrow_screens_alone(html: str) -> None:
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert style[1].count("{") == style[1].count("}")
    everywhere = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style[1])
    assert ".narrow { display: none; }" in everywhere
    assert ".wide" not in everywhere


# --- several studies ---------------------------------------------------------------------------------------------


def write_study(out: Path, source: str, figures: dict[str, float], tail: bool = True) -> None:
    """A finished study's results, of which only what a ranking reads is filled."""
    groups = {"all": 5, **({"tail": 2} if tail else {})}
    entries = [
        {"loss": loss, "figures": {"map_class": {"mean": value}, "map_tail": {"mean": value - 10}}}
        for loss, value in figures.items()
    ]
    summary = dict.fromkeys(study_results._KEYS, None) | {
        "format": 1, "losses": list(figures), "counted_classes": groups, "tuned": entries, "data": {"source": source},
    }  # fmt: skip
    out.mkdir()
    (out / "study.json").write_text(json.dumps({"format": 1, "study": {}}))
    (out / "summary.json").write_text(json.dumps(summary))
    pl.DataFrame({"loss": list(figures)}).write_parquet(out / "results.parquet")


def studies_of(tmp_path: Path) -> list[str]:
    table = {"voc $x": (50.0, 47.0, 45.0), "coco": (62.0, 60.0, 61.0), "wider": (41.0, 40.0, 38.0)}
    for name, row in table.items():
        write_study(tmp_path / name, name, dict(zip(("two-way", "focal", "bce"), row, strict=True)), name != "coco")
    return list(table)


def test_losses_are_ranked_over_the_data_sets_of_several_studies(tmp_path: Path) -> None:
    names = studies_of(tmp_path)
    (ranking,) = ranks_page.rank([studies.Results.read(tmp_path / name) for name in names])  # coco has no tail
    assert ranking.ranks.methods == ("two-way", "focal", "bce")
    assert ranking.ranks.average_ranks == pytest.approx((1.0, 7 / 3, 8 / 3))
    done = run_process("report", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "two-way has the best average rank: 1.00 (focal 2.33, bce 2.67)" in " ".join(done.stdout.split())
    page = (tmp_path / "rarecall-ranks.html").read_text()
    assert "voc $x" in page
    assert "critical difference" in page
    assert "<script" not in page


def test_studies_that_cannot_be_ranked_are_named(tmp_path: Path) -> None:
    studies_of(tmp_path)
    write_study(tmp_path / "again", "coco", {"two-way": 1.0, "focal": 2.0})
    write_study(tmp_path / "other", "nus", {"two-way": 1.0, "ldam": 2.0})
    assert_one_line(run_process("report", "coco", "again", cwd=tmp_path), "coco: two studies of the same data")
    assert_one_line(run_process("report", "coco", "other", cwd=tmp_path), "have two-way in common: 2 losses or more")
    assert_one_line(run_process("report", "coco", "--out", "x.html", cwd=tmp_path), "--out x.html: is for several")
    assert_one_line(run_process("report", "coco", "none", cwd=tmp_path), "none: ")
