"""Signed statements: in-toto in a DSSE envelope in a Sigstore bundle, as OpenSSF's model-signing writes them.

https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, https://in-toto.io/Statement/v1
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trrg_core.errors import ConfigError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_BUNDLE_BYTES = 64 * 2**20
_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


def sign_statement(statement: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> bytes:
    """The bundle of a statement, JSON."""
    payload = json.dumps(dict(statement), sort_keys=True).encode()
    signature = key.sign(_encode(payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": key_hint(key.public_key())}, "tlogEntries": []}
    bundle = {"mediaType": _BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(bundle, sort_keys=True).encode()


def read_statement(bundle: bytes, key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """The statement in a bundle, after its signature was verified; nothing else in the bundle is trusted.

    Raises:
        ConfigError: if it is no bundle, or is not signed with the private key of `key`.
    """
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        payload_type = envelope["payloadType"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, binascii.Error) as error:
        raise ConfigError("the signature is not a bundle of a signed statement") from error
    try:
        key.verify(signature, _encode(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ConfigError(f"the signature is not of the key {key_hint(key)[:12]}") from error
    try:
        statement = json.loads(payload)
        is_statement = payload_type == _PAYLOAD_TYPE and statement["_type"] == STATEMENT_TYPE
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError("the signed text is not an in-toto statement") from error
    if not is_statement:
        raise ConfigError("the signed text is not an in-toto statement")
    return dict(statement)


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """The sha256 of a public key in PEM form, by which bundles name it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def _encode(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of what is signed."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)
