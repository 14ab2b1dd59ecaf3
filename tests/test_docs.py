"The site and README: blocks of code run, links lead somewhere, pictures have words, and no word is misspelt."
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from blocks import read_blocks
from click import Context
from conftest import ROOT
from playwright.sync_api import expect, sync_playwright

from radiogal.archives import serve_archives
from radiogal.cli import commands
from radiogal.config import RunConfig, read_config
from radiogal.sky import ArtificialSky, draw_population

DOCS = ROOT/"docs"
MADE = {"notebooks", "modules", "commands", "cards", "gallery", "results"}  # not written by hand
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in MADE)
# README is rendered from a notebook, so what its blocks are not run for is said here
README = {"git clone https://github.com/radiogal/radiogal && cd radiogal": "it fetches the project; other tests run it",
          ".venv/bin/radiogal classify mine.csv --survey FIRST --out mine --workers 2": "it asks the real archive",
          "make run-all RUN=real": "minutes; tests make the smoke run, and tests/test_real_data.py reads its files",
          "make lab": "it opens a browser; tests/test_browser.py does",
          "from radiogal.curation import open_gallery": "of the demo's run; the tutorial opens that of a shorter one",
          "make test": "it would run this test"}
BLOCKS = {path.relative_to(ROOT).as_posix(): read_blocks(path, README if path.name == "README.md" else None)
          for path in (ROOT/"README.md", *PAGES)}
ALL = [(page, block) for page, blocks in BLOCKS.items() for block in blocks]
LANGUAGES = {"sh", "bash", "python", "toml"}
RUNNABLE = {page: [b for b in blocks if not b.reason and b.language != "toml"] for page, blocks in BLOCKS.items()}


def test_blocks_that_are_not_run_say_why_and_are_few():
    assert {block.language for _, block in ALL} <= LANGUAGES
    assert len(ALL) >= 50
    assert sum(bool(block.reason) for _, block in ALL) <= 22


def test_marks_before_a_block_are_read(tmp_path):
    fence = "```"
    page = tmp_path/"page.md"
    page.write_text(f"<!-- not run: weeks -->\n{fence}sh\na\n{fence}\n\n<!-- exit code 3 -->\n{fence}sh\nb\n{fence}\n\n"
                    f"{fence}python\nc\n{fence}\n{fence}{{toctree}}\nd\n{fence}\n{fence}sh\nmake lab  # e\n{fence}\n")
    found = [(block.language, block.code, block.reason, block.status) for block in read_blocks(page, {"make lab": "f"})]
    assert found == [("sh", "a\n", "weeks", 0), ("sh", "b\n", "", 3), ("python", "c\n", "", 0),
                     ("sh", "make lab  # e\n", "f", 0)]


def list_lines(code):
    "Commands of a block in words, without comments and what a here-document holds."
    code = re.sub(r"<<END\n.*?^END$", "", code, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).split() for line in re.split(r"[\n;|]|&&|>", code)]


def check_make(words):
    "A target of the Makefile, and runs that there are."
    assert re.search(rf"^{words[1]}:", (ROOT/"Makefile").read_text(), re.MULTILINE), words
    for run in (word.removeprefix("RUN=") for word in words if word.startswith("RUN=")):
        assert run in ("ours", "yours") or (ROOT/"config"/f"{run}.toml").is_file(), words


def check_radiogal(words):
    "A command that there is, with options that it has."
    command = commands.commands[words[1]]
    known = {option for p in command.params for option in p.opts} | set(Context(command).help_option_names)
    assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", BLOCKS)
def test_blocks_name_targets_commands_options_and_settings_that_exist(page):
    for block in BLOCKS[page]:
        if block.language == "python": compile(block.code, page, "exec")
        elif block.language == "toml": check_settings(tomllib.loads(block.code))
        else:
            subprocess.run(["bash", "-n", "-c", block.code], check=True)
            for words in filter(None, list_lines(block.code)):
                if words[0] == "make": check_make(words)
                if words[0].endswith("radiogal") and len(words) > 1: check_radiogal(words)


def check_settings(said):
    "Sections of a run have keys that they know; others are of another file."
    for section, keys in said.items():
        if section in RunConfig.model_fields:
            assert set(keys) <= set(RunConfig.model_fields[section].annotation.model_fields), section


