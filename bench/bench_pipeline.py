"Feeding a training: radiogal's batches of a prepared set against Keras's of a folder of images. No network is trained."
import numpy as np
from _made import FIELD, draw_images, make_sources
from _pairs import Pair, run_pairs

from radiogal.config import Training

EPOCHS, SETTINGS = 4, Training(augmentation="turns", max_shift=2, batch_size=32)


def make_files(folder, n):
    "The same images as a prepared set, and as PNG files in a folder per class."
    from PIL import Image

    from radiogal.datasets import write_prepared
    sources = make_sources(draw_images(n))
    write_prepared(sources, folder/"prepared.h5")
    for name in sources.classes: (folder/"png"/name).mkdir(parents=True)
    for image, name, label in zip(sources.images, sources.names, sources.labels, strict=True):
        pixels = (255*image[..., 0]).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder/"png"/sources.classes[label]/f"{name}.png")
    return {}


def start():
    from radiogal.training import start_keras
    start_keras(1)


def feed_ours(folder, epochs=EPOCHS):
    "Images of all batches, counted; they are read once, and drawn a batch ahead."
    from radiogal.datasets import read_prepared
    from radiogal.training import Views, draw_ahead, draw_epoch
    sources = read_prepared(folder/"prepared.h5")
    views = Views(sources.images, FIELD, None, SETTINGS, 1)
    return sum(len(images) for epoch in range(epochs) for images, _, _ in draw_ahead(draw_epoch(views, sources, epoch)))


def feed_keras(folder, epochs=EPOCHS):
    "The same from files, augmented by preprocessing layers, as Keras's guides have it."
    import keras
    from keras import layers
    dataset = keras.utils.image_dataset_from_directory(folder/"png", label_mode="categorical", color_mode="grayscale",
                                                       batch_size=SETTINGS.batch_size, image_size=(FIELD, FIELD),
                                                       seed=1, verbose=False)
    steps = keras.Sequential([layers.Rescaling(1/255), layers.RandomFlip(seed=1),
                              layers.RandomRotation(0.5, fill_mode="constant", seed=2),
                              layers.RandomTranslation(2/FIELD, 2/FIELD, fill_mode="constant", seed=3)])
    batches = dataset.map(lambda images, truth: (steps(images, training=True), truth), num_parallel_calls=2).prefetch(1)
    return sum(len(images.numpy()) for _ in range(epochs) for images, _ in batches)


def ours(folder, n):
    start()
    feed_ours(folder, 1)
    return lambda: feed_ours(folder)


def keras_files(folder, n):
    start()
    feed_keras(folder, 1)
    return lambda: feed_keras(folder)


def check(folder, n):
    start()
    assert feed_ours(folder, 2) == feed_keras(folder, 2) == 2*n
    return {}


if __name__ == "__main__":
    run_pairs(Pair(f"{EPOCHS} epochs of {{n}} images of {FIELD} px, read and augmented", 600, 16, ours, keras_files,
                   "prepared set, batches drawn a step ahead",
                   "`image_dataset_from_directory` with preprocessing layers",
                   "ours checks the set's digest, and turns an eighth of the images by a new angle each epoch; Keras "
                   "decodes each file and turns each image every time", make_files, check))
