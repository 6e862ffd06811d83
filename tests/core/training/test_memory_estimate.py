import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from trrg_core.config.settings import EngineConfig
from trrg_core.errors import ConfigError
from trrg_core.training.memory_estimate import GIB, Machine, ModelSize, Tower, check_memory, estimate_memory, size_of

# LLaMA-2 70B, from its config.json; 68.98 billion parameters
LLAMA_70B = LlamaConfig(
    hidden_size=8192,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
    intermediate_size=28672,
    vocab_size=32000,
)


def _engine(**values: object) -> EngineConfig:
    return EngineConfig.model_validate({"precision": "bf16", "use_gpu": True, **values})


@pytest.fixture(scope="module")
def llama() -> ModelSize:
    with torch.device("meta"):
        return size_of(AutoModelForCausalLM.from_config(LLAMA_70B))


def test_the_size_of_a_70b_model_needs_no_memory(llama: ModelSize) -> None:
    assert llama.trained == 68_976_648_192
    assert llama.frozen == 0
    assert llama.largest_module == 32000 * 8192


def test_a_frozen_module_is_counted_apart() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 1))
    model[0].requires_grad_(False)
    assert size_of(model) == ModelSize(trained=11, frozen=110, largest_module=110)


@pytest.mark.parametrize("world", [1, 8, 64])
@pytest.mark.parametrize("offload", [False, True])
def test_states_under_zero_2_are_those_of_deepspeeds_own_formula(world: int, offload: bool) -> None:
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    size = ModelSize(trained=7_000_000_000, frozen=0, largest_module=10**8)
    engine = _engine(zero_stage=2, offload_optimizer="cpu" if offload else "none")
    estimate = estimate_memory(size, [], engine, world_size=world)
    ours = estimate.weights + estimate.gradients + estimate.optimizer
    theirs = estimate_zero2_model_states_mem_needs(size.trained, world, 1, cpu_offload=offload)[1]
    # beyond theirs: a bucket of half a billion gradients and, when offloaded, the gradients of the partition
    bucket, partition = 2 * 5 * 10**8, 2 * size.trained / world if offload else 0
    assert ours == pytest.approx(theirs + bucket + partition, rel=1e-6)


@pytest.mark.parametrize("world", [8, 64])
def test_states_of_a_70b_model_under_zero_3_are_close_to_deepspeeds_own_formula(llama: ModelSize, world: int) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

    estimate = estimate_memory(llama, [], _engine(zero_stage=3), world_size=world)
    ours = estimate.weights + estimate.gradients + estimate.optimizer
    theirs = estimate_zero3_model_states_mem_needs(
        llama.trained, llama.largest_module, world, 1, cpu_offload=False, cpu_offload_params=False
    )[1]
    assert ours == pytest.approx(theirs, rel=0.15)


def test_states_by_hand() -> None:
    size = ModelSize(trained=100, frozen=1000, largest_module=60)
    plain = estimate_memory(size, [], _engine(zero_stage=0, precision="fp32"), world_size=4, has_average=True)
    # fp32 without ZeRO: weights 4, gradients 4, two moments of 4, and an average of 4 bytes per trained parameter
    assert (plain.weights, plain.gradients, plain.optimizer, plain.average) == (4400, 400, 800, 400)
    # bf16: 2 per weight; held by each of 4: copy 4, gradient copy 4, moments 8
    partitioned = estimate_memory(size, [], _engine(zero_stage=1), world_size=4)
    assert (partitioned.weights, partitioned.gradients, partitioned.optimizer) == (2200, 200, 16 * 25)
    whole = {"zero_stage": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}
    offloaded = estimate_memory(size, [], _engine(**whole), world_size=4)
    assert (offloaded.weights, offloaded.optimizer) == (2 * 2 * 60, 0)
    assert offloaded.offloaded == 16 * 25 + 2 * 1100 / 4


