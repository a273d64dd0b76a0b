"""URLs as places, and what is asked of the stores behind them; the store here is fsspec's own in memory."""

import pickle
import socket
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread

import fsspec
import pytest

from bokehcli import remote
from bokehcli.entries import folder_of
from bokehcli.errors import MissingDependency, UsageError
from bokehcli.remote import Place, Url, joined, objects_in, place_of


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """The store memory://, empty."""
    store = fsspec.filesystem("memory", use_listings_cache=False)
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


@pytest.mark.parametrize("text", ["s3://bucket/a b/c.jpg", "gs://b", "memory://x/\N{LATIN SMALL LETTER E WITH ACUTE} #1?.jpg"])
def test_a_url_is_itself_again(text: str) -> None:
    place = place_of(text)
    assert isinstance(place, Url)
    assert str(place) == text
    assert str(pickle.loads(pickle.dumps(place))) == text
    assert place_of(str(place)) == place
    assert hash(place_of(text)) == hash(place)


@pytest.mark.parametrize("text", ["a.jpg", "/photos/a", "C:/x", "c://x", "-", "a:b", "://x", "./s3://x", "1s://x"])
def test_what_is_no_url_is_a_path(text: str) -> None:
    assert place_of(text) == Path(text)
    assert isinstance(place_of(text), Path)


def test_files_by_url_are_files_of_this_machine() -> None:
    assert place_of("file:///photos/a%20b.jpg") == Path("/photos/a b.jpg")
    assert place_of("file:///photos/a%2541.jpg") == Path("/photos/a%41.jpg")
    assert place_of("file://LocalHost/photos/a.jpg") == Path("/photos/a.jpg")


def test_a_file_of_another_machine_is_a_share_on_windows_and_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="another machine, server"):
        place_of("file://server/share/a%20b.jpg")
    monkeypatch.setattr(remote, "WINDOWS", True)
    assert place_of("file://server/share/a%20b.jpg") == Path("//server/share/a b.jpg")


@pytest.mark.parametrize("text", ["s3://", "gs:///"])
def test_a_url_names_something(text: str) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        place_of(text)


def test_urls_are_joined_and_taken_apart() -> None:
    url = joined(Url("s3://bucket/out"), PurePosixPath("a/b.jpg"))
    assert str(url) == "s3://bucket/out/a/b.jpg"
    assert str(url.parent) == "s3://bucket/out/a"
    assert str(url.with_suffix(".png")) == "s3://bucket/out/a/b.png"
    assert isinstance(url, Url)
    assert url.below(Url("s3://bucket/out")) == PurePosixPath("a/b.jpg")
    assert str(url.home) == "s3://bucket"
    assert url.scheme == "s3"
    with pytest.raises(ValueError, match="not in"):
        url.below(Url("s3://other"))
    assert str(Url("s3://b/x:/a").below(Url("s3://b"))) == "x:/a"


