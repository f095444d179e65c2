"""Compares the time of d1 + d2 with its definition: one distance transform per object.

    python benchmarks/border_weights.py [--quick]

Prints CPU seconds of both, their ratio, the largest difference of the border term (w0 = 10, sigma =
5), and CPU seconds of the same code jitted for the device. `--quick` skips the definition for more
than 100 objects. Goals: ratios of 50 on 1024 x 1024 with 1000 objects and 10 on 512 x 512 with 80.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.losses.border_weights import reach, separation, separation_on_device

LIMIT = reach(10.0, 5.0)


def definition(instance: NDArray[np.int32]) -> NDArray[np.float64]:
    """Two smallest of all objects' distance transforms, without keeping them all."""
    first = np.full(instance.shape, np.inf)
    second = np.full(instance.shape, np.inf)
    for number in np.unique(instance[instance > 0]):
        distance = ndimage.distance_transform_edt(instance != number)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return first + second


def discs(size: int, count: int, radius: float) -> NDArray[np.int32]:
    """Discs of up to a radius at random places; later ones cover earlier ones."""
    random = np.random.default_rng(0)
    instance = np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        y, x = random.uniform(0, size, 2)
        r = random.uniform(0.5, 1) * radius
        top, left = int(max(0, y - r)), int(max(0, x - r))
        rows, columns = np.ogrid[top : int(y + r) + 2, left : int(x + r) + 2]
        box = instance[top : int(y + r) + 2, left : int(x + r) + 2]
        inside = (rows - y) ** 2 + (columns - x) ** 2 < r * r
        box[inside[: box.shape[0], : box.shape[1]]] = number
    return instance


def nested(size: int, count: int) -> NDArray[np.int32]:
    """Rings one in another, each with its own id: the bounding box of most is the whole image."""
    rows, columns = np.ogrid[:size, :size]
    outward = np.maximum(abs(rows - size / 2), abs(columns - size / 2))
    return (1 + outward * 2 * count / size).astype(np.int32)


def cpu_seconds(function: Callable[[], Any], *, repeats: int = 3) -> tuple[float, Any]:
    """The least of a few runs."""
    best, out = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        out = function()
        best = min(best, time.process_time() - start)
    return best, out


def main() -> None:
    """Prints a line per case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    cases = {
        "512 x 512, 80 nuclei": discs(512, 80, 16),
        "1024 x 1024, 1000 objects": discs(1024, 1000, 14),
        "1024 x 1024, 100 nested rings": nested(1024, 100),
        "1024 x 1024, 1 object": discs(1024, 1, 300),
        "1024 x 1024, 100,000 ids": np.arange(1024 * 1024, dtype=np.int32).reshape(1024, -1) // 10,
    }
    compiled = jax.jit(lambda instance: separation_on_device(instance, LIMIT))
    for name, instance in cases.items():
        ours, fast = cpu_seconds(lambda i=instance: separation(i, LIMIT))
        batch = jax.numpy.asarray(instance)[None]
        compiled(batch).block_until_ready()
        jitted, on_device = cpu_seconds(lambda b=batch: compiled(b).block_until_ready())
        line = f"{name:30s} NumPy {ours:.3f} s, jitted {jitted:.3f} s"
        error = float(np.abs(term(np.asarray(on_device[0])) - term(fast)).max())
        line += f", between them {error:.1e}"
        objects = len(np.unique(instance[instance > 0]))
        if objects <= (100 if quick else 1000):
            slow, exact = cpu_seconds(lambda i=instance: definition(i), repeats=1)
            error = float(np.abs(term(exact) - term(fast)).max())
            line += f", definition {slow:.2f} s: ratio {slow / ours:.0f}, difference {error:.1e}"
        print(line, flush=True)


def term(gap: NDArray[Any]) -> NDArray[Any]:
    """The border term."""
    out: NDArray[Any] = 10 * np.exp(-(gap**2) / 50)
    return out


if __name__ == "__main__":
    main()
