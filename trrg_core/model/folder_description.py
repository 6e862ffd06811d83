"""`config.json` of a model folder, as values: what built the model, checked when it is read."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trrg_core.errors import ConfigError
from trrg_core.model.manifest import FORMAT_VERSION, read_json


class Architectures(BaseModel):
    """The values that the encoders of stage 1 are built from."""

    model_config = ConfigDict(frozen=True)

    image_encoder: dict[str, Any]
    text_encoder: dict[str, Any]


class Origin(BaseModel):
    """Where the weights of a named backbone came from, as `trrg_core.model.weight_origin.origin_of`."""

    model_config = ConfigDict(frozen=True)

    pretrained: str
    revision: str
    files: dict[str, str]


class FolderDescription(BaseModel):
    """The content of `config.json`. `trrg` is the configuration, which may be of another version."""

    model_config = ConfigDict(frozen=True)

    trrg: dict[str, Any]
    observations: list[str] = Field(min_length=1)
    architectures: Architectures
    origins: dict[str, Origin] = {}


def read_description(folder: Path, stage: str) -> FolderDescription:
    """The description of the model in `folder`.

    Raises:
        ConfigError: if it is of another stage or format, or lacks a part.
    """
    path = folder / "config.json"
    values = read_json(path)
    if values.get("stage") != stage or values.get("format") != FORMAT_VERSION:
        found = f"{values.get('stage')!r} of format {values.get('format')!r}"
        raise ConfigError(
            f"{folder}: expected a {stage} of format {FORMAT_VERSION}, found {found}; `finetune` trains a generator, "
            "`pretrain` its contrastive model"
        )
    try:
        return FolderDescription.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].lower()
        raise ConfigError(f"{path}: {place}: {reason}; the file was changed or is damaged, copy it again") from error
