"""Matrices in arrays: each form is read as the PolSARpro folder of the same scene is."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.polsar_folder import scattering, write_polsarpro
from scipy import io

from jaxseg.errors import UserError
from jaxseg.files.polsar import open_polsar
from jaxseg.physics import polsar
from jaxseg.scenes.scene import Window

WHOLE = Window(0, 0, 20, 24)
WINDOW = Window(3, 5, 10, 12)
S2 = scattering(20, 24)
BANDS = {
    "T3": np.asarray(polsar.t3_from_s2(jnp.asarray(S2))),
    "C3": np.asarray(polsar.c3_from_s2(jnp.asarray(S2))),
}


def full(kind: str) -> Any:
    return np.asarray(polsar.matrices(jnp.asarray(BANDS[kind])))


def forms(kind: str) -> dict[str, Any]:
    matrix = full(kind)
    upper = [matrix[..., i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    return {
        "nine real": BANDS[kind],
        "nine complex": matrix.reshape(20, 24, 9),
        "three by three": matrix,
        "six": np.stack(upper, axis=-1),
    }


@pytest.mark.parametrize("form", ["nine real", "nine complex", "three by three", "six"])
@pytest.mark.parametrize("kind", ["T3", "C3"])
def test_every_form_is_read_as_the_folder_is(tmp_path: Path, kind: Any, form: str) -> None:
    folder = open_polsar(write_polsarpro(tmp_path / kind, kind, BANDS[kind]))
    np.save(tmp_path / f"scene_{kind}.npy", forms(kind)[form])
    scene = open_polsar(tmp_path / f"scene_{kind}.npy")
    assert (scene.kind, scene.height, scene.width, scene.gsd) == (kind, 20, 24, None)
    expected, found = folder.matrices(WINDOW), scene.matrices(WINDOW)
    np.testing.assert_allclose(found.bands, expected.bands, rtol=1e-5, atol=1e-5)
    assert found.good.all()
    np.testing.assert_array_equal(found.known, expected.known)


def test_scattering_matrices_and_the_name_of_the_array(tmp_path: Path) -> None:
    io.savemat(tmp_path / "day.mat", {"S2": S2, "gt": np.ones((20, 24), np.uint8)})
    scene = open_polsar(tmp_path / "day.mat")
    assert scene.kind == "S2"
    np.testing.assert_allclose(scene.matrices(WHOLE).bands, BANDS["T3"], rtol=1e-5, atol=1e-5)


def test_matrices_that_are_not_hermitian_are_bad(tmp_path: Path) -> None:
    matrix = full("T3").copy()
    matrix[2, 3, 1, 0] += 9
    np.save(tmp_path / "T3.npy", matrix)
    good = open_polsar(tmp_path / "T3.npy").matrices(WHOLE).good
    assert (~good).sum() == 1
    assert not good[2, 3]


def test_what_is_not_said_or_not_read_is_an_error(tmp_path: Path) -> None:
    for name, arrays, words in (
        ("a.npz", {"x": BANDS["T3"]}, r"x \(20 x 24 x 9, float32\) does not say"),
        ("b.npz", {"T3": BANDS["T3"], "C3": BANDS["C3"]}, "one array of matrices is needed"),
        ("c.npz", {"T3": BANDS["T3"][..., :8]}, r"T3 \(20 x 24 x 8, .*not a form of T3"),
        ("d.npz", {"S2": S2.real}, "not a form of S2"),
        ("e.npz", {"gt": np.ones((20, 24))}, "one array of matrices is needed"),
    ):
        np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=words):
            open_polsar(tmp_path / name)
