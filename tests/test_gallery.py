"""The page of a run (--gallery), as Chromium shows it and as a file."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from bokehcli.cli import main
from bokehcli.discover import Job
from bokehcli.errors import UsageError, WriteError
from bokehcli.gallery import SIZES_PX, SMALLEST_PX, Gallery, preview_px
from bokehcli.options import Running, RunOptions
from bokehcli.outcome import Outcome, Preview, Status
from bokehcli.photo import Carried, Container, Photo
from bokehcli.pipeline import open_renderer
from bokehcli.preview import LARGEST_PROFILE_BYTES, small_picture
from bokehcli.progress import Reporter
from bokehcli.run import _carry_out
from tests.browser import CHROMEDRIVER, CHROMIUM, opened

in_browser = pytest.mark.skipif(CHROMIUM is None or CHROMEDRIVER is None, reason="chromium and its driver are not installed")

HOSTILE = "\"'><img src=x onerror=document.title=1><!--SCRIPT--><script>document.title=2<!--#?%41&amp;\u202e.jpg"
NAMES = {"cat \N{CAT FACE}.jpg": "chelsea.jpg", HOSTILE: "camera.jpg"}


@pytest.fixture(scope="module")
def page(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run over two photos with odd names, one without a subject, and one that fails."""
    source = tmp_path_factory.mktemp("source")
    for name, photo in NAMES.items():
        shutil.copy(photos / photo, source / name)
    (source / "cut.jpg").write_bytes((photos / "coffee.jpg").read_bytes()[:9000])
    slope = np.linspace(40, 200, 300, dtype=np.uint8)
    cv2.imwrite(str(source / "nothing.png"), np.dstack([np.broadcast_to(slope, (200, 300))] * 3))
    page = source.parent / "out" / "pages" / "index.html"
    assert main(["run", str(source), "--out", str(source.parent / "out"), "--gallery", str(page)]) == 1
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with opened() as browser:
        yield browser


@pytest.fixture
def shown(browser: Chrome, page: Path) -> Chrome:
    """The page, freshly loaded, with its pictures."""
    browser.get(page.as_uri())
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script("return document.readyState") == "complete")
    pictures = "return [...document.querySelectorAll('.frame:not(.empty) .before')].every((one) => one.naturalWidth > 0)"
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(pictures))
    return browser


def card(browser: Chrome, name: str) -> WebElement:
    (found,) = [item for item in browser.find_elements(By.CSS_SELECTOR, "#photos > li") if name in item.text]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def where(item: WebElement) -> tuple[int, str, str]:
    """Where a slider stands: as it says, as it says to those who listen, and what is cut off of the result."""
    slider = item.find_element(By.CSS_SELECTOR, "input[type=range]")
    cut = item.find_element(By.CSS_SELECTOR, ".after").value_of_css_property("clip-path")
    return int(slider.get_property("value")), str(slider.get_attribute("aria-valuetext")), cut  # type: ignore[arg-type]


@in_browser
def test_the_page_loads_without_a_word_on_the_console(shown: Chrome) -> None:
    assert shown.get_log("browser") == []
    assert shown.title == "bokeh: before and after"
    assert shown.find_element(By.ID, "summary").text == "4 photos · 2 rendered · 1 without a clear subject · 1 failed"
    shown.execute_script("console.error('a check that this can fail')")
    assert len(shown.get_log("browser")) == 1


@in_browser
def test_arrow_keys_move_the_slider(shown: Chrome) -> None:
    cat = card(shown, "cat")
    assert where(cat) == (50, "50 % before, 50 % after", "inset(0px 0px 0px 50%)")
    cat.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.ARROW_RIGHT * 3 + Keys.ARROW_LEFT)
    assert where(cat) == (52, "52 % before, 48 % after", "inset(0px 0px 0px 52%)")
    cat.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.HOME)
    assert where(cat)[0] == 0


def box_of(element: WebElement) -> list[float]:
    """Where it is in the window: x, y, width, height."""
    script = "const box = arguments[0].getBoundingClientRect(); return [box.x, box.y, box.width, box.height]"
    box: list[float] = element.parent.execute_script(script, element)
    return box


