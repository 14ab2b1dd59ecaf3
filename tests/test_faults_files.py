"Faults of disks, processes, stored files and catalogues: what is left, what is visible, who is told what."
import io
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import children
import nbformat
import numpy as np
import pytest
from astropy.io import fits
from conftest import copy_project, finish, radiogal, wait_for
from faulty import drip, hang, say

from radiogal.archives import _TEXT, _format_votable
from radiogal.catalogues import CATALOGUES, fetch_labels, read_catalogue
from radiogal.config import ConfigError, read_config
from radiogal.datasets import _prepare_survey, _PreparedError, make_sample, read_prepared
from radiogal.fetch import Manifest
from radiogal.positions import CatalogueError
from radiogal.preparation import read_image
from radiogal.surveys import LIVE_SERVICES
from radiogal.training import _BadCheckpoint, _read_plain_arrays, hash_bytes

fault = pytest.mark.fault
BODY = bytes(range(256))*2000  # 512,000 bytes: more than a buffer holds
SMOKE = read_config(Path(__file__).parent.parent/"config"/"smoke.toml")


@fault(35, "disk full, read-only cache", "clear error, old file whole")
def test_full_disk_is_named_and_the_old_file_stays(case, saw):
    fetcher, wanted = case.open_fetcher(), case.want(case.server.answer("/a", say(BODY)), max_age_s=0)
    case.get(fetcher, wanted, BODY)
    (case.folder/"files"/".a.part").symlink_to("/dev/full")  # what is written there fails as on a full disk
    with pytest.raises(ConfigError, match="cannot write .*/a: No space left on device; free some space"):
        fetcher.get_file(wanted)
    assert case.list_files() == ["a"] and wanted.path.read_bytes() == BODY
    assert fetcher.manifest.read(wanted.key).state == "ok"
    case.get(fetcher, wanted, BODY)
    saw("full: cannot write a: No space left on device; old file whole; later ok")


@fault(35)
def test_read_only_folder_is_named_and_the_old_file_stays(case, saw):
    for name in "ab": case.server.answer(f"/{name}", say(BODY))
    receiver, sender = children.CONTEXT.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with children.run(1, children.write_where_one_may_not, folder, case.server.host, ["a", "b"], sender) as child:
            assert children.finish(child) == [0]
        assert receiver.recv().startswith(f"cannot write {folder}/files/b: Permission denied; ")
        assert os.listdir(folder/"files") == ["a"] and (folder/"files"/"a").read_bytes() == BODY
        assert [r.state for r in Manifest(folder/"manifest.sqlite").read_all()] == ["ok"]
        (folder/"files").chmod(0o755)
    saw("read-only: cannot write b: Permission denied; old file whole")


@fault(35)
def test_folder_that_cannot_be_made_is_named(case, saw):
    (case.folder/"files").write_text("a file, where the folder should be")
    with pytest.raises(ConfigError, match="cannot write .*/files/a: "):
        case.open_fetcher().get_file(case.want(case.server.answer("/a", say(BODY))))
    with pytest.raises(ConfigError, match="choose a folder you may write to"):
        Manifest(case.folder/"files"/"manifest.sqlite")
    assert case.server.requests == []
    saw("no folder: named, nothing asked")


@fault(36, "kill -9 mid-write", "nothing partial visible")
@pytest.mark.parametrize("before", [None, b"as it was"], ids=["new file", "old file"])
def test_killed_while_it_writes(case, saw, before):
    half = hang(say(BODY[:300_000], Content_Length=len(BODY)))
    answers = ([] if before is None else [say(before)]) + [half, say(BODY)]
    case.server.answer("/a", *answers)
    path, part = case.folder/"files"/"a", case.folder/"files"/".a.part"
    if before: case.get(case.open_fetcher(), case.want(f"http://{case.server.host}/a"), before)
    rows = Manifest(case.folder/"manifest.sqlite").read_all()
    with children.run(1, children.get_files, case.folder, case.server.host, ["a"], 2, 0) as child:
        wait_for(lambda: part.is_file() and part.stat().st_size > 0)
        child[0].kill()
        assert children.finish(child) == [-signal.SIGKILL]
    assert (path.read_bytes() if path.is_file() else None) == before
    assert Manifest(case.folder/"manifest.sqlite").read_all() == rows
    with children.run(1, children.get_files, case.folder, case.server.host, ["a"], 2, 0) as child:
        assert children.finish(child) == [0]
    assert case.list_files() == ["a"] and path.read_bytes() == BODY
    saw(f"{'no file' if before is None else 'old file whole'} after the kill; next run: whole, no temporary file")


