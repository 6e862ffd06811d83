"""Signatures of folders: a statement of the sha256 of every file, in the form of OpenSSF's model-signing 1.x.

`model_signing verify key` of that tool accepts what is written here, and the other way round.
"""

import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from trrg_core.errors import ConfigError
from trrg_core.signing.bundle import STATEMENT_TYPE, read_statement, sign_statement

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SIGNATURE_SUFFIX = ".sig"


def sign_folder(folder: Path, key: ec.EllipticCurvePrivateKey, *, name: str = "") -> bytes:
    """The bundle that names every file of `folder`; to be kept beside the folder, not in it.

    `name` is what the model is called in the statement, by default as its folder.

    Raises:
        ConfigError: if the folder holds a link or nothing.
    """
    digests = _digests(folder)
    return sign_statement(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name or folder.name, "digest": {"sha256": _root(digests)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [],
                },
                "resources": [
                    {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in digests.items()
                ],
            },
        },
        key,
    )


def verify_folder(folder: Path, bundle: bytes, key: ec.EllipticCurvePublicKey, *, name: str = "") -> None:
    """Check that `folder` holds the files that a bundle of `key` names, and no other.

    With `name` the statement must be of the model of that name: not of another one that was signed too.

    Raises:
        ConfigError: naming the first file that is changed, missing or added, or what is wrong with the signature.
    """
    statement = read_statement(bundle, key)
    signed, present = _signed(statement), _digests(folder)
    if name and statement["subject"][0].get("name") != name:
        raise ConfigError(f"the signature is of another model than {name}: sign it with `trrg sign`")
    differing = sorted(name for name in signed.keys() | present if signed.get(name) != present.get(name))
    if differing:
        name = differing[0]
        what = "is not signed" if name not in signed else "is missing" if name not in present else "was changed"
        raise ConfigError(f"{folder}: {name} {what} since the model was signed")


def _signed(statement: dict[str, Any]) -> dict[str, str]:
    try:
        if statement["predicateType"] != PREDICATE_TYPE or statement["predicate"]["serialization"]["method"] != "files":
            raise ConfigError(f"the signed statement is of {statement['predicateType']!r}, expected {PREDICATE_TYPE}")
        resources = statement["predicate"]["resources"]
        if not all(resource["algorithm"] == "sha256" for resource in resources):
            raise ConfigError("the signed statement has digests of other kinds than sha256")
        digests = {str(resource["name"]): str(resource["digest"]) for resource in resources}
        (subject,) = statement["subject"]
        is_consistent = len(digests) == len(resources) and subject["digest"]["sha256"] == _root(digests)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("the signed statement is not of a model folder") from error
    if not is_consistent:
        raise ConfigError("the signed statement is not of one model folder")
    return digests


def _digests(folder: Path) -> dict[str, str]:
    """sha256 by relative path; a folder comes before what its name begins, as the reference tool sorts."""
    digests = {}
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts):
        if path.is_symlink():
            raise ConfigError(f"{path} is a link: a model folder holds files only")
        if path.is_file():
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    if not digests:
        raise ConfigError(f"{folder} holds no file of a model")
    return digests


def _root(digests: dict[str, str]) -> str:
    """The digest of all files: the sha256 of their digests, one after the other."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest()
