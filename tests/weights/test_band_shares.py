"""Every rule keeps the mean response; names and wavelengths put kernels where they belong."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights import band_shares


def test_every_rule_keeps_the_answer_to_a_grey_image() -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 8)).astype(np.float32)
    rules = [band_shares.even_shares(bands, 3) for bands in (1, 2, 3, 13, 200)]
    rules.append(band_shares.shares_by_name(["NIR", "r", "G"], ["R", "G", "B"]))
    rules.append(band_shares.shares_by_wavelength([1600, 700, 560, 550], [640, 550, 460]))
    rules.append(band_shares.shares_by_wavelength([840], [640, 550, 460]))
    for shares in rules:
        spread = band_shares.spread_bands(kernel, shares)
        assert spread.shape == (3, 3, len(shares), 8)
        np.testing.assert_allclose(shares.sum(0), 1)
        assert shares.min() >= 0
        np.testing.assert_allclose(spread.sum(2), kernel.sum(2), atol=1e-4)


def test_as_many_bands_keep_their_kernels() -> None:
    kernel = np.ones((3, 3, 3, 8), np.float32)
    assert band_shares.spread_bands(kernel, band_shares.even_shares(3, 3)) is kernel


def test_a_name_keeps_its_kernel_and_orphans_share_what_is_left() -> None:
    shares = band_shares.shares_by_name(["B", "G", "R", "NIR"], ["R", "G", "B"])
    np.testing.assert_array_equal(shares, np.eye(4)[[2, 1, 0, 3], :3])
    shares = band_shares.shares_by_name(["G", "NIR", "SWIR"], ["R", "G", "B"])
    np.testing.assert_allclose(shares, [[0, 1, 0], [0.5, 0, 0.5], [0.5, 0, 0.5]])
    with pytest.raises(UserError, match="No band of the data"):
        band_shares.shares_by_name(["VV", "VH"], ["R", "G", "B"])
    with pytest.raises(UserError, match="may appear once"):
        band_shares.shares_by_name(["R", "r"], ["R", "G", "B"])


def test_wavelengths_divide_a_kernel_among_those_nearest_to_it() -> None:
    shares = band_shares.shares_by_wavelength([490, 560, 665, 842], [665, 560, 490])
    expected = [[0, 0, 1], [0, 1, 0], [0.5, 0, 0], [0.5, 0, 0]]  # infrared stands in for red
    np.testing.assert_allclose(shares, expected)
    halfway = band_shares.shares_by_wavelength([500, 550, 600], [500, 600])
    np.testing.assert_allclose(halfway, [[2 / 3, 0], [1 / 3, 1 / 3], [0, 2 / 3]])
    with pytest.raises(UserError, match="positive nanometres"):
        band_shares.shares_by_wavelength([0.0], [500])
