"How long functions, classes, cells, modules and notebooks are, what they show, and what they import."
import ast
import json
import re
from collections import Counter
from functools import cache
from itertools import chain
from statistics import median, quantiles

import nbformat
import pytest
from conftest import ROOT

MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)
EXPORT = re.compile(r"#\|[ \t]*exporti?\b[ \t]*(\w*)")
NOTEBOOKS = sorted(path.stem for path in (ROOT/"nbs").glob("[0-9]*.ipynb"))
MODULES = sorted(path.stem for path in (ROOT/"radiogal").glob("[a-z]*.py"))
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for folder in ("tests", "bench", "docs", "workflow")
                 for path in (ROOT/folder).rglob("*.py") if not path.parent.name.startswith("_"))
BOTH = {"main"}  # the function of that name that a program begins with, wherever it is


@cache
def read_cells(name):
    "Source of a notebook's code cells."
    return tuple(MAGIC.sub("", c.source) for c in nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells
                 if c.cell_type == "code")


@cache
def parse(module): return ast.parse((ROOT/"radiogal"/f"{module}.py").read_text())


def measure(kinds):
    "Lines of each definition, by where it is."
    return {f"{module}.{node.name}": node.end_lineno - node.lineno + 1 for module in MODULES
            for node in ast.walk(parse(module)) if isinstance(node, kinds)}


def list_public(module):
    "What `__all__` holds."
    found = [node.value for node in parse(module).body
             if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"]
    return [name for value in found for name in ast.literal_eval(value) if not name.startswith("_")]


def list_defined(module):
    "Functions, classes and constants of a module."
    for node in parse(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef): yield node.name
        targets = []
        if isinstance(node, ast.Assign): targets = node.targets
        if isinstance(node, ast.AnnAssign): targets = [node.target]
        for target in targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and n.id != "__all__")


@cache
def find_home():
    "The notebook of each module."
    home = {}
    for name in NOTEBOOKS:
        for source in read_cells(name):
            if found := re.match(r"#\|\s*default_exp (\w+)", source): home[found[1]] = name
            elif (found := EXPORT.match(source)) and found[1]: home[found[1]] = name
    return home


def list_imports(tree):
    "Modules of radiogal that code imports, also within functions."
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom): continue
        module = (node.module or "").removeprefix("radiogal").strip(".")
        if node.level or (node.module or "").startswith("radiogal"):
            yield from [module.split(".")[0]] if module else [alias.name for alias in node.names]


def test_functions_are_small():
    lengths = sorted(measure(ast.FunctionDef).values())
    assert median(lengths) <= 8
    assert quantiles(lengths, n=10)[8] <= 16
    assert {name: n for name, n in measure(ast.FunctionDef).items() if n > 40} == {}


def test_classes_cells_modules_and_notebooks_are_no_longer_than_agreed():
    assert {name: n for name, n in measure(ast.ClassDef).items() if n > 100} == {}
    assert {m: n for m in MODULES if (n := len((ROOT/"radiogal"/f"{m}.py").read_text().splitlines())) > 700} == {}
    cells = {name: len(nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells) for name in NOTEBOOKS}
    assert len(list((ROOT/"nbs").rglob("*.ipynb"))) <= 50
    assert {name: n for name, n in cells.items() if n > 80} == {}
    assert {name: n for name in NOTEBOOKS if (n := sum(len(s.splitlines()) for s in read_cells(name))) > 900} == {}
    assert [(name, len(s.splitlines())) for name in NOTEBOOKS for s in read_cells(name)
            if len(s.splitlines()) > 60] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_lessons_are_at_most_ten_lines(name):
    cells = [c for c in nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells if c.cell_type == "code"]
    begun = [i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", [])]
    lessons = [c.source.splitlines() for c in cells
               if not re.match(r"#\|", c.source) and "parameters" not in c.metadata.get("tags", [])
               and ("lesson" in c.metadata.get("tags", []) or not begun)]
    long = [(lines[0], len(lines)) for lines in lessons if len(lines) > 10
            and not lines[0].startswith(("import ", "from "))]
    assert long == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_shows_what_others_call(module):
    assert len(list_public(module)) <= 25


def test_no_name_is_defined_twice():
    counts = Counter(chain.from_iterable(sorted(set(list_defined(module))) for module in MODULES))
    assert {name: n for name, n in counts.items() if n > 1 and name not in BOTH} == {}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nothing_is_imported_from_a_higher_number(name):
    if name == "00_tour": pytest.skip("the tour shows what all others export")
    home = find_home()
    imported = {m for source in read_cells(name) for m in list_imports(ast.parse(source)) if m in home}
    assert {m for m in imported if home[m] > name} == set()


def test_every_module_is_exported_by_a_notebook_and_the_tour_exports_nothing():
    assert set(MODULES) == set(find_home())
    assert not any(EXPORT.match(source) for source in read_cells("00_tour"))


def test_no_line_is_wider_than_120_columns():
    code = {name: [line for source in read_cells(name) for line in source.splitlines()] for name in NOTEBOOKS}
    code |= {path: (ROOT/path).read_text().splitlines() for path in [*SCRIPTS, "workflow/Snakefile"]}
    assert {name: wide for name, lines in code.items() if (wide := [line for line in lines if len(line) > 120])} == {}


def test_the_tour_is_short_and_light():
    path = ROOT/"nbs"/"00_tour.ipynb"
    assert len(nbformat.read(path, 4).cells) <= 25 and path.stat().st_size <= 1.5e6


def list_headings(name):
    "Levels of a notebook's headings, in order."
    prose = (c.source for c in nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells if c.cell_type == "markdown")
    plain = "\n".join(re.sub(r"```.*?```", "", text, flags=re.DOTALL) for text in prose)
    return [len(marks) for marks in re.findall(r"^(#+) ", plain, re.MULTILINE)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_headings_are_an_outline(name):
    levels = list_headings(name)
    assert levels[0] == 1 and levels.count(1) == 1 and len(levels) > 1
    assert [pair for pair in zip(levels, levels[1:], strict=False) if pair[1] > pair[0] + 1] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_no_wall_of_log_lines(name):
    cells = [c for c in nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells if c.cell_type == "code"]
    said = [(c.source[:60], o) for c in cells for o in c.outputs if o.output_type == "stream"]
    assert [(where, o.text) for where, o in said if len(o.text.splitlines()) > 24] == []  # a command's help
    assert [(where, o.text) for where, o in said if o.name == "stderr" and not where.startswith("#| hide")] == []


def test_bars_are_seen_after_five_seconds():
    delays = [re.findall(r"delay=(\d+)", (ROOT/"radiogal"/f"{module}.py").read_text()) for module in MODULES]
    assert max(int(delay) for found in delays for delay in found) <= 5


def test_no_stored_output_claims_a_bare_nan():
    claims = {}
    for name in NOTEBOOKS:
        for cell in json.loads((ROOT/"nbs"/f"{name}.ipynb").read_text())["cells"]:
            for output in cell.get("outputs", []):
                said = "".join(output.get("data", {}).get("text/plain", [])).strip()
                if re.fullmatch(r"[\[({]*(nan[,\s)\]}]*)+", said): claims[name, "".join(cell["source"])[:60]] = said
    assert claims == {}
