"""Links: those that laptrack finds by itself; by motile as well within reach, over gaps, to mothers of fitting size."""

from __future__ import annotations

from types import ModuleType
from typing import cast

import numpy as np
import pytest
from laptrack import LapTrack
from monolayer.compiled import Floats
from monolayer.tracking import linking, optimum
from monolayer.tracking.lineage import lineage
from monolayer.tracking.linking import Links, Reach, follow, spacing, within
from timelapse import LINKS

ANY = float("inf")


def wandering(cells: int, frames: int, seed: int, size: float = 300) -> list[Floats]:
    """Places (N, 2) of cells that wander, divide, and are missed now and then."""
    rng = np.random.default_rng(seed)
    places, found = rng.random((cells, 2)) * size, []
    for frame in range(frames):
        places = places + rng.normal(0, 2, places.shape)
        found.append(places[rng.random(len(places)) > 0.04])
        if frame % 2:
            mothers = rng.integers(len(places), size=3)
            places = np.r_[places, places[mothers] + rng.normal(0, 4, (3, 2))]
    return found


def edges(
    frames: list[Floats], reach: Reach, areas: list[Floats] | None = None, by: ModuleType = linking
) -> set[tuple[int, int]]:
    links = by.link(frames, areas or [np.ones(len(frame)) for frame in frames], reach)
    return set(zip(links.before.tolist(), links.after.tolist(), strict=True))


@pytest.fixture(params=[linking, optimum], ids=["laptrack", "motile"])
def by(request: pytest.FixtureRequest) -> ModuleType:
    """Each of the two that link."""
    if request.param is optimum:
        pytest.importorskip("motile", reason="needs the extra motile")
    return cast(ModuleType, request.param)


def plain(frames: list[Floats], reach: Reach) -> set[tuple[int, int]]:
    """As laptrack finds them; its count of frames bridges one fewer."""
    tracker = LapTrack(  # type: ignore[call-arg]
        cutoff=reach.move**2,
        gap_closing_cutoff=reach.gap_move**2,
        gap_closing_max_frame_count=reach.gap_frames + 1,
        splitting_cutoff=reach.division**2 or False,
        segment_start_cost=reach.alone,
        segment_end_cost=reach.alone,
        no_splitting_cost=reach.alone,
        no_merging_cost=reach.alone,
    )
    first = np.cumsum([0, *map(len, frames)])
    return {(int(first[a] + i), int(first[b] + j)) for (a, i), (b, j) in tracker.predict(frames).edges}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [Reach(14, 14, 2, 12, ANY), Reach(8, 16, 0, 0, ANY), Reach(20, 6, 1, 20, ANY)])
def test_the_same_links_as_laptrack(seed: int, reach: Reach) -> None:
    frames = wandering(60, 12, seed)
    frames[5] = frames[5][:0]  # nothing was found there
    assert edges(frames, reach) == plain(frames, reach)


def at(*places: tuple[float, float]) -> Floats:
    return np.array(places, np.float64).reshape(-1, 2)


def test_a_cell_moves_less_than_its_reach(by: ModuleType) -> None:
    assert edges([at((0, 0)), at((4.9, 0))], Reach(5, 5, 0, 0, ANY), by=by) == {(0, 1)}
    assert edges([at((0, 0)), at((5, 0))], Reach(5, 5, 0, 0, ANY), by=by) == set()
    assert len(within(at((0, 0)), at((3, 4)), 5).row) == 0


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_cell_may_be_missing_in_so_many_frames(missing: int, by: ModuleType) -> None:
    frames = [at((0, 0)), *[at()] * missing, at((1, 0))]
    assert edges(frames, Reach(5, 5, 2, 0, ANY), by=by) == ({(0, 1)} if missing <= 2 else set())


def test_daughters_are_together_about_as_large_as_their_mother(by: ModuleType) -> None:
    frames = [at((10, 10)), at((8, 10), (13, 10))]
    reach = Reach(6, 6, 1, 6, 1.7)
    assert edges(frames, reach, [np.array([100.0]), np.array([50.0, 55.0])], by) == {(0, 1), (0, 2)}
    # a cell of full size beside one that stays as it is was not born of it
    assert edges(frames, reach, [np.array([100.0]), np.array([100.0, 90.0])], by) == {(0, 1)}


def test_the_one_division_of_a_small_colony_is_no_outlier() -> None:
    """A gap that costs little beside it would be the percentile that laptrack takes for the cost of no link."""
    frames = [at((0, 0), (50, 0)), at((0, 0)), at((-4, 0), (4, 0), (50, 0))]
    assert edges(frames, Reach(8, 8, 1, 8, ANY)) == {(0, 2), (2, 3), (2, 4), (1, 5)}


def test_cells_far_from_each_other_may_move_farther() -> None:
    """Of a diameter of 2 px, by 8 px, 30 px apart; not where others are as near."""
    sparse = [at((0, 0), (30, 0), (0, 30), (30, 33)), at((8, 0), (30, -7), (-4, 30), (30, 25))]
    areas = [np.full(4, np.pi)] * 2
    params = LINKS.model_copy(update={"drift": 0.0})
    assert follow(sparse, areas, params).links.after.tolist() == [4, 5, 6, 7]
    assert not len(follow(sparse, areas, params.model_copy(update={"sparse_move": 0.0})).links.after)
    dense = [np.r_[frame, frame + 1] for frame in sparse]
    assert not len(follow(dense, [np.full(8, np.pi)] * 2, params).links.after)
    assert spacing([at(), at((1, 1))]) == 0


def test_no_cells_have_no_links(by: ModuleType) -> None:
    assert edges([at(), at(), at()], Reach(5, 5, 2, 5, ANY), by=by) == set()
    assert edges([at((1, 1)), at()], Reach(5, 5, 2, 5, ANY), by=by) == set()


def test_generations_count_divisions() -> None:
    # 0 divides into 1 and 2; 2 is missing for a frame and is then 3, which divides into 4 and 5
    frames = np.array([0, 1, 1, 3, 4, 4])
    found = lineage(frames, Links(np.array([0, 0, 2, 3, 3]), np.array([1, 2, 3, 4, 5])))
    assert found.track.tolist() == [1, 2, 3, 3, 4, 5]
    assert found.parent.tolist() == [0, 1, 1, 1, 3, 3]
    assert found.generation.tolist() == [0, 1, 1, 1, 2, 2]
