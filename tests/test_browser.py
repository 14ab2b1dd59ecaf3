"Gallery and browser of sources as one sees them: JupyterLab, a headless Chromium, keys. A minute; skipped without."
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from conftest import LAB_OPTIONS, ROOT, copy_project, find_lab
from playwright.sync_api import expect, sync_playwright

from radiogal.config import read_config
from radiogal.curation import _curate_cutouts, _drop_undone, _read_lines
from radiogal.cutouts import read_cutout
from radiogal.fetch import select_files, url_to_path
from radiogal.positions import write_table
from radiogal.sky import draw_population, observe_classes, write_image

CHROMIUM = shutil.which("chromium")
DECISIONS = "data/decisions/smoke.csv"
pytestmark = [pytest.mark.full,
              pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: on Debian, apt-get install chromium")]
PATIENCE_MS = 300_000
expect.set_options(timeout=PATIENCE_MS)  # playwright's own is five seconds, which a busy machine takes for a picture
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when the one that started it is gone, however it went


def die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@pytest.fixture
def project(tmp_path):
    "A copy of the project with decisions in its settings, simulated cutouts as the run leaves them, and a notebook."
    folder = copy_project(tmp_path)
    toml = folder/"config"/"smoke.toml"
    toml.write_text(f'{toml.read_text()}\n[curation]\ndecisions = "{DECISIONS}"\n')
    config, results = read_config(toml), folder/"results"/"smoke"
    few = draw_population(config.sky, ("FRI", "FRII", "Bent", "Compact"), config.surveys)
    rows = []
    for (label, survey), hdu in observe_classes(few, config.surveys).items():
        hdu.header["OBJECT"] = label
        path = write_image(results/"scraping"/survey/f"{label}.fits", hdu)
        rows.append((label, survey, "ok", "", str(path.relative_to(folder))))
    asked = Table(rows=rows, names=["name", "survey", "state", "reason", "path"], meta=dict(SIMULATE=True))
    for survey in config.surveys:
        write_table(asked[asked["survey"] == survey], results/"scraping"/survey/"cutouts.ecsv")
    write_table(_curate_cutouts(asked, {}, {("FRII", "FIRST"): "off centre"}), results/"curation"/"curated.ecsv")
    write_notebook(folder/"look.ipynb",
                   'from radiogal.curation import open_gallery\n\nopen_gallery("smoke", who="ann")')
    return folder


def write_notebook(path, source):
    "A notebook of one cell."
    kernel = dict(kernelspec=dict(display_name="python3", language="python", name="python3"))
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=kernel), path)


def stop(server):
    "End a server and what it started, by their ids; kernels have process groups of their own."
    started = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired): server.wait(10)
    with contextlib.suppress(ProcessLookupError): os.killpg(server.pid, signal.SIGKILL)
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess): process.kill()
    server.wait()


@pytest.fixture
def lab(project, tmp_path_factory):
    "The address of a JupyterLab on the project's copy, with settings of its own, which asks no questions about news."
    folder = tmp_path_factory.mktemp("lab")
    quiet = folder/"settings"/"@jupyterlab"/"apputils-extension"/"notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    env = os.environ | {name: str(folder/name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    env |= dict(PYTHONPATH=str(project), JUPYTERLAB_SETTINGS_DIR=str(folder/"settings"),
                JUPYTERLAB_WORKSPACES_DIR=str(folder))
    log = folder/"lab.log"
    with open(log, "w") as f:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *LAB_OPTIONS], cwd=project, env=env,
                                  stderr=f, start_new_session=True, preexec_fn=die_with_parent)
    try: yield find_lab(server, log)
    finally: stop(server)


@pytest.fixture
def chromium():
    "A page of a headless Chromium, which ends with the test: its driver stops when its pipe is closed."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(width=1400, height=1000))
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def open_notebook(page, lab, name):
    "Open a notebook in JupyterLab, and wait for its kernel."
    page.goto(f"{lab}/lab/tree/{name}.ipynb?token=lesson")
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").wait_for()
    expect(page.locator("#jp-main-statusbar")).to_contain_text("(ipykernel) | Idle")


@pytest.fixture
def page(lab, chromium):
    "The gallery's notebook, open."
    open_notebook(chromium, lab, "look")
    return chromium


def choose(page, menu, entry):
    "Click an entry of JupyterLab's menu."
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry).click()


