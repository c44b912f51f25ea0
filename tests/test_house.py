"""The house: imports point down, in no circle, and into no other room's private modules."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import rarecall
from rarecall.settings import SETTINGS, default_of

SOURCE = Path(rarecall.__file__).parent
DOCS = SOURCE.parent.parent / "docs"


def modules() -> dict[str, Path]:
    """Every module by its name; a package under the name of its folder."""
    found = {}
    for file in SOURCE.rglob("*.py"):
        name = ".".join(("rarecall", *file.relative_to(SOURCE).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = file
    return found


def imports(file: Path, known: set[str]) -> Iterator[str]:
    """The modules that a module imports when it is imported itself."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in known else node.module


def test_no_module_imports_another_rooms_private_one() -> None:
    known = modules()
    for name, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rarecall"):
                for whole in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    parts = whole.split(".")
                    private = next((place for place, part in enumerate(parts) if part.startswith("_")), None)
                    if private is not None and whole in known:
                        room = ".".join(parts[:private])
                        assert name == room or name.startswith(f"{room}."), f"{name} imports {whole}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = set(modules())
    graph: TopologicalSorter[str] = TopologicalSorter()
    for name, file in modules().items():
        if file.name != "__init__.py":  # a package's face hands on what its modules define
            graph.add(name, *(one for one in imports(file, known) if one in known and one != name))
    assert len(list(graph.static_order())) >= 100


def test_the_table_of_settings_is_the_settings() -> None:
    """docs/training.md has a row for each, made of its field."""
    text = (DOCS / "training.md").read_text()
    for name, field in SETTINGS.items():
        if name == "loss":
            continue
        option = f"`--{name.replace('_', '-')}`"
        row = f"| {option} | {default_of(name) or '–'} | {field.description} |"
        assert row in text, row
