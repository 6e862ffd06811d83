"""The DeepSpeed templates are configurations of TRRG, and DeepSpeed itself accepts what TRRG makes of them."""

from pathlib import Path

import pytest

from pipelines.training.deepspeed_setup import _import_deepspeed, deepspeed_config
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "infra" / "deepspeed"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))
# stage, where the optimizer states are, where the weights are
EXPECTED = {
    "zero2": (2, None, None),
    "zero3": (3, None, None),
    "zero2-offload": (2, "cpu", None),
    "zero3-offload": (3, "cpu", "cpu"),
    "zero3-nvme": (3, "cpu", "nvme"),
}


def test_every_template_is_tested() -> None:
    assert {path.stem for path in TEMPLATES} == set(EXPECTED)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_deepspeed_accepts_the_template(path: Path) -> None:
    config = load_config(str(path))
    values = deepspeed_config(config.engine, config.finetune.micro_batch_size)
    _import_deepspeed(use_gpu=False)
    from deepspeed.runtime.config import DeepSpeedConfig

    accepted = DeepSpeedConfig(values)
    stage, optimizer, weights = EXPECTED[path.stem]
    zero = accepted.zero_config
    assert (int(zero.stage), accepted.bfloat16_config.enabled) == (stage, True)
    assert (zero.offload_optimizer and zero.offload_optimizer.device) == optimizer
    assert (zero.offload_param and zero.offload_param.device) == weights
    assert accepted.train_micro_batch_size_per_gpu == config.finetune.micro_batch_size == 8
    assert config.finetune.llm.pretrained == "Qwen/Qwen2.5-7B-Instruct", "all else is that of the preset base"


def test_a_template_that_asks_for_what_zero_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"offload_parameters"):
        load_config(str(FOLDER / "zero2.yaml"), ["engine.offload_parameters=cpu"])
