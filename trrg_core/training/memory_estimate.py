"""How much memory training takes on each GPU, estimated before it starts, from sizes alone.

Weights, gradients and optimizer state are counted as DeepSpeed lays them out (its own formulas are
`estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs`, which take 16-bit weights all of
which are trained). Activations are those of a transformer without materialised attention (Korthikanti et al. 2022,
"Reducing Activation Recomputation in Large Transformer Models", section 4): 34 bytes per token, unit of width and layer
in 16 bits, or 2 bytes where only the input of each layer is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from trrg_core.config.settings import EngineConfig
from trrg_core.errors import ConfigError

GIB = 2**30
# context of CUDA and NCCL, and what the allocator cannot use
_RESERVE_BYTES, _FRAGMENTATION = 2 * GIB, 1.05
SAVED_ELEMENTS, _SAVED_INPUT = 17, 1  # per token and unit of width, of a layer and of its input
# DeepSpeed updates ZeRO-3 weights in groups of at most this many elements, and reduces gradients in buckets
_SUB_GROUP, _BUCKET = 10**9, 5 * 10**8


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Numbers of parameters: trained, frozen, and of the largest module that holds parameters itself."""

    trained: int
    frozen: int
    largest_module: int


@dataclass(frozen=True, kw_only=True)
class Tower:
    """A stack of layers on `tokens` positions, of all examples of a micro-batch together.

    `keeps` is what is stored for the backward pass: everything, the input of each layer (gradient checkpointing), or
    nothing (no gradient flows through it). `vocabulary` is the width of the output logits, 0 for none.
    """

    name: str
    tokens: int
    hidden: int
    layers: int
    vocabulary: int = 0
    keeps: Literal["all", "inputs", "nothing"] = "all"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The CPU memory of a machine, bytes, and the number of processes of the training that share it."""

    memory: float
    num_ranks: int


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes per GPU by purpose, and bytes per process in CPU memory and in files for what is offloaded."""

    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float
    offloaded: float
    in_files: float = 0.0

    @property
    def total(self) -> float:
        """Bytes needed on the GPU, with the reserve of CUDA and 5 % for fragmentation."""
        used = self.weights + self.gradients + self.optimizer + self.average + self.activations
        return _FRAGMENTATION * used + _RESERVE_BYTES

    @property
    def state(self) -> float:
        """Bytes of what lasts from step to step and of the gradients, in any memory: all but activations."""
        return self.weights + self.gradients + self.optimizer + self.average + self.offloaded

    def fits(self, available: float, machine: Machine | None) -> bool:
        """Whether a GPU has that much memory and, where something is offloaded, so has the machine."""
        fits_machine = machine is None or machine.num_ranks * self.offloaded <= machine.memory
        return self.total <= available and fits_machine

    def describe(self, available: float | None = None, machine: Machine | None = None) -> str:
        """One line, e.g. "needs 23.1 GiB per GPU of 80.0: weights 14.2, gradients 0.1, ..."."""
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "EMA": self.average,
            "activations": self.activations,
        }
        of = "" if available is None else f" of {available / GIB:.1f}"
        sizes = ", ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
        elsewhere = self._elsewhere(machine)
        return f"needs {self.total / GIB:.1f} GiB per GPU{of}: {sizes}{f'; {elsewhere}' if elsewhere else ''}"

    def describe_sums(self) -> str:
        """The memory of a GPU and what is offloaded, without purposes, e.g. "20.1 GiB"."""
        return "; ".join(part for part in (f"{self.total / GIB:.1f} GiB", self._elsewhere(None)) if part)

    def _elsewhere(self, machine: Machine | None) -> str:
        of = ""
        if machine is not None:
            ranks = machine.num_ranks
            all_ranks = f", {ranks * self.offloaded / GIB:.1f} for the {ranks} of a machine" if ranks > 1 else ""
            of = f"{all_ranks}, of {machine.memory / GIB:.1f}"
        cpu = f"{self.offloaded / GIB:.1f} GiB of CPU memory per process{of}" if self.offloaded else ""
        files = f"{self.in_files / GIB:.1f} GiB in files per process" if self.in_files else ""
        return "; ".join(part for part in (cpu, files) if part)


def size_of(model: nn.Module) -> ModelSize:
    """The size of a model, which may be on the meta device or partitioned by ZeRO-3."""
    sizes = {parameter: int(getattr(parameter, "ds_numel", parameter.numel())) for parameter in model.parameters()}
    trained = sum(size for parameter, size in sizes.items() if parameter.requires_grad)
    modules = (sum(sizes[own] for own in module.parameters(recurse=False)) for module in model.modules())
    return ModelSize(trained=trained, frozen=sum(sizes.values()) - trained, largest_module=max(modules, default=0))


