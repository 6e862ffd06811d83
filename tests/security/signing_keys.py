"""Key pairs for tests, made by the library as `openssl` would make them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_pair(folder: Path, name: str = "key", password: bytes = b"") -> tuple[Path, Path]:
    """The files of a new private and public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, hidden))
    private.chmod(0o600)
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, info))
    return private, public


def use_pair(patch: pytest.MonkeyPatch, private: Path | None, public: Path | None) -> None:
    """Configure these keys, or none."""
    for variable, path in (("TRRG_SIGNING_KEY", private), ("TRRG_VERIFYING_KEY", public)):
        patch.delenv(variable, raising=False)
        if path is not None:
            patch.setenv(variable, str(path))
    patch.delenv("TRRG_SIGNING_KEY_PASSWORD", raising=False)
