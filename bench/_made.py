"What scripts here measure with: made images, prepared sets of them, and networks that were not trained."
import numpy as np

FIELD = 150  # Side of an image in pixels, as the network `fields` is given it


def draw_images(n, size=FIELD, seed=1):
    "(n, size, size, 1), float32, 0–1: like clipped cutouts, mostly zero, with a few bright blobs."
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    images = np.zeros((n, size, size), np.float32)
    for image in images:
        for _ in range(3):
            cx, cy = rng.normal(size/2, size/10, 2)
            image += rng.random()*np.exp(-((x - cx)**2 + (y - cy)**2)/(2*rng.uniform(2, 5)**2))
    images[images < 0.02] = 0
    return (images/images.max(axis=(1, 2), keepdims=True))[..., None].astype(np.float32)


def make_sources(images, classes=("FRI", "FRII")):
    "A prepared set of some images, as many of each class, in two folds."
    from radiogal.datasets import PreparedSet
    n = len(images)
    number = np.arange(n)
    return PreparedSet(images, np.array([f"S{i}" for i in number]), number % len(classes), classes, number,
                       number//len(classes) % 2, "FIRST", True, np.transpose([number*300/n, 0*number]).astype(float),
                       np.ones(n), np.ones(n), np.ones((n, 3)), 1.8, ())


def draw_field(n, dec=30):
    "Simulated positions, as dense and as clustered as FIRST's."
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    from radiogal.surveys import FIRST_MEMBERS, FIRST_SCATTER, draw_clustered, get_survey
    density = get_survey("FIRST").density
    radius = np.sqrt(1.3*n/density/np.pi).to(u.deg)
    field = draw_clustered(density, FIRST_MEMBERS, FIRST_SCATTER, SkyCoord(180*u.deg, dec*u.deg), radius,
                           np.random.default_rng(1))
    if len(field) < n: raise ValueError(f"drew {len(field)} positions, fewer than {n}")
    return field[:n]


def write_network(folder, size=FIELD):
    "A network `fields` that nobody trained, for images of some size, exported for every engine."
    from radiogal.engines import list_engines, write_untrained
    write_untrained(folder/"training"/"FIRST"/"fields", make_sources(draw_images(40, size)), "FIRST", "fields",
                    folds=(0,))
    for engine in list_engines(): open_network(folder, engine, size)


def open_network(folder, engine="onnxruntime", size=FIELD):
    "The network behind an engine."
    from radiogal.engines import open_ensemble
    trained = folder/"training"/"FIRST"/"fields"/"fold0"/"seed1"
    return open_ensemble("bench", [trained], make_sources(draw_images(40, size)), folder/"engines", engine)


def write_shard(path, n, size=FIELD):
    "A prepared shard of so many images."
    import pandas as pd

    from radiogal.engines import NUMBERS, TEXTS, PreparedShard, write_prepared_shard
    facts = {key: ["ok" if key == "state" else ""]*n for key in TEXTS} | {key: np.ones(n) for key in NUMBERS}
    names = np.array([f"S{i}" for i in range(n)])
    write_prepared_shard(PreparedShard(names, np.arange(n), draw_images(n, size), pd.DataFrame(facts), "FIRST", 1.8),
                         path)
