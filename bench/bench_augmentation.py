"Augmented training images: radiogal's, turned as they are needed, against the whole set turned by scipy in memory."
import numpy as np
from _made import FIELD, draw_images, make_sources
from _pairs import Pair, run_pairs
from scipy.ndimage import rotate, shift

from radiogal.config import Training

EPOCHS, SETTINGS = 16, Training(augmentation="turns", max_shift=2, batch_size=32)


def make_images(folder, n):
    np.save(folder/"images.npy", draw_images(n))
    return {}


def start(folder):
    "A process as it is before a training: Keras started; the images, and a set of them."
    from radiogal.training import start_keras
    start_keras(1)
    images = np.load(folder/"images.npy")
    return images, make_sources(images)


def draw_ours(images, sources, epochs=EPOCHS):
    "The sum of all batches of all epochs."
    from radiogal.training import Views, draw_epoch
    views = Views(images, FIELD, None, SETTINGS, 1)
    return sum(float(batch.sum()) for epoch in range(epochs) for batch, _, _ in draw_epoch(views, sources, epoch))


def draw_from_memory(images, epochs=EPOCHS):
    "The same of copies that were all turned and moved before: first every copy, then epoch for epoch in batches."
    rng = np.random.default_rng(1)
    turned = np.stack([shift(rotate(image[..., 0], rng.uniform(0, 360), reshape=False, order=1), rng.integers(-2, 3, 2),
                             order=0) for _ in range(epochs) for image in images])[..., None]
    order, size = rng.permutation(len(turned)), SETTINGS.batch_size
    return sum(float(turned[order[i:i + size]].sum()) for i in range(0, len(order), size))


def ours(folder, n):
    images, sources = start(folder)
    draw_ours(images[:8], make_sources(images[:8]), 1)
    return lambda: draw_ours(images, sources)


def in_memory(folder, n):
    images, _ = start(folder)
    draw_from_memory(images[:8], 1)
    return lambda: draw_from_memory(images)


def check(folder, n):
    "Neither way loses flux: blobs are turned about the centre, and hardly any reaches the edge."
    images, sources = start(folder)
    for found in (draw_ours(images, sources), draw_from_memory(images)):
        np.testing.assert_allclose(found, EPOCHS*images.sum(), rtol=0.02)
    return {}


if __name__ == "__main__":
    run_pairs(Pair(f"{EPOCHS} epochs of {{n}} augmented images of {FIELD} px", 300, 16, ours, in_memory,
                   "turned on the fly", "`scipy.ndimage.rotate`, all copies in memory",
                   "ours turns an eighth of the images by a new angle each epoch, and shows one of the eight views of "
                   "each; scipy turns every copy by an angle of its own", make_images, check))
