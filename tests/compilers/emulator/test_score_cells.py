"""Where objects are: by scores where there are any, by what is rare where there are none."""

from __future__ import annotations

import numpy as np

from build_rules.compilers.emulator.score_cells import Target, cell_weights, on_grid, weighted_errors


def test_a_cell_weighs_what_its_best_class_scores() -> None:
    scores = np.zeros((1, 4, 4, 3), np.float32)
    scores[0, 1, 2] = (0.1, 0.8, 0.3)
    weights = cell_weights({"scores": scores, "boxes": np.zeros((1, 4, 4, 16), np.float32)}, ["scores"])
    assert weights["boxes"][1, 2] == weights["scores"][1, 2] == np.float32(0.8)
    assert weights["boxes"].sum() == np.float32(0.8)


def test_an_output_of_another_grid_has_the_best_of_all_scales() -> None:
    fine, coarse = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 2, 2, 1), np.float32)
    fine[0, 0, 3], coarse[0, 1, 0] = 0.5, 0.25
    delivered = {"fine": fine, "coarse": coarse, "masks": np.zeros((1, 8, 8, 2), np.float32)}
    weights = cell_weights(delivered, ["fine", "coarse"])["masks"]
    assert (weights[:2, 6:] == 0.5).all()
    assert (weights[4:, :4] == 0.25).all()
    assert np.count_nonzero(weights) == 4 + 16


def test_a_coarser_grid_takes_the_largest_of_a_cell() -> None:
    scale = np.arange(16.0).reshape(4, 4)
    assert on_grid(scale, (2, 2)).tolist() == [[5, 7], [13, 15]]


def test_without_scores_the_cells_that_differ_weigh_most() -> None:
    rng = np.random.default_rng(1)
    grid = rng.normal(size=(1, 8, 8, 18)).astype(np.float32)
    grid[0, 3, 5] += 8
    weights = cell_weights({"grid": grid}, [])["grid"]
    assert weights.argmax() == 3 * weights.shape[1] + 5
    assert weights[3, 5] > 5 * np.median(weights)


def test_errors_count_where_objects_are() -> None:
    wanted = np.zeros((1, 2, 2, 4), np.float32)
    target = Target({"boxes": wanted}, {"boxes": np.array([[1.0, 0.0], [0.0, 0.5]])})
    found = wanted.copy()
    found[0, 0, 1] = 100  # nobody reads it
    found[0, 1, 1] = 2
    assert weighted_errors({"boxes": found}, target) == {"boxes": 0.5 * 4}
