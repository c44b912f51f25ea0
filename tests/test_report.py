"""The page: complete, self-contained, and the same for the same results; and what the terminal says."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from rarecall import data, studies
from rarecall.audit import audit
from rarecall.folders import FORMAT
from rarecall.inference import Predictor, evaluate
from rarecall.inference.run_folder import ClassCard, RunCard
from rarecall.listener import Listener
from rarecall.models.classifier import Architecture
from rarecall.preparation import divide, prepare
from rarecall.reports import figures, page, ranks_page, recipe_words, run_page, terminal
from rarecall.reports.thumbnails import LARGEST, thumbnail
from rarecall.settings import Training
from rarecall.studies.results import COLUMNS
from rarecall.studies.summary import Spread
from rarecall.training import train
from rarecall.training.recipe import recipe_for
from tests.commands import assert_one_line, run_process
from tests.files import write_table
from tests.summaries import entry, protocol, summary_of

HOSTILE = '<script>alert("x")</script>'
TRAIN = "rarecall train t.npz --from-study 'a <b>'"


def study(folder: Path, **changes: object) -> studies.Results:
    """Results of a small study with a class name that would like to be markup."""
    write_table(folder / "t.npz")
    table = data.load(str(folder / "t.npz"))
    table = data.LabelTable(
        table.items, [HOSTILE, "b & c", "plain"], table.labels, table.split, "features:t.npz", None, table.features
    )
    protocol = studies.protocol(table, hidden=8, epochs=3, batch_size=32, **changes)
    plan = studies.make_plan(studies.parse_losses("bce,focal(gamma=1.0),two-way"), 2, protocol)
    prepared = prepare(divide(table, val=protocol.val), Listener())
    done = studies.study(plan, prepared, folder / "s", workers=1)
    return studies.collect(
        done, prepared.audit, command="rarecall study t.npz --seeds 2", train_command=TRAIN, notes=prepared.notes
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> studies.Results:
    """Those of a usual protocol."""
    return study(tmp_path_factory.mktemp("study"))


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
                    "Learning rates", "At the common rate", "The data", "How it was made",
                    "Train the winner"):  # fmt: skip
        assert f">{heading}</h" in html
    for sentence in results.summary.verdict:
        assert sentence.split("(")[0] in html
    assert "rarecall study t.npz --seeds 2" in html
    assert "<code>rarecall train t.npz --from-study &#39;a &lt;b&gt;&#39;</code>" in html
    assert "chosen on the test part" not in html
    assert "thresholds are those of the best F1 on validation, those of rare classes drawn towards one" in html
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


def well_formed(html: str) -> bool:
    """Whether every element is closed in order."""
    balance = Balance()
    balance.feed(html)
    return not balance.open and not balance.wrong


def test_the_page_is_well_formed(html: str) -> None:
    assert well_formed(html)


def test_the_same_results_give_the_same_page(html: str, results: studies.Results) -> None:
    assert page.render(results) == html


def printed(show: Any, *given: Any, width: int = 80) -> str:
    """What is written to a console that is no terminal."""
    file = io.StringIO()
    show(*given, Console(width=width, file=file))
    return file.getvalue()


def test_the_terminal_shows_every_loss_whole_within_80_columns(results: studies.Results) -> None:
    text = printed(terminal.print_leaderboard, results.summary)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("two-way", "mAP@class", "mAP@sample", "macro F1", "best", "\ntest part, mean ± SD of 2 seeds, %\n"):
        assert word in text
    assert text.endswith(f"\ntrain the winner: {TRAIN}\n")
    assert "Validation alone" in " ".join(text.split())


def test_the_audit_plot_is_a_png() -> None:
    facts = audit(data.load("digits")).facts
    with figures.style():
        content = figures.to_png(figures.class_counts(facts.classes, figures.WIDE))
    assert Image.open(io.BytesIO(content)).size == (1380, 630)


def test_narrow_figures_are_for_narrow_screens_alone(html: str) -> None:
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert style[1].count("{") == style[1].count("}")
    everywhere = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style[1])
    assert ".narrow { display: none; }" in everywhere
    assert ".wide" not in everywhere


# --- where choices were made -------------------------------------------------------------------------------------


def test_what_was_chosen_on_the_test_part_is_said_everywhere(tmp_path: Path) -> None:
    results = study(tmp_path, val="test")
    text = printed(terminal.print_leaderboard, results.summary)
    assert "\ntest part, chosen on the test part, mean ± SD of 2 seeds, %\n" in text
    assert "Validation alone" not in text
    html = page.render(results)
    assert "<h2>Leaderboard, chosen on the test part</h2>" in html
    assert "the test part chose, too, and its figures are flattered" in html
    assert (
        "The epoch with the best test mAP@class is kept; thresholds are those of the best F1 on the test part" in html
    )
    assert "alidation mAP" not in html
    assert "chosen on the test part" in page.excerpt(results)
    results.write(tmp_path)
    assert "chosen on the test part" in " ".join(json.loads((tmp_path / "summary.json").read_text())["notes"])


def test_a_study_without_a_part_to_choose_on_has_a_page(tmp_path: Path) -> None:
    results = study(tmp_path, val="none")
    html = page.render(results)
    assert "Nothing was held out to choose on: the last epoch is kept" in html
    assert "thresholds are those of the best F1 on train" in html
    assert "The rate is 0.003 for every loss" in html
    assert "alidation mAP" not in html
    for heading in ("Convergence", "Learning rates", "At the common rate"):
        assert f">{heading}</h" not in html
    text = printed(terminal.print_leaderboard, results.summary)
    assert "\ntest part, nothing held out to choose on, mean ± SD of 2 seeds, %\n" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Heads on frozen features: linear; AdamW, weight decay 0.01 of weights alone"),
        ({"hidden": 8, "dropout": 0.5}, "one hidden layer of 8 units, dropout 0.5; "),
        ({"optimizer": "sgd", "nesterov": False, "decay": "all"}, "SGD with plain momentum 0.9, weight decay 0.01 of"),
        ({"schedule": "step", "epochs": 8}, "the rate is divided by 10 at epochs 4, 6, without a warm-up"),
        ({"schedule": "constant", "warmup_steps": 500, "warmup_from": 0.1}, "a warm-up of 500 steps from 0.1 of it"),
        ({"warmup_epochs": 1.0}, "the rate falls to 0 along half a cosine, after a warm-up of 1 epoch."),
        ({"drop_last": True}, "2 epochs of batches of 8, an incomplete last one left out."),
        ({"clip": 1.0, "loss_optimizer": "authors"}, "gradients clipped to a norm of 1, what a loss itself"),
        ({"head_only": False, "augmentation": "crop"}, "Whole networks, head: linear; the backbone has the rate"),
        ({"head_only": False, "augmentation": "crop", "backbone_rate": 1e-4}, "augmentation: crop; precision: auto."),
        ({"metric": "map_tail", "patience": 3, "tolerance": 0.01}, "The epoch with the best validation mAP of the tail "
         "classes is kept; a training ends when 3 epochs in a row are not better by more than 0.01; thresholds"),
        ({"select": "last", "threshold": "0.5"}, "The last epoch is kept; labels are given from a score of 0.5."),
        ({"rates": (3e-3,)}, "The rate is 0.003 for every loss; the test part is scored once per run."),
        ({"rates": (1e-3, 3e-3)}, "Each loss chooses its rate by validation mAP@class with the first seed; the test"),
    ],
)  # fmt: skip
def test_the_recipe_is_told_whole(changes: dict[str, Any], words: str) -> None:
    summary = summary_of(entry("two-way"), protocol=protocol(**changes))
    assert words in " ".join(recipe_words.of_study(summary))


def test_one_loss_with_one_seed_has_a_page() -> None:
    figure = {name: Spread(mean=50.0, sd=None) for name in ("map_class", "macro_f1")}
    rows = pl.DataFrame(
        {name: ["a"] if name in ("loss", "class", "tier") else [1] for name in COLUMNS}
    ).with_columns(pl.lit("two-way").alias("loss"), pl.lit(True).alias("tuned"), pl.lit(0.5).alias("ap"))  # fmt: skip
    summary = summary_of(entry("two-way", figures=figure), seeds=1)
    html = page.render(studies.Results(rows, summary))
    assert "Test part, one seed, %;" in html
    assert "How sure" not in html
    assert "behind the best" not in printed(terminal.print_leaderboard, summary)


# --- pieces for notebooks ----------------------------------------------------------------------------------------


def card(**changes: object) -> RunCard:
    """The card of a run whose data have a name that would like to be markup."""
    settings = Training(**protocol().recipe.model_dump(), loss="two-way", rate=3e-3)
    values = {
        "architecture": Architecture(classes=1, inputs=[4]), "training": settings,
        "classes": [ClassCard(name="a", threshold=0.0, positives=1, tier="tail")],
        "figures": {"val": {"map_class": 61.25, "macro_f1": None}, "test": {"map_class": 50.04, "macro_f1": 40.0}},
        "history": [{"epoch": 1, "train_loss": 0.5}], "epoch": 1, "data": {"source": HOSTILE}, "weights_from": None,
        "notes": [], "versions": {}, "command": "rarecall train",
    }  # fmt: skip
    return RunCard(**{**values, **changes})


def test_notebooks_show_the_leaderboard_and_the_verdict(results: studies.Results) -> None:
    html = page.excerpt(results)
    assert well_formed(html)
    assert "<script" not in html
    assert results.summary.verdict[2] in html
    assert html.count("<tr") == 4


def test_notebooks_show_the_figures_of_a_run() -> None:
    html = page.excerpt_of_run(card())
    assert well_formed(html)
    assert HOSTILE not in html
    assert "<td>61.2</td><td>50.0</td>" in html
    assert "chosen" not in html
    of_test = card(training=card().training.model_copy(update={"val": "test"}), figures={"test": {"map_class": 50.0}})
    assert "chosen on the test part" in page.excerpt_of_run(of_test)
    assert "chosen on the test part" in printed(terminal.print_run, of_test)


def test_a_history_without_validation_is_drawn() -> None:
    history = [{"epoch": number, "train_loss": 1 / number} for number in (1, 2, 3)]
    with figures.style():
        without = figures.to_svg(figures.run_convergence(history, 3, figures.WIDE))
    assert "mAP" not in without.replace("mAP@class over", "")
    history[1] |= {"val_loss": None, "val_map_class": None}
    history[2] |= {"val_loss": 0.5, "val_map_class": 0.4}
    with figures.style():
        drawn = figures.to_svg(figures.run_convergence(history, 3, figures.NARROW, on="test"))
    assert "test mAP@class, %" in drawn
    assert "nan" not in drawn


def test_names_of_any_length_and_script_are_drawn_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = ["two-way", "focal(gamma=1.0) + 0.5 * asymmetric(negative_gamma=4.0, clip=0.05)", "$x$"]
    means = pl.DataFrame(
        [
            {"class": name, "loss": loss, "ap": 0.0, "positives_train": place, "tier": "tail"}
            for place, name in enumerate(["長い名前のクラス" * 8, "", "a" * 300, "<b> $\\alpha$", "ok"])
            for loss in losses
        ]
    )
    summary = summary_of(*map(entry, losses))
    monkeypatch.setattr(figures, "_MOST_POINTS", 5)
    for size in (figures.WIDE, figures.NARROW):
        with figures.style():
            drawn = [
                figures.to_svg(figures.per_class(means, losses, size)),
                figures.to_svg(figures.sparsity_wall(means, losses, size)),
                figures.to_svg(figures.differences(summary, size)),
                figures.to_svg(figures.convergence(summary, size)),
            ]
        assert "&lt;b&gt; $\\alpha$" in drawn[0]
        assert "aaa…" in drawn[0]
        assert "data:image/png" in drawn[1]
        assert all("$x$" in svg for svg in drawn)
        assert not any("nan" in svg for svg in drawn[2:])


def test_a_page_alone_loads_what_draws() -> None:
    code = (
        "import sys; from rarecall import api; from rarecall.reports import audit_page, figures, ranks_page, run_page; "
    )
    code += "sys.exit('matplotlib' in sys.modules or 'scipy' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- thumbnails --------------------------------------------------------------------------------------------------


def test_thumbnails_are_small_and_absent_where_there_is_nothing_to_see(photos: Path) -> None:
    Image.new("RGB", (900, 300), "red").save(photos / "00.jpg")
    (photos / "01.jpg").write_bytes(b"none")
    table = data.load(str(photos / "tags.csv"))
    assert picture(thumbnail(table, 0)).size == (LARGEST[0], 43)
    assert thumbnail(table, 1) is None
    assert picture(thumbnail(table, 2)).size == (16, 24)  # never enlarged
    digits = data.load("digits")
    assert picture(thumbnail(digits, 0)).size == (72, 72)
    assert thumbnail(data.from_arrays(np.ones((2, 3), np.float32), np.eye(2, dtype=np.int8)), 0) is None


def picture(encoded: str | None) -> Image.Image:
    assert encoded is not None
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


# --- evaluations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "first", "both"),
    [
        ({}, "fitted on validation", True),
        ({"val": "none"}, "fitted on train", True),
        ({"val": "test"}, "fitted on the test part", True),
        ({"threshold": "0.5"}, "at 0.5", False),
    ],
)
def test_thresholds_are_called_what_they_are(tmp_path: Path, changes: dict[str, Any], first: str, both: bool) -> None:
    write_table(tmp_path / "t.npz")
    table = data.load(str(tmp_path / "t.npz"))
    recipe = recipe_for(table, epochs=2, **changes)
    parts = divide(table, val=recipe.val)
    train(recipe.training("focal"), parts, tmp_path / "run", Listener(), tensorboard=False)
    predictor = Predictor.load(tmp_path / "run")
    found = evaluate(predictor, table)
    text = printed(lambda console: terminal.print_evaluation(found.summary, console, predictor.card))
    ways = [first, "at 0.5"] if both else [first]
    assert max(len(line) for line in text.splitlines() if not line.startswith("Within")) <= 80
    assert ["decisions, %", *ways, "counted"] in [re.split(" {2,}", line.strip()) for line in text.splitlines()]
    html = run_page.render(found, predictor.card)
    assert "".join(f"<th>thresholds {words}</th>" for words in ways) in html
    own = found.summary["metrics"]["fitted"]["macro_f1"]
    assert f"The macro F1 is {own:.1f} with thresholds {first}" in html
    assert ("Thresholds that are fitted" in html) == (first != "at 0.5")


# --- progress ----------------------------------------------------------------------------------------------------


def test_a_display_that_is_no_terminal_says_each_sentence_once_and_nothing_else() -> None:
    file = io.StringIO()
    with terminal.listening(Console(file=file, width=40)) as shown:
        shown.say("warning", "3 images [bold] are lost, and their names are longer than a line")
        shown.progress("images", 1, 2)
        shown.progress("runs", 1, None)
        shown.say("note", "a part was taken from train")
        shown.say("warning", "3 images [bold] are lost, and their names are longer than a line")
    assert file.getvalue() == (
        "warning: 3 images [bold] are lost, and their names are longer than a line\nnote: a part was taken from train\n"
    )


def test_a_display_on_a_terminal_has_bars() -> None:
    file = io.StringIO()
    with terminal.listening(Console(file=file, width=100, force_terminal=True)) as shown:
        shown.progress("images", 1, 2)
        shown.progress("images", 2, 2)
        shown.bars.refresh()
        assert len(shown.tasks) == 1
    assert "images" in file.getvalue()


def test_a_line_for_each_epoch_says_what_there_is() -> None:
    file = io.StringIO()
    with terminal.listening(Console(file=file, width=200)) as shown:
        history = [{"train_loss": 0.51234, "val_loss": 0.4, "val_map_class": 0.5}]
        shown.epoch(history, 1, 12, "validation")
        history.append({"train_loss": 0.5})
        shown.epoch(history, None, 12, None)
        history.append({"train_loss": 0.5, "val_loss": float("nan"), "val_map_class": 0.4})
        shown.epoch(history, 1, 12, "test")
    first, second, third = re.sub(r"  \(\d+ s\)", "", file.getvalue()).splitlines()
    assert first == "epoch  1/12  loss 0.5123  validation loss 0.4, mAP@class 50.0  best so far"
    assert second == "epoch  2/12  loss 0.5"
    assert third == "epoch  3/12  loss 0.5  test loss –, mAP@class 40.0"


# --- several studies ---------------------------------------------------------------------------------------------


def write_study(out: Path, source: str, means: dict[str, float], tail: bool = True) -> None:
    """A finished study of that source with those figures."""
    entries = [
        entry(loss, figures={"map_class": Spread(mean=mean, sd=1.0), "map_tail": Spread(mean=mean - 10, sd=1.0)})
        for loss, mean in means.items()
    ]
    table = data.from_arrays(np.ones((4, 2), np.float32), np.eye(4, 2, dtype=np.int8))
    facts = audit(data.LabelTable(table.items, table.names, table.labels, table.split, source, None, table.features))
    summary = summary_of(*entries, facts=facts, counted_classes={"all": 5, **({"tail": 2} if tail else {})})
    out.mkdir()
    (out / "study.json").write_text(json.dumps({"format": FORMAT, "study": {}}))
    studies.Results(pl.DataFrame({name: [0] for name in COLUMNS}), summary).write(out)


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
