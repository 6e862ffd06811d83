"""The engine on 1 to 3 ranks: state that any number of ranks restores, accumulation, steps that are skipped."""

import json
import os
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from pipelines.training.bad_steps import BadStepRecord
from pipelines.training.deepspeed_setup import build_optimizer, deepspeed_config, initialize, partitioned_build
from tests.pipelines.training.engine_ranks import (
    NumberBatch,
    NumberModel,
    NumberOutput,
    number_batch,
    number_engine,
    own_batches,
    read_state,
    run_ranks,
)
from trrg_core.config.settings import EncoderConfig, EngineConfig, LoraSettings, OptimizerConfig
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.model.adapters import add_adapters
from trrg_core.model.backbones import build_backbone
from trrg_core.runs.checkpoints import finish_checkpoint
from trrg_core.storage.store import open_store

MODES = [(stage, precision) for stage in (0, 1, 2, 3) for precision in ("fp32", "bf16")]
MICRO_BATCHES = 6


def _steps(engine: Any, first: int, last: int) -> list[float]:
    return [engine.train_step(own_batches(step, MICRO_BATCHES), step)["loss"] for step in range(first, last)]


def train_and_save(folder: Path) -> dict[str, Any]:
    """Three steps in each mode, a save, and the losses of two further steps; the state of each before its first."""
    result: dict[str, Any] = {}
    for stage, precision in MODES:
        engine = number_engine(stage, precision)
        result[f"new-{stage}-{precision}"] = _state_before_training(engine, precision)
        first = _steps(engine, 0, 3)
        local = folder / f"{stage}-{precision}"
        local.mkdir(exist_ok=True)
        engine.save(local)
        result[f"{stage}-{precision}"] = [*first, *_steps(engine, 3, 5)]
        engine.close()
    return result


def _state_before_training(engine: Any, precision: str) -> list[float]:
    """Optimizer steps done, and the largest difference of a weight from that of the model."""
    torch.manual_seed(3)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = {name: one.detach().to(dtype).float().flatten() for name, one in NumberModel().named_parameters()}
    state, apart = engine.copy_state(), [0.0]
    for key, value in state.tensors.items():
        kind, _, name = key.partition("/")
        name, _, start = name.rpartition("@")
        if kind == "weight":
            apart.append(float((value - model[name][int(start) :][: value.numel()]).abs().max()))
    return [state.index["optimizer_steps"], max(apart)]


def _targets(stage: int, precision: str) -> list[int]:
    """The ZeRO stages that restore a state: its own and, in fp32, the next."""
    return [stage, (stage + 1) % 4] if precision == "fp32" else [stage]


def load_save_go_on(folder: Path) -> dict[str, Any]:
    """Restore what another number of ranks saved, save it again, and go on: also into the next ZeRO stage."""
    result = {}
    for stage, precision in MODES:
        for into in _targets(stage, precision):
            engine = number_engine(into, precision)
            engine.load(folder / f"{stage}-{precision}")
            again = folder / f"{stage}-{precision}-into-{into}-on-{dist.get_world_size()}"
            again.mkdir(exist_ok=True)
            engine.save(again)
            result[f"{stage}-{precision}-{into}"] = _steps(engine, 3, 5)
            engine.close()
    return result


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[float]]]:
    """The state that two ranks saved in each mode, and their losses."""
    folder = tmp_path_factory.mktemp("saved")
    return folder, run_ranks(train_and_save, folder, 2)[0]


@pytest.fixture(scope="module", params=[1, 3])
def resumed(
    request: pytest.FixtureRequest, saved: tuple[Path, dict[str, list[float]]]
) -> tuple[int, dict[str, list[float]]]:
    """The losses of one and of three ranks that go on from there."""
    return request.param, run_ranks(load_save_go_on, saved[0], request.param)[0]


def test_state_is_the_same_to_the_digit_on_any_number_of_ranks(
    saved: tuple[Path, dict[str, list[float]]], resumed: tuple[int, dict[str, list[float]]]
) -> None:
    for stage, precision in MODES:
        before = read_state(saved[0] / f"{stage}-{precision}")
        assert {key.partition("/")[0] for key in before} == {"weight", "exp_avg", "exp_avg_sq"}
        assert sum(value.numel() for key, value in before.items() if key.startswith("weight/")) == 149
        for into in _targets(stage, precision):
            after = read_state(saved[0] / f"{stage}-{precision}-into-{into}-on-{resumed[0]}")
            assert after.keys() == before.keys()
            assert all(torch.equal(after[key], before[key]) for key in before)


