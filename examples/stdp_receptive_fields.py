"""Receptive fields of digits, learned from MNIST without labels by STDP (Diehl and Cook, 2015).

Each image is shown for 350 ms as Poisson trains of pixel / 4 Hz, and then nothing for 150 ms. 100
neurons compete for it: inhibition lets few answer, a rising threshold lets each have its turn, and
STDP makes whoever answers more like the image. Labels come in at the end: each neuron gets that of
the digit which it answers most, and a new image that of the neurons which answer it most.

    python examples/stdp_receptive_fields.py FOLDER [--images 3000] [--tests 1000]

FOLDER has the four files of MNIST, as they are distributed (``train-images-idx3-ubyte.gz``, ...);
``torchvision.datasets.MNIST`` fetches them, for one. The defaults, which are a short run, reach
64.5 %; most neurons have not learned by then. Published: 82.9 % with 100 neurons and 87.0 % with
400, trained on all 60,000 images, the larger network several times.

Reference: P. U. Diehl, M. Cook (2015), *Unsupervised learning of digit recognition using
spike-timing-dependent plasticity*, Front. Comput. Neurosci. 9:99.
"""

import argparse
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spikesim.datasets.readers.idx import read_idx
from spikesim.network import Network
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.recipes.diehl_cook import SHAPE, Learned, layer, normalise
from spikesim.neurons import IF

SHOWN, REST, LEAST = 350.0, 150.0, 5  # ms, ms, spikes
RATE, MORE = 255 / 4, 32.0  # Hz: of a white pixel, and after each try without enough spikes
BRIGHTEST = 1000.0
WINDOW = 500  # images over which accuracy while learning is taken
Array: TypeAlias = NDArray[Any]


class Layer:
    """Neurons before a screen on which images are shown; without ``learned`` they learn."""

    def __init__(self, size: int, seed: int, learned: Learned | None = None) -> None:
        self.net = Network(dt=0.5, seed=seed, dtype="float64")
        # A perfect integrator of Poisson spikes repeats them: faster than neurons that draw.
        screen = self.net.population(IF(), SHAPE, name="screen")
        self.rates = np.zeros(screen.size)
        self.net.poisson(screen, lambda t: self.rates, 1.0, every=SHOWN, largest=BRIGHTEST)
        self.neurons, self.fields = layer(self.net, screen, size, learned)
        self.spikes = self.net.probe(self.neurons, "spikes")

    def show(self, image: Array) -> Array:
        """Spikes of each neuron, ``[neurons]``, while the image is shown."""
        brightness = RATE
        while True:
            if isinstance(self.fields, PlasticProjection):
                normalise(self.fields)
            self.rates[:] = image.reshape(-1) * (brightness / 255)
            self.net.run(SHOWN)
            counts = np.bincount(self.spikes.senders, minlength=self.neurons.size)
            self.rates[:] = 0.0
            self.net.run(REST)
            self.spikes.clear()
            brightness += MORE
            if counts.sum() >= LEAST or brightness > BRIGHTEST:
                return counts

    def learned(self) -> Learned:
        """What it knows by now."""
        weights = self.fields.table()["weight"].reshape(-1, self.neurons.size)
        theta = self.neurons.state["theta"].astype(np.float64)
        return Learned(weights, theta)


def mnist(folder: Path) -> tuple[Array, Array, Array, Array]:
    """Images and labels to learn from, images and labels to be tested with."""
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x, y, x_test, y_test = (read_idx(folder / f"{part}-ubyte.gz") for part in parts)
    return x, y, x_test, y_test


def means(counts: Array, labels: Array) -> Array:
    """Mean spikes of each neuron for each digit, ``[10, neurons]``."""
    rows = (counts[labels == digit] for digit in range(10))
    return np.stack([r.mean(0) if len(r) else np.zeros(counts.shape[1]) for r in rows])


def told(counts: Array, assigned: Array) -> Array:
    """The digit whose neurons answer most, for each image, ``[images]``."""
    of_digit = (assigned == np.arange(10)[:, None]).astype(float)  # [10, neurons]
    mean = counts @ of_digit.T / np.maximum(of_digit.sum(1), 1)
    best: Array = mean.argmax(1)
    return best


def shown(layer_: Layer, images: Array, text: str) -> Array:
    """Spikes ``[images, neurons]``, with a bar that tells how far it is."""
    return np.stack([layer_.show(image) for image in track(images, text)])


def experiment(
    data: tuple[Array, Array, Array, Array], size: int, images: int, tests: int, seed: int
) -> tuple[Learned, Array, Array, float]:
    """Learn and test.

    Returns:
        What was learned, the label of each neuron, the accuracy in each window while it learned
        (neurons have the labels of the window before), and that of new images afterwards.
    """
    x, y, x_test, y_test = data
    chosen = np.random.default_rng(seed).permutation(len(x))[:images]
    x, y = x[chosen], y[chosen]
    learner = Layer(size, seed)
    counts = shown(learner, x, "learn")
    cuts = range(WINDOW, images - WINDOW + 1, WINDOW)
    course = [
        np.mean(
            told(counts[c : c + WINDOW], means(counts[c - WINDOW : c], y[c - WINDOW : c]).argmax(0))
            == y[c : c + WINDOW]
        )
        for c in cuts
    ]
    learned = learner.learned()
    fixed = Layer(size, seed, learned)
    assigned = means(shown(fixed, x[-tests:], "label"), y[-tests:]).argmax(0)
    answers = told(shown(fixed, x_test[:tests], "test"), assigned)
    return learned, assigned, np.array(course), float(np.mean(answers == y_test[:tests]))


def draw(path: str, learned: Learned, assigned: Array, course: Array) -> None:
    """The receptive fields, and the accuracy while they were learned."""
    import matplotlib.pyplot as plt

    size = learned.theta.size
    wide = int(np.ceil(np.sqrt(size)))
    fields = np.zeros((wide * wide, *SHAPE))
    fields[:size] = learned.weights.T.reshape(-1, *SHAPE)[np.argsort(assigned, kind="stable")]
    grid = fields.reshape(wide, wide, *SHAPE).swapaxes(1, 2).reshape(wide * 28, wide * 28)
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6.5), layout="constrained")
    left.imshow(grid, cmap="hot_r")
    left.set(title=f"receptive fields of {size} neurons, by label", xticks=[], yticks=[])
    right.plot(WINDOW * (1.5 + np.arange(course.size)), course, marker="o")
    right.axhline(0.1, color="gray", linestyle="--")
    right.set(xlabel="images seen", ylabel="accuracy while learning", ylim=(0, 1))
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of MNIST's four files")
    parser.add_argument("--images", type=int, default=3000, help="to learn from")
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="receptive_fields.png")
    o = parser.parse_args()
    found = experiment(mnist(o.folder), o.neurons, o.images, o.tests, o.seed)
    learned, assigned, course, accuracy = found
    print(f"while learning: {' '.join(f'{value:.2f}' for value in course)}")
    print(f"{o.neurons} neurons, {o.images} images, seed {o.seed}: accuracy {accuracy:.3f} "
          f"of {o.tests} test images")  # fmt: skip
    draw(o.picture, learned, assigned, course)
    print(f"picture: {o.picture}")


if __name__ == "__main__":
    main()