@pytest.fixture
def clone(smoke_run, tmp_path):
    "What a reader has before the first block: a clone in which the smoke run is finished, with its environment."
    folder = shutil.copytree(smoke_run, tmp_path/"clone", symlinks=True)
    for name in ("Makefile", "setup.py", "requirements.lock", "requirements-gpu.lock", "pyproject.toml"):
        shutil.copy(ROOT/name, folder/name)
    for name in ("docs", "tests"): (folder/name).symlink_to(ROOT/name)
    bin_folder = folder/".venv"/"bin"
    bin_folder.mkdir(parents=True)
    main = "-c 'import sys; from radiogal.cli import main; sys.exit(main())'"
    for name, what in (("python", ""), ("radiogal", main)):
        (bin_folder/name).write_text(f'#!/bin/sh\nexec {sys.executable} {what} "$@"\n')
        (bin_folder/name).chmod(0o755)
    (folder/".venv"/".made").touch()
    return folder


@pytest.fixture(scope="module")
def loopback():
    "Addresses of archives on this machine, as JSON."
    config = read_config(ROOT/"config"/"smoke.toml")
    sky = ArtificialSky(draw_population(config.sky, config.classes, config.surveys), config.sky)
    with serve_archives(sky) as services: yield json.dumps(asdict(replace(services, images=None)))


# Seconds each; pages that train, or go through a whole run, are for `make test-long`
QUICK = {"README.md", "docs/index.md", "docs/tutorials/classify.md", "docs/tutorials/add_survey.md"}


def mark_page(page):
    "A page as an argument of the test of its blocks."
    return pytest.param(page, marks=() if page in QUICK or page.startswith("docs/how/") else pytest.mark.long)


@pytest.mark.full
@pytest.mark.parametrize("page", [mark_page(page) for page, blocks in RUNNABLE.items() if blocks])
def test_blocks_of_a_page_run_in_order_without_a_network(page, clone, loopback):
    (clone/"blocks.json").write_text(json.dumps([asdict(block) for block in RUNNABLE[page]]))
    env = {k: v for k, v in os.environ.items() if k != "RADIOGAL_MIRROR"}
    env |= dict(PYTHONPATH=str(clone), LOOPBACK=loopback, https_proxy="http://127.0.0.1:9", MPLBACKEND="agg")
    done = subprocess.run([sys.executable, ROOT/"tests"/"blocks.py", "blocks.json"], cwd=clone, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:]


FEW = 20  # Letters of an alternative text that says nothing