def test_training_goes_on_with_the_same_losses_on_any_number_of_ranks(
    saved: tuple[Path, dict[str, list[float]]], resumed: tuple[int, dict[str, list[float]]]
) -> None:
    for name, losses in resumed[1].items():
        stage, precision, _ = name.split("-")
        expected = saved[1][f"{stage}-{precision}"][3:]
        assert losses == pytest.approx(expected, abs=1e-6 if precision == "fp32" else 2e-2)


def test_an_engine_takes_no_step_while_it_is_built(saved: tuple[Path, dict[str, list[float]]]) -> None:
    for stage, precision in MODES:
        assert saved[1][f"new-{stage}-{precision}"] == [0, 0.0], (stage, precision)


def test_each_zero_stage_has_the_same_losses(saved: tuple[Path, dict[str, list[float]]]) -> None:
    for stage, precision in MODES:
        expected = saved[1][f"0-{precision}"]
        assert saved[1][f"{stage}-{precision}"] == pytest.approx(expected, abs=1e-5 if precision == "fp32" else 2e-2)


def load_incomplete(folder: Path) -> dict[str, Any]:
    """The error of loading a folder that lacks one of two shares, and one of a model with another parameter."""
    engine = number_engine(2)
    engine.train_step(own_batches(0, 2), 0)
    for name in ("whole", "part"):
        (folder / name).mkdir(exist_ok=True)
        engine.save(folder / name)
    dist.barrier()
    if dist.get_rank() == 1:
        (folder / "part/state-00001-of-00002.safetensors").unlink()
    dist.barrier()
    errors = {"part": _error(engine, folder / "part"), "empty": _error(engine, folder / "nothing")}
    # a rank without any share of its own receives all from the other
    mine = folder / f"mine-{dist.get_rank()}"
    shutil.copytree(folder / "whole", mine)
    for path in mine.glob("state-*.safetensors"):
        path.unlink() if dist.get_rank() == 1 else None
    engine.load(mine)
    engine.close()
    other = NumberModel()
    other.further = torch.nn.Parameter(torch.ones(2))
    engine = number_engine(2, model=other)
    return {**errors, "other": _error(engine, folder / "whole")}


