"""The three rules of the house, executed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets"}
# Who may know whom, besides itself.
MAY_KNOW = {
    "studio.core": set(),
    "studio.settings": set(),
    "studio.data": {"studio.core"},
    "studio.diagnostics": {"studio.core"},
    "studio.store": {"studio.core", "studio.settings"},
    "studio.jobs": {"studio.core", "studio.settings", "studio.store", "studio.diagnostics"},
    "studio.services": {
        "studio.core", "studio.settings", "studio.store", "studio.jobs", "studio.data", "studio.diagnostics",
    },
    "studio.ui": {"studio.core", "studio.settings", "studio.services"},
    "studio.commands": {
        "studio.core", "studio.settings", "studio.services", "studio.jobs", "studio.store", "studio.data", "studio.ui",
    },
    "studio.cli": {"studio.core", "studio.commands"},
    "studio.__main__": {"studio.cli"},
    "workers": {"studio.core", "studio.settings", "studio.store", "studio.data", "studio.diagnostics"},
}  # fmt: skip
MODULES = sorted([*ROOT.glob("studio/**/*.py"), *ROOT.glob("workers/**/*.py")])


def imports(path: Path) -> set[str]:
    """Full names of everything a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(module: str) -> str | None:
    return next((name for name in MAY_KNOW if module == name or module.startswith(name + ".")), None)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_knows_only_its_own_and_lower_layers(path: Path) -> None:
    own = layer(module_name(path))
    if own is None:
        assert not imports(path), f"{path}: which layer does it belong to?"
        return
    known = {layer(name) for name in imports(path)} - {None, own}
    assert known <= MAY_KNOW[own]


@pytest.mark.parametrize("path", sorted(ROOT.glob("studio/**/*.py")), ids=module_name)
def test_studio_never_imports_the_heavy_libraries(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_ui_imports_gradio(path: Path) -> None:
    uses = "gradio" in {name.split(".")[0] for name in imports(path)}
    assert not uses or layer(module_name(path)) == "studio.ui"


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "settings.py"], ids=module_name)
def test_only_settings_reads_the_environment(path: Path) -> None:
    """Handing the environment on to a child process, or setting a library's switch, is not reading it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        read = isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.getenv", "os.environ.get", "environ.get"}
        assert not read, f"{path}:{getattr(node, 'lineno', 0)}"


def test_packages_are_empty_inside() -> None:
    assert [p for p in MODULES if p.name == "__init__.py" and p.read_text()] == []


@pytest.mark.parametrize("module", ["studio.ui.app", "studio.cli", "studio.jobs.supervisor", "studio.jobs.processes"])
def test_a_web_or_queue_process_holds_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
