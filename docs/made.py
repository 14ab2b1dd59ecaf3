"Pages that are made before Sphinx reads any: stored notebooks, a page for each module, models' cards, a gallery."
import ast
import base64
import io
import re
import shutil
from functools import cache
from pathlib import Path

import nbformat
from click.testing import CliRunner
from PIL import Image

from radiogal import cli

DOCS = Path(__file__).parent
ROOT = DOCS.parent
MADE = [DOCS/name for name in ("notebooks", "modules", "commands", "cards", "gallery")]  # ignored by git
DIRECTIVE = re.compile(r"^#\|.*\n?", flags=re.MULTILINE)
DRAWS = re.compile(r"\b(_?(?:plot|draw|show)_\w+)\(")
SAID = re.compile(r"^#\|\s*fig-alt: (.+)$", flags=re.MULTILINE)  # What a cell itself says that its pictures show
THUMBNAIL = 480, 360  # px, twice what is shown
WORDS = {}  # Alternative texts of a notebook's pictures, in order


@cache
def read_drawings():
    "First line of the docstring of each function that draws, by its name: what its picture shows. No methods."
    found = {}
    for path in sorted((ROOT/"radiogal").glob("[a-z]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and DRAWS.match(f"{node.name}("):
                found[node.name] = re.split(r"; (?:raises|a Figure)", ast.get_docstring(node) or "")[0].split("\n")[0]
    return found


def find_drawing(source):
    "The function that draws a cell's picture, the last one that is called; empty where the cell itself draws."
    called = [name for name in DRAWS.findall(source) if read_drawings().get(name)]
    return called[-1] if called else ""


def first_sentence(text):
    "The first sentence of Markdown, without its marks."
    plain = re.sub(r"!?\[([^]]*)\]\([^)]*\)|[*_`$#>]", r"\1", text.strip().split("\n\n")[-1])
    return re.split(r"(?<=[.!?]) ", " ".join(plain.split()))[0]


def list_pictures(cell):
    "Pictures that a cell puts out, each with the caption below it, which may be empty."
    outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
    captions = [*(data.get("text/markdown", "") for data in outputs[1:]), ""]
    pairs = zip(outputs, captions, strict=False)
    return [(data["image/png"], caption) for data, caption in pairs if "image/png" in data]


def describe_picture(source, caption, prose):
    "Alternative text: the caption, or what the drawing function says of itself, or what is said above the cell."
    if caption.startswith("**Figure"): return re.sub(r"[*`]", "", caption)
    return read_drawings().get(find_drawing(source)) or first_sentence(prose) or "What the cell above draws"


def describe_pictures(cell, prose):
    "Alternative texts of a cell's pictures: what it says itself, divided by |, or as `describe_picture`."
    pictures, said = list_pictures(cell), " ".join(SAID.findall(cell.source))
    if not said: return [describe_picture(cell.source, caption, prose) for _, caption in pictures]
    words = said.split(" | ")
    assert len(words) == len(pictures), f"{len(words)} alternative texts for {len(pictures)} pictures: {said}"
    return words


def is_shown(cell): return cell.source.strip() and not (cell.cell_type == "code" and cell.source.startswith("#| hide"))


def dress_cells(name, cells):
    "Cells as a page shows them: without nbdev's directives; what draws has an anchor and its alternative text."
    prose, n = "", 0
    for cell in filter(is_shown, cells):
        if cell.cell_type == "code":
            words, cell.source = describe_pictures(cell, prose), DIRECTIVE.sub("", cell.source)
            if words:
                n += 1
                WORDS.setdefault(name, []).extend(words)
                yield nbformat.v4.new_markdown_cell(f"({name}-picture-{n})=")
        else:
            prose = cell.source
            cell.source = cell.source.replace("](../docs/", "](../")  # pages lie in docs/notebooks
        if cell.source.strip(): yield cell


def copy_notebook(path):
    WORDS.pop(path.stem, None)
    notebook = nbformat.read(path, 4)
    notebook.cells = list(dress_cells(path.stem, notebook.cells))
    nbformat.write(notebook, DOCS/"notebooks"/path.name)
    return notebook


def find_module(cells):
    "The module that a notebook exports; empty where it exports none."
    found = [re.match(r"#\|\s*default_exp (\w+)", c.source) for c in cells]
    return next((match[1] for match in found if match), "")


def write_module(module, title, notebook):
    "A module's page in the reference: its functions with their arguments, and where they are shown at work; its row."
    (DOCS/"modules"/f"{module}.md").write_text(
        f"# radiogal.{module}\n\nShown at work in [{title}](../notebooks/{notebook}.ipynb).\n\n"
        f"```{{eval-rst}}\n.. automodule:: radiogal.{module}\n   :members:\n```\n")
    said = ast.get_docstring(ast.parse((ROOT/"radiogal"/f"{module}.py").read_text())).split("\n")[0]
    return f"| [radiogal.{module}]({module}.md) | {said} |"


def write_modules(notebooks):
    "A page for each module, and one of all."
    exported = {name: find_module(nbformat.read(ROOT/"nbs"/f"{name}.ipynb", 4).cells) for name in notebooks}
    rows = [write_module(module, find_title(notebooks[name]), name) for name, module in exported.items() if module]
    (DOCS/"modules"/"index.md").write_text("\n".join([
        "# Modules", "", "In the order in which they import each other.", "",
        "| module | what it is for |", "|:--|:--|", *rows, "",
        "```{toctree}", ":hidden:", "", *filter(None, exported.values()), "```", ""]))


def write_commands():
    "The help of each command, as a terminal shows it."
    parts = ["# Commands", "In a clone the command is `.venv/bin/radiogal`."]
    for name in ("", *cli.commands.commands):
        said = CliRunner().invoke(cli.commands, [*name.split(), "--help"], prog_name="radiogal",
                                  terminal_width=80).output
        parts += [f"## radiogal {name}".rstrip(), f"```text\n{said}```"]
    (DOCS/"commands"/"index.md").write_text("\n\n".join(parts) + "\n")


def copy_card(path):
    "A model's card, which ends in a line without an end; its row."
    card = path.read_text().rstrip()
    (DOCS/"cards"/path.name).write_text(f"{card}\n")
    said = card.split("\n\n")[1].split(". ")[0]
    return f"| [{path.stem}]({path.name}) | {said} |"


def write_cards():
    "A page for each model of the package, and one of all."
    paths = sorted((ROOT/"radiogal"/"networks").glob("*.md"))
    (DOCS/"cards"/"index.md").write_text("\n".join([
        "# Models", "", "Trained networks that come with the package: data, scores, and where they fail.", "",
        "| model | what it tells apart |", "|:--|:--|", *map(copy_card, paths), "",
        "```{toctree}", ":hidden:", "", *(path.stem for path in paths), "```", ""]))


def shrink(picture, path):
    "A picture in small, written to a file."
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.thumbnail(THUMBNAIL)
    image.save(path)


def choose_pictures(cells, shown):
    "Of a page's pictures those whose function has none in the gallery yet: number, function, picture."
    for n, cell in enumerate(filter(list_pictures, cells), 1):
        function = find_drawing(cell.source)
        if function and function not in shown and len(list_pictures(cell)) == 1:
            shown.add(function)
            yield n, function, list_pictures(cell)[0][0]


def write_gallery(notebooks):
    "A page of one picture per function that draws, each a link to the code below which it stands in its notebook."
    shown, lines = set(), [(DOCS/"gallery.txt").read_text()]
    for name, notebook in notebooks.items():
        chosen = list(choose_pictures(notebook.cells, shown))
        if chosen: lines += [f"## {find_title(notebook)}", "{.gallery}"]
        for n, function, picture in chosen:
            words = read_drawings()[function]
            shrink(picture, DOCS/"gallery"/f"{name}-{n}.png")
            lines.append(f"* [![{words}]({name}-{n}.png)](#{name}-picture-{n}) `{function}`: {words}")
    (DOCS/"gallery"/"index.md").write_text("\n".join(lines) + "\n")


def find_title(notebook): return notebook.cells[0].source.split("\n")[0].removeprefix("# ")


def make_pages():
    for folder in MADE:
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier version
        folder.mkdir()
    notebooks = {path.stem: copy_notebook(path) for path in sorted((ROOT/"nbs").glob("*.ipynb"))}
    write_modules(notebooks)
    write_commands()
    write_cards()
    write_gallery(notebooks)