def _error(engine: Any, folder: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        engine.load(folder)
    return str(caught.value)


def test_an_incomplete_state_is_refused_on_all_ranks_at_once(tmp_path: Path) -> None:
    first, second = run_ranks(load_incomplete, tmp_path, 2)
    assert first == second
    assert "1 of 2 files" in first["part"]
    assert "holds no training state" in first["empty"]
    assert "1 trained parameters differ, the first being further" in first["other"]


class Sentinel:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        return Path.write_text, (self.path, "code was run")


def load_poisoned(folder: Path) -> dict[str, Any]:
    """The errors of states of which one file is a pickle, under the names that are read."""
    engine = number_engine(2)
    engine.train_step(own_batches(0, 1), 0)
    errors = {}
    for name in ("state-00000-of-00001.safetensors", "buffers.safetensors", "state.json"):
        poisoned = folder / f"poisoned-{name}"
        poisoned.mkdir()
        engine.save(poisoned)
        (poisoned / name).write_bytes(pickle.dumps(Sentinel(folder / "sentinel")))
        errors[name] = _error(engine, poisoned)
    # the names of DeepSpeed's own files, which hold pickles: they are not opened
    ours = folder / "ours"
    ours.mkdir()
    engine.save(ours)
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest"):
        (ours / name).write_bytes(pickle.dumps(Sentinel(folder / "sentinel")))
    engine.load(ours)
    return errors


def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    (errors,) = run_ranks(load_poisoned, tmp_path, 1)
    assert len(errors) == 3
    assert all("cannot be read" in text or "holds no training state" in text for text in errors.values())
    assert not (tmp_path / "sentinel").exists()


def wait_for_a_rank_that_hangs(folder: Path) -> dict[str, Any]:
    """Rank 1 does not take part in the second step; how rank 0 ends, and after how many seconds."""
    engine = number_engine(2, engine_collective_timeout_s=10)
    engine.train_step(own_batches(0, 2), 0)
    dist.barrier()
    began, done = time.monotonic(), folder / "done"
    if dist.get_rank() == 1:
        while not done.exists():
            time.sleep(0.1)
        os._exit(7)
    with pytest.raises(RuntimeError) as caught:
        engine.train_step(own_batches(1, 2), 1)
    (folder / "ended.json").write_text(json.dumps({"error": str(caught.value), "seconds": time.monotonic() - began}))
    done.touch()
    os._exit(7)


def test_a_rank_that_hangs_ends_the_others_by_the_timeout(tmp_path: Path) -> None:
    run_ranks(wait_for_a_rank_that_hangs, tmp_path, 2, exit_codes={7}, timeout_s=10)
    ended = json.loads((tmp_path / "ended.json").read_text())
    assert "imed out" in ended["error"]
    assert 9 < ended["seconds"] < 60


def accumulate(folder: Path) -> dict[str, Any]:
    """First moments (a tenth of the gradient) after one step of six micro-batches, by ZeRO stage and number format."""
    result = {}
    for stage, precision in MODES:
        engine = number_engine(stage, precision, engine_clip_norm=1e6)
        engine.train_step(own_batches(0, MICRO_BATCHES), 0)
        result[f"{stage}-{precision}"] = _moments(engine)
        engine.close()
    # two of six are padding, on rank 1 only where there are two ranks
    engine = number_engine(2, engine_clip_norm=1e6)
    rank, world = dist.get_rank(), dist.get_world_size()
    padded = {1: [1.0, 1, 1, 0, 1, 0], 2: [1.0, 1, 1] if rank == 0 else [1.0, 0, 0]}[world]
    losses = engine.train_step(own_batches(0, MICRO_BATCHES), 0, weights=padded)
    result["padded"] = [losses["loss"], *_moments(engine)]
    engine.close()
    return result


def accumulate_plainly(folder: Path) -> dict[str, Any]:
    """The same gradients, a tenth, by torch's DistributedDataParallel."""
    result = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(3)
        model = NumberModel().to(torch.bfloat16 if precision == "bf16" else torch.float32)
        parallel = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
        *batches, last = own_batches(0, MICRO_BATCHES)
        with parallel.no_sync():
            for batch in batches:
                (parallel(batch).loss / (len(batches) + 1)).backward()
        (parallel(last).loss / (len(batches) + 1)).backward()
        named = sorted((name, one.grad) for name, one in model.named_parameters() if one.grad is not None)
        result[precision] = [value / 10 for _, grad in named for value in grad.float().flatten().tolist()]
    return result


def _moments(engine: Any) -> list[float]:
    tensors = engine.copy_state().tensors
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, {key: value.tolist() for key, value in tensors.items() if key[:8] == "exp_avg/"})
    pieces = {key: value for of_rank in gathered for key, value in of_rank.items()}
    order = sorted(pieces, key=lambda key: (key.rpartition("@")[0], int(key.rpartition("@")[2])))
    return [value for key in order for value in pieces[key]]


@pytest.fixture(scope="module")
def accumulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    return run_ranks(accumulate, tmp_path_factory.mktemp("two"), 2)[0]


def test_accumulated_gradients_are_those_of_plain_data_parallel_training(
    tmp_path: Path, accumulated: dict[str, list[float]]
) -> None:
    plain = run_ranks(accumulate_plainly, tmp_path, 2)[0]
    for stage, precision in MODES:
        ours = torch.tensor(accumulated[f"{stage}-{precision}"])
        expected = torch.tensor(plain[precision])
        scale = expected.abs().max()
        assert scale > 0.01
        # bf16 has 8 bits, and six gradients are summed in another order
        limit = 1e-6 if precision == "fp32" else 0.02
        assert (ours - expected).abs().max() / scale < limit, (stage, precision)


def test_padding_does_not_count(tmp_path: Path, accumulated: dict[str, list[float]]) -> None:
    one_rank = run_ranks(accumulate, tmp_path, 1)[0]
    # rank 0 has micro-batches 0, 2, 4 and rank 1 the one numbered 1: alone, 0, 1, 2 and 4 count
    assert accumulated["padded"] == pytest.approx(one_rank["padded"], abs=1e-6)
    assert accumulated["padded"][1:] != pytest.approx(accumulated["2-fp32"], abs=1e-3)


