"""Which photos are found, and that no result can land on another or on a source."""

import os
import stat
import string
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokehcli import discover as module
from bokehcli import places
from bokehcli.discover import Discovery, Job, discover
from bokehcli.errors import UsageError
from bokehcli.options import EncodeOptions, RunOptions
from bokehcli.photo import Container

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: nothing is opened here."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def find(*sources: Path, out: Path, container: Container | None = None, save_maps: bool = False) -> Discovery:
    return discover(sources, out, RunOptions(encode=EncodeOptions(container=container), save_maps=save_maps))


def landed(found: Discovery, out: Path) -> list[str]:
    return [job.destination.relative_to(out).as_posix() for job in found.jobs]


def test_a_folder_is_mirrored_in_the_same_order_every_time(tmp_path: Path) -> None:
    names = ("b.JPG", "a.png", "z/y.webp", "c/d/e.tiff", "c/f.BMP", "readme.txt", "g.jpe", "h.JFIF", "i.mpo")
    folder = touch(tmp_path / "in", *names)
    out = tmp_path / "out"
    found = find(folder, out=out)
    assert landed(found, out) == ["a.png", "b.JPG", "g.jpe", "h.JFIF", "i.mpo", "c/f.BMP", "c/d/e.tiff", "z/y.webp"]
    assert [job.source.relative_to(folder) for job in found.jobs] == [
        job.destination.relative_to(out) for job in found.jobs
    ]
    assert find(folder, out=out) == found


def test_a_file_lands_under_its_own_name_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "deep/er/a.jpg", "scan")
    out = tmp_path / "out"
    assert landed(find(tmp_path / "deep/er/a.jpg", tmp_path / "scan", out=out), out) == ["a.jpg", "scan"]


def test_hidden_files_sidecars_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "._a.jpg", ".b.jpg", ".thumbnails/c.jpg")
    assert landed(find(folder, out=tmp_path / "out"), tmp_path / "out") == ["a.jpg"]


@needs_links
def test_links_to_folders_are_left_out_with_a_note_and_links_to_photos_are_photos(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "sub/b.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "c.jpg").symlink_to(folder / "a.jpg")
    found = find(folder, out=tmp_path / "out")
    assert landed(found, tmp_path / "out") == ["a.jpg", "c.jpg", "sub/b.jpg"]
    assert len(found.notes) == 1


def test_an_output_folder_inside_the_input_is_left_out_with_a_note(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "sub/out/a.jpg", "sub/outer/b.jpg")
    found = find(folder, out=folder / "sub" / "out")
    assert landed(found, folder / "sub" / "out") == ["a.jpg", "sub/outer/b.jpg"]
    assert len(found.notes) == 1


@pytest.mark.parametrize("ledger", [".bokeh.sqlite3", ".bokeh-1-of-2.sqlite3"])
def test_what_an_earlier_run_wrote_is_left_out_with_a_warning_unless_it_is_named(tmp_path: Path, ledger: str) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "sub/old/b.jpg", "sub/old/deep/c.jpg", f"sub/old/{ledger}", "sub/older/d.jpg")
    out = tmp_path / "out"
    found = find(folder, out=out)
    assert landed(found, out) == ["a.jpg", "sub/older/d.jpg"]
    assert [warning.split(":")[0] for warning in found.warnings] == [str(folder / "sub" / "old")]
    assert discover([], out, RunOptions(), listed=[folder]).photos == 2
    named = find(folder / "sub" / "old", out=out)
    assert (landed(named, out), named.warnings) == (["b.jpg", "deep/c.jpg"], ())
    both = discover([folder, folder / "sub" / "old"], out, RunOptions())
    assert landed(both, out) == ["a.jpg", "sub/old/b.jpg", "sub/old/deep/c.jpg", "sub/older/d.jpg"]
    assert both.warnings == ()


def test_a_photo_given_twice_is_done_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "sub/b.jpg")
    found = find(folder, folder / "sub" / "b.jpg", folder / "sub" / ".." / "a.jpg", folder, out=tmp_path / "out")
    assert landed(found, tmp_path / "out") == ["a.jpg", "sub/b.jpg"]


@pytest.mark.parametrize("sources", [["in"], ["in/a.jpg"], ["in/../in"], ["in/sub", "in"]])
def test_an_output_equal_to_the_input_is_refused(tmp_path: Path, sources: list[str]) -> None:
    touch(tmp_path, "in/a.jpg", "in/sub/b.jpg")
    with pytest.raises(UsageError):
        find(*(tmp_path / source for source in sources), out=tmp_path / "in")


@needs_links
def test_an_output_equal_to_the_input_is_seen_through_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source in ("in", "in/a.jpg"):
        with pytest.raises(UsageError):
            find(tmp_path / source, out=tmp_path / "link")


def test_a_result_never_replaces_another_source(tmp_path: Path) -> None:
    touch(tmp_path, "in/p/q.jpg", "out/p/q.jpg")
    with pytest.raises(UsageError, match=r"out.p.q\.jpg"):
        find(tmp_path / "in", tmp_path / "out" / "p" / "q.jpg", out=tmp_path / "out")


