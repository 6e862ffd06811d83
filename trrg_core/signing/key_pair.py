"""The key pair of an institution: the private key signs registered models, the public one verifies them, both offline.

    openssl ecparam -name prime256v1 -genkey -noout -out signing.pem
    openssl ec -in signing.pem -pubout -out verifying.pem

The environment names their files, so that every process that loads a model finds the public one.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trrg_core.errors import ConfigError

SIGNING_VARIABLE = "TRRG_SIGNING_KEY"
PASSWORD_VARIABLE = "TRRG_SIGNING_KEY_PASSWORD"  # noqa: S105  # the name of a variable
VERIFYING_VARIABLE = "TRRG_VERIFYING_KEY"
_MAX_PEM_BYTES = 16_384


def read_signing_key() -> ec.EllipticCurvePrivateKey | None:
    """The private key in the file that TRRG_SIGNING_KEY names; None when it names none.

    Raises:
        ConfigError: if the file holds no key on the curve P-256, or is open to other users, or the password is wrong.
    """
    path = os.environ.get(SIGNING_VARIABLE, "")
    if not path:
        return None
    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or None
    data = _read(path, SIGNING_VARIABLE, is_secret=True)
    try:
        key = serialization.load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{SIGNING_VARIABLE} {path}: no private key in PEM form, or not the password in {PASSWORD_VARIABLE}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _other_curve(SIGNING_VARIABLE, path)
    return key


def read_verifying_key() -> ec.EllipticCurvePublicKey | None:
    """The public key in the file that TRRG_VERIFYING_KEY names; None when it names none.

    Raises:
        ConfigError: if the file holds no public key on the curve P-256.
    """
    path = os.environ.get(VERIFYING_VARIABLE, "")
    if not path:
        return None
    try:
        key = serialization.load_pem_public_key(_read(path, VERIFYING_VARIABLE, is_secret=False))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{VERIFYING_VARIABLE} {path}: no public key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _other_curve(VERIFYING_VARIABLE, path)
    return key


def _read(path: str, variable: str, *, is_secret: bool) -> bytes:
    file = Path(path).expanduser()
    try:
        if not file.is_file():
            raise ConfigError(f"{variable} {path}: there is no such file on this machine")
        if is_secret and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise ConfigError(f"{variable} {path} can be read by other users: chmod 600 it")
        with file.open("rb") as stream:
            return stream.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise ConfigError(f"{variable} {path} cannot be read: {error.strerror}") from error


def _other_curve(variable: str, path: str) -> ConfigError:
    return ConfigError(f"{variable} {path}: expected a key on the curve P-256 (prime256v1)")
