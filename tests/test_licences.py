"The page of licences: every package of the locks is on it, in its version, with a licence."
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT/"docs"))
import licences


def list_rows():
    "Rows of the page: package, version, licence."
    lines = (ROOT/"docs"/"licences.md").read_text().splitlines()
    return [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("| ")][1:]


def test_every_locked_package_is_listed_and_names_a_licence():
    assert [tuple(row[:2]) for row in list_rows()] == licences.read_locked()
    assert [name for name, _, licence in list_rows() if len(licence) < 3] == []


def test_a_package_of_which_no_licence_is_known_stops(monkeypatch):
    monkeypatch.setattr(licences, "read_licence", lambda name: "")
    assert licences.name_licence("nvidia-cublas-cu12") == (licences.VENDOR, "by hand")
    try: licences.name_licence("some-package")
    except SystemExit as e: assert "no licence of some-package is known" in str(e)
    else: raise AssertionError("it did not stop")
