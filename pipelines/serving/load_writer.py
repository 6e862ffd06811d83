"""A found model, loaded and ready to write reports.

Settings of the user go before the decoding that it was registered with, and this before the settings of its folder.
"""

import warnings
from collections.abc import Sequence

import torch

from pipelines.registry.find_model import FoundModel, opened_model
from pipelines.registry.model_signature import check_model
from pipelines.serving.model_settings import check_settings
from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.config.values import merge_values, parse_override
from trrg_core.errors import ConfigError
from trrg_core.generation.report_writer import ReportWriter
from trrg_core.model.model_folder import load_model_folder
from trrg_core.storage.store import Store


def load_writer(store: Store, model: FoundModel, settings: Sequence[str] = (), *, device: str = "") -> ReportWriter:
    """The writer of a model, on a GPU if there is one, or on `device`.

    Args:
        store: where the model was found.
        model: the model.
        settings: `a.b=value` over those of the model, e.g. `generate.candidates=1`.
        device: as torch names it.

    Raises:
        ConfigError: if the folder is damaged, of another stage, not the registered one, or not signed where that is
            asked for, or a setting is wrong or is not used here.
    """
    check_settings(settings)
    with opened_model(store, model) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers warns of calls of its own
        check_model(store, model, folder)
        try:
            loaded = load_model_folder(folder, merge_adapter=True)
        except ValueError as error:  # a part of another format than this version reads
            raise ConfigError(f"{model.name}: the model folder cannot be read: {error}") from error
    loaded.generator.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return ReportWriter(loaded, _changed(loaded.config, (*model.decoding, *settings)))


def _changed(config: TrrgConfig, settings: Sequence[str]) -> TrrgConfig:
    values = config.model_dump(mode="json")
    for setting in settings:
        values = merge_values(values, parse_override(setting))
    return validate_config(values)
