"""The structure: imports go down only, the core is sans-IO, no package is forgotten, rooms stay small."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["gossip", "client", "node", "cluster"]
"""From the bottom up: a layer imports itself and what stands before it."""

PACKAGE_OF = {"gossip": "pyredis_cluster.gossip", "client": "pyredis_cluster.client", "node": "pyredis_cluster.node"}
SANS_IO_FORBIDDEN = {"trio", "socket", "time", "random", "os", "select", "threading", "asyncio"}
SIMULATOR_DRIVERS = {"simulate.py", "soak.py"}
"""Programs in gossip/ that make the RNG and read a wall clock for their own report."""

MODULE_MAX_LINES = 500
FUNCTION_MAX_LINES = 70

MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, relative imports resolved."""
    layer, *rest = path.relative_to(ROOT).parts
    package = ["pyredis_cluster", *([] if layer == "cluster" else [layer]), *rest[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def target_layer(name: str) -> str | None:
    if not name.startswith("pyredis_cluster"):
        return None
    for layer, package in PACKAGE_OF.items():
        if name == package or name.startswith(package + "."):
            return layer
    return "cluster" if name != "pyredis_cluster" else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    own = LAYERS.index(layer_of(path))
    above = [name for name in imports(path) if (to := target_layer(name)) and LAYERS.index(to) > own]
    assert not above, f"{path.relative_to(ROOT)} imports from a higher layer: {above}"


def test_the_gossip_core_is_sans_io() -> None:
    for path in sorted((ROOT / "gossip").rglob("*.py")):
        used = {name.partition(".")[0] for name in imports(path)} & SANS_IO_FORBIDDEN
        if path.name in SIMULATOR_DRIVERS:
            used -= {"random", "time", "os"}
        assert not used, f"{path.relative_to(ROOT)} imports {used}"


def test_packages_list_matches_the_folders() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for layer in LAYERS:
        for init in (ROOT / layer).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(["pyredis_cluster", *(parts if layer != "cluster" else parts[1:])]))
    assert listed == found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_fit(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_MAX_LINES, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} doesn't say what lives there"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_MAX_LINES, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"


def test_nothing_unfinished_is_left() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
    for path in MODULES + sorted((ROOT / "tests").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not any(mark in line.split('"')[0] for mark in marks), f"{path.relative_to(ROOT)}:{number}: {line}"
