"""The house rules: rooms, stems, sizes, one direction of imports, and what may be imported when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.core.registry import methods

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "holdfast"
FILES = sorted(
    path for top in ("src", "tests", "benchmarks", "examples", "scripts") for path in (ROOT / top).rglob("*.py")
)
SOURCES = [path for path in FILES if PACKAGE in path.parents]

# what a room may import from; a room is the package's folder of that name
ROOMS = {
    "functional": (),
    "core": ("functional",),
    "methods": ("core", "functional"),
    "models": ("core",),
    "data": ("core",),
    "adapters": ("methods", "core", "functional"),
    "train": ("adapters", "methods", "core", "functional", "models", "data"),
    "bench": ("train", "adapters", "methods", "core", "functional", "models", "data"),
    "report": ("bench", "train", "adapters", "methods", "core", "functional", "models", "data"),
    "analysis": ("report", "bench", "train", "adapters", "methods", "core", "functional", "models", "data"),
    "cli": ("analysis", "report", "bench", "train", "adapters", "methods", "core", "functional", "models", "data"),
}
# the page about a run is written when the run ends: imported there and then, never at the top of the file
LATE = {"src/holdfast/train/fit.py": {"report"}}
TORCH_ALONE = ("functional", "core", "methods")
HEAVY = ("torch", "torchvision", "timm", "lightning", "transformers", "matplotlib", "sklearn", "numpy", "pandas")


def imports(path: Path, top_alone: bool = False) -> set[str]:
    """Every module that a file imports, at its top or inside a function too."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in tree.body if top_alone else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or PACKAGE not in path.parents, f"{path}: relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def rooms_imported(path: Path, top_alone: bool = False) -> set[str]:
    """The package's rooms that a file imports from."""
    parts = [name.split(".") for name in imports(path, top_alone)]
    return {names[1] for names in parts if names[0] == "holdfast" and len(names) > 1 and names[1] in ROOMS}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_folder_of_the_package_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= ROOMS.keys() | {"recipes"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent != PACKAGE], ids=relative)
def test_imports_go_one_way(path):
    room = path.relative_to(PACKAGE).parts[0]
    allowed = {room, *ROOMS.get(room, ROOMS)}
    late = LATE.get(relative(path), set())
    assert rooms_imported(path) <= allowed | late, f"{room} may import from {sorted(allowed)}"
    assert not rooms_imported(path, top_alone=True) & late


@pytest.mark.parametrize("path", [p for p in SOURCES if p.relative_to(PACKAGE).parts[0] in TORCH_ALONE], ids=relative)
def test_the_core_needs_torch_alone(path):
    roots = {name.split(".")[0] for name in imports(path)} - {""}
    assert roots <= {"torch", "holdfast", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has more than 60 lines"


def test_no_drawers_without_a_name():
    forbidden = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
    assert not [relative(path) for path in FILES if path.stem in forbidden or path.parent.name in forbidden]


def test_nothing_is_left_to_do():
    marks = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    assert not [relative(path) for path in FILES if any(mark in path.read_text() for mark in marks)]


def test_a_stem_names_one_file_in_each_room():
    stems = {path.stem for path in (PACKAGE / "methods").glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "methods").glob("test_*.py")}
    cards = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} - {"index"}
    oracles = {path.stem for path in (ROOT / "tests" / "reference").glob("*.py")}
    assert stems == tests
    assert stems == cards
    assert stems <= oracles


def test_every_file_of_a_method_registers_it_and_its_tests_run_the_contract():
    from holdfast.core.registry import methods

    for path in (PACKAGE / "methods").glob("[a-z]*.py"):
        assert path.stem in methods()
        assert methods()[path.stem].__module__ == f"holdfast.methods.{path.stem}"
        tests = (ROOT / "tests" / "methods" / f"test_{path.stem}.py").read_text()
        assert "@contract.every_check" in tests
        assert "follows_golden(" in tests


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the code."""
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    assert not modules_after("import holdfast") & set(HEAVY)


def test_help_loads_nothing_heavy():
    code = "from holdfast.cli.main import main\nsys.argv = ['holdfast', '--help']\ntry: main()\nexcept SystemExit: pass"
    assert not modules_after(code) & set(HEAVY)


def test_the_methods_load_torch_alone():
    loaded = modules_after("import holdfast; holdfast.compose('rifle+dtnh(l2_sp)+ptr')")
    assert "torch" in loaded
    assert not loaded & (set(HEAVY) - {"torch", "numpy"})  # torch itself looks for numpy


def test_every_public_name_is_found_when_asked_for():
    for name in holdfast.__all__:
        assert getattr(holdfast, name) is not None
    assert set(holdfast.__all__) <= set(dir(holdfast))


def test_every_method_has_a_public_class():
    for cls in methods().values():
        assert getattr(holdfast, cls.__name__) is cls
        assert cls.__name__ in holdfast.__all__
    with pytest.raises(AttributeError, match="module 'holdfast' has no attribute 'fitt'"):
        _ = holdfast.fitt