@pytest.mark.parametrize(
    ("path", "out", "anywhere", "on_windows"),
    [
        ("a/b.jpg", Path("out"), False, False),
        ("a..b/...jpg", Path("out"), False, False),
        ("a/../../b.jpg", Path("out"), True, True),
        ("..", Url("s3://b"), True, True),
        ("a\\..\\b.jpg", Path("out"), False, True),
        ("C:/b.jpg", Path("out"), False, True),
        ("a/.. /b.jpg", Path("out"), False, True),
        ("a\\b:c.jpg", Url("s3://b"), False, False),
    ],
)
def test_what_a_name_may_lead_out_of_is_told(
    path: str, out: Place, anywhere: bool, on_windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for windows, leads in ((False, anywhere), (True, on_windows)):
        monkeypatch.setattr(remote, "WINDOWS", windows)
        assert remote.leads_out(PurePosixPath(path), out) == leads


def test_each_url_has_a_folder_of_its_own_for_its_ledger() -> None:
    folders = {folder_of(Url(f"s3://bucket/{name}")) for name in ("a", "b", "a/b", "a%2Fb", "x" * 300, "x" * 301)}
    assert len(folders) == 6
    assert all(len(folder.name) < 120 for folder in folders)
    assert folder_of(Path("out")) == Path("out")


@pytest.mark.usefixtures("store")
def test_what_is_written_is_read(tmp_path: Path) -> None:
    url = Url("memory://bucket/a/b::c.jpg")  # `::` means something to fsspec
    assert remote.signature_of(url) is None
    remote.write(url, b"first", exclusive=True)
    assert remote.read(url) == b"first"
    before = remote.signature_of(url)
    assert before is not None
    assert before[0] == 5
    with pytest.raises(FileExistsError):
        remote.write(url, b"second", exclusive=True)
    assert remote.read(url) == b"first"
    remote.write(url, b"other")
    after = remote.signature_of(url)
    assert after is not None
    assert after != before  # of the same size
    assert abs(remote.changed_ns(url) / 1e9 - time.time()) < 24 * 3600  # in UTC, whatever the clock's zone
    with pytest.raises(FileNotFoundError, match="no such object"):
        remote.read(Url("memory://bucket/absent"))


def test_a_listing_tells_objects_from_folders(store: fsspec.AbstractFileSystem) -> None:
    for name in ("b/a.jpg", "b/Z.jpg", "b/sub/c.jpg", "b/sub2/sub3/d.jpg", "elsewhere/e.jpg"):
        store.pipe_file(name, name.encode())
    objects, folders, odd = objects_in(Url("memory://b"))
    assert [str(url) for url in objects] == ["memory://b/Z.jpg", "memory://b/a.jpg"]
    assert [str(url) for url in folders] == ["memory://b/sub", "memory://b/sub2"]
    assert odd == []
    assert objects[Url("memory://b/a.jpg")] == remote.signature_of(Url("memory://b/a.jpg"))
    assert objects_in(Url("memory://nothing")) == ({}, [], [])
    assert remote.is_folder(Url("memory://b/sub"))
    assert not remote.is_folder(Url("memory://b/a.jpg"))
    assert remote.signature_of(Url("memory://b/sub")) is None


def test_names_that_no_path_can_have_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 has them: a folder without a name, one that is called `..`."""

    class Store:
        def ls(self, path: str, detail: bool) -> list[dict[str, object]]:
            return [
                {"name": "b/", "type": "file", "size": 0},  # stands for the folder itself
                {"name": "b/", "type": "directory", "size": 0},
                {"name": "b/..", "type": "directory", "size": 0},
                {"name": "b//x.jpg", "type": "file", "size": 1},
                {"name": "b/y.jpg", "type": "file", "size": 1, "ETag": "1"},
            ]

    monkeypatch.setattr(remote, "_opened", lambda url: (Store(), "b"))
    objects, folders, odd = objects_in(Url("s3://b"))
    assert [str(url) for url in objects] == ["s3://b/y.jpg"]
    assert folders == []
    assert odd == ["s3://b/", "s3://b/..", "s3://b//x.jpg"]


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("nothing-like-it://b/a", UsageError, "Protocol not known"),
        ("hdfs://b/a", MissingDependency, r"bokehcli\[cloud\]"),
    ],
)
def test_unknown_schemes_and_absent_packages_are_told(url: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        remote.read(Url(url))


def test_fsspec_comes_with_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependency, match=r"URLs need fsspec: pip install 'bokehcli\[cloud\]'"):
        remote.read(Url("memory://never-opened-before/a"))


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server which answers with the status that a path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(int(self.path.strip("/")))

        do_HEAD = do_GET  # noqa: N815  # as http.server calls it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/401", "the server answers 401 Unauthorized"),
        ("/403", "the server answers 403 Forbidden"),
        ("/404", "there is no such object"),
        ("/500", "the server answers 500 Internal Server Error"),
    ],
)
def test_what_a_server_answers_is_told(server: str, path: str, text: str) -> None:
    for ask in (remote.is_folder, remote.read, remote.objects_in):
        if ask is remote.objects_in and path == "/404":
            assert ask(Url(f"{server}{path}")) == ({}, [], [])
            continue
        with pytest.raises(OSError, match=text) as caught:
            ask(Url(f"{server}{path}"))
        assert isinstance(caught.value, FileNotFoundError) == (path == "/404")


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Connection refused"):
            remote.is_folder(Url(f"http://127.0.0.1:{unheard.getsockname()[1]}/a.jpg"))
    with pytest.raises(OSError, match="ClientConnector") as caught:
        remote.is_folder(Url("http://nowhere.invalid/a.jpg"))
    assert "no such object" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "expected", "text"),
    [
        (RuntimeError("first line\nsecond line"), OSError, "RuntimeError: first line"),
        (PermissionError("nobody may"), PermissionError, r"access denied \(nobody may\)"),
        (TimeoutError(), OSError, "TimeoutError"),
        (FileNotFoundError("x"), FileNotFoundError, "no such object"),
    ],
)
def test_whatever_a_client_raises_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception], text: str
) -> None:
    class Store:
        def cat_file(self, path: str) -> bytes:
            raise raised

    monkeypatch.setattr(remote, "_opened", lambda url: (Store(), "b"))
    with pytest.raises(expected, match=text) as caught:
        remote.read(Url("s3://b/a"))
    assert isinstance(caught.value, OSError)
    assert "\n" not in str(caught.value.strerror)
