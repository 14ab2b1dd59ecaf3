"Comments beside arguments, which become docstrings of the installed package."
import ast
from functools import cache

import pytest
from conftest import ROOT

from radiogal.docstrings import write_docstrings

MODULES = sorted(path.stem for path in (ROOT/"radiogal").glob("[a-z]*.py"))


@cache
def read(module): return (ROOT/"radiogal"/f"{module}.py").read_text()


def drop_docstrings(source):
    "The tree of a module without docstrings, as text."
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node): node.body[0].value.value = ""
    return ast.dump(tree)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_but_docstrings_changes_and_they_name_every_argument(module):
    written = write_docstrings(read(module))
    assert drop_docstrings(written) == drop_docstrings(read(module))
    for node in ast.walk(ast.parse(written)):
        if not isinstance(node, ast.FunctionDef) or not (said := ast.get_docstring(node)) or "\n" not in said: continue
        given = [arg.arg for arg in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
        lost = [name for name in given if name not in ("self", "cls") and f"\n{name}" not in said]
        assert lost == [], node.name


@pytest.mark.parametrize("code, told", [
    ('def f(a, # What\n      b=1, # More\n)->int: # Sum\n    "Adds."\n    return a+b\n',
     "Adds.\n\nParameters\n----------\na\n    What\nb : default 1\n    More\n\nReturns\n-------\nint\n    Sum\n"),
    ('def f(a: str)->int: # a: a number\n    "Reads."\n', "Reads.\n\nParameters\n----------\na : str\n    a number\n"),
    ('def f(a, b): # a: one; more; b: two; c: no argument\n    "Takes."\n',
     "Takes.\n\nParameters\n----------\na\n    one; more\nb\n    two; c: no argument\n"),
    ('def f(a)->int: # Pixels; a: one\n    "Reads."\n',
     "Reads.\n\nParameters\n----------\na\n    one\n\nReturns\n-------\nint\n    Pixels\n"),
    ('def f(a: str)->int: # Pixels\n    "Reads."\n',
     "Reads.\n\nParameters\n----------\na : str\n\nReturns\n-------\nint\n    Pixels\n"),
    ('def f(*a, b: int, **c):\n    "Takes."\n', "Takes.\n\nParameters\n----------\n*a\nb : int\n**c\n"),
    ('class C:\n    "Holds."\n    a: int = 1 # One\n    _b: int = 2\n',
     "Holds.\n\nAttributes\n----------\na : int\n    One\n"),
    ('def f(\n    a: str, # A \\ and """\n):\n    r"Has \\ too."\n',
     'Has \\ too.\n\nParameters\n----------\na : str\n    A \\ and """\n'),
    ('def f():\n    "Nothing."\n', "Nothing."), ("def f(a): return a # What\n", None)])
def test_comments_become_sections(code, told):
    node = ast.parse(write_docstrings(code)).body[0]
    assert (ast.get_docstring(node) or "").strip() == (told or "").strip()
