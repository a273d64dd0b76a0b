"""A gallery of many photos, opened in Chromium: how large the page is, and how soon it can be used.

    python -m tests.bench.gallery PHOTO... [--count 2000]

The photos are rendered once each, and shown again and again under other names. Needs chromium and chromedriver
(Debian: apt-get install chromium chromium-driver) and, from PyPI, selenium.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from bokehcli.discover import Job
from bokehcli.gallery import Gallery, preview_px
from bokehcli.options import RunOptions
from bokehcli.pipeline import open_renderer
from tests.bench.machine import machine
from tests.browser import opened

# Asked of the cards, not of what is in them: to say where that is, a browser would lay out all that it has not looked at yet.
SEEN = """
const cards = [...document.querySelectorAll("#photos > li")].filter((card) => {
  const box = card.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
});
return cards.length > 0 && cards.every((card) => {
  const picture = card.querySelector(".before");
  return picture.complete && picture.naturalWidth > 0;
});
"""


def main() -> None:
    """Make the page, open it, scroll it, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        make(page, asked.photos, asked.count)
        print(f"{asked.count} photos: {page.stat().st_size / 1e6:.0f} MB")
        with opened() as browser:
            began_s = time.perf_counter()
            browser.set_page_load_timeout(300)
            browser.get(page.as_uri())
            while not browser.execute_script(SEEN):
                time.sleep(0.01)
            print(f"first screen with its pictures after {time.perf_counter() - began_s:.2f} s")
            while browser.execute_script("return document.readyState") != "complete":
                time.sleep(0.01)
            print(f"all of it read after {time.perf_counter() - began_s:.2f} s")
            began_s = time.perf_counter()
            browser.execute_script("scrollTo(0, document.body.scrollHeight)")
            while not browser.execute_script(SEEN):
                time.sleep(0.01)
            print(f"at the end, with its pictures, after {time.perf_counter() - began_s:.2f} s more")


def make(page: Path, photos: list[Path], count: int) -> None:
    """A gallery of that many photos."""
    renderer = open_renderer(RunOptions(preview_px=preview_px(count)))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [renderer.render_photo(Job(source=photo, destination=Path(folder, photo.name))) for photo in photos]
        gallery = Gallery(page)
        for number, outcome in enumerate(islice(cycle(outcomes), count)):
            assert outcome.preview is not None, outcome.error
            assert outcome.destination is not None
            gallery.add(replace(outcome, destination=outcome.destination.with_name(f"{number:05} {outcome.destination.name}")))
        gallery.write()


if __name__ == "__main__":
    main()