def test_an_absent_source_is_misuse(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match=r"nowhere\.jpg"):
        find(tmp_path / "a.jpg", tmp_path / "nowhere.jpg", out=tmp_path / "out")


def test_an_output_that_is_a_file_is_misuse(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "out")
    with pytest.raises(UsageError, match="folder"):
        find(tmp_path / "a.jpg", out=tmp_path / "out")


def test_two_sources_with_one_destination_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.jpg", "two/a.jpg")
    with pytest.raises(UsageError) as caught:
        find(tmp_path / "one", tmp_path / "two", out=tmp_path / "out")
    assert str(tmp_path / "one" / "a.jpg") in str(caught.value)
    assert str(tmp_path / "two" / "a.jpg") in str(caught.value)


@pytest.mark.parametrize("name", ["A.jpg", "cafe\u0301.jpg"])
def test_names_that_are_alike_cost_the_second_photo_unless_the_output_is_known_to_tell_them_apart(
    tmp_path: Path, name: str
) -> None:
    touch(tmp_path, "one/a.jpg", "one/caf\u00e9.jpg", f"two/{name}", "two/b.jpg")
    found = find(tmp_path / "one", tmp_path / "two", out=tmp_path / "out")
    assert [job.source.name for job in found.jobs] == ["a.jpg", "caf\u00e9.jpg", "b.jpg"]
    assert found.photos == 4
    (error,) = found.unreadable
    assert error.name == str(tmp_path / "two" / name)
    assert str(tmp_path / "one") in error.reason


def test_of_photos_that_come_one_by_one_a_clash_costs_the_later(tmp_path: Path) -> None:
    folders = [touch(tmp_path / name, "a.jpg") for name in ("one", "two")]
    touch(tmp_path, "one/b.jpg", "one/x/c.jpg", "out/x/c.jpg")
    sources = [*folders, tmp_path / "out" / "x"]
    for earlier, later in ((0, 1), (1, 0)):
        found = discover(sources, tmp_path / "out", RunOptions(), earlier=[folders[earlier] / "a.jpg"])
        assert {error.name for error in found.unreadable} == {str(folders[later] / "a.jpg"), str(tmp_path / "one/x/c.jpg")}
        done = [folders[earlier] / "a.jpg", tmp_path / "one/b.jpg", tmp_path / "out/x/c.jpg"]
        assert sorted(job.source for job in found.jobs) == sorted(done)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system ignores case")
def test_folders_that_differ_in_case_alone_are_two_where_their_file_system_tells_them_apart(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "Trip/a.jpg", "trip/a.jpg", "trip/A.jpg")
    assert landed(find(folder, out=tmp_path / "out"), tmp_path / "out") == ["Trip/a.jpg", "trip/A.jpg", "trip/a.jpg"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system ignores case")
def test_a_link_to_nothing_beside_a_name_in_another_case_costs_itself_alone(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "b.jpg")
    (folder / "A.jpg").symlink_to("nowhere")
    found = discover([folder], tmp_path / "out", RunOptions())
    assert [job.source for job in found.jobs if job.source.exists()] == [folder / "a.jpg", folder / "b.jpg"]
    assert folder / "b.jpg" not in [error.name for error in found.unreadable]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the file system ignores case")
def test_a_folder_that_holds_both_cases_can_be_rendered_beside_itself(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "A.jpg")
    assert landed(find(folder, out=tmp_path / "out"), tmp_path / "out") == ["A.jpg", "a.jpg"]


def test_a_format_changes_the_suffix_unless_it_fits(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.png", "b.JPEG", "c.tif")
    found = find(folder, tmp_path / "in" / "a.png", out=tmp_path / "out", container=Container.JPEG)
    assert landed(found, tmp_path / "out") == ["a.jpg", "b.JPEG", "c.jpg"]


def test_a_name_without_a_known_suffix_is_kept_whole_under_the_new_one(tmp_path: Path) -> None:
    touch(tmp_path, "scan", "scan.2024")
    found = find(tmp_path / "scan", tmp_path / "scan.2024", out=tmp_path / "out", container=Container.PNG)
    assert landed(found, tmp_path / "out") == ["scan.png", "scan.2024.png"]


def test_pairs_that_a_format_would_make_one_keep_their_old_suffix(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "a.png", "b.png", "b.tif", "c.png")
    found = find(folder, out=tmp_path / "out", container=Container.JPEG)
    assert landed(found, tmp_path / "out") == ["a.jpg", "a.png.jpg", "b.png.jpg", "b.tif.jpg", "c.jpg"]


@pytest.mark.parametrize("save_maps", [False, True])
def test_a_photo_knows_whom_it_ousts_from_a_destination(tmp_path: Path, save_maps: bool) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "a.png", "a.tif", "b.png", "b.tif", "c.png")
    jobs = find(folder, out=tmp_path / "out", container=Container.JPEG, save_maps=save_maps).jobs
    assert {job.source.name: [place.name for place in job.ousts] for job in jobs if job.ousts} == {"a.jpg": ["a.png", "a.tif"]}
    assert not any(job.ousts for job in find(folder, out=tmp_path / "out").jobs)


def test_what_windows_hides_or_has_elsewhere_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "hidden.jpg", "$RECYCLE.BIN/b.jpg", "junction/c.jpg", "d/e.jpg")
    lstat = os.lstat

    def as_windows_does(path: Path) -> Any:
        name = lstat(path) and os.path.basename(path)  # as for any file that is there
        hidden = name in ("hidden.jpg", "$RECYCLE.BIN")
        attributes = stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_SYSTEM if hidden else stat.FILE_ATTRIBUTE_ARCHIVE
        return SimpleNamespace(st_mode=0, st_file_attributes=attributes, st_reparse_tag=(name == "junction") * 0xA0000003)

    monkeypatch.setattr(places, "WINDOWS", True)
    monkeypatch.setattr(places.os, "lstat", as_windows_does)
    found = find(folder, out=tmp_path / "out")
    assert landed(found, tmp_path / "out") == ["a.jpg", "d/e.jpg"]
    assert found.notes == (f"{folder / 'junction'}: left out, a link to a folder",)


