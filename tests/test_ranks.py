"""A module imports only from lower ranks, and asking for help loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bokehcli

PACKAGE = Path(bokehcli.__file__).parent
RANKS = {
    0: ["errors"],
    1: [
        *("photo", "options", "outcome", "resources", "model", "containers", "privacy", "regions", "translated", "xmp"),
        *("opencv", "pixels", "optics", "grain", "light", "layers", "composing", "tiling", "tone", "packing", "pyramid"),
        *("threadpool", "background", "colours", "strands", "tracing", "subject", "complaints"),
        *("cmyk", "heic", "bmp_samples", "tiff_samples", "printable", "listing", "selection", "shard", "budget"),
        *("session", "pairs", "similarity", "interrupts", "remote", "places", "entries", "lock"),
    ],
    2: ["discover", "decode", "infer", "picture", "preview", "lens", "encode", "metadata", "storage"],
    3: ["pipeline", "watch", "prefixes"],
    4: ["workers", "cluster", "ledger"],
    5: ["batch", "progress", "summary", "comparison", "gallery"],
    6: ["arguments", "config", "command", "flags", "train", "piped", "run", "status", "doctor", "evaluate", "cli", "__main__"],
}
RANK_OF = {module: rank for rank, modules in RANKS.items() for module in modules}
# Where the modules of one rank may use each other: the vocabulary, and the entry point.
SOCIABLE = {1, 6}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def own_imports(text: str) -> Iterator[str]:
    """The modules and packages right below bokehcli that a source text imports, anywhere in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "bokehcli":
                yield from (alias.name for alias in node.names if alias.name != "__version__")
            elif node.module is not None and node.module.startswith("bokehcli."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("bokehcli."):
                    yield alias.name.split(".")[1]


def faults(module: str, text: str) -> list[str]:
    """What a module, or a package, imports against the rule."""
    if module == "trainer":
        return [name for name in own_imports(text) if name != "trainer" and RANK_OF[name] > 1]
    rank = RANK_OF[module]
    return [
        name
        for name in own_imports(text)
        if name != module
        and (name not in RANK_OF or RANK_OF[name] > rank or (RANK_OF[name] == rank and rank not in SOCIABLE))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_lower_ranks(path: Path) -> None:
    module = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if module == "__init__":
        assert list(own_imports(path.read_text(encoding="utf-8"))) == []
    else:
        assert faults(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("decode", "from bokehcli.encode import encode_image"),
        ("errors", "from bokehcli import options"),
        ("lens", "def late():\n    import bokehcli.pipeline"),
        ("progress", "from bokehcli.batch import open_batch"),
        ("infer", "from bokehcli.trainer import network"),
        ("trainer", "from bokehcli.lens import render"),
    ],
)
def test_the_check_of_ranks_can_fail(module: str, text: str) -> None:
    assert faults(module, text)


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] != "trainer"],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_torch_is_the_trainers_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0] == "torch" for name in names)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], []])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from bokehcli.cli import main\n"
        "main(sys.argv[1:])\n"
        "print(*sorted({'torch', 'cv2', 'numpy', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert done.stdout != ""


def test_a_process_that_renders_does_not_load_the_command_line() -> None:
    # multiprocessing imports the main module anew in each, and then the function that works there
    script = (
        "import sys, bokehcli.__main__, bokehcli.pipeline, bokehcli.workers\n"
        "print(*sorted({'typer', 'rich', 'bokehcli.cli'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
