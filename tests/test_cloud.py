"""`bokeh run` on URLs: an S3 server on loopback (moto's), and memory://."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest
import s3fs

from bokehcli import prefixes, remote
from bokehcli.batch import judge
from bokehcli.cli import main
from bokehcli.discover import Job
from bokehcli.entries import State, read
from bokehcli.errors import UsageError
from bokehcli.options import EncodeOptions, RunOptions
from bokehcli.outcome import Status
from bokehcli.photo import Container
from bokehcli.prefixes import Prefixes
from bokehcli.remote import Url
from bokehcli.shard import Shard

PHOTOS = ("astronaut.jpg", "camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")
ODD = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{HOT BEVERAGE} #1?::%41.jpg"
PATIENCE_S = 60.0


class S3:
    """The server, a client for it, and what it was asked for."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.store = s3fs.S3FileSystem(use_listings_cache=False)
        self.buckets = 0

    def bucket(self) -> str:
        """A new one."""
        self.buckets += 1
        self.store.mkdir(f"bucket-{self.buckets}")
        return f"bucket-{self.buckets}"

    def put(self, path: str, file: Path | bytes) -> None:
        self.store.pipe_file(path, file if isinstance(file, bytes) else file.read_bytes())

    def requests(self, pattern: str) -> list[str]:
        """The requests so far that match."""
        return [line for line in self.log.read_text().splitlines() if re.search(pattern, line)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_COLOR": "1",
    }
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as output:
        for name, value in environment.items():
            patch.setenv(name, value)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        wait_for(lambda: answers(port))
        yield S3(log)
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def own_ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers of URLs lie in the test's folder."""
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / "home" / name))


@pytest.fixture
def bucket(s3: S3, photos: Path) -> str:
    """One with photos in it, in folders and with odd names."""
    name = s3.bucket()
    s3.put(f"{name}/in/{ODD}", photos / "coffee.jpg")
    for photo in PHOTOS[:2]:
        s3.put(f"{name}/in/trip/{photo}", photos / photo)
    s3.put(f"{name}/in/.hidden/a.jpg", photos / "camera.jpg")
    s3.put(f"{name}/in/notes.txt", b"no photo")
    s3.put(f"{name}/in/", b"")  # as consoles make it, for a folder
    return name


FOUND = [ODD, f"trip/{PHOTOS[0]}", f"trip/{PHOTOS[1]}"]


def test_from_store_to_store(s3: S3, bucket: str, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--gallery", f"s3://{bucket}/out/index.html"]
    assert main(arguments) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(f"s3://{bucket}/out/{name}" for name in FOUND)
    (tmp_path / "in" / "trip").mkdir(parents=True)
    shutil.copy(photos / "coffee.jpg", tmp_path / "in" / "a.jpg")
    for photo in PHOTOS[:2]:
        shutil.copy(photos / photo, tmp_path / "in" / "trip")
    assert main(["run", str(tmp_path / "in"), "--out", str(tmp_path / "here")]) == 0
    for name, file in zip(FOUND, ("a.jpg", *FOUND[1:]), strict=True):
        assert s3.store.cat_file(f"{bucket}/out/{name}") == (tmp_path / "here" / file).read_bytes()
    assert s3.store.info(f"{bucket}/out/{FOUND[1]}")["ContentType"] == "image/jpeg"
    page = s3.store.cat_file(f"{bucket}/out/index.html").decode()
    assert page.count('"pictures":[true,true]') == 3
    assert f'"before":"./../in/trip/{PHOTOS[0]}","after":"./trip/{PHOTOS[0]}"' in page


def test_one_put_and_one_get_a_photo(s3: S3, bucket: str) -> None:
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]) == 0
    for name in FOUND[1:]:
        assert len(s3.requests(f'"PUT /{bucket}/out/{name}')) == 1
        assert len(s3.requests(f'"GET /{bucket}/in/{name}')) == 1
    assert len(s3.requests(f'"PUT /{bucket}/out/')) == 3
    assert len(s3.requests(f'"HEAD /{bucket}/out/')) <= 3  # each result once more, for the ledger
    assert not s3.requests(f'"POST /{bucket}')  # as an upload in parts begins