def run_all(page, waited_for=".rg-card", n=8):
    "Run the notebook; JupyterLab loses a run asked for before its kernel is connected: if it rests, it is asked again."
    shown, kernel = expect(page.locator(waited_for)), page.locator("#jp-main-statusbar")
    for _ in range(3):
        choose(page, "Run", re.compile("^Run All Cells"))
        with contextlib.suppress(AssertionError): return shown.to_have_count(n, timeout=20_000)
        if "Busy" in kernel.inner_text(): return shown.to_have_count(n)
    raise TimeoutError("the notebook does not run")


def expect_desk(page, done, here):
    "Wait until so many images are decided, and the desk stands at one of a name."
    expect(page.locator(".rg-bar")).to_contain_text(f"{done} of 8 by ann")
    expect(page.locator(".rg-here b")).to_have_text(here)


def read_decided(project):
    "Every line's decision, and what stands."
    lines = _read_lines(project/DECISIONS)
    return ([row["decision"] for _, row in lines],
            {row["name"]: (row["decision"], row["reason"]) for _, row in _drop_undone(lines)})


def photograph(seen, project, name):
    "A screenshot of a page or a part of one, for a person; where RADIOGAL_ARTEFACTS says, or in the test's own folder."
    folder = Path(os.environ.get("RADIOGAL_ARTEFACTS") or project)
    folder.mkdir(parents=True, exist_ok=True)
    seen.screenshot(path=folder/name)


def test_decisions_made_by_key_outlive_the_kernel(page, project):
    run_all(page)
    expect_desk(page, 0, "FRI")
    page.locator(".rg-card").first.click()
    page.keyboard.press("g")
    expect_desk(page, 1, "FRII")
    page.keyboard.press("b")
    box, waits = page.locator(".rg-bar input"), "bad waits for a reason: why is FRII in FIRST bad?"
    expect(box).to_have_value("off centre")
    expect(page.locator(".rg-asks .rg-said")).to_contain_text(waits)
    photograph(page, project, "curation_desk_waits.png")
    box.fill("")
    page.keyboard.press("Enter")
    expect(page.locator(".rg-asks .rg-said")).to_contain_text(waits)
    page.locator(".rg-card").nth(1).click()  # somewhere else: nothing is decided, and nothing is left in the box
    expect(page.locator(".rg-asks")).to_have_count(0)
    expect(box).to_have_value("")
    page.keyboard.press("b")
    page.keyboard.type("stripes, and a b")
    page.keyboard.press("Enter")
    expect_desk(page, 2, "Bent")
    expect(box).to_have_value("")
    page.keyboard.press("u")
    expect_desk(page, 3, "Compact")
    page.keyboard.press("z")
    expect_desk(page, 2, "Bent")
    expect(page.locator(".rg-said")).to_have_text("took back 'unsure' of Bent in FIRST")
    stands = {"FRI": ("good", ""), "FRII": ("bad", "stripes, and a b")}
    assert read_decided(project) == (["good", "bad", "unsure", "undo"], stands)
    expect(page.locator(".jp-CodeCell")).to_have_count(1)  # JupyterLab's own b would have made a cell
    expect(page.locator(".rg-frame small").first).to_have_text("149″, simulated")
    assert page.locator(".rg-card img").evaluate_all("all => all.every((i) => i.complete && i.naturalWidth > 0)")
    photograph(page, project, "curation_desk.png")

    page.locator(".rg-desk").evaluate("desk => desk.classList.replace('rg-desk', 'before')")
    choose(page, "Kernel", re.compile("^Restart Kernel and Run All Cells"))
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(".rg-desk .rg-card")).to_have_count(8)
    expect_desk(page, 2, "Bent")
    expect(page.locator(".rg-good b")).to_have_text("FRI")
    expect(page.locator(".rg-bad .rg-decision")).to_have_text("bad: stripes, and a b")
    photograph(page, project, "curation_desk_after_restart.png")

    page.locator(".rg-bar select").select_option("undecided")
    expect(page.locator(".rg-card")).to_have_count(6)
    page.get_by_role("button", name="u unsure").click()
    expect_desk(page, 3, "Compact")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("z")
    page.keyboard.press("z")
    expect_desk(page, 1, "Bent")
    assert read_decided(project)[1] == {"FRI": ("good", "")}