class Page(HTMLParser):
    "What a page of the site refers to, its anchors, and its pictures without words."
    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loaded, self.silent, self.eager = [], set(), [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.anchors |= {said.get("id"), said.get("name") if tag == "a" else None}
        if tag == "a" and "href" in said: self.links.append(said["href"])
        if tag in ("script", "img", "iframe") and said.get("src"): self.loaded.append(said["src"])
        if tag == "link" and said.get("rel") in ("stylesheet", "icon", "preload"): self.loaded.append(said["href"])
        few = 1 if "_static/" in said.get("src", "") else FEW  # signs of Sphinx's own
        if tag == "img" and len((said.get("alt") or "").strip()) < few: self.silent.append(said["src"][:80])
        if tag == "img" and "_images/" in said["src"] and said.get("loading") != "lazy": self.eager.append(said["src"])


def build_site(folder):
    "The site, below a folder: warnings are errors."
    env = os.environ | dict(https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d",
                           folder/"doctrees", DOCS, folder/"html"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder/"html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The site's pages by their path: those that `make docs` built where `RADIOGAL_SITE` says so, or new ones."
    built = os.environ.get("RADIOGAL_SITE")
    folder = ROOT/built if built else build_site(tmp_path_factory.mktemp("site"))
    return {path.resolve(): Page(path) for path in folder.rglob("*.html") if "_static" not in path.parts}


def follow(path, link):
    "The file and the anchor that a link of a page leads to."
    to = urlsplit(link)
    return (path.parent/unquote(to.path)).resolve() if to.path else path, unquote(to.fragment)


def is_broken(site, path, link):
    "Does a link lead to no file, or to no such place in it?"
    if urlsplit(link).scheme in ("http", "https", "mailto", "data", "javascript"): return False
    target, anchor = follow(path, link)
    if not target.exists(): return True
    return bool(anchor) and target in site and anchor not in site[target].anchors


@pytest.mark.full
def test_every_link_within_the_site_leads_somewhere(site):
    broken = {(path.name, link) for path, page in site.items() for link in page.links + page.loaded
              if is_broken(site, path, link)}
    assert len(site) > 80 and broken == set()


@pytest.mark.full
def test_every_module_and_model_has_a_page(site):
    pages = {path.stem for path in site if path.parent.name in ("modules", "cards")}
    assert {path.stem for path in (ROOT/"radiogal").glob("[a-z]*.py")} <= pages
    assert {path.stem for path in (ROOT/"radiogal"/"networks").glob("*.md")} <= pages


@pytest.mark.full
def test_pages_need_no_other_server_and_every_picture_has_words(site):
    assert {(path.name, src) for path, page in site.items() for src in page.loaded if urlsplit(src).netloc} == set()
    assert {(path.name, src) for path, page in site.items() for src in page.silent} == set()


@pytest.mark.full
def test_pages_are_small_enough_to_open_at_once(site):
    assert {path.name: page.eager for path, page in site.items() if page.eager} == {}
    assert {path.name: size for path in site if (size := path.stat().st_size) > 600_000} == {}


@pytest.mark.full
def test_the_gallery_leads_to_code(site):
    (gallery,) = (path for path in site if path.parts[-2:] == ("gallery", "index.html"))
    leads = [follow(gallery, link) for link in site[gallery].links if "-picture-" in link]
    assert len(leads) > 30 and all(path.parent.name == "notebooks" for path, _ in leads)


@pytest.fixture(scope="module")
def tab():
    "A page of a headless Chromium."
    if not shutil.which("chromium"): pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.full
def test_search_finds_a_page_from_the_disk(site, tab):
    (page,) = (path for path in site if path.name == "search.html")
    tab.goto(f"{page.as_uri()}?q=DS9+region")
    expect(tab.locator("#search-results li").first).to_contain_text("Give positions", timeout=300_000)


@pytest.mark.full
@pytest.mark.parametrize("name", ["index", "browser", "gallery/index", "notebooks/26_diagnosis", "modules/training"])
def test_a_page_loads_little_and_only_from_the_disk(site, tab, name, record_property):
    (page,) = (path for path in site if path.as_posix().endswith(f"html/{name}.html"))
    asked, hear = [], lambda request: asked.append(request.url)
    tab.on("request", hear)
    tab.goto(page.as_uri(), wait_until="load")
    tab.remove_listener("request", hear)
    loaded = {urlsplit(url).path for url in asked if not url.startswith("data:")}
    assert [url for url in asked if urlsplit(url).scheme not in ("file", "data")] == []
    assert page.as_posix() in loaded and sum(os.stat(unquote(path)).st_size for path in loaded) < 3e6
    record_property("load_ms", tab.evaluate("performance.getEntriesByType('navigation')[0].duration"))


@pytest.mark.full
def test_search_knows_what_users_ask_for(site):
    (index,) = (path.parent/"searchindex.js" for path in site if path.name == "search.html")
    found = json.loads(re.search(r"Search\.setIndex\((.*)\)", index.read_text(), re.DOTALL)[1])
    wanted = {"ds9": "how/positions", "skyview": "faq", "b1950": "faq", "calibrat": "why/calibration"}
    for word, page in wanted.items():
        documents = [found[kind].get(word, []) for kind in ("terms", "titleterms")]
        assert found["docnames"].index(page) in sum(([d] if isinstance(d, int) else d for d in documents), []), word


# Code, addresses and formulas
NO_PROSE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|https?://\S+|\$[^$\n]+\$", re.DOTALL)
WORD = re.compile(r"(?<![\w.@/\\-])[A-Za-z][a-z]{2,}(?![\w@/]|\.\w)")  # neither a path nor a part of a name in code


def read_prose(path):
    "Text of a page or of a notebook's prose."
    if path.suffix == ".md": return path.read_text()
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def list_words():
    "Words of the project's prose, in small letters, with a file that has each."
    paths = (*sorted((ROOT/"nbs").glob("*.ipynb")), *PAGES, ROOT/"CHANGELOG.md", ROOT/"README.md")
    return {word.lower(): path.name for path in paths if path.name != "licences.md"  # which is names of packages
            for word in WORD.findall(NO_PROSE.sub("\n", read_prose(path)))}


def test_no_word_is_misspelt():
    spellchecker = pytest.importorskip("spellchecker", reason="pyspellchecker is not installed: make env")
    own, words = set((DOCS/"words.txt").read_text().split()), list_words()
    unknown = spellchecker.SpellChecker().unknown(set(words) - own)
    assert {word: words[word] for word in unknown} == {}, "if a word is right, add it to docs/words.txt"
