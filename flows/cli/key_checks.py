"""Checks of the keys, outside the store, that show who wrote checkpoints and models."""

from flows.cli.check_result import Check
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.signing.manifest_key import KEY_VARIABLE, SETTING, read_manifest_key
from trrg_core.storage.store import open_store


def check_manifest_key(store: str, config: TrrgConfig) -> Check:
    """Whether manifests have an HMAC; passes without a key, and says what that means."""
    try:
        key = read_manifest_key(config.engine.manifest_key_file, open_store(store).uri)
    except ConfigError as error:
        return Check(name="manifest key", passed=False, detail=str(error))
    if key is None:
        detail = (
            "none: sha256 alone shows damage to checkpoints and models, but not a change by somebody who can write to "
            f"the store; set {KEY_VARIABLE} or {SETTING}"
        )
        return Check(name="manifest key", passed=True, detail=detail)
    return Check(name="manifest key", passed=True, detail="manifests of checkpoints and models have an HMAC")