SKY = """import radiogal
from radiogal.archives import serve_archives
from radiogal.config import read_config
from radiogal.sky import ArtificialSky, draw_population

config = read_config("config/smoke.toml")
archives = serve_archives(ArtificialSky(draw_population(config.sky, config.classes, config.surveys), config.sky))
radiogal.explore(images=archives.__enter__(), surveys=["FIRST", "NVSS", "VLASS"],
                 decisions="data/decisions/sources.csv", who="ann")"""


@pytest.fixture
def ten(project):
    "Ten sources of the artificial sky, in a table beside a notebook that explores loopback archives of it."
    config = read_config(project/"config"/"smoke.toml")
    table = draw_population(config.sky, config.classes, config.surveys)["name", "ra", "dec"][:11]
    table[1:].write(project/"ten.csv", format="ascii.csv")
    write_notebook(project/"sources.ipynb", SKY)
    return table


def type_place(page, text):
    "Type where to look, as a person does."
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def expect_source(page, at, of, name):
    "Wait until the browser of sources stands at a source, and all its images are there."
    expect(page.locator(".rx-count")).to_contain_text(f"{at} of {of}")
    expect(page.locator(".rx-title")).to_have_text(name)
    expect(page.locator(".rx-frame img")).to_have_count(3)


def test_sources_are_looked_at_and_decided_on_by_key_and_outlive_the_kernel(ten, lab, chromium, project):
    page, names = chromium, [str(name) for name in ten["name"]]
    open_notebook(page, lab, "sources")
    run_all(page, ".rx-root", 1)
    expect(page.locator(".rx-head")).to_contain_text("Type a position")
    page.locator(".rx-count").click()
    type_place(page, "nowhere, at all")
    expect(page.locator(".rx-said")).to_contain_text("cannot be resolved")
    type_place(page, f"{ten['ra'][0]:.6f} {ten['dec'][0]:+.6f}")
    expect(page.locator(".rx-count")).to_contain_text("1 of 1,")
    expect(page.locator(".rx-frame img")).to_have_count(3)
    typed = page.locator(".rx-title").inner_text()
    expect(page.locator(".rx-side")).to_contain_text("no answer: simulated")
    type_place(page, "ten.csv")
    expect_source(page, 2, 11, names[1])
    for i, name in enumerate(names[2:], 3):
        page.keyboard.press("ArrowRight")
        expect_source(page, i, 11, name)
    for _ in names[2:]: page.keyboard.press("ArrowLeft")
    expect_source(page, 2, 11, names[1])
    page.keyboard.press("g")
    expect_source(page, 3, 11, names[2])
    page.keyboard.press("b")
    page.keyboard.type("stripes, and a b")
    page.keyboard.press("Enter")
    expect_source(page, 4, 11, names[3])
    page.keyboard.press("u")
    expect_source(page, 5, 11, names[4])
    page.keyboard.press("z")
    expect_source(page, 4, 11, names[3])
    expect(page.locator(".rx-said")).to_have_text(f"took back 'unsure' of {names[3]} in FIRST")
    page.keyboard.press("s")
    page.keyboard.press("c")
    expect(page.locator(".rx-head")).to_contain_text("linear, contours of FIRST")
    expect_source(page, 4, 11, names[3])
    lines = _read_lines(project/"data"/"decisions"/"sources.csv")
    assert [row["decision"] for _, row in lines] == ["good", "bad", "unsure", "undo"]
    expect(page.locator(".jp-CodeCell")).to_have_count(1)
    photograph(page, project, "sources.png")

    page.locator(".rx-root").evaluate("root => root.classList.replace('rx-root', 'before')")
    choose(page, "Kernel", re.compile("^Restart Kernel and Run All Cells"))
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(".rx-root")).to_have_count(1)
    expect_source(page, 4, 11, names[3])
    expect(page.locator(".rx-count")).to_contain_text("2 decided in FIRST by ann")
    expect(page.locator(".rx-head")).to_contain_text("linear, contours of FIRST")
    expect(page.locator(".rx-names .rx-good")).to_have_text(names[1])
    expect(page.locator(".rx-names .rx-bad")).to_have_text(names[2])
    expect(page.locator(".rx-names button").first).to_have_text(typed)
    photograph(page, project, "sources_after_restart.png")


SAMPLES = """import radiogal

radiogal.explore("13h52m14.56s+12d34m01.7s", images="radiogal/samples", surveys=["FIRST", "NVSS", "TGSS"],
                 decisions="data/decisions/real.csv", who="ann")"""


