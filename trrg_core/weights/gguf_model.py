"""A causal language model in GGUF form as a folder of float32 weights that can be trained and saved."""

from pathlib import Path


def save_gguf_model(gguf_file: Path, folder: Path) -> None:
    """Write the model and the tokenizer of `gguf_file` into `folder`.

    A model loaded from GGUF carries a quantization config and refuses to be saved, although its weights are plain
    numbers; they are copied into a model of the same architecture without it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf_file.parent), "gguf_file": gguf_file.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where)
    values = loaded.config.to_dict()
    left_out = ("quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version", "model_type")
    config = AutoConfig.for_model(
        values["model_type"], **{name: value for name, value in values.items() if name not in left_out}
    )
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(str(folder))
