"Sphinx: the notebooks as they are stored, and the library's reference from its own signatures."
import inspect
import re
from pathlib import Path

import nbformat
from fastcore.docments import docments

import radiogal

ROOT = Path(__file__).parent.parent
PAGES = Path(__file__).parent / "notebooks"  # made here, ignored by git

project, author, release = "radiogal", "The radiogal developers", radiogal.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "results", "readme.ipynb"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"github_url": "https://github.com/radiogal/radiogal", "show_prev_next": True,
                      "navigation_depth": 2}
html_title = "radiogal"
html_show_sourcelink = False
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
suppress_warnings = ["mystnb.unknown_mime_type"]
DIRECTIVE = re.compile(r"^#\|.*\n?", flags=re.MULTILINE)


def copy_notebook(path):
    "A notebook's page: cells marked `#| hide` left out, other nbdev directives removed."
    notebook = nbformat.read(path, 4)
    notebook.cells = [c for c in notebook.cells if not (c.cell_type == "code" and c.source.startswith("#| hide"))]
    for cell in notebook.cells:
        if cell.cell_type == "code": cell.source = DIRECTIVE.sub("", cell.source)
        else: cell.source = cell.source.replace("](../docs/", "](../")  # pages lie in docs/notebooks
    notebook.cells = [c for c in notebook.cells if c.source.strip()]
    nbformat.write(notebook, PAGES / path.name)


def describe_arguments(app, what, name, obj, options, lines):
    "Add the comments beside a signature's arguments, where nbdev keeps their description."
    if what not in ("function", "method", "class"): return
    try: comments = docments(obj, returns=True)
    except (TypeError, ValueError, OSError): return  # not Python source: nothing to add
    described = {k: v for k, v in comments.items() if v and k not in ("self", "return")}
    lines += ["", *(f":param {k}: {v}" for k, v in described.items())]
    if inspect.isfunction(obj) and comments.get("return"): lines += [f":returns: {comments['return']}"]


def setup(app):
    PAGES.mkdir(exist_ok=True)
    for path in PAGES.glob("*.ipynb"): path.unlink()  # of an earlier version
    for path in sorted((ROOT / "nbs").glob("*.ipynb")): copy_notebook(path)
    app.connect("autodoc-process-docstring", describe_arguments)