def test_a_real_source_shows_what_the_networks_say_and_look_at(project, lab, chromium):
    kept = "docs/results/benchmark/catalogues/targets.ecsv"
    (project/kept).parent.mkdir(parents=True)
    shutil.copy(ROOT/kept, project/kept)
    write_notebook(project/"real.ipynb", SAMPLES)
    page = chromium
    open_notebook(page, lab, "real")
    run_all(page, ".rx-root", 1)
    expect(page.locator(".rx-frame img")).to_have_count(2)
    expect(page.locator(".rx-frame .rx-reason")).to_contain_text("not covered")
    expect(page.locator(".rx-best")).to_contain_text("FRI")
    side = page.locator(".rx-side")
    for told in ("calibrated on sources that the network was not trained on",
                 "25% of the field has data", "Most similar", "this source", "FRI in frdeep, z 0.145, 0″"):
        expect(side).to_contain_text(told)
    expect(side.locator(".rx-links a")).to_have_count(2)
    page.locator(".rx-count").click()
    page.keyboard.press("c")
    expect(page.locator(".rx-head")).to_contain_text("contours of FIRST")
    expect(page.locator(".rx-frame img")).to_have_count(2)
    photograph(page.locator(".rx-root"), project, "sources_real.png")
    page.keyboard.press("o")
    expect(page.locator(".rx-frame img")).to_have_count(3)
    expect(page.locator(".rx-squares")).to_contain_text("covering it costs up to")
    expect(page.locator(".rx-square").last).to_be_in_viewport()  # below the others, and yet seen by who asked for it
    photograph(page.locator(".rx-root"), project, "sources_occlusion.png")


TEN = ("3C 192", "3C 219", "3C 223.1", "4C 39.29", "4C 48.29A", "3C 244.1", "3C 264", "3C 272", "4C 59.13", "M84")


@pytest.fixture
def real_ten(mirror, project):
    "Ten well-known sources of FRDEEP: a table, a folder of their images, and a notebook that looks at them."
    for survey in ("FIRST", "NVSS"):
        folder = project/"images"/survey
        folder.mkdir(parents=True)
        for file in (file for file in select_files("frdeep", survey) if file.object in TEN):
            (folder/f"{file.object}.fits").symlink_to(mirror/url_to_path(file.url))
    rows = [(name, *find_middle(project/"images"/"FIRST"/f"{name}.fits")) for name in TEN]
    Table(rows=rows, names=["name", "ra", "dec"]).write(project/"ten.csv", format="ascii.csv")
    write_notebook(project/"real.ipynb", """import radiogal

radiogal.explore("ten.csv", images="images", surveys=["FIRST", "NVSS"], decisions="ten_decisions.csv", who="ann")""")


def find_middle(path):
    "The position of a FIRST image's middle, deg."
    hdu = read_cutout(path, "FIRST")
    middle = WCS(hdu.header).pixel_to_world(*(n//2 for n in hdu.data.shape[::-1])).icrs
    return middle.ra.deg, middle.dec.deg


@pytest.mark.long
def test_ten_real_sources_each_have_images_and_an_answer(real_ten, project, lab, chromium):
    page = chromium
    open_notebook(page, lab, "real")
    run_all(page, ".rx-root", 1)
    page.locator(".rx-count").click()
    for name in TEN:
        expect(page.locator(".rx-title")).to_have_text(name)
        expect(page.locator(".rx-frame img")).to_have_count(2)
        expect(page.locator(".rx-best")).to_have_count(1)
        if name != TEN[-1]: page.keyboard.press("ArrowRight")
    for _ in range(8): page.keyboard.press("ArrowLeft")
    for key in "gcc-": page.keyboard.press(key)
    expect(page.locator(".rx-title")).to_have_text(TEN[2])
    expect(page.locator(".rx-head")).to_contain_text("5′ square, asinh, contours of NVSS")
    expect(page.locator(".rx-frame img")).to_have_count(2)
    expect(page.locator(".rx-best")).to_have_count(1)
    photograph(page.locator(".rx-root"), project, "sources_ten_real.png")
    page.keyboard.press("m")
    expect(page.locator(".rx-alike .rx-square")).to_have_count(5)
    expect(page.locator(".rx-waiting")).to_have_count(0)
    expect(page.locator(".rx-alike img").first).to_be_visible()
    photograph(page.locator(".rx-root"), project, "sources_alike.png")