def test_a_second_run_does_what_is_missing_changed_or_gone(s3: S3, bucket: str, photos: Path) -> None:
    arguments = ["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]
    assert main(arguments) == 0
    puts = len(s3.requests(f'"PUT /{bucket}/out/'))
    assert main(arguments) == 0
    assert len(s3.requests(f'"PUT /{bucket}/out/')) == puts
    s3.put(f"{bucket}/in/{FOUND[1]}", photos / "rocket.jpg")  # changed
    s3.store.rm_file(f"{bucket}/out/{FOUND[2]}")  # gone
    s3.put(f"{bucket}/in/new.jpg", photos / "chelsea.jpg")  # missing
    assert main(arguments) == 0
    assert len(s3.requests(f'"PUT /{bucket}/out/')) == puts + 3
    assert {entry.state for entry in read(Url(f"s3://{bucket}/out"))} == {State.DONE}


def test_status_knows_what_is_in_a_store(s3: S3, bucket: str, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    s3.put(f"{bucket}/in/cut.jpg", (photos / "coffee.jpg").read_bytes()[:9000])
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]) == 1
    s3.store.rm_file(f"{bucket}/out/{FOUND[2]}")
    capfd.readouterr()
    assert main(["status", f"s3://{bucket}/out", "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    assert (told["done"], told["gone"]) == (2, [f"s3://{bucket}/out/{FOUND[2]}"])
    assert told["failed"] == [{"source": f"s3://{bucket}/in/cut.jpg", "error": "the file is cut short"}]


def test_what_others_put_there_is_not_replaced(s3: S3, bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
    s3.put(f"{bucket}/out/{FOUND[1]}", b"somebody's")
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]) == 1
    assert "already exists; use --overwrite or --skip-existing" in capfd.readouterr().err
    assert s3.store.cat_file(f"{bucket}/out/{FOUND[1]}") == b"somebody's"
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--skip-existing"]) == 0
    assert s3.store.cat_file(f"{bucket}/out/{FOUND[1]}") == b"somebody's"
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--overwrite"]) == 0
    assert s3.store.cat_file(f"{bucket}/out/{FOUND[1]}").startswith(b"\xff\xd8")


def test_what_comes_between_look_and_put_is_not_replaced(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The listing says that nothing is there; the condition of the PUT says otherwise."""
    s3.put(f"{bucket}/out/{FOUND[1]}", b"somebody's")
    monkeypatch.setattr(prefixes, "_results_in", lambda folder: {})
    assert main(["run", f"s3://{bucket}/in/{FOUND[1]}", "--out", f"s3://{bucket}/out/trip"]) == 1
    assert "already exists" in capfd.readouterr().err
    assert s3.store.cat_file(f"{bucket}/out/{FOUND[1]}") == b"somebody's"


def test_from_here_to_a_store_and_back(s3: S3, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bucket = s3.bucket()
    files = [str(photos / name) for name in PHOTOS[:2]]
    assert main(["run", *files, "--out", f"s3://{bucket}/out", "--save-maps", "--format", "png"]) == 0
    names = {f"{bucket}/out/{Path(name).stem}{end}" for name in PHOTOS[:2] for end in (".png", ".alpha.png", ".defocus.png")}
    assert set(s3.store.find(f"{bucket}/out")) == names
    assert main(["run", f"s3://{bucket}/out", "--out", str(tmp_path / "back"), "--exclude", "*.*.png", "--preserve-times"]) == 0
    assert sorted(path.name for path in (tmp_path / "back").glob("[!.]*")) == ["astronaut.png", "camera.png"]
    changed = s3.store.info(f"{bucket}/out/camera.png")["LastModified"].timestamp()
    assert (tmp_path / "back" / "camera.png").stat().st_mtime == pytest.approx(changed, abs=1)


def test_a_list_may_name_objects_and_files(
    s3: S3, bucket: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(photos / "rocket.jpg", tmp_path)
    (tmp_path / "list").write_text(f"s3://{bucket}/in/{FOUND[1]}\nrocket.jpg\ns3://{bucket}/absent.jpg\ns3://{bucket}/in/trip\n")
    assert main(["run", "--files-from", "list", "--out", "out"]) == 1
    said = capfd.readouterr()
    assert f"bokeh: s3://{bucket}/absent.jpg: there is no such object" in said.err
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
    assert made == {"rocket.jpg", *(f"{bucket}/in/{name}" for name in FOUND[1:])}


def test_one_object_goes_through_a_pipe(s3: S3, bucket: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bokehcli", "run", f"s3://{bucket}/in/{ODD}", "--out", "-"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\xff\xd8")


def test_dask_reads_and_writes_objects(s3: S3, bucket: str) -> None:
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--scheduler", "local:2"]) == 0
    assert {f"{bucket}/out/{name}" for name in FOUND} == set(s3.store.find(f"{bucket}/out"))


def test_shards_share_out_a_store(s3: S3, bucket: str) -> None:
    for index in (1, 2):
        assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--shard", f"{index}/2"]) == 0
    assert {f"{bucket}/out/{name}" for name in FOUND} == set(s3.store.find(f"{bucket}/out"))
    assert len(s3.requests(f'"PUT /{bucket}/out/')) == 3


def test_a_dry_run_writes_nothing(s3: S3, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out", "--dry-run"]) == 0
    assert f"s3://{bucket}/in/{FOUND[1]} -> s3://{bucket}/out/{FOUND[1]}" in capfd.readouterr().out.splitlines()
    assert not s3.store.exists(f"{bucket}/out")
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_that_is_killed_leaves_whole_objects_and_is_gone_on_with(s3: S3, photos: Path, tmp_path: Path) -> None:
    bucket = s3.bucket()
    for number in range(30):
        s3.put(f"{bucket}/in/{number:02}.jpg", photos / PHOTOS[number % len(PHOTOS)])
    command = [sys.executable, "-m", "bokehcli", "run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    for wanted in (3, 10, 20):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        wait_for(lambda wanted=wanted: len(s3.store.glob(f"{bucket}/out/*.jpg")) >= wanted)  # type: ignore[misc]
        run.kill()
        run.wait()
        for path in s3.store.find(f"{bucket}/out"):
            data = np.frombuffer(s3.store.cat_file(path), np.uint8)
            assert data[-2:].tolist() == [0xFF, 0xD9]
            assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(s3.store.find(f"{bucket}/out")) == 30
    # nothing is done twice but what was in hand at the three kills
    assert len(s3.requests(f'"PUT /{bucket}/out/')) <= 30 + 3 * (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("source", "out", "text"),
    [
        ("s3://no-such-bucket/in", "out", "s3://no-such-bucket/in: there is no such object"),
        ("s3://{bucket}/absent", "out", "s3://{bucket}/absent: there is no such object"),
        ("s3://{bucket}/in", "s3://{bucket}/in", "s3://{bucket}/in: the output must be neither the input nor"),
        ("s3://{bucket}/in", "s3://{bucket}", "s3://{bucket}/in: the output must be neither the input nor"),
        ("no-such-scheme://x/y", "out", "no-such-scheme://x: Protocol not known: no-such-scheme"),
        ("s3://{bucket}/in/.hidden", "out", None),
    ],
)
def test_what_cannot_be_is_misuse(
    bucket: str, tmp_path: Path, source: str, out: str, text: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    out = out.format(bucket=bucket) if "://" in out else str(tmp_path / out)
    assert main(["run", source.format(bucket=bucket), "--out", out]) == (0 if text is None else 2)
    if text is not None:
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"bokeh: {text.format(bucket=bucket)}")


def test_times_and_watching_are_for_files(bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path), "--out", f"s3://{bucket}/out", "--preserve-times"]) == 2
    assert "objects have times of their own" in capfd.readouterr().err
    assert main(["run", f"s3://{bucket}/in", "--out", str(tmp_path / "out"), "--watch"]) == 2
    assert "URLs cannot be watched" in capfd.readouterr().err


def test_a_bucket_that_is_not_there_costs_each_photo(photos: Path, s3: S3, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(photos / "rocket.jpg"), "--out", "s3://no-such-bucket/out"]) == 1
    assert "s3://no-such-bucket/out/rocket.jpg: there is no such bucket or folder" in capfd.readouterr().err


def test_names_that_no_path_can_have_are_failures(s3: S3, bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
    import boto3

    boto3.client("s3").put_object(Bucket=bucket, Key="in//a.jpg", Body=b"1")
    assert main(["run", f"s3://{bucket}/in", "--out", f"s3://{bucket}/out"]) == 1
    assert f"bokeh: s3://{bucket}/in/: no path can have such a name" in capfd.readouterr().err
    assert len(s3.store.find(f"{bucket}/out")) == 3


@pytest.fixture
def memory() -> Iterator[Any]:
    """The store memory://, empty."""
    store = fsspec.filesystem("memory", use_listings_cache=False)
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


@pytest.mark.parametrize("more", [[], ["--scheduler", "local:1"]], ids=["processes", "dask"])
def test_what_only_this_process_can_read(memory: Any, photos: Path, more: list[str], tmp_path: Path) -> None:
    for name in PHOTOS[:2]:
        memory.pipe_file(f"/in/{name}", (photos / name).read_bytes())
    arguments = ["run", "memory://in", "--out", "memory://out", "--save-maps", *more]
    assert main(arguments) == 0
    expected = {f"/out/{Path(name).stem}{end}" for name in PHOTOS[:2] for end in (".jpg", ".alpha.png", ".defocus.png")}
    assert set(memory.find("/out")) == expected
    assert main(["run", *(str(photos / name) for name in PHOTOS[:2]), "--out", str(tmp_path / "here"), *more]) == 0
    assert memory.cat_file("/out/camera.jpg") == (tmp_path / "here" / "camera.jpg").read_bytes()
    written = memory.info("/out/camera.jpg")["created"]
    assert main(arguments) == 0
    assert memory.info("/out/camera.jpg")["created"] == written


def make(memory: Any, *names: str) -> None:
    for name in names:
        memory.pipe_file(name, b"1")


def found(*sources: str, out: str = "memory://out", **settings: Any) -> list[list[str]]:
    """The sources of each part's jobs."""
    parts = Prefixes([Url(source) for source in sources], Url(out), settings.pop("options", RunOptions()), **settings).parts()
    return [[str(job.source) for job in part.jobs] for part in parts]


def test_folders_are_listed_when_it_is_their_turn(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(memory, "/in/a.jpg", "/in/one/b.jpg", "/in/two/c.jpg")
    asked: list[str] = []
    real = remote.objects_in
    monkeypatch.setattr(remote, "objects_in", lambda url: asked.append(str(url)) or real(url))
    parts = Prefixes([Url("memory://in")], Url("memory://out"), RunOptions()).parts()
    assert [str(job.source) for job in next(parts).jobs] == ["memory://in/a.jpg"]
    assert asked == ["memory://in", "memory://out"]
    assert [str(job.source) for job in next(parts).jobs] == ["memory://in/one/b.jpg"]
    assert asked[2:] == ["memory://in/one", "memory://out/one"]


def test_names_that_lead_out_of_the_output_cost_themselves(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(memory, "/in/a.jpg", "/in/b\\c.jpg", "/in/D:/e.jpg")
    listed = [Url("memory://in/a.jpg"), Url("memory://in/x/../../../a.jpg")]
    monkeypatch.setattr(remote, "is_folder", lambda url: url == Url("memory://in"))
    parts = list(Prefixes([], Path("out"), RunOptions(), listed).parts())
    assert [job.destination for part in parts for job in part.jobs] == [Path("out/in/a.jpg")]
    assert [str(error) for part in parts for error in part.unreadable] == [f"{listed[1]}: no path can have such a name"]
    assert found("memory://in", out="memory://out") == [["memory://in/a.jpg", "memory://in/b\\c.jpg"], ["memory://in/D:/e.jpg"]]
    monkeypatch.setattr(remote, "WINDOWS", True)
    parts = list(Prefixes([Url("memory://in")], Path("out"), RunOptions()).parts())
    assert [str(job.source) for part in parts for job in part.jobs] == ["memory://in/a.jpg"]
    assert [error.name for part in parts for error in part.unreadable] == ["memory://in/b\\c.jpg", "memory://in/D:/e.jpg"]


def test_the_output_below_the_input_is_left_out(memory: Any) -> None:
    make(memory, "/in/a.jpg", "/in/out/b.jpg")
    assert found("memory://in", out="memory://in/out") == [["memory://in/a.jpg"]]
    (part,) = Prefixes([Url("memory://in")], Url("memory://in/out"), RunOptions()).parts()
    assert part.notes == ("memory://in/out: left out, it is the output folder",)


def test_results_of_an_earlier_run_are_left_out_unless_they_are_named(
    memory: Any, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    memory.pipe_file("/in/trip/a.jpg", (photos / "camera.jpg").read_bytes())
    assert main(["run", "memory://in", "--out", "memory://in/old", "--strength", "0"]) == 0
    capfd.readouterr()
    left_out = "memory://in/old: left out, it has results of an earlier run; name it to have them rendered"
    line = ["run", "memory://in", "--out", "memory://new", "--strength", "0"]
    assert main(line) == 0
    said = capfd.readouterr()
    assert said.out.splitlines() == ["memory://new/trip/a.jpg"]
    assert said.err.splitlines().count(f"bokeh: warning: {left_out}") == 1
    assert found("memory://in/old") == [[], ["memory://in/old/trip/a.jpg"]]
    memory.rm_file("/in/trip/a.jpg")
    assert main(line) == 2
    assert capfd.readouterr().err == f"bokeh: no photos found in memory://in; {left_out}\n"


def test_two_sources_for_one_result_are_a_failure_of_the_second(memory: Any) -> None:
    make(memory, "/one/a.jpg", "/two/a.jpg", "/two/b.jpg")
    parts = list(Prefixes([Url("memory://one"), Url("memory://two")], Url("memory://out"), RunOptions()).parts())
    assert [[str(job.source) for job in part.jobs] for part in parts] == [["memory://one/a.jpg"], ["memory://two/b.jpg"]]
    (error,) = parts[1].unreadable
    assert str(error) == "memory://two/a.jpg: memory://one/a.jpg would be written to memory://out/a.jpg as well"
    assert found("memory://one", "memory://one/a.jpg") == [["memory://one/a.jpg"], []]  # the same photo is done once


def test_photos_that_get_one_name_by_a_new_suffix_keep_the_old_one(memory: Any) -> None:
    make(memory, "/in/a.jpg", "/in/a.png", "/in/b.png")
    options = RunOptions(encode=EncodeOptions(container=Container.JPEG))
    (part,) = Prefixes([Url("memory://in")], Url("memory://out"), options).parts()
    assert [str(job.destination) for job in part.jobs] == [
        "memory://out/a.jpg",
        "memory://out/a.png.jpg",
        "memory://out/b.jpg",
    ]


def test_shards_of_a_store_are_its_parts(memory: Any) -> None:
    make(memory, *(f"/in/{number}/a.jpg" for number in range(20)))
    shards = [list(chain(*found("memory://in", shard=Shard(index, 3)))) for index in (1, 2, 3)]
    assert all(shards)
    assert sorted(chain(*shards)) == sorted(chain(*found("memory://in")))


def test_a_folder_that_cannot_be_listed_costs_itself(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(memory, "/in/a.jpg", "/in/one/b.jpg", "/in/two/c.jpg")
    real = remote.objects_in

    def objects_in(url: Url) -> Any:
        if url.name == "one":
            raise OSError(5, "the store has a bad day", str(url))
        return real(url)

    monkeypatch.setattr(remote, "objects_in", objects_in)
    parts = list(Prefixes([Url("memory://in")], Path("out"), RunOptions()).parts())
    assert [[str(job.source) for job in part.jobs] for part in parts] == [["memory://in/a.jpg"], [], ["memory://in/two/c.jpg"]]
    assert [str(error) for error in parts[1].unreadable] == ["memory://in/one: the store has a bad day"]


def test_results_that_cannot_be_listed_cost_their_folder(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(memory, "/in/a.jpg")

    def refuse(folder: Url) -> Any:
        raise UsageError(f"{folder}: access denied")

    monkeypatch.setattr(prefixes, "_results_in", refuse)
    (part,) = Prefixes([Url("memory://in")], Url("memory://out"), RunOptions()).parts()
    assert part.jobs == ()
    assert [str(error) for error in part.unreadable] == ["memory://in: memory://out: access denied"]


def test_objects_larger_than_any_photo_are_not_read(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(memory, "/in/a.jpg", "/in/b.jpg")
    monkeypatch.setattr(prefixes, "MAX_FILE_BYTES", 0)
    (part,) = Prefixes([Url("memory://in")], Url("memory://out"), RunOptions()).parts()
    assert part.jobs == ()
    assert len(part.unreadable) == 2


def test_a_store_that_does_not_answer_costs_its_photo(
    memory: Any, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each time it is asked: what is there, for the photo itself."""
    for name in PHOTOS[:2]:
        memory.pipe_file(f"/in/{name}", (photos / name).read_bytes())
    real = remote.read

    def read_or_fail(url: Url) -> bytes:
        if url.name == PHOTOS[0]:
            raise OSError(5, "the store has a bad day", str(url))
        return real(url)

    monkeypatch.setattr(remote, "read", read_or_fail)
    assert main(["run", "memory://in", "--out", "memory://out"]) == 1
    assert f"bokeh: memory://in/{PHOTOS[0]}: the store has a bad day" in capfd.readouterr().err
    states = {entry.destination.name: entry.state for entry in read(Url("memory://out"))}
    assert states == {PHOTOS[0]: State.PLANNED, PHOTOS[1]: State.DONE}


def test_a_store_that_does_not_say_what_is_there_costs_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    def signature_of(url: Url) -> Any:
        raise OSError(5, "the store has a bad day", str(url))

    monkeypatch.setattr(remote, "signature_of", signature_of)
    verdict = judge(Job(source=Path("a.jpg"), destination=Url("memory://out/a.jpg")), RunOptions(), None)
    assert verdict.outcome is not None
    assert verdict.outcome.status is Status.FAILED
    assert verdict.outcome.error == "memory://out/a.jpg: the store has a bad day"