def drag(browser: Chrome, finger: bool, start: tuple[float, float], end: tuple[float, float]) -> None:
    """In steps, as a hand does; by the browser's own input, below what pages see."""
    steps = [(start[0] + (end[0] - start[0]) * part / 8, start[1] + (end[1] - start[1]) * part / 8) for part in range(9)]
    kinds = ["touchStart", *["touchMove"] * 8] if finger else ["mousePressed", *["mouseMoved"] * 8]
    for kind, (x, y) in zip(kinds, steps, strict=True):
        if finger:
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        else:
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    if finger:
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        event = {"type": "mouseReleased", "x": end[0], "y": end[1], "button": "left", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


@in_browser
@pytest.mark.parametrize("finger", [False, True], ids=["mouse", "finger"])
def test_mouse_and_finger_drag_the_slider(shown: Chrome, finger: bool) -> None:
    frame = card(shown, "cat").find_element(By.CSS_SELECTOR, ".frame")
    box = box_of(frame)
    y = box[1] + box[3] / 2
    drag(shown, finger, (box[0] + box[2] / 2, y), (box[0] + box[2] * 0.75, y))
    assert where(card(shown, "cat"))[0] == pytest.approx(75, abs=1)
    ActionChains(shown).move_to_element(frame).perform()  # with nothing pressed, it stays
    assert where(card(shown, "cat"))[0] == pytest.approx(75, abs=1)
    shown.switch_to.active_element.send_keys(Keys.ARROW_LEFT)  # and the keys go on from there
    assert where(card(shown, "cat"))[0] == pytest.approx(74, abs=1)


@in_browser
def test_a_finger_that_goes_up_scrolls_the_page(shown: Chrome) -> None:
    frame = card(shown, "cat").find_element(By.CSS_SELECTOR, ".frame")
    shown.execute_script("scrollTo(0, 0)")
    box = box_of(frame)
    x = box[0] + box[2] / 2
    drag(shown, True, (x, box[1] + box[3] * 0.6), (x, box[1] + box[3] * 0.6 - 200))
    WebDriverWait(shown, 10).until(lambda _: shown.execute_script("return scrollY") > 50)


@in_browser
def test_before_is_the_photo_and_after_the_result(shown: Chrome, page: Path, photos: Path) -> None:
    frame = card(shown, "cat").find_element(By.CSS_SELECTOR, ".frame")
    slider = frame.find_element(By.CSS_SELECTOR, "input")
    for key, file in ((Keys.END, photos / "chelsea.jpg"), (Keys.HOME, page.parent.parent / "cat \N{CAT FACE}.jpg")):
        slider.send_keys(key)
        seen = np.asarray(Image.open(BytesIO(frame.screenshot_as_png)).convert("RGB"), np.float32)
        true = np.asarray(Image.open(file).convert("RGB").resize(seen.shape[1::-1]), np.float32)
        apart = np.abs(seen - true).mean(axis=2)[40:-40, 40:-40]  # without the two tags and the handle at the border
        assert np.median(apart) < 4
        other = photos / "rocket.jpg"
        wrong = np.asarray(Image.open(other).convert("RGB").resize(seen.shape[1::-1]), np.float32)
        assert np.median(np.abs(seen - wrong).mean(axis=2)) > 20


@in_browser
def test_the_map_is_shown_on_demand(shown: Chrome) -> None:
    cat = card(shown, "cat")
    picture, button = cat.find_element(By.CSS_SELECTOR, ".map"), cat.find_element(By.CSS_SELECTOR, "button")
    assert not picture.is_displayed()
    button.send_keys(Keys.ENTER)
    assert picture.is_displayed()
    assert button.get_attribute("aria-pressed") == "true"
    assert picture.get_property("naturalWidth") == cat.find_element(By.CSS_SELECTOR, ".before").get_property("naturalWidth")
    button.click()
    assert not picture.is_displayed()


@in_browser
@pytest.mark.parametrize(
    ("kind", "names"), [("failed", ["cut.jpg"]), ("no-subject", ["nothing.png"]), ("rendered", sorted(NAMES, reverse=True))]
)
def test_photos_are_filtered_by_what_became_of_them(shown: Chrome, kind: str, names: list[str]) -> None:
    shown.find_element(By.CSS_SELECTOR, f"input[value={kind}]").send_keys(Keys.SPACE)
    visible = [item for item in shown.find_elements(By.CSS_SELECTOR, "#photos > li") if item.is_displayed()]
    assert len(visible) == len(names)
    assert all(any(name[:3] in item.text for name in names) for item in visible)
    assert shown.find_element(By.ID, "shown").text == f"{len(names)} photo{'s' if len(names) > 1 else ''} shown"


@in_browser
def test_photos_with_an_unsure_subject_are_found_among_the_rendered(browser: Chrome, photos: Path, tmp_path: Path) -> None:
    page, names = tmp_path / "out" / "a.html", [str(photos / name) for name in ("chelsea.jpg", "rocket.jpg")]
    assert main(["run", *names, "--out", str(tmp_path / "out"), "--gallery", str(page)]) == 0
    browser.get(page.as_uri())
    told = "2 photos · 2 rendered · 1 with an unsure subject · 0 without a clear subject · 0 failed"
    assert browser.find_element(By.ID, "summary").text == told
    for kind, shown in (("rendered", names), ("unsure", names[1:])):
        browser.find_element(By.CSS_SELECTOR, f"input[value={kind}]").send_keys(Keys.SPACE)
        visible = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#photos > li") if item.is_displayed()]
        assert len(visible) == len(shown)
        assert all(Path(name).name in text for name, text in zip(shown, visible, strict=True))


@in_browser
def test_photos_are_searched_by_name(shown: Chrome) -> None:
    shown.find_element(By.ID, "search").send_keys("CAT")
    visible = [item.text for item in shown.find_elements(By.CSS_SELECTOR, "#photos > li") if item.is_displayed()]
    assert len(visible) == 1
    assert "cat \N{CAT FACE}.jpg" in visible[0]


@in_browser
def test_a_hostile_name_stays_text(shown: Chrome, page: Path) -> None:
    hostile = card(shown, "onerror")
    assert hostile.find_element(By.CSS_SELECTOR, "h2").text == "../" + HOSTILE.replace("\u202e", "\\u202e")
    assert shown.title == "bokeh: before and after"
    tags = {tag.tag_name for tag in hostile.find_elements(By.CSS_SELECTOR, "*")}
    assert tags <= {"article", "div", "img", "input", "span", "h2", "p", "ul", "button", "a"}
    assert len(hostile.find_elements(By.CSS_SELECTOR, "img")) == 3
    for link, file in ((".to-after", page.parent.parent / HOSTILE), (".to-before", page.parent.parent.parent)):
        href = hostile.find_element(By.CSS_SELECTOR, link).get_attribute("href")
        assert href is not None
        assert not urlsplit(href).query
        assert not urlsplit(href).fragment
        target = Path(unquote(urlsplit(href).path))
        assert target.is_file()
        assert file in (target, target.parent.parent)


@in_browser
def test_a_link_opens_the_file_itself(shown: Chrome, page: Path) -> None:
    href = card(shown, "onerror").find_element(By.CSS_SELECTOR, ".to-after").get_attribute("href")
    assert href is not None
    shown.get(href)
    WebDriverWait(shown, 20).until(lambda _: shown.execute_script("return document.images.length") == 1)
    with Image.open(page.parent.parent / HOSTILE) as image:
        assert shown.execute_script("return document.images[0].naturalWidth") == image.width


@in_browser
def test_everything_has_a_name_for_those_who_listen(shown: Chrome) -> None:
    """By the browser's own tree for screen readers."""
    nodes = shown.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named: dict[str, list[Any]] = {}
    for node in nodes:
        if not node["ignored"]:
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value"))
    assert len(named["slider"]) == 2
    assert all(name.startswith("Before and after, ") for name in named["slider"])
    assert len([name for name in named["image"] if name.startswith(("Before: ", "After: ", "Photo: "))]) == 5
    assert all(name for role in ("slider", "button", "link", "image", "radio", "searchbox") for name in named[role])
    assert len(named["heading"]) == 5


@in_browser
def test_everything_is_reached_with_the_tabulator(shown: Chrome) -> None:
    reached = set()
    for _ in range(20):
        ActionChains(shown).send_keys(Keys.TAB).perform()
        active = shown.switch_to.active_element
        reached.add(f"{active.tag_name}.{active.get_attribute('type') or active.get_attribute('class')}")
    assert {"input.radio", "input.search", "input.range", "button.button", "a.to-before", "a.to-after"} <= reached


@in_browser
def test_light_and_dark_follow_the_system(shown: Chrome) -> None:
    brightness = []
    for value in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": value}]
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        body = shown.find_element(By.TAG_NAME, "body")
        paper, ink = (
            [int(part) for part in re.findall(r"\d+", body.value_of_css_property(name))[:3]]
            for name in ("background-color", "color")
        )
        assert abs(sum(paper) - sum(ink)) > 500  # of 765
        brightness.append(sum(paper))
    assert brightness[0] > 700
    assert brightness[1] < 100


def test_a_second_run_shows_what_is_done_already(page: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["run", str(photos / "chelsea.jpg"), "--out", str(out), "--gallery", str(tmp_path / "a.html")]) == 0
    before = (out / "chelsea.jpg").stat().st_mtime_ns
    assert main(["run", str(photos / "chelsea.jpg"), "--out", str(out), "--gallery", str(tmp_path / "a.html")]) == 0
    assert (out / "chelsea.jpg").stat().st_mtime_ns == before
    text = (tmp_path / "a.html").read_text()
    assert '"status":"skipped","subject":true' in text
    assert '"pictures":[true,true]' in text


def test_an_unsure_subject_is_one_whatever_becomes_of_the_photo(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    line = ["run", str(photos / "rocket.jpg"), "--out", str(tmp_path / "out"), "--unsure", "none", "--gallery", str(page)]
    for status in ("done", "skipped"):
        assert main(line) == 0
        assert f'"status":"{status}","subject":true,"unsure":true' in page.read_text()
        assert '"pictures":[false,true]' in page.read_text()
    assert "1 of 1 photo rendered, 1 unsure of the subject in" in capfd.readouterr().err


def test_what_cannot_be_looked_at_is_a_warning(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "chelsea.jpg").write_bytes(b"of another program")
    arguments = [str(photos / "chelsea.jpg"), "--out", str(tmp_path / "out"), "--gallery", str(tmp_path / "a.html")]
    assert main(["run", *arguments, "--skip-existing"]) == 0
    assert "not in the gallery as it should be" in capfd.readouterr().err
    assert (tmp_path / "out" / "chelsea.jpg").read_bytes() == b"of another program"


@pytest.mark.parametrize("name", ["photo.jpg", "folder", ".html"])
def test_a_gallery_is_a_page(tmp_path: Path, photos: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(photos / "camera.jpg"), "--out", str(tmp_path), "--gallery", str(tmp_path / name)]
    assert main(arguments) == 2
    assert "a gallery is a page" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_a_gallery_is_replaced(tmp_path: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "index.html"
    page.write_text("<!doctype html><p>somebody's home page")
    assert main(["run", str(photos / "camera.jpg"), "--out", str(tmp_path / "out"), "--gallery", str(page)]) == 2
    assert "there is something else" in capfd.readouterr().err
    assert "home page" in page.read_text()
    assert not (tmp_path / "out").exists()


def test_a_folder_where_the_page_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.html").mkdir()
    with pytest.raises(UsageError, match="a folder"):
        Gallery(tmp_path / "a.html")


def test_a_dry_run_makes_no_gallery(tmp_path: Path, photos: Path) -> None:
    arguments = ["run", str(photos / "camera.jpg"), "--out", str(tmp_path / "out"), "--gallery", str(tmp_path / "a.html")]
    assert main([*arguments, "--dry-run"]) == 2
    assert list(tmp_path.iterdir()) == []


def done(name: str, preview: Preview | None = None) -> Outcome:
    return Outcome(source=Path(name), destination=Path("out", name), status=Status.DONE, preview=preview)


def test_an_interrupted_run_leaves_the_page_of_what_was_done(tmp_path: Path) -> None:
    def outcomes() -> Any:
        yield done("a.jpg")
        raise KeyboardInterrupt

    gallery = Gallery(tmp_path / "a.html")
    assert _carry_out(outcomes(), Reporter(2, quiet=True), Running(), gallery) == 130
    assert '"name":"' in gallery.path.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_the_gallery_and_not_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gallery = Gallery(tmp_path / "a.html")
    gallery._spool.close()
    gallery._spool = open("/dev/full", "w+b", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
    preview = Preview(size=(2, 3), before=b"picture")
    outcomes = (outcome for outcome in [done("a.jpg", preview), done("b.jpg", preview)])
    assert _carry_out(outcomes, Reporter(2, quiet=True), Running(), gallery) == 1  # type: ignore[arg-type]
    said = capfd.readouterr()
    assert said.out.split() == ["out/a.jpg", "out/b.jpg"]
    assert said.err.count("No space left") == 1
    assert not gallery.path.exists()


def test_a_report_that_cannot_be_written_costs_neither_the_gallery_nor_the_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gallery = Gallery(tmp_path / "a.html")
    outcomes = (outcome for outcome in [done("a.jpg")])
    assert _carry_out(outcomes, Reporter(1, quiet=True), Running(report=tmp_path), gallery) == 1  # type: ignore[arg-type]
    assert capfd.readouterr().err == f"bokeh: {tmp_path}: a folder or a device, not a file\n"
    assert gallery.path.exists()


def test_without_a_temporary_folder_there_is_no_gallery(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    arguments = ["run", str(photos / "camera.jpg"), "--out", str(tmp_path / "out"), "--gallery", str(tmp_path / "a.html")]
    assert main(arguments) == 2
    said = f"bokeh: {tmp_path / 'a.html'}: the pictures for it cannot be kept: No usable temporary directory found\n"
    assert capfd.readouterr().err == said
    assert list(tmp_path.iterdir()) == []


def test_pages_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "folder" / "a.html")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").touch()
    with pytest.raises(WriteError, match="a file, not a folder"):
        gallery.write()
    with pytest.raises(WriteError, match="a file, not a folder"):  # before there is anything to write
        Gallery(tmp_path / "folder" / "a.html")


def test_photos_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "a.html")
    for name in ("b.jpg", "c.jpg", "a.jpg"):
        gallery.add(done(name, Preview(size=(2, 3), before=name.encode())))
    gallery.write()
    blocks = re.findall(r'<script type="text/plain" id="p(\d)">(.*)\n\n\n</script>', gallery.path.read_text())
    assert blocks == [("0", "YS5qcGc="), ("1", "Yi5qcGc="), ("2", "Yy5qcGc=")]  # base64 of a.jpg, b.jpg, c.jpg


def test_the_more_photos_the_smaller_their_pictures() -> None:
    assert preview_px(1) == SIZES_PX[0][1] > preview_px(2000) > preview_px(100_000) == SMALLEST_PX


def test_a_picture_that_cannot_be_made_costs_no_photo(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = cv2.imencode
    no_previews = lambda suffix, pixels, *rest: (max(pixels.shape) > 100, encode(suffix, pixels, *rest)[1])  # noqa: E731
    monkeypatch.setattr(cv2, "imencode", no_previews)
    renderer = open_renderer(RunOptions(preview_px=100))
    outcome = renderer.render_photo(Job(source=photos / "coffee.jpg", destination=tmp_path / "coffee.jpg"))
    assert outcome.status is Status.DONE
    assert outcome.preview is None
    assert outcome.warnings == ("not in the gallery: no small picture of it can be made",)


def photo_of(image: Any, **settings: Any) -> Photo:
    return Photo(name="a", container=Container.TIFF, image=image, **settings)


def opened_picture(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.mark.parametrize("white", [np.uint8(255), np.uint16(65535), np.float32(1)])
def test_small_pictures_are_right_at_every_depth(white: Any) -> None:
    image = np.zeros((40, 60, 3), white.dtype)
    image[:, 30:] = white
    opacity = np.full((40, 60), white)
    opacity[:20] = 0
    small = np.asarray(opened_picture(small_picture(photo_of(image, opacity=opacity))).convert("RGBA"))
    assert small.shape == (40, 60, 4)
    assert small[30, 15].tolist() == [0, 0, 0, 255]
    assert small[30, 45].tolist() == [255, 255, 255, 255]
    assert small[10, 45, 3] == 0


def test_small_pictures_keep_a_small_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = np.full((40, 60, 3), 100, np.uint8)
    for icc, expected in ((profile, profile), (profile + bytes(LARGEST_PROFILE_BYTES), None)):
        for opacity in (None, image[..., 0]):
            picture = opened_picture(small_picture(photo_of(image, opacity=opacity, carried=Carried(icc=icc))))
            assert picture.info.get("icc_profile") == expected

