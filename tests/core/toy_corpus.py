"""A toy corpus drawn and written by hand: a bright corner is an effusion, a dark stripe a pneumothorax."""

import io

import numpy as np
from PIL import Image

from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig

OBSERVATIONS = ("Pleural Effusion", "Pneumothorax", "Cardiomegaly")
_SENTENCES = {
    ("Pleural Effusion", "PRESENT"): "There is a small left pleural effusion.",
    ("Pleural Effusion", "ABSENT"): "No pleural effusion.",
    ("Pneumothorax", "PRESENT"): "A right apical pneumothorax is seen.",
    ("Pneumothorax", "ABSENT"): "No pneumothorax.",
    ("Cardiomegaly", "PRESENT"): "The heart is enlarged.",
    ("Cardiomegaly", "ABSENT"): "Heart size is normal.",
}
_SIDE = {"Pleural Effusion": "left", "Pneumothorax": "right"}
_FLIPS = {
    ("Pleural Effusion", "PRESENT"): {
        "polarity": "There is no left pleural effusion.",
        "side": "There is a small right pleural effusion.",
        "severity": "There is a large left pleural effusion.",
    },
    ("Pleural Effusion", "ABSENT"): {"polarity": "There is a pleural effusion."},
    ("Pneumothorax", "PRESENT"): {"side": "A left apical pneumothorax is seen."},
    ("Cardiomegaly", "PRESENT"): {"polarity": "The heart is not enlarged."},
}
_LABEL = {"PRESENT": 1, "ABSENT": 0, "UNCERTAIN": -1}


def toy_config(*overrides: str) -> TrrgConfig:
    """The tiny preset, smaller still, with all parts of the model."""
    small = (
        "pretrain.image_encoder.config={model_type: resnet, num_channels: 1, embedding_size: 8, "
        "hidden_sizes: [8, 16, 32], depths: [1, 1, 1], layer_type: basic}",
        "pretrain.text_encoder.config={model_type: bert, hidden_size: 32, num_hidden_layers: 1, "
        "num_attention_heads: 2, intermediate_size: 64}",
        "finetune.llm.config={model_type: llama, hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 4, "
        "num_key_value_heads: 4, intermediate_size: 96}",
        "pretrain.image_size_px=64",
        "pretrain.joint_size=32",
        "pretrain.augment=false",
        "finetune.augment=false",
        "finetune.sentence_order=written",
        "finetune.interaction=true",
        "finetune.consistency=true",
        "finetune.consistency_weight=1.5",
        "finetune.interaction_size=48",
        "finetune.interaction_heads=4",
        "finetune.grid_size=2",
        "finetune.lora.rank=16",
    )
    return load_config("tiny", overrides=[*small, *overrides])


def toy_row(
    number: int, findings: str = "", *, num_views: int = 1, labels: dict[str, int | None] | None = None
) -> dict:
    """A study whose `findings` is a subset of the letters "epc" (effusion, pneumothorax, cardiomegaly)."""
    assertions = {
        name: "PRESENT" if letter in findings else "ABSENT" for name, letter in zip(OBSERVATIONS, "epc", strict=True)
    }
    sentences = [_sentence(name, assertion) for name, assertion in assertions.items()]
    columns = {name.lower().replace(" ", "_"): _LABEL[assertion] for name, assertion in assertions.items()}
    return {
        "study_id": f"s{number}",
        "subject_id": f"p{number}",
        "split": "train",
        "views": [{"view_position": ("PA", "LATERAL")[view % 2], "jpeg": draw(number + view, findings)}
                  for view in range(num_views)],
        "report": " ".join(sentence["text"] for sentence in sentences),
        "sentences": sentences,
        "labels": columns if labels is None else labels,
    }  # fmt: skip


def _sentence(name: str, assertion: str) -> dict:
    is_present = assertion == "PRESENT"
    fact = {
        "observation": name,
        "assertion": assertion,
        "laterality": _SIDE.get(name, "") if is_present else "",
        "severity": "small" if is_present and name == "Pleural Effusion" else "",
        "anatomy": "",
    }
    flips = _FLIPS.get((name, assertion), {})
    return {
        "text": _SENTENCES[name, assertion],
        "facts": [fact],
        "flips": [{"kind": kind, "observation": name, "text": text} for kind, text in flips.items()],
    }


def toy_rows(num_rows: int) -> list[dict]:
    """Studies with every mix of findings, some with two views."""
    mixes = ("", "e", "p", "c", "ep", "ec", "pc", "epc")
    return [toy_row(number, mixes[number % 8], num_views=1 + number % 2) for number in range(num_rows)]


def draw(seed: int, findings: str) -> bytes:
    rng = np.random.default_rng(seed)
    image = rng.normal(110, 8, size=(64, 56))
    if "e" in findings:
        image[44:, 34:] = 220
    if "p" in findings:
        image[4:20, 4:12] = 5
    if "c" in findings:
        image[28:42, 16:40] = 180
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def toy_texts() -> list[str]:
    return [*sorted(_SENTENCES.values()), "Write the findings of this chest radiograph."]