def go_wrong(folder: Path) -> dict[str, Any]:
    """In each mode: good, bad and good steps, then bad ones to the end; what happened to the weights, and the error."""
    store = open_store(str(folder / "store"))
    result = {}
    for stage, precision in MODES:
        name = f"{stage}-{precision}"
        record = BadStepRecord(store, f"runs/{name}")
        engine = number_engine(stage, precision, engine_max_bad_steps=3, bad_step_record=record)
        engine.train_step(own_batches(0, 4), 0)
        steps = []
        for step, fault in enumerate(("gradient", "", "infinite gradient", "loss", "", "gradient", "gradient"), 1):
            before = engine.copy_state().tensors
            batches = own_batches(step, 4)
            if dist.get_rank() == 1:
                batches[0] = number_batch(step, 1, fault=fault)
            engine.train_step(batches, step)
            after = engine.copy_state().tensors
            changed = any(not torch.equal(after[key], before[key]) for key in before)
            finite = all(bool(value.isfinite().all()) for value in after.values())
            steps.append([fault, changed, finite])
        if dist.get_rank() == 0:
            finish_checkpoint(store, f"runs/{name}/checkpoints/step-1", step=1, files={}, notes={})
        with pytest.raises(TrainingError) as caught:
            engine.train_step([replace(batch, fault="loss") for batch in own_batches(9, 4)], 9)
        result[name] = {"steps": steps, "error": str(caught.value)}
        engine.close()
    again = number_engine(0, engine_max_bad_steps=3, bad_step_record=BadStepRecord(store, "runs/0-fp32"))
    again.recall_bad_steps(8)
    with pytest.raises(TrainingError, match="at 3 steps in a row, the last being 8"):
        again.train_step([replace(batch, fault="loss") for batch in own_batches(8, 4)], 8)
    again.close()
    return result


def test_a_step_without_finite_gradient_is_skipped_on_all_ranks_and_recorded(tmp_path: Path) -> None:
    first, second = run_ranks(go_wrong, tmp_path, 2)
    assert first == second
    for stage, precision in MODES:
        name = f"{stage}-{precision}"
        # [fault, whether the state changed, whether it is finite]
        assert first[name]["steps"] == [[fault, not fault, True] for fault, *_ in first[name]["steps"]], name
        assert "at 3 steps in a row, the last being 9" in first[name]["error"]
        assert f"the last good checkpoint is runs/{name}/checkpoints/step-1" in first[name]["error"]
        bad = json.loads((tmp_path / f"store/runs/{name}/bad_steps.json").read_text())
        assert [(one["step"], one["what"]) for one in bad] == [
            (1, "gradient"),
            (3, "gradient"),
            (4, "loss"),
            (6, "gradient"),
            (7, "gradient"),
            (8 if name == "0-fp32" else 9, "loss"),  # an attempt that resumed goes on with the record
        ]
        assert sorted(bad[0]["study_ids"]) == sorted(f"s1-{index}-{row}" for index in range(4) for row in range(4))


def vary_the_optimizer(folder: Path) -> dict[str, Any]:
    """An average of weights in each ZeRO stage, a state with it; offload; a compiled model."""
    result: dict[str, Any] = {}
    for stage in range(4):
        engine = number_engine(stage, optimizer_ema_decay=0.5, optimizer_beta2=0.95)
        _steps(engine, 0, 2)
        (folder / f"average-{stage}").mkdir(exist_ok=True)
        engine.save(folder / f"average-{stage}")
        now = _weights(engine)
        with engine.averaged_weights():
            result[f"averaged-{stage}"] = _weights(engine)
        assert _weights(engine) == now
        result[f"next-{stage}"] = _steps(engine, 2, 4)
        engine.close()
        again = number_engine(stage, optimizer_ema_decay=0.5, optimizer_beta2=0.95)
        again.load(folder / f"average-{stage}")
        with again.averaged_weights():
            result[f"averaged-again-{stage}"] = _weights(again)
        result[f"next-again-{stage}"] = _steps(again, 2, 4)
        again.close()
    plain = {"offload_optimizer": "none", "offload_parameters": "none", "compile_backend": ""}
    for name, stage, changes in (
        ("plain-2", 2, {}),
        ("plain-3", 3, {}),
        ("offload-2", 2, {"offload_optimizer": "cpu"}),
        ("offload-3", 3, {"offload_optimizer": "cpu", "offload_parameters": "cpu"}),
        ("compiled-2", 2, {"compile_backend": "aot_eager"}),
    ):
        settings = {f"engine_{key}": value for key, value in {**plain, **changes}.items()}
        engine = number_engine(stage, **settings)
        result[name] = _steps(engine, 0, 4)
        engine.close()
    return result


