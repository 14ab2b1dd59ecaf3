"Filesystems that lack locks, hard links or shared memory: what they can do is used, or a line names folder and cause."
import errno
import fcntl
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from faulty import say
from filelock import SoftFileLock

from radiogal import curation, shards, workflow
from radiogal.config import ConfigError
from radiogal.curation import _read_decisions, _record_decision
from radiogal.provenance import Manifest, _choose_lock, _Record
from radiogal.shards import _take_claim, claim_shard

fault = pytest.mark.fault
BODY = b"radio galaxy"
CODES = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]


def lack(code):
    "A system call that the filesystem does not have."
    def call(*_): raise OSError(code, os.strerror(code))
    return call


@pytest.mark.filterwarnings("ignore:flock not supported")  # filelock's own word on ENOSYS
@fault(60, "filesystem without `flock`, hard links or shared memory",
       "what it has is used, or one line names folder and cause")
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_files_are_got_without_flock(case, saw, monkeypatch, code):
    monkeypatch.setattr(fcntl, "flock", lack(code))
    fetcher = case.open_fetcher()
    urls = [case.server.answer(f"/{name}", say(BODY)) for name in "ab"]
    with ThreadPoolExecutor(4) as pool: paths = list(pool.map(lambda url: fetcher.get_file(case.want(url)), urls*2))
    assert ({path.read_bytes() for path in paths} == {BODY} and case.list_files() == ["a", "b"]
            and len(case.server.requests) == 2)
    saw("no flock: lock files that name their owner, 2 requests for 2 files asked for twice")


@fault(60)
def test_folder_where_no_lock_works_is_named(tmp_path, saw, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lack(errno.ENOLCK))
    monkeypatch.setattr(SoftFileLock, "_acquire", lack(errno.EROFS))
    with pytest.raises(ConfigError,
                       match=rf"no lock can be taken in {tmp_path}.*Read-only file system.*choose a folder"):
        _choose_lock(tmp_path)
    saw("no lock of any kind: one line names folder and cause")


class WithoutSharedMemory(sqlite3.Connection):
    "SQLite on a filesystem that cannot map the write-ahead log's index."
    def execute(self, sql, *more):
        if "journal_mode=WAL" in sql: raise sqlite3.OperationalError("locking protocol")
        return super().execute(sql, *more)


@fault(60)
def test_manifest_works_without_shared_memory(tmp_path, saw, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=WithoutSharedMemory))
    manifest = Manifest(tmp_path/"manifest.sqlite")
    manifest.write(_Record("a", "http://x/a", "ok"))
    assert manifest.read("a").state == "ok" and not list(tmp_path.glob("*-wal"))
    saw("no shared memory: the manifest without a write-ahead log")


@fault(60)
@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS], ids=errno.errorcode.get)
def test_shards_are_claimed_without_hard_links(tmp_path, saw, monkeypatch, code):
    monkeypatch.setattr(os, "link", lack(code))
    with claim_shard(tmp_path, 3) as mine:
        assert mine and _take_claim(tmp_path/"claims", 3) is None
    with claim_shard(tmp_path, 3) as mine: assert mine
    assert not list((tmp_path/"claims").iterdir())
    saw("no hard links: a claim is a file that must be new, one worker of two has it")


@fault(61, "claims cleared away by the worker that merged, while another one holds or makes one",
       "that one ends as usual")
def test_claim_that_was_cleared_away_is_no_failure(tmp_path, saw, monkeypatch):
    monkeypatch.setattr(shards, "_BEAT_S", 0.01)
    with claim_shard(tmp_path, 1) as mine:
        assert mine
        for path in (tmp_path/"claims").iterdir(): path.unlink()
        for thread in threading.enumerate():
            if thread.name.endswith("(keep_touching)"): thread.join(5); assert not thread.is_alive()
        (tmp_path/"claims").rmdir()
    assert _take_claim(tmp_path/"claims", 2) is None
    saw("held: let go without a word; about to be made: nothing is left to do")


@fault(60)
def test_decisions_are_written_without_flock(tmp_path, saw, monkeypatch):
    monkeypatch.setattr(curation.fcntl, "flock", lack(errno.ENOLCK))
    for who in ("a", "b"): _record_decision(tmp_path/"decisions.csv", "3C 31", "FIRST", "good", "", who)
    assert len((tmp_path/"decisions.csv").read_text().splitlines()) == 3 and not list(tmp_path.glob("*.lock"))
    assert _read_decisions(tmp_path/"decisions.csv", {("3C 31", "FIRST")})["3C 31", "FIRST"]["decision"] == "good"
    saw("decisions: written and read")


@fault(60)
def test_run_names_the_clone_without_locks(tmp_path, saw, monkeypatch):
    monkeypatch.setattr(workflow.fcntl, "flock", lack(errno.ENOLCK))
    with pytest.raises(ConfigError, match=r"no lock can be taken in .*\.snakemake: No locks available"):
        workflow._take_lock(tmp_path)
    saw("a run: one line names the clone and the cause")