def estimate_memory(
    size: ModelSize, towers: Sequence[Tower], engine: EngineConfig, *, world_size: int, has_average: bool = False
) -> MemoryEstimate:
    """The memory that a training step needs at its peak, on the GPU with the largest share."""
    stage, element = engine.zero_stage, 2 if engine.precision == "bf16" else 4
    share = size.trained / world_size
    # what the optimizer holds: all of the trained parameters, or its partition
    held = size.trained if stage == 0 else share
    whole = size.trained + size.frozen
    gathered = 2 * element * size.largest_module if stage == 3 else 0
    partition = element * whole / world_size
    weights = element * whole if stage < 3 else gathered + (0 if engine.offload_parameters != "none" else partition)
    is_mixed = engine.precision == "bf16"
    has_copy = is_mixed or stage > 0
    update = min(held, _SUB_GROUP) if stage == 3 else held
    reduced = size.trained if stage < 2 else share + min(_BUCKET, size.trained)
    gradients = element * reduced
    optimizer = (8 + (4 if has_copy else 0)) * held + (4 * update if has_copy else 0)
    average = 4 * held if has_average else 0
    is_offloaded = engine.offload_optimizer != "none"
    moved = {"none": 0.0, "cpu": 0.0, "nvme": 0.0}
    moved[engine.offload_optimizer] += optimizer + average
    moved[engine.offload_parameters] += partition
    return MemoryEstimate(
        weights=weights,
        gradients=gradients,
        optimizer=0 if is_offloaded else optimizer,
        average=0 if is_offloaded else average,
        activations=sum(_activations(tower, element) for tower in towers),
        offloaded=moved["cpu"],
        in_files=moved["nvme"],
    )


def check_memory(
    size: ModelSize,
    towers: Sequence[Tower],
    engine: EngineConfig,
    *,
    world_size: int,
    available: float,
    machine: Machine | None = None,
    has_average: bool = False,
) -> MemoryEstimate:
    """The estimate, when it fits.

    Args:
        size: of the model.
        towers: its layers, with those of a micro-batch.
        engine: precision, ZeRO stage and offloading.
        world_size: number of GPUs.
        available: bytes of one GPU.
        machine: whose memory has to hold what is offloaded to the CPU; None where it is not known.
        has_average: whether there is an EMA of the weights.

    Raises:
        ConfigError: if it does not fit, with the changes after which it does.
    """
    estimate = estimate_memory(size, towers, engine, world_size=world_size, has_average=has_average)
    if estimate.fits(available, machine):
        return estimate
    fits = []
    for advice, changed, fewer in _changes(engine, towers):
        changed_estimate = estimate_memory(size, fewer, changed, world_size=world_size, has_average=has_average)
        if changed_estimate.fits(available, machine):
            fits.append(f"{advice} ({changed_estimate.describe_sums()})")
    more = "more GPUs" if estimate.total > available else "machines with more memory, or more of them"
    changes = f"it fits with {', or '.join(fits)}" if fits else f"no single setting makes it fit: use {more}"
    raise ConfigError(f"training {estimate.describe(available, machine)}; {changes}")


def _activations(tower: Tower, element: int) -> float:
    """Bytes kept for the backward pass of a tower, with those of one layer at work, and of the logits in fp32."""
    per_layer = element * tower.tokens * tower.hidden
    kept = {"all": SAVED_ELEMENTS * tower.layers, "inputs": _SAVED_INPUT * tower.layers, "nothing": 0}[tower.keeps]
    at_work = 0 if tower.keeps == "all" else SAVED_ELEMENTS
    # the logits, their fp32 copy, and its gradient
    logits = tower.tokens * tower.vocabulary * (element + 4 + 4)
    return float(per_layer * (kept + at_work) + logits)


def _changes(engine: EngineConfig, towers: Sequence[Tower]) -> Iterator[tuple[str, EngineConfig, Sequence[Tower]]]:
    """Single settings that save memory, mildest first."""
    if engine.precision == "fp32":
        yield "engine.precision=bf16", engine.model_copy(update={"precision": "bf16"}), towers
    if not engine.gradient_checkpointing:
        # it is that of the LLM, which alone has a vocabulary
        kept = [_with_inputs(tower) if tower.vocabulary and tower.keeps == "all" else tower for tower in towers]
        yield "engine.gradient_checkpointing=true", engine, kept
    yield "half the micro_batch_size", engine, [_halved(tower) for tower in towers]
    for stage in range(engine.zero_stage + 1, 4):
        yield f"engine.zero_stage={stage}", engine.model_copy(update={"zero_stage": stage}), towers
    offloads: dict[str, EngineConfig] = {}
    for update in _offloads(engine):
        names = [f"engine.{name}={value}" for name, value in update.items() if getattr(engine, name) != value]
        offloads[" and ".join(names)] = engine.model_copy(update=update)
    yield from ((advice, changed, towers) for advice, changed in offloads.items() if advice)


def _offloads(engine: EngineConfig) -> Iterator[dict[str, object]]:
    """Other places of optimizer state and weights: in GPU memory again, in that of the CPU, and in files."""
    if engine.offload_optimizer == "none":
        yield {"offload_optimizer": "cpu", "zero_stage": max(engine.zero_stage, 1)}
    else:
        yield {"offload_optimizer": "none"}
    if engine.offload_parameters != "none":
        yield {"offload_parameters": "none"}
        yield {"offload_optimizer": "none", "offload_parameters": "none"}
    yield {"zero_stage": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}


def _with_inputs(tower: Tower) -> Tower:
    return Tower(**{**vars(tower), "keeps": "inputs"})


def _halved(tower: Tower) -> Tower:
    return Tower(**{**vars(tower), "tokens": (tower.tokens + 1) // 2})