def gather(folder: Path) -> dict[str, Any]:
    """The names in the gathered state, where the frozen layer is a model of its own and where it is a loaded base."""
    result = {}
    for stage in (0, 2, 3):
        for name_or_path in ("", "base"):
            model = NumberModel()
            model.frozen.name_or_path = name_or_path
            expected = model.frozen.weight.detach().clone()
            engine = number_engine(stage, model=model)
            engine.train_step(own_batches(0, 2), 0)
            state = engine.gather_state()
            result[f"{stage}-{name_or_path}"] = sorted(state)
            assert dist.get_rank() or name_or_path or torch.equal(state["frozen.weight"], expected)
            engine.close()
    return result


def test_the_frozen_weights_of_a_loaded_base_are_never_copied(tmp_path: Path) -> None:
    first, second = run_ranks(gather, tmp_path, 2)
    model = NumberModel()
    whole = {name for name, _ in model.named_parameters()} | {"num_seen", "constant"}
    for stage in (0, 2, 3):
        assert set(first[f"{stage}-"]) == whole
        assert set(first[f"{stage}-base"]) == whole - {"frozen.weight", "frozen.bias"}
        assert second[f"{stage}-"] == second[f"{stage}-base"] == []


class NormedModel(NumberModel):
    """With a batch norm in a loaded base."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.BatchNorm1d(5, affine=False))
        self.base.name_or_path = "base"

    def forward(self, batch: Any) -> Any:
        self.base(batch.x)
        return super().forward(batch)


def keep_statistics(folder: Path) -> dict[str, Any]:
    """The statistics of a batch norm after two steps: the model's, and what a checkpoint and the final state hold.

    A third step is skipped, since one of its inputs overflowed.
    """
    engine = number_engine(0, model=NormedModel())
    assert engine.engine.data_parallel_group is dist.group.WORLD, "a copy has a thread of its own"
    _steps(engine, 0, 2)
    norm = engine.engine.module.base[0]
    before = {name: value.tolist() for name, value in norm.named_buffers()}
    bad = number_batch(2, 0)
    bad.x[0] = float("inf")
    engine.train_step([bad], 2)
    assert {name: value.tolist() for name, value in norm.named_buffers()} == before
    engine.save(folder)
    again = number_engine(0, model=NormedModel())
    again.load(folder)
    held = {"trained": engine.engine.module, "resumed": again.engine.module}
    found = {name: {key: value.tolist() for key, value in one.base[0].named_buffers()} for name, one in held.items()}
    state = {name: value.tolist() for name, value in engine.gather_state().items()}
    return found | {"final": {name: state[f"base.0.{name}"] for name in found["trained"]}}


def test_the_statistics_of_a_batch_norm_are_part_of_the_state(tmp_path: Path) -> None:
    (held,) = run_ranks(keep_statistics, tmp_path, 1)
    assert held["trained"]["running_mean"] != [0.0] * 5
    assert held["resumed"] == held["final"] == held["trained"]


def _weights(engine: Any) -> list[float]:
    state = engine.gather_state() if engine.average is None else {}
    if not state:
        average, engine.average = engine.average, None
        state = engine.gather_state()
        engine.average = average
    return [value for name in sorted(state) for value in state[name].flatten().tolist()]


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("varied")
    return folder, run_ranks(vary_the_optimizer, folder, 2)[0]


def test_the_average_of_weights_follows_them_and_is_part_of_the_state(varied: tuple[Path, dict[str, Any]]) -> None:
    folder, result = varied
    for stage in range(4):
        state = read_state(folder / f"average-{stage}")
        weight, average = state["weight/log_scale"], state["average/log_scale"]
        # log_scale is 0.1 at the start; the decay is (1 + 1) / (10 + 1) at the first step, 3 / 12 at the second
        assert 0 < abs(float(average - weight)) < abs(float(weight) - 0.1)
        assert result[f"averaged-again-{stage}"] == result[f"averaged-{stage}"]
        assert result[f"averaged-{stage}"] == pytest.approx(result["averaged-0"], abs=1e-6)
        assert result[f"next-again-{stage}"] == pytest.approx(result[f"next-{stage}"], abs=1e-6)


def test_offloading_and_compiling_change_no_loss(varied: tuple[Path, dict[str, Any]]) -> None:
    result = varied[1]
    for name in ("plain-3", "offload-2", "offload-3", "compiled-2"):
        assert result[name] == pytest.approx(result["plain-2"], abs=1e-5), name


def test_the_optimizer_has_the_set_moments_and_decays_weights_only() -> None:
    optimizer = build_optimizer(NumberModel(), OptimizerConfig(weight_decay=0.5, beta1=0.8, beta2=0.9))
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    assert {group["weight_decay"]: len(group["params"]) for group in optimizer.param_groups} == {0.5: 3, 0.0: 6}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"zero_stage": 1, "offload_optimizer": True}, {"offload_optimizer": {"device": "cpu", "pin_memory": False}}),
        (
            {"zero_stage": 3, "offload_optimizer": "cpu", "offload_parameters": "nvme", "offload_folder": "/disk"},
            {
                "offload_optimizer": {"device": "cpu", "pin_memory": False},
                "offload_param": {"device": "nvme", "pin_memory": False, "nvme_path": "/disk"},
            },
        ),
    ],
)
def test_offloading_is_passed_on(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    zero = deepspeed_config(EngineConfig.model_validate(settings), 1)["zero_optimization"]
    assert zero == {"stage": settings["zero_stage"], **expected}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zero_stage": 0, "offload_optimizer": "cpu"}, "needs zero_stage 1, 2 or 3"),
        ({"zero_stage": 2, "offload_parameters": "cpu"}, "needs zero_stage 3"),
        ({"zero_stage": 3, "offload_parameters": "nvme"}, "offload_folder must be set"),
    ],
)
def test_impossible_offloading_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig.model_validate(settings)


def test_weights_in_files_need_what_deepspeed_builds_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepspeed.ops.op_builder import AsyncIOBuilder

    monkeypatch.setattr(AsyncIOBuilder, "is_compatible", lambda *_, **__: False)
    config = EngineConfig(zero_stage=3, offload_parameters="nvme", offload_folder="/disk")
    with pytest.raises(ConfigError, match=r"install libaio .* or set engine\.offload_parameters=cpu"):
        initialize(NumberModel(), config, OptimizerConfig(), batch_size=1)
    with pytest.raises(ConfigError, match="install libaio"), partitioned_build(config):
        raise AssertionError("nothing is loaded")


class Writer(torch.nn.Module):
    """A named LLM with adapters, and a layer of our own before it."""

    def __init__(self, folder: Path, precision: str) -> None:
        super().__init__()
        torch.manual_seed(5)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        llm = build_backbone(EncoderConfig(pretrained=str(folder)), role="causal", dtype=dtype)
        self.num_held = sum(parameter.numel() for parameter in llm.parameters())
        torch.manual_seed(6)
        self.llm = add_adapters(llm, LoraSettings(rank=2, dropout=0.0))
        self.to_llm = torch.nn.Linear(3, 32)

    def forward(self, batch: NumberBatch) -> NumberOutput:
        states = self.to_llm(batch.x[:, None, :3].to(self.to_llm.weight.dtype))
        logits = self.llm(inputs_embeds=states.expand(-1, 4, -1), use_cache=False).logits
        return NumberOutput(loss=logits.float().square().mean(), parts={})


def train_a_named_llm(folder: Path) -> dict[str, Any]:
    """Losses of three steps of ZeRO-2, ZeRO-3, and ZeRO-3 with the LLM partitioned while it is loaded."""
    result: dict[str, Any] = {}
    for precision in ("fp32", "bf16"):
        for name, stage in (("plain", 2), ("partitioned", 3)):
            config = EngineConfig.model_validate({"zero_stage": stage, "precision": precision})
            with partitioned_build(config):
                model = Writer(folder / "llm", precision)
            engine = number_engine(stage, precision, model=model)
            losses = _steps(engine, 0, 3)
            state = engine.gather_state()
            result[f"{name}-{precision}"] = [
                model.num_held,
                losses,
                len(state),
                sum(one.numel() for one in state.values()),
            ]
            engine.close()
    return result


def test_a_named_llm_can_be_partitioned_while_it_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    llm = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=100, **shape))
    size = sum(parameter.numel() for parameter in llm.parameters())
    llm.save_pretrained(tmp_path / "llm", max_shard_size="40KB")
    assert len(list((tmp_path / "llm").glob("*.safetensors"))) > 1
    first, _ = run_ranks(train_a_named_llm, tmp_path, 2)
    for precision, limit in (("fp32", 1e-5), ("bf16", 2e-2)):
        held, losses, *_ = first[f"plain-{precision}"]
        assert held == size
        assert losses[0] > losses[1] > losses[2] > 0
        held_partitioned, losses_partitioned, *gathered = first[f"partitioned-{precision}"]
        assert held_partitioned == 0, "no rank has a whole weight"
        assert losses_partitioned == pytest.approx(losses, rel=limit)
        assert gathered == first[f"plain-{precision}"][2:]
