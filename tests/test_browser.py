"The gallery in a real browser: JupyterLab, a headless Chromium, keys. Half a minute; skipped without one."
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
from conftest import LAB_OPTIONS, copy_project, find_lab
from playwright.sync_api import expect, sync_playwright

from radiogal.config import read_config
from radiogal.curation import _curate_cutouts, _drop_undone, _read_lines
from radiogal.positions import write_table
from radiogal.sky import draw_population, observe_classes, write_image

CHROMIUM = shutil.which("chromium")
DECISIONS = "data/decisions/smoke.csv"
pytestmark = [pytest.mark.full,
              pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: on Debian, apt-get install chromium")]
PATIENCE_MS = 60_000
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
    cell = nbformat.v4.new_code_cell('from radiogal.curation import open_gallery\n\nopen_gallery("smoke", who="ann")')
    kernel = dict(kernelspec=dict(display_name="python3", language="python", name="python3"))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder/"nbs"/"look.ipynb")
    return folder


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
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *LAB_OPTIONS], cwd=project/"nbs", env=env,
                                  stderr=f, start_new_session=True, preexec_fn=die_with_parent)
    try: yield find_lab(server, log)
    finally: stop(server)


@pytest.fixture
def page(lab):
    "The notebook open in a headless Chromium, which ends with the test: its driver stops when its pipe is closed."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(width=1400, height=1000))
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{lab}/lab/tree/look.ipynb?token=lesson")
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").wait_for()
        expect(page.locator("#jp-main-statusbar")).to_contain_text("(ipykernel) | Idle", timeout=PATIENCE_MS)
        yield page
        browser.close()


def choose(page, menu, entry):
    "Click an entry of JupyterLab's menu."
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry).click()


def run_all(page):
    "Run the notebook; JupyterLab loses a run asked for before its kernel is connected, so it may be asked again."
    cards = page.locator(".rg-card")
    for _ in range(3):
        choose(page, "Run", re.compile("^Run All Cells"))
        with contextlib.suppress(AssertionError): return expect(cards).to_have_count(8, timeout=15_000)
    raise TimeoutError("the notebook does not run")


def expect_desk(page, done, here):
    "Wait until so many images are decided, and the desk stands at one of a name."
    expect(page.locator(".rg-bar")).to_contain_text(f"{done} of 8 by ann", timeout=PATIENCE_MS)
    expect(page.locator(".rg-here b")).to_have_text(here)


def read_decided(project):
    "Every line's decision, and what stands."
    lines = _read_lines(project/DECISIONS)
    return ([row["decision"] for _, row in lines],
            {row["name"]: (row["decision"], row["reason"]) for _, row in _drop_undone(lines)})


def photograph(page, project, name):
    "A screenshot, for a person; where RADIOGAL_ARTEFACTS says, or in the test's own folder."
    folder = Path(os.environ.get("RADIOGAL_ARTEFACTS") or project)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder/name)


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
    expect(page.locator(".rg-desk .rg-card")).to_have_count(8, timeout=PATIENCE_MS)
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
