"""Presets, YAML files and overrides -> a checked `TrrgConfig`.

`load_config("tiny", overrides=["finetune.clues=off"])` -> TrrgConfig. Presets differ in values only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from trrg_core.config.settings import TrrgConfig
from trrg_core.config.values import explain_errors, merge_values, parse_override, read_values
from trrg_core.errors import ConfigError


def load_config(preset_or_path: str = "tiny", overrides: Sequence[str] = ()) -> TrrgConfig:
    """The configuration of a preset or a YAML file, with `a.b=value` overrides applied.

    A file may name a `preset` to start from and give only the values that differ; a path is relative to that file.

    Raises:
        ConfigError: for an unknown preset, key or value; suggests the nearest valid key.
    """
    values = read_values(preset_or_path)
    for override in overrides:
        values = merge_values(values, parse_override(override))
    return validate_config(values)


def validate_config(values: Mapping[str, Any]) -> TrrgConfig:
    """`values` as a validated TrrgConfig.

    Raises:
        ConfigError: with each invalid key or value and its path.
    """
    try:
        return TrrgConfig.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain_errors(error, TrrgConfig)) from error
