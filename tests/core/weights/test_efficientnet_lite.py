"""The converted model against EfficientNet-Lite0 written out below, with the padding of TensorFlow ("SAME")."""

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel, EfficientNetConfig, EfficientNetForImageClassification

from trrg_core.weights.efficientnet_lite import LITE0, convert_state, save_efficientnet_lite0

# kernel, stride, expansion, channels in, channels out of each block (github.com/tensorflow/tpu, efficientnet/lite)
_STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
BLOCKS = [
    (kernel, stride if repeat == 0 else 1, expansion, inside if repeat == 0 else outside, outside)
    for repeats, kernel, stride, expansion, inside, outside in _STAGES
    for repeat in range(repeats)
]


def random_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def convolution(name: str, outside: int, inside: int, kernel: int) -> None:
        scale = (2 / (inside * kernel * kernel)) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(outside, inside, kernel, kernel, generator=generator)

    def normalisation(name: str, width: int) -> None:
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{name}.{part}"] = low + torch.rand(width, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", 32, 3, 3)
    normalisation("_bn0", 32)
    for index, (kernel, _, expansion, inside, outside) in enumerate(BLOCKS):
        name, wide = f"_blocks.{index}", inside * expansion
        if expansion > 1:
            convolution(f"{name}._expand_conv", wide, inside, 1)
            normalisation(f"{name}._bn0", wide)
        convolution(f"{name}._depthwise_conv", wide, 1, kernel)
        normalisation(f"{name}._bn1", wide)
        convolution(f"{name}._project_conv", outside, wide, 1)
        normalisation(f"{name}._bn2", outside)
    convolution("_conv_head", 1280, 320, 1)
    normalisation("_bn1", 1280)
    state["_fc.weight"] = torch.randn(1000, 1280, generator=generator) / 36
    state["_fc.bias"] = torch.randn(1000, generator=generator)
    return state


def features(state, pixels_MCHW):
    """The last feature map `[M,1280,h,w]` before pooling."""

    def convolve(values, name, stride=1, groups=1):
        weight = state[f"{name}.weight"].to(values)
        size, kernel = values.shape[-1], weight.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        padded = functional.pad(values, (total // 2, total - total // 2) * 2)
        return functional.conv2d(padded, weight, stride=stride, groups=groups)

    def normalise(values, name):
        parts = [state[f"{name}.{part}"].to(values) for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(values, *parts, eps=1e-3)

    values = functional.relu6(normalise(convolve(pixels_MCHW, "_conv_stem", stride=2), "_bn0"))
    for index, (_, stride, expansion, inside, outside) in enumerate(BLOCKS):
        name, before = f"_blocks.{index}", values
        if expansion > 1:
            values = functional.relu6(normalise(convolve(values, f"{name}._expand_conv"), f"{name}._bn0"))
        values = convolve(values, f"{name}._depthwise_conv", stride=stride, groups=inside * expansion)
        values = functional.relu6(normalise(values, f"{name}._bn1"))
        values = normalise(convolve(values, f"{name}._project_conv"), f"{name}._bn2")
        if stride == 1 and inside == outside:
            values = values + before
    return functional.relu6(normalise(convolve(values, "_conv_head"), "_bn1"))


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory):
    base = tmp_path_factory.mktemp("lite0")
    torch.save(state, base / "lite0.pth")
    (base / "model").mkdir()
    save_efficientnet_lite0(base / "lite0.pth", base / "model")
    return base / "model"


@pytest.mark.parametrize("size_px", [64, 96, 160])
def test_the_folder_computes_what_the_original_computes(state, folder, size_px):
    model = AutoModel.from_pretrained(folder, use_safetensors=True).double().eval()
    pixels = torch.randn(1, 3, size_px, size_px, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).last_hidden_state, features(state, pixels), rtol=0, atol=1e-9)


def test_the_gates_stay_open_in_training(folder):
    model = AutoModel.from_pretrained(folder, use_safetensors=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(3):
        output = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(step))).last_hidden_state
        optimizer.zero_grad()
        output.square().mean().backward()
        optimizer.step()
    gates = [block.squeeze_excite for block in model.encoder.blocks]
    assert len(gates) == len(BLOCKS)
    for gate in gates:
        values = torch.randn(2, gate.dim, 4, 4, generator=torch.Generator().manual_seed(0))
        assert torch.equal(gate(values), values)


def test_a_state_of_another_model_is_refused(state):
    wanted = EfficientNetForImageClassification(EfficientNetConfig(**LITE0)).state_dict()
    with pytest.raises(ValueError, match="no weight of EfficientNet-Lite"):
        convert_state({**state, "_swish.weight": torch.zeros(1)}, wanted)
    with pytest.raises(ValueError, match="has no counterpart"):
        convert_state({**state, "_fc.bias": torch.zeros(10)}, wanted)
    with pytest.raises(ValueError, match=r"classifier\.bias has no value"):
        convert_state({name: value for name, value in state.items() if name != "_fc.bias"}, wanted)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    import pickle

    class Runs:
        def __reduce__(self):
            return (print, ("ran",))

    (tmp_path / "bad.pth").write_bytes(pickle.dumps({"a": Runs()}))
    with pytest.raises(pickle.UnpicklingError):
        save_efficientnet_lite0(tmp_path / "bad.pth", tmp_path / "model")
