"""The report's page, read and held against what holds for every page."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from dual_core.cli.main import main

VOID = {"img", "meta", "br", "input", "link"}
HOSTILE = "<script>alert(1)</script>&\"'"
WARNING = f"the denoiser's output is nearly constant {HOSTILE}"


class Page(HTMLParser):
    """Walks a page and keeps what the tests ask for; wrong nesting fails."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.tags, self.images, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"an attribute of <{tag}> stands twice"
        self.tags.append((tag, values))
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def attributes(self, name):
        return [values[name] for _, values in self.tags if name in values]


def read_page(path):
    """Parse a page and hold it against what holds for every page."""
    text = Path(path).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("title") == names.count("h1") == names.count("main") == 1
    assert dict(page.tags)["html"]["lang"] == "en"
    assert any(v.get("name") == "viewport" for tag, v in page.tags if tag == "meta")
    # Nothing is fetched: pictures are inside, scripts and styles too.
    outside = [s for s in page.attributes("src") if not s.startswith("data:image/png;base64,")]
    assert not outside
    assert all(h.startswith(("#", "data:")) for h in page.attributes("href"))
    assert not re.search(r"https?://|url\(|@import", text)
    assert all(v["alt"].strip() for v in page.images)
    anchors = page.attributes("id")
    assert len(anchors) == len(set(anchors))
    assert {h[1:] for h in page.attributes("href") if h.startswith("#")} <= set(anchors)
    for values in page.images:
        png = base64.b64decode(values["src"].partition(",")[2])
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (int(values["width"]), int(values["height"]))
    return page


def report(*arguments):
    return main(["report", *map(str, arguments), "--device", "cpu", "--precision", "float32"])