@fault(37, "eight processes, one file", "one download, one valid file")
def test_eight_processes_ask_once(case, saw):
    case.server.answer("/a", drip(say(Content_Length=len(BODY)),
                                  [BODY[i:i + 64_000] for i in range(0, len(BODY), 64_000)], 0.05))
    with children.run(8, children.get_files, case.folder, case.server.host, ["a"]) as eight:
        assert children.finish(eight) == [0]*8
    assert case.server.hits("/a") == 1 and case.list_files() == ["a"]
    case.get(case.open_fetcher(), case.want(f"http://{case.server.host}/a"), BODY)
    saw("1 request, 1 whole file")


@fault(37)
def test_eight_processes_ask_for_fifty_files_once(case, saw):
    contents = {f"{i:02d}": f"file {i} ".encode()*5000 for i in range(50)}
    for name, content in contents.items(): case.server.answer(f"/{name}", say(content))
    with children.run(8, children.get_files, case.folder, case.server.host, list(contents)) as eight:
        assert children.finish(eight) == [0]*8
    assert sorted(r.target for r in case.server.requests) == [f"/{name}" for name in contents]
    assert case.list_files() == list(contents)
    for name, content in contents.items():
        case.get(case.open_fetcher(), case.want(f"http://{case.server.host}/{name}"), content)
    saw("50 files: 50 requests")


@fault(38, "stale lock of a dead process", "recovered")
def test_locks_of_a_killed_process_are_taken_over(case, saw):
    case.server.answer("/a", hang(say(BODY[:300_000], Content_Length=len(BODY))), say(BODY))
    case.server.answer("/b", say(BODY))
    with children.run(1, children.get_files, case.folder, case.server.host, ["a"], 1) as holder:
        wait_for(lambda: case.server.hits("/a") == 1)
        waiting, ask = [children.CONTEXT.Semaphore(0) for _ in "ab"], children.get_files_and_tell
        with (children.run(1, ask, waiting[0], case.folder, case.server.host, ["a"], 1) as same_file,
              children.run(1, ask, waiting[1], case.folder, case.server.host, ["b"], 1) as same_host):
            assert all(each.acquire(timeout=600) for each in waiting)
            assert len(case.server.requests) == 1 and same_file[0].is_alive() and same_host[0].is_alive()
            holder[0].kill()
            assert children.finish(same_file + same_host) == [0, 0]
    assert (case.server.hits("/a"), case.server.hits("/b")) == (2, 1) and case.list_files() == ["a", "b"]
    for name in "ab": case.get(case.open_fetcher(), case.want(f"http://{case.server.host}/{name}"), BODY)
    saw("lock of a file and lock of a connection: taken over, both files whole")