def test_maps_lie_beside_the_result_under_its_stem(tmp_path: Path) -> None:
    touch(tmp_path, "in/x/a.jpg")
    (job,) = find(tmp_path / "in", out=tmp_path / "out", save_maps=True).jobs
    x = tmp_path / "out" / "x"
    assert job.targets == (x / "a.alpha.png", x / "a.defocus.png", x / "a.jpg")


def test_maps_that_would_share_a_name_take_the_whole_one(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "a.png", "b.jpg", "b.alpha.png")
    jobs = find(folder, out=tmp_path / "out", save_maps=True).jobs
    assert {job.destination.name: job.alpha.name for job in jobs if job.alpha is not None} == {
        "a.jpg": "a.jpg.alpha.png",
        "a.png": "a.png.alpha.png",
        "b.jpg": "b.jpg.alpha.png",
        "b.alpha.png": "b.alpha.alpha.png",
    }


def test_a_map_never_replaces_a_source(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "out/a.alpha.png", "out/x")
    with pytest.raises(UsageError, match=r"a\.alpha\.png"):
        find(tmp_path / "in", tmp_path / "out" / "a.alpha.png", out=tmp_path / "out", save_maps=True)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_utf_8_is_kept_byte_for_byte(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"d\xff/a.png"))
    found = find(folder, out=tmp_path / "out", container=Container.JPEG)
    assert [os.fsencode(job.destination.relative_to(tmp_path / "out")) for job in found.jobs] == [
        b"caf\xe9.jpg",
        b"d\xff/a.jpg",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_listed_is_told_of(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "locked/b.jpg")
    (folder / "locked").chmod(0)
    try:
        found = find(folder, out=tmp_path / "out")
    finally:
        (folder / "locked").chmod(0o755)
    assert landed(found, tmp_path / "out") == ["a.jpg"]
    assert [error.name for error in found.unreadable] == [str(folder / "locked")]


def test_a_folder_that_fails_to_list_does_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = touch(tmp_path / "in", "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find(folder, out=tmp_path / "out")
    assert len(found.jobs) == 1
    assert [str(error) for error in found.unreadable] == [f"{folder / 'locked'}: Permission denied"]


NAMES = st.builds(
    "{}{}".format,
    st.text(alphabet="aAb.", min_size=1, max_size=3).filter(lambda name: not name.startswith(".")),
    st.sampled_from([".jpg", ".jpeg", ".png", ".webp", ".alpha.png", ".png.jpg", ".JPG"]),
)


@example(names={"a.png.jpg", "a.png", "A.png"}, container=None)  # whose maps share a name
@given(names=st.sets(NAMES, min_size=1, max_size=6), container=st.sampled_from([None, Container.JPEG, Container.PNG]))
def test_no_two_targets_share_a_name_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], container: Container | None
) -> None:
    folder = touch(tmp_path_factory.mktemp("in"), *names)
    try:
        jobs = find(folder, out=folder / "out", container=container, save_maps=True).jobs
    except UsageError:
        return
    targets = [target for job in jobs for target in job.targets]
    assert len(set(targets)) == len(targets) == 3 * len(names)
    assert not set(targets) & {job.source for job in jobs}


def test_the_check_for_clashes_can_fail(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{letter}.jpg" for letter in string.ascii_lowercase[:3]))
    same = [Job(source=tmp_path / f"{letter}.jpg", destination=tmp_path / "out" / "x.jpg") for letter in "ab"]
    with pytest.raises(UsageError):
        module._refuse_clashes(same, tmp_path / "out")
    assert len(module._refuse_clashes(same, tmp_path / "out", earlier=())[0]) == 1