def test_activations_by_hand() -> None:
    size, engine = ModelSize(trained=0, frozen=0, largest_module=0), _engine()
    tower = {"name": "t", "tokens": 10, "hidden": 4, "layers": 3}
    kept = {keeps: Tower(**tower, keeps=keeps) for keeps in ("all", "inputs", "nothing")}
    found = {keeps: estimate_memory(size, [one], engine, world_size=1).activations for keeps, one in kept.items()}
    # 34 bytes per token, width and layer; or 2, with one layer at work
    assert found == {"all": 34 * 10 * 4 * 3, "inputs": 2 * 10 * 4 * 3 + 34 * 10 * 4, "nothing": 34 * 10 * 4}
    logits = estimate_memory(size, [Tower(**tower, vocabulary=7)], engine, world_size=1).activations
    assert logits == found["all"] + 10 * 7 * (2 + 4 + 4)


def test_what_does_not_fit_is_refused_with_what_to_change(llama: ModelSize) -> None:
    towers = [Tower(name="LLM", tokens=8 * 512, hidden=8192, layers=80, vocabulary=32000, keeps="inputs")]
    engine = _engine(zero_stage=2, gradient_checkpointing=True)
    with pytest.raises(ConfigError) as caught:
        check_memory(llama, towers, engine, world_size=64, available=80 * GIB)
    message = str(caught.value)
    assert message.startswith("training needs ")
    assert "per GPU of 80.0: weights 128.5, gradients" in message
    assert "it fits with engine.zero_stage=3 (" in message
    assert "batch" not in message, "half the batch does not help"
    estimate = check_memory(llama, towers, _engine(zero_stage=3), world_size=64, available=80 * GIB)
    assert 20 * GIB < estimate.total < 50 * GIB
    with pytest.raises(ConfigError, match="no single setting makes it fit: use more GPUs"):
        check_memory(llama, towers, engine, world_size=1, available=4 * GIB)


def test_gradient_checkpointing_is_advised_for_an_llm_only() -> None:
    size = ModelSize(trained=10**6, frozen=0, largest_module=10**6)
    encoder = Tower(name="image encoder", tokens=10**6, hidden=768, layers=12)
    llm = Tower(name="LLM", tokens=10**5, hidden=4096, layers=32, vocabulary=1000)
    for tower, is_advised in ((encoder, False), (llm, True)):
        with pytest.raises(ConfigError) as caught:
            check_memory(size, [tower], _engine(), world_size=1, available=50 * GIB)
        assert ("gradient_checkpointing" in str(caught.value)) is is_advised


def test_what_is_offloaded_must_fit_the_memory_of_the_machine() -> None:
    llm = ModelSize(trained=2 * 10**8, frozen=70 * 10**9, largest_module=8192 * 32000)
    both = _engine(zero_stage=3, offload_optimizer="cpu", offload_parameters="cpu")
    # 16 bytes for a trained parameter and 2 for each: 133.7 GiB, whichever the number of ranks
    needed = (16 * 2 * 10**8 + 2 * 702 * 10**8) / GIB
    for ranks in (1, 8):
        enough = Machine(memory=(needed + 0.1) * GIB, num_ranks=ranks)
        check_memory(llm, [], both, world_size=ranks, available=80 * GIB, machine=enough)
    with pytest.raises(ConfigError, match=r"133\.7 GiB of CPU memory per process, of 64\.0; .*use machines with"):
        check_memory(llm, [], both, world_size=1, available=80 * GIB, machine=Machine(memory=64 * GIB, num_ranks=1))
    with pytest.raises(ConfigError) as caught:
        check_memory(llm, [], both, world_size=8, available=80 * GIB, machine=Machine(memory=64 * GIB, num_ranks=8))
    assert "16.7 GiB of CPU memory per process, 133.7 for the 8 of a machine, of 64.0; it fits with " in str(
        caught.value
    )
    assert "engine.offload_parameters=none (" in str(caught.value)


def test_offloading_is_advised_where_the_machine_has_memory_for_it() -> None:
    llm, fixed = ModelSize(trained=7 * 10**9, frozen=0, largest_module=10**8), _engine(zero_stage=0)
    for memory, is_advised in ((None, True), (128, True), (64, False)):
        machine = None if memory is None else Machine(memory=memory * GIB, num_ranks=1)
        with pytest.raises(ConfigError) as caught:
            check_memory(llm, [], fixed, world_size=1, available=80 * GIB, machine=machine)
        advice = "engine.offload_optimizer=cpu and engine.zero_stage=1 (29.4 GiB; 104.3 GiB of CPU memory per process)"
        assert (advice in str(caught.value)) is is_advised
        assert ("cpu" in str(caught.value)) is is_advised
