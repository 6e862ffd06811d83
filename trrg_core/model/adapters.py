"""Low-rank adapters (LoRA, by peft) of the LLM of stage 2. Importing this module imports peft, which takes seconds."""

import warnings
from typing import Any

from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from trrg_core.config.settings import LoraSettings
from trrg_core.errors import ConfigError


class FoldedLinear(Linear):  # type: ignore[misc]  # peft has no types
    """A linear layer with an adapter that, in training, is added to the weight instead of computed for each token.

    The output is the same. It is cheaper where the rank is large for the size of the layer, as in small models.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As `peft.tuners.lora.Linear.forward`."""
        if not self.training or self.disable_adapters or self.merged or args or kwargs:
            plain: Tensor = super().forward(x, *args, **kwargs)
            return plain
        base, (name,) = self.get_base_layer(), self.active_adapters
        update = self.lora_B[name].weight @ self.lora_A[name].weight
        return functional.linear(x, base.weight + self.scaling[name] * update, base.bias)


def add_adapters(llm: Any, settings: LoraSettings, *, folds: bool = False) -> Any:
    """`llm` wrapped by peft: its own weights frozen, but for the embeddings and norms when those are trained too.

    Args:
        llm: gets adapters on all linear layers but the output.
        settings: of the adapters.
        folds: whether adapters may be added to weights in training, where that saves time; not for weights that are
            quantised or not there outside of their own layer.

    Raises:
        ConfigError: if peft has no adapters for its layers, it has none, or none of them can use the rank.
    """
    _check_rank(llm, settings.rank)
    adapters = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
    )
    if folds and not settings.dropout and _saves_time(llm, settings.rank):
        adapters._register_custom_module({nn.Linear: FoldedLinear})
    with warnings.catch_warnings():
        # peft asks for it by its old name
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        try:
            wrapped = get_peft_model(llm, adapters, autocast_adapter_dtype=False)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{type(llm).__name__} takes no adapters: {' '.join(str(error).split())[:200]}"
            ) from error
    if settings.train_embeddings:
        for module in wrapped.modules():
            if isinstance(module, nn.Embedding) or type(module).__name__.endswith("Norm"):
                module.requires_grad_(True)
        wrapped.get_output_embeddings().requires_grad_(True)
    return wrapped


def _check_rank(llm: Any, rank: int) -> None:
    """Refuse a rank above that of every adapted weight: it takes memory, perhaps more than there is, for nothing."""
    output = llm.get_output_embeddings()
    layers = [one for one in llm.modules() if isinstance(one, nn.Linear | Conv1D) and one is not output]
    ranks = (
        min(one.nx, one.nf) if isinstance(one, Conv1D) else min(one.in_features, one.out_features) for one in layers
    )
    largest = max(ranks, default=rank)
    if rank > largest:
        raise ConfigError(
            f"finetune.lora.rank={rank} is more than the weights of {type(llm).__name__} can use: set at most {largest}"
        )


def _saves_time(llm: Any, rank: int) -> bool:
    """Whether the gradient of all weights costs less than adapters that are computed for each token."""
    output = llm.get_output_embeddings()
    layers = [one for one in llm.modules() if isinstance(one, nn.Linear) and one is not output]
    weights = sum(one.in_features * one.out_features for one in layers)
    # per token: adapters forward and both gradients; the gradient of the whole weight
    return 6 * rank * sum(one.in_features + one.out_features for one in layers) > 2 * weights


def merge_adapters(llm: Any) -> Any:
    """The LLM with its adapters added to its weights: as many products as without adapters, equal but for rounding.

    `llm` is changed; the result can neither be trained on nor saved as an adapter. A quantised LLM is returned with its
    adapters, since rounding their sum to few bits again would change what it writes.
    """
    if getattr(llm.get_base_model(), "is_quantized", False):
        return llm
    return llm.merge_and_unload(safe_merge=True)
