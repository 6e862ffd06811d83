"""The bench of lost nodes: what it compares, and that trainings and tables survive the loss of a node."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.bench.node_network import missing_rights
from infra.bench.nodes import TOLERANCE, compare_losses


def test_another_number_of_steps_and_other_losses_are_named() -> None:
    wanted = {"pretrain": [2.0, 1.0], "finetune": [3.0, 2.5]}
    assert compare_losses(wanted, {"pretrain": [2.0, 1.0 + TOLERANCE / 2], "finetune": [3.0, 2.5]}) == ()
    assert compare_losses(wanted, {"pretrain": [2.0], "finetune": [3.0, 2.0]}) == (
        "finetune: loss 2.00000 for 2.50000 in step 2",
        "pretrain: 1 steps for 2",
    )
    assert compare_losses(wanted, {"pretrain": [2.0, 1.0]}) == ("finetune: 0 steps for 2",)
    assert compare_losses(wanted, {**wanted, "pretrain": [2.0, float("nan")]}) == (
        "pretrain: loss nan for 1.00000 in step 2",
    )


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_stages_that_lose_a_node_end_like_those_of_one_node(tmp_path: Path) -> None:
    if reason := missing_rights():
        pytest.skip(reason)
    command = [sys.executable, "-m", "infra.bench.nodes", str(tmp_path / "nodes")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["ingest", "parse", "shard", "pretrain", "finetune"]
    assert all(row[1] in ("node 2", "node 3") for row in rows[:3])
    assert all(row[1].startswith("node 3 after step") for row in rows[3:])
    assert {row[-1] for row in rows} == {"yes"}
