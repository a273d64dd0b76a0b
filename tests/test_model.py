"""A model is used only if it is whole and understood, and what is wrong is said in one line that names the file."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bokehcli.errors import ModelError
from bokehcli.model import CARD, POINTED, ROLES, ModelCard, file_hash, find_model


def written(folder: Path, **changes: Any) -> ModelCard:
    """A card saved beside two files; they need not be ONNX to be found and checked."""
    folder.mkdir(exist_ok=True)
    (folder / "global.onnx").write_bytes(b"the one")
    (folder / "octave.onnx").write_bytes(b"the other")
    (folder / "finest.onnx").write_bytes(b"the third")
    fields: dict[str, Any] = {
        "folder": folder, "kind": "lens", "files": {role: f"{role}.onnx" for role in ROLES}, "sha256": {},
        "long_side": 512, "multiple": 64, "shrink": 4, "channels": 8, "context_px": 6, "gate_px": 4, "gate_from": 0.1,
        "sure": 0.02, "opset": 18, "about": {"licence": "none"},
    }  # fmt: skip
    card = ModelCard(**{**fields, **changes})
    card.save()
    return card


def change(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD).read_text("utf-8"))
    (folder / CARD).write_text(json.dumps({**card, **changes}), "utf-8")


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_saved_card_comes_back_as_it_was(tmp_path: Path) -> None:
    card = written(tmp_path)
    found = find_model(tmp_path)
    assert found.sha256 == {role: file_hash(tmp_path / f"{role}.onnx") for role in ROLES}
    assert dataclasses.replace(found, sha256={}) == card


@pytest.mark.parametrize(("pointed_side", "sides"), [(0, [512, 512]), (384, [512, 384])])
def test_the_network_for_what_is_pointed_at_may_see_another_number_of_pixels(
    tmp_path: Path, pointed_side: int, sides: list[int]
) -> None:
    card = written(tmp_path, pointed_side=pointed_side)
    assert [card.side(role) for role in ("global", POINTED)] == sides


def test_a_card_from_before_it_could_is_read(tmp_path: Path) -> None:
    written(tmp_path)
    card = json.loads((tmp_path / CARD).read_text("utf-8"))
    del card["pointed_side"]
    (tmp_path / CARD).write_text(json.dumps(card), "utf-8")
    found = find_model(tmp_path)
    assert isinstance(found, ModelCard)
    assert found.side(POINTED) == found.long_side


@pytest.mark.parametrize("name", [".", CARD, "global.onnx", "octave.onnx"])
def test_a_model_is_found_by_its_folder_its_card_or_a_file_of_it(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    assert find_model(tmp_path / name).path("global").samefile(tmp_path / "global.onnx")


@pytest.mark.parametrize("name", ["other.onnx", "global.ONNX.bak"])
def test_a_file_that_the_model_does_not_have_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    with pytest.raises(ModelError, match=f"{name}: none of the files"):
        find_model(tmp_path / name)


def test_a_card_of_another_name_is_found_by_that_name(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / CARD).rename(tmp_path / "mine.json")
    assert find_model(tmp_path / "mine.json").kind == "lens"


def test_the_bundled_model_is_there_and_whole(model: ModelCard) -> None:
    assert model.kind == "lens"
    assert sum(model.path(role).stat().st_size for role in model.files) <= 20_000_000


@pytest.mark.parametrize("role", [*ROLES, POINTED])
def test_a_phone_can_run_every_operator_of_the_bundled_model(model: ModelCard, role: str) -> None:
    pytest.importorskip("onnx")
    tool = [sys.executable, "-m", "onnxruntime.tools.check_onnx_model_mobile_usability", str(model.path(role))]
    done = subprocess.run(tool, capture_output=True, text=True, check=True)
    found = re.findall(r"partitions with a total of (\d+)/(\d+) nodes can be handled by the NNAPI EP", done.stderr)
    assert any(handled == nodes for handled, nodes in found), done.stderr  # once the sizes are fixed


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in refused(tmp_path / "nowhere")


def test_a_folder_without_a_card_is_not_a_model(tmp_path: Path) -> None:
    message = refused(tmp_path)
    assert str(tmp_path) in message
    assert CARD in message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b'"lens"'])
def test_a_card_that_is_no_card_is_refused(tmp_path: Path, content: bytes) -> None:
    written(tmp_path)
    (tmp_path / CARD).write_bytes(content)
    assert str(tmp_path / CARD) in refused(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"format": None},
        {"kind": "rgb-of-tomorrow"},
        {"long_side": 0},
        {"multiple": "64"},
        {"context_px": -1},
        {"sure": 0.5},
        {"files": {"global": "global.onnx"}},
        {"files": {"global": "../global.onnx", "octave": "octave.onnx", "finest": "finest.onnx"}},
        {"unheard": 1},
        {"kind": ["lens"]},
        {"kind": {}},
        {"files": []},
        {"files": {"global": 1, "octave": "octave.onnx", "finest": "finest.onnx"}},
        {"sha256": None},
        {"about": []},
        {"multiple": 0},
        {"multiple": True},
        {"long_side": 48},
        {"long_side": 2, "multiple": 1},
        {"sure": "0.02"},
        {"gate_from": float("nan")},
    ],
    ids=str,
)
def test_a_card_that_is_not_understood_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    written(tmp_path)
    change(tmp_path, **changes)
    assert str(tmp_path / CARD) in refused(tmp_path)


def test_an_incomplete_card_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    card = json.loads((tmp_path / CARD).read_text("utf-8"))
    del card["shrink"]
    (tmp_path / CARD).write_text(json.dumps(card), "utf-8")
    assert "shrink" in refused(tmp_path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "octave.onnx").unlink()
    assert str(tmp_path / "octave.onnx") in refused(tmp_path)


@pytest.mark.parametrize("content", [b"the On", b"the one and more", b"the onf"], ids=["cut short", "longer", "a bit"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    written(tmp_path)
    (tmp_path / "global.onnx").write_bytes(content)
    assert str(tmp_path / "global.onnx") in refused(tmp_path)


def test_a_file_without_a_hash_is_not_trusted(tmp_path: Path) -> None:
    written(tmp_path)
    change(tmp_path, sha256={"global": file_hash(tmp_path / "global.onnx")})
    assert str(tmp_path / "octave.onnx") in refused(tmp_path)


def test_the_digest_tells_models_apart(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "same")
    other = written(tmp_path / "other")
    (tmp_path / "other" / "octave.onnx").write_bytes(b"better")
    other.save()
    digests = [find_model(tmp_path / name).digest() for name in ("a", "same", "other")]
    assert digests[0] == digests[1] != digests[2]
