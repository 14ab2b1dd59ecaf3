"Sphinx: the notebooks as they are stored, and the library's reference from its own signatures."
import inspect
import sys
from pathlib import Path

from docutils.nodes import SkipNode, image
from docutils.utils.math.latex2mathml import tex2mathml
from fastcore.docments import docments

import radiogal

sys.path.insert(0, str(Path(__file__).parent))
from made import WORDS, make_pages

project, author, release = "radiogal", "The radiogal developers", radiogal.__version__
project_copyright = "2026 onwards, The radiogal developers"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "results", "readme.ipynb"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"github_url": "https://github.com/radiogal/radiogal", "navigation_depth": 3,
                      "header_links_before_dropdown": 7, "show_toc_level": 2, "search_bar_text": "Search these pages",
                      "footer_start": ["copyright"], "footer_end": []}
# Pages that are alone in their section
html_sidebars = {page: [] for page in ("index", "numbers", "gallery/index", "faq", "search", "genindex")}
html_static_path, html_css_files = ["_static"], ["site.css"]
html_title = "radiogal"
html_show_sourcelink = False
html_math_renderer = "mathml"
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # would be fetched from another server
nb_mime_priority_overrides = [("html", "text/latex", None)]  # Quantities are shown as text
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "dollarmath"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
suppress_warnings = ["mystnb.unknown_mime_type"]


def describe_arguments(app, what, name, obj, options, lines):
    "Add the comments beside a signature's arguments, where nbdev keeps their description."
    if what not in ("function", "method", "class"): return
    try: comments = docments(obj, returns=True)
    except (TypeError, ValueError, OSError): return  # not Python source: nothing to add
    described = {k: v for k, v in comments.items() if v and k not in ("self", "return")}
    lines += ["", *(f":param {k}: {v}" for k, v in described.items())]
    if inspect.isfunction(obj) and comments.get("return"): lines += [f":returns: {comments['return']}"]


def describe_pictures(app, doctree):
    "Give a notebook's pictures their alternative texts, and let all pictures be read when they are seen."
    name = Path(app.env.docname).stem
    pictures = [node for node in doctree.findall(image) if name in WORDS and "jupyter_execute" in node["uri"]]
    for node, words in zip(pictures, WORDS.get(name, []), strict=True): node["alt"] = words
    for node in doctree.findall(image): node["loading"] = "lazy"  # notebooks have dozens, most far below


def add_formula(translator, node, as_block):
    "MathML, which browsers draw themselves: no script, no other server."
    translator.body.append(tex2mathml(node.astext(), as_block=as_block))
    raise SkipNode


def setup(app):
    make_pages()
    app.connect("doctree-read", describe_pictures)
    app.connect("autodoc-process-docstring", describe_arguments)
    app.add_html_math_renderer("mathml", (lambda t, node: add_formula(t, node, False), None),
                               (lambda t, node: add_formula(t, node, True), None))
