"""Settings of a user over those in a model folder: only some have an effect on a trained model."""

from collections.abc import Sequence

from trrg_core.errors import ConfigError

# a trained model has the other sections in its weights; those of the registry only help to find it
_USED_SECTIONS = ("generate.", "ingest.", "register.")


def check_settings(settings: Sequence[str]) -> None:
    """Check that each of `settings` has an effect on a trained model.

    Raises:
        ConfigError: if one has not.
    """
    for setting in settings:
        if not setting.strip().startswith(_USED_SECTIONS):
            raise ConfigError(
                f"--set {setting.partition('=')[0]}: a trained model is built as it was trained; "
                f"only {'*, '.join(_USED_SECTIONS)}* can be set"
            )
