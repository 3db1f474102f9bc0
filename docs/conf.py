"""The site: Sphinx over the Markdown of this folder, which reads well on a code host as it is.

What only the site needs (lists of pages, references from docstrings) stands in comments of the
Markdown, between ``<!-- site`` and ``-->``; `_for_the_site` uncovers it. ``make docs`` builds.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, List

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dual_core import __version__  # noqa: E402

project = "DUAL"
author = copyright = "the scipion-em-dual developers, GPL-3.0-or-later"
version = release = __version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # names between single backticks in docstrings
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# The engine's heavy packages are not needed to read its docstrings.
autodoc_mock_imports = [
    "torch", "safetensors", "skimage", "matplotlib", "mrcfile", "PIL", "tqdm", "gemmi", "SimpleITK",
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Result"]  # a "Returns" that is prose
html_theme = "furo"
html_title = f"DUAL {__version__}"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]

_SITE = re.compile(r"<!-- site\n(.*?)-->", re.DOTALL)
_ENTRY = re.compile(r"^( *)([A-Za-z_][\w, .*]*) : (.*)$")
_TYPE = re.compile(
    r"^(an? )?(float|int|str|bool|path|(numpy\.)?ndarray|tuple|dict|list|callable|sequence|mapping|"
    r"iterable|pathlib|volume|[A-Z]\w+)\b[^.;:]{0,60}$|^\{"
)


def _for_the_site(app: Any, name: str, source: List[str]) -> None:
    """Uncover what is for the site alone; the page `start` is the README."""
    if name == "start":
        readme = (HERE.parent / "README.rst").read_text(encoding="utf-8")
        readme = re.sub(r"<docs/([\w-]+)\.md>", r"<\1.html>", readme)
        source[0] = readme.replace("docs/images/", "images/")
    else:
        text = _SITE.sub(r"\1", source[0])
        source[0] = re.sub(r"\]\(\.\./README\.rst", "](start.rst", text)


def _descriptions(app: Any, what: str, name: str, obj: Any, options: Any, lines: List[str]) -> None:
    """Turn ``name : description`` into a name and a description, unless it names a type.

    numpydoc takes what stands behind the colon for a type; in these docstrings it often is all that
    is said.
    """
    told: List[str] = []
    for number, line in enumerate(lines):
        entry = _ENTRY.match(line)
        if entry and not entry.group(1) and not _TYPE.match(entry.group(3)):
            told += [entry.group(2), "    " + entry.group(3)]
        elif line == "-------" and told[-1] == "Returns" and _is_sentence(lines[number + 1]):
            told[-1:] = ["Result", "------"]
        else:
            told.append(line)
    lines[:] = told


def _is_sentence(line: str) -> bool:
    return len(line.split()) > 4 and not _TYPE.match(line)


def setup(app: Any) -> None:
    """Connect the two."""
    app.connect("source-read", _for_the_site)
    app.connect("env-get-outdated", lambda *arguments: ["start"])
    app.connect("autodoc-process-docstring", _descriptions, priority=100)
