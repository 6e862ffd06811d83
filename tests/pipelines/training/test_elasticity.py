"""The number of ranks changes neither the samples nor the losses, from one start to the next or within a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.training import elastic_runs as runs
from tests.pipelines.training import toy_stage as toy
from tests.pipelines.training.engine_ranks import run_ranks
from trrg_core.storage.store import open_store


def _losses(folder: Path, run_id: str) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = json.loads((folder / f"runs/{run_id}/losses.json").read_text())
    return losses


def test_a_run_goes_on_with_two_then_one_then_three_ranks(tmp_path: Path) -> None:
    assert toy.write_toy_shards(open_store(str(tmp_path))) == "shards@0"
    run_ranks(runs.toy_without_a_stop, tmp_path, 2)
    assert [one["reached"] for one in run_ranks(runs.toy_to_step_3, tmp_path, 2)] == [3, 3]
    assert [one["reached"] for one in run_ranks(runs.toy_to_step_6, tmp_path, 1)] == [6]
    assert [one["reached"] for one in run_ranks(runs.toy_to_the_end, tmp_path, 3)] == [12, 12, 12]
    whole, elastic = _losses(tmp_path, "one-go"), _losses(tmp_path, "elastic")
    assert len(elastic) == 12
    for name in ("loss", "noise", "rows"):  # `rows` depends on the order of the samples alone
        assert [one[name] for one in elastic] == pytest.approx([one[name] for one in whole], rel=1e-5, abs=1e-6)
    validated = [[one["validate_loss"] for one in losses if "validate_loss" in one] for losses in (whole, elastic)]
    assert len(validated[0]) == 6
    assert validated[1] == pytest.approx(validated[0], rel=1e-5)


def test_stage_1_compares_all_micro_batches_with_any_number_of_ranks(tmp_path: Path) -> None:
    results: dict[int, list[dict[str, Any]]] = {
        world: run_ranks(runs.stage1_losses, tmp_path / str(world), world) for world in (1, 2, 4)
    }
    expected = results[4][0]
    for world in (1, 2):
        for step, losses in enumerate(results[world][0]["losses"]):
            assert losses == pytest.approx(expected["losses"][step], rel=1e-5, abs=1e-5), (world, step)
        for own, other in zip(results[world][0]["statistics"], expected["statistics"], strict=True):
            assert own == pytest.approx(other, rel=1e-4, abs=1e-5)
