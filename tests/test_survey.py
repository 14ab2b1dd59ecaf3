"A survey of large images, whose positions are worked through one image after another."
import resource
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from made import Mosaic, draw_in_images

from radiogal import shards
from radiogal.archives import serve_archives
from radiogal.config import find_root, read_config
from radiogal.engines import _scatter_rows, describe_columns
from radiogal.pages import view_prepared
from radiogal.scraping import open_archive

CENTRES = [SkyCoord(ra, dec, unit="deg") for dec in (-36.5, -35.5) for ra in (1., 2.5, 4.)]
COORDS = draw_in_images(CENTRES, 10, 0.03)  # 60, shuffled
SMOKE = read_config(find_root()/"config"/"smoke.toml")
CONFIG = SMOKE.model_copy(update=dict(scraping=SMOKE.scraping.model_copy(update=dict(vlass_route="images"))))
JOB = dict(model="m", survey="VLASS", shard_size=7, images="archive", classes=["FRI", "FRII"], calibrated=False,
           simulated=True)
NO_NETWORKS = SimpleNamespace(classes=("FRI", "FRII"), calibrated=False)


def list_sources(n=60):
    "Sources, of which the fifth is no position, and whose names do not tell where they are."
    ra, dec, reason = COORDS.ra.deg[:n].copy(), COORDS.dec.deg[:n].copy(), [""]*n
    ra[4], dec[4], reason[4] = np.nan, np.nan, "no position"
    return Table(dict(name=[f"Quelle {i} ä"[:12 - i % 2] for i in range(n)], ra=ra, dec=dec, crowding=np.arange(n),
                      reason=reason))


def classify_by_peak(block, prepared, *_):
    "As `classify_shard`, without a network: the brighter, the more FR II."
    rows = pd.DataFrame({key: [""]*len(block) if facts.kind == "str" else np.full(len(block), np.nan)
                         for key, facts in describe_columns(("FRI", "FRII"), False).items()})
    for key in ("name", "ra", "dec", "crowding"): rows[key] = np.array(block[key])
    for key in prepared.facts: rows[key] = prepared.facts[key].to_numpy()
    return rows.assign(p_FRII=100*rows.peak, n_trained=0, model="m")


@pytest.fixture(autouse=True)
def no_networks(monkeypatch): monkeypatch.setattr(shards, "classify_shard", classify_by_peak)


@contextmanager
def open_workers(folder, *raws, deleted=("cutouts", "downloads"), load=list_sources):
    "Workers, each with its own downloads, and the requests for whole images."
    with serve_archives(Mosaic(CENTRES, 420, COORDS), requests := []) as services:
        job = shards.begin_job(folder, JOB, load)
        yield [shards.Worker(folder, job, CONFIG, NO_NETWORKS, open_archive(services, folder/raw, "VLASS"), deleted)
               for raw in raws], requests


def list_images(folder): return sorted(path.name for path in folder.glob("raw*/VLASS/VLASS*.fits"))


def count_images(requests): return pd.Series([r for r in requests if r.endswith(".fits")], dtype=str).value_counts()


def work(folder, **more):
    "A worker's shards, the requests for each image, and the largest number of images on the disk."
    most, delete = [0], shards._delete_cutouts
    def watch(*args):
        most.append(len(list_images(folder)))
        delete(*args)
    with open_workers(folder, "raw", **more) as ((worker,), requests), pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_delete_cutouts", watch)
        return worker, shards.work_through(worker), count_images(requests), max(most)


def read_catalogue(worker):
    "Its bytes in both formats."
    path = shards.merge_shards(worker.folder, worker.job)
    assert not list(worker.folder.glob(".rows*"))
    return path.read_bytes(), path.with_suffix(".parquet").read_bytes()


def begin_as_before(folder):
    "A folder as it was begun by a version that kept the table's order."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BY_IMAGE", ())
        return shards.begin_job(folder, JOB, list_sources)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "What one worker did that nobody disturbed, and its catalogue."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "classify_shard", classify_by_peak)
        done = work(tmp_path_factory.mktemp("whole"))
        return *done, read_catalogue(done[0])


def test_each_image_is_fetched_once_and_deleted_when_no_position_needs_it(whole):
    worker, done, asked, most, _ = whole
    assert done == list(range(9)) and len(asked) == 6 and (asked == 1).all()
    assert most <= 2 and list_images(worker.folder) == []


def test_rows_are_in_the_order_of_the_table(whole):
    worker, sources = whole[0], list_sources()
    rows, table = (pd.read_parquet(worker.folder/"catalogue.parquet"),
                   Table.read(worker.folder/"catalogue.fits", character_as_bytes=False))
    assert rows.name.tolist() == list(sources["name"]) and rows.crowding.tolist() == list(range(60))
    np.testing.assert_array_equal(rows.ra, sources["ra"])
    np.testing.assert_array_equal(table["dec"], sources["dec"])
    assert (rows.state == "ok").sum() == 59 and rows.reason[4] == "no position" and rows.state[4] == "reject"
    assert list(table["sha256"]) == rows.sha256.tolist() and rows.sha256.nunique() == 60


