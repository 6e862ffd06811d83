"""Checks of the keys, outside the store, that show who wrote checkpoints and models."""

import os
import re
from pathlib import Path

from flows.cli.check_result import Check
from trrg_core.config.settings import TrrgConfig
from trrg_core.config.weights_cache import SCHEME
from trrg_core.errors import ConfigError
from trrg_core.signing.manifest_key import KEY_VARIABLE, SETTING, read_manifest_key
from trrg_core.storage.store import open_store

_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_pins(config: TrrgConfig) -> Check:
    """Whether each model of the hub is pinned; passes, and names those that may be others tomorrow."""
    encoders = {
        "pretrain.image_encoder": config.pretrain.image_encoder,
        "pretrain.text_encoder": config.pretrain.text_encoder,
        "finetune.llm": config.finetune.llm,
    }
    loose = [
        f"{setting} ({encoder.pretrained})"
        for setting, encoder in encoders.items()
        if encoder.pretrained
        and not encoder.pretrained.startswith(SCHEME)
        and not Path(encoder.pretrained).is_dir()
        and not (_COMMIT.fullmatch(encoder.revision) or encoder.sha256)
    ]
    if loose:
        detail = f"not pinned: {', '.join(loose)}; set `revision` to a commit of the hub, or `sha256`"
        return Check(name="base weights", passed=True, detail=detail)
    return Check(name="base weights", passed=True, detail="each model of the hub is pinned, or there is none")


def check_model_keys() -> Check:
    """Whether models are signed and verified; passes without keys, and says what that means."""
    if not any(os.environ.get(name) for name in ("TRRG_SIGNING_KEY", "TRRG_VERIFYING_KEY")):
        detail = "none: models are neither signed nor verified; set TRRG_SIGNING_KEY and TRRG_VERIFYING_KEY"
        return Check(name="model keys", passed=True, detail=detail)
    from trrg_core.signing.key_pair import read_signing_key, read_verifying_key

    try:
        private, public = read_signing_key(), read_verifying_key()
    except ConfigError as error:
        return Check(name="model keys", passed=False, detail=str(error))
    if private is not None and public is not None and private.public_key() != public:
        detail = "TRRG_VERIFYING_KEY is not the public key of TRRG_SIGNING_KEY: what is signed here would not be loaded"
        return Check(name="model keys", passed=False, detail=detail)
    done = [word for key, word in ((private, "signed"), (public, "verified")) if key is not None]
    return Check(name="model keys", passed=True, detail=f"models are {' and '.join(done)} here")


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