DYING = """
import os, signal
from pathlib import Path
begun = Path(out_dir)/"begun"
begun.parent.mkdir(parents=True, exist_ok=True)
if not begun.exists():
    begun.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@fault(39, "kernel killed mid-notebook", "run exits non-zero, resumes")
def test_killed_kernel_fails_the_step_and_the_next_one_goes_through(tmp_path, saw):
    folder = copy_project(tmp_path)
    cells = [nbformat.v4.new_code_cell('toml_path = ""\nrun = ""\nout_dir = ""', metadata=dict(tags=["parameters"])),
             nbformat.v4.new_code_cell(DYING), nbformat.v4.new_code_cell('(begun.parent/"result").write_text("whole")')]
    kernel = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=kernel)),
                   folder/"nbs"/"99_dying.ipynb")
    step = ("notebook", "99_dying", "smoke", "--executed", "results/99_dying.ipynb", "--out-dir", "results/dying")
    status, said = finish(radiogal(folder, *step))
    assert status == 1 and "radiogal: 99_dying: the kernel died" in said, said
    assert sorted(p.name for p in (folder/"results"/"dying").iterdir()) == ["begun"]
    status, said = finish(radiogal(folder, *step))
    assert status == 0, said
    assert sorted(p.name for p in (folder/"results"/"dying").iterdir()) == ["begun", "provenance.json", "result"]
    assert not list(folder.rglob("*.part*"))
    saw("status 1, 99_dying: the kernel died; no provenance, so not done; the next run: status 0")


class Payload:
    "Runs when it is unpickled."
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (str(self.path), "w")


@fault(43, "npz with a pickled object, tar with `../`", "refused")
def test_pickled_object_is_refused(tmp_path, saw):
    struck, buffer = tmp_path/"struck", io.BytesIO()
    np.savez(buffer, weights=np.array([Payload(struck)], dtype=object))
    path = tmp_path/f"checkpoint-0001-{hash_bytes(buffer.getvalue())}.npz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(_BadCheckpoint, match="Object arrays cannot be loaded"): _read_plain_arrays(path)
    with pytest.raises(_PreparedError, match=path.name): read_prepared(path)
    assert not struck.exists()
    saw("npz: refused as a checkpoint and as a prepared set; nothing ran")


def keep_of_class(parts, n):
    "A sample's tables with only n sources of the second class."
    targets, cutouts, curated, read = parts
    second = np.flatnonzero(targets["label"] == SMOKE.classes[1])
    kept = np.setdiff1d(np.arange(len(targets)), second[n:])
    return targets[kept], cutouts[kept], curated[kept], read


@fault(44, "class folder with 0 or 1 image; unreadable FITS", "named error, quarantined")
@pytest.mark.parametrize("n", [0, 1])
def test_class_without_enough_images_is_named(n, saw):
    parts = keep_of_class(make_sample(SMOKE, "FIRST"), n)
    with pytest.raises(ValueError, match=f"class {SMOKE.classes[1]}: {n} ") as told:
        _prepare_survey(*parts, SMOKE, "FIRST")
    saw(told.value)


@fault(44)
@pytest.mark.parametrize("n_bytes, told", [(0, "not FITS"), (2000, "broken FITS header"), (5000, "bytes of pixels")])
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")  # the same, said by astropy
def test_unreadable_image_is_quarantined(tmp_path, saw, n_bytes, told):
    targets, cutouts, curated, read = make_sample(SMOKE, "FIRST")
    broken = tmp_path/"broken.fits"
    fits.PrimaryHDU(np.ones((64, 64), np.float32)).writeto(broken)
    os.truncate(broken, n_bytes)
    name = str(cutouts["name"][0])
    read_or_break = lambda path: read_image(broken, "FIRST") if path == name else read(path)
    prepared, quarantine = _prepare_survey(targets, cutouts, curated, read_or_break, SMOKE, "FIRST")
    assert [tuple(row)[:2] for row in quarantine] == [(name, "FIRST")] and told in quarantine["reason"][0]
    assert name not in prepared.names and len(prepared) == len(targets) - 1
    saw("unreadable FITS: in quarantine with its reason, the others prepared")


FRICAT = ["SDSS,_RAJ2000,_DEJ2000,z", *["J000000.00+000000.0,00 00 00.0,+00 00 00.0,0.1"]*219]


@fault(45, "catalogue short, column renamed", "stop, say which")
@pytest.mark.parametrize("lines, told", [
    (FRICAT[:-1], "FRICAT: 218 rows in FRICAT_Table1.csv, expected 219"),
    ([FRICAT[0].replace(",z", ",redshift"), *FRICAT[1:]], "FRICAT: no column z in FRICAT_Table1.csv; it has SDSS, "),
    (FRICAT[:1], "FRICAT: 0 rows in FRICAT_Table1.csv, expected 219")], ids=["short", "renamed", "empty"])
def test_catalogue_that_is_not_as_known_stops(tmp_path, saw, lines, told):
    path = tmp_path/"FRICAT_Table1.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(CatalogueError) as error: read_catalogue(CATALOGUES["FRICAT"], path)
    assert str(error.value).startswith(told)
    saw(error.value)


def write_friicat(n_rows, redshift="z"):
    "FRIICAT as VizieR answers."
    number = dict(datatype="double", unit="deg")
    fields = {"_RAJ2000": number, "_DEJ2000": number, "SDSS": _TEXT, redshift: dict(datatype="double")}
    return _format_votable(CATALOGUES["FRIICAT"].table, fields,
                           [[10. + i, 20., f"J{i:06d}", 0.1] for i in range(n_rows)])


@fault(45)
@pytest.mark.parametrize("answer, told", [
    (write_friicat(121), "retry: given up after 3 of 3 tries: FRIICAT (J/A+A/601/A81/table1): 121 rows, expected 122"),
    (write_friicat(0), "retry: given up after 3 of 3 tries: FRIICAT (J/A+A/601/A81/table1): 0 rows, expected 122"),
    (write_friicat(122, "zsp"), "reject: FRIICAT: no column z in J/A+A/601/A81/table1; it has ")],
    ids=["short", "empty", "renamed"])
def test_table_of_vizier_that_is_not_as_known_stops(case, saw, answer, told):
    services = replace(LIVE_SERVICES, vizier=case.server.answer("/votable", say(answer)))
    fetcher = case.open_fetcher()
    with pytest.raises(Exception, match="FRIICAT") as error:
        fetch_labels(fetcher, services, case.folder/"files", CATALOGUES["FRIICAT"])
    (row,) = fetcher.manifest.read_all()
    assert (str(error.value).startswith(told) and str(error.value) == f"{row.state}: {row.reason}"
            and case.list_files() == [])
    saw(error.value)