def test_pictures_of_a_page_belong_to_their_rows(whole, monkeypatch):
    monkeypatch.setattr(shards, "draw_thumbnail", lambda view: view.data.sum())
    rows = pd.read_parquet(whole[0].folder/"catalogue.parquet")[:20]
    pictures = shards._draw_pictures(whole[0].folder, whole[0].job, rows)
    known = {}
    for number in range(9):
        shard = shards.read_prepared_shard(shards.name_shard(whole[0].folder, "prepared", number, ".npz"))
        for name, image in zip(shard.names, shard.images, strict=True):
            known[name] = view_prepared(image[:, :, 0], shard.pixel_arcsec).data.sum()
    assert pictures == [known.get(name, "") for name in rows.name] and len(known) == 59


def test_a_folder_begun_in_the_tables_order_keeps_it_and_gives_the_same_bytes(tmp_path, whole):
    before = begin_as_before(tmp_path)
    assert "order" not in before
    worker, done, asked, most = work(tmp_path)
    assert worker.job == before and len(done) == 9 and most == 6
    assert read_catalogue(worker) == whole[-1] and list_images(tmp_path) == []


@pytest.mark.parametrize("name", ["job.json", "positions.parquet"])
@pytest.mark.parametrize("begin", [begin_as_before, lambda folder: shards.begin_job(folder, JOB, list_sources)])
def test_damaged_lists_are_written_again_in_the_order_they_had(tmp_path, begin, name):
    job, content = begin(tmp_path), (tmp_path/"positions.parquet").read_bytes()
    (tmp_path/name).write_bytes(b"damaged")
    assert shards.begin_job(tmp_path, JOB, list_sources) == job
    assert (tmp_path/"positions.parquet").read_bytes() == content


def test_interrupted_and_shared_work_gives_the_same_bytes(tmp_path, whole):
    with open_workers(tmp_path, "raw") as ((worker,), _):
        for number in (0, 5): shards._do_shard(worker, number)
        assert 0 < len(list_images(tmp_path))
    with open_workers(tmp_path, "raw", "raw", "raw2") as (workers, _), ThreadPoolExecutor(3) as pool:
        assert sorted(sum(pool.map(shards.work_through, workers), [])) == [1, 2, 3, 4, 6, 7, 8]
    assert read_catalogue(workers[0]) == whole[-1]


def test_an_image_stays_as_long_as_a_shard_of_another_worker_may_need_it(tmp_path):
    with open_workers(tmp_path, "raw") as ((worker,), requests):
        shards._do_shard(worker, 0)
        (image,) = list_images(tmp_path)
        users = worker.users[image.removesuffix(".fits")]
        assert users == {0, 1}, "ten positions of an image are in two shards of seven"
        shards._do_shard(worker, 1)
        assert image not in list_images(tmp_path) and (count_images(requests) == 1).all()


def test_downloads_stay_where_they_are_asked_for(tmp_path):
    with open_workers(tmp_path, "raw", deleted=("cutouts",)) as ((worker,), _):
        for number in (0, 1, 2): shards._do_shard(worker, number)
    assert len(list_images(tmp_path)) == 3


def test_a_damaged_prepared_shard_is_fetched_again(tmp_path, whole):
    shutil.copytree(whole[0].folder, tmp_path/"copy")
    for number in (2, 3): shards.name_shard(tmp_path/"copy", "shards", number, ".parquet").unlink()
    shards.name_shard(tmp_path/"copy", "prepared", 2, ".npz").write_bytes(b"damaged")
    worker, done, asked, _ = work(tmp_path/"copy")
    assert done == [2, 3] and 1 <= len(asked) <= 2 and read_catalogue(worker) == whole[-1]


def test_other_surveys_keep_the_order_of_the_table(tmp_path):
    job = shards.begin_job(tmp_path, JOB | dict(survey="FIRST"), list_sources)
    assert "order" not in job and list(shards._read_block(tmp_path, 0)["crowding"]) == list(range(7))


def test_rows_that_the_disk_has_no_room_for():
    "A write that comes back short is an error, and not a catalogue with fewer rows."
    rows, before = pd.DataFrame(dict(name=[f"source {i:02}" for i in range(60)], ra=0.)), resource.getrlimit(
        resource.RLIMIT_FSIZE)
    with tempfile.TemporaryFile() as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60*17 - 5, before[1]))
        try:
            with pytest.raises(OSError, match="No space left.*catalogue"):
                _scatter_rows(lambda: [(np.arange(60)[::-1], rows)], ["name"], file)
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)
