"""Settings of Sphinx for the site that docs/build.py makes."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import fastbp

project = "fastbp"
author = "the authors of fastbp"
copyright = f"{author}, BSD-3-Clause"
version = release = fastbp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
default_role = "py:obj"  # single backquotes in docstrings: a link where there is such a name, else code

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the docstrings say the types, with shapes
numpydoc_show_class_members = False  # the members follow, whole
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "fastbp"
html_static_path = ["custom.css"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {"index": [], "contributing": [], "changelog": [], "security": [], "digits": []}
html_math_renderer = "mathml"  # browsers show it without a script
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "default",
    "pygments_dark_style": "monokai",
}


def visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math-block">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def escape_initials(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape the initial that a reference begins with: "D. P. Kingma" would be the fourth entry of a list."""
    lines[:] = [re.sub(r"^(\s*(?:\.\. \[\S+\] )?[A-Z])\. ", r"\1\\. ", line) for line in lines]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", escape_initials, priority=900)  # after numpydoc
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
