"""Signatures of model folders: the form is that of OpenSSF's model-signing, and no change passes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.security.signing_keys import use_pair, write_pair
from trrg_core.errors import ConfigError
from trrg_core.signing.bundle import read_statement, sign_statement
from trrg_core.signing.folder_signature import sign_folder, verify_folder
from trrg_core.signing.key_pair import read_signing_key, read_verifying_key

HERE = Path(__file__).parent
FILES = ("b.json", "sub/a.json", "sub-x/z.json", "sub.json", "A.json")
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the reference bundle is of: each file holds its own name."""
    made = tmp_path / "deep"
    for name in FILES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{name}\n")
    return made


def reference_key() -> Any:
    return serialization.load_pem_public_key((HERE / "model_signing_1.1.1.pub.pem").read_bytes())


def test_a_bundle_of_the_reference_tool_verifies(folder: Path) -> None:
    bundle = (HERE / "model_signing_1.1.1.sig").read_bytes()
    verify_folder(folder, bundle, reference_key())
    (folder / "sub.json").write_text("sub.jsom\n")
    with pytest.raises(ConfigError, match=r"sub\.json was changed since the model was signed"):
        verify_folder(folder, bundle, reference_key())


def test_what_is_signed_here_has_the_statement_of_the_reference_tool(folder: Path) -> None:
    theirs = read_statement((HERE / "model_signing_1.1.1.sig").read_bytes(), reference_key())
    ours = read_statement(sign_folder(folder, KEY), PUBLIC)
    for statement in (ours, theirs):
        statement["predicate"]["serialization"].pop("ignore_paths")
    assert ours == theirs


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda folder: (folder / "new.json").write_text(""), r"new\.json is not signed"),
        (lambda folder: (folder / ".git").write_text(""), r"\.git is not signed"),
        (lambda folder: (folder / "b.json").unlink(), r"b\.json is missing"),
        (lambda folder: (folder / "b.json").rename(folder / "c.json"), r"b\.json is missing"),
        (lambda folder: (folder / "link.json").symlink_to("b.json"), r"link\.json is a link"),
        (lambda folder: [path.unlink() for path in folder.rglob("*.json")], "holds no file"),
    ],
)
def test_each_change_of_a_folder_is_named(folder: Path, change: Callable[[Path], Any], found: str) -> None:
    bundle = sign_folder(folder, KEY)
    verify_folder(folder, bundle, PUBLIC)
    change(folder)
    with pytest.raises(ConfigError, match=found):
        verify_folder(folder, bundle, PUBLIC)


def damaged(bundle: bytes, *path: Any, value: Any) -> bytes:
    """The bundle with another value at a path."""
    data = json.loads(bundle)
    inner = data
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return json.dumps(data).encode()


def test_a_bundle_that_is_none_or_not_of_the_key_is_refused(folder: Path) -> None:
    bundle = sign_folder(folder, KEY)
    payload = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    payload["predicate"]["resources"][0]["digest"] = "0" * 64
    forged = base64.b64encode(json.dumps(payload).encode()).decode()
    refused = [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        damaged(bundle, "dsseEnvelope", "signatures", value=[]),
        damaged(bundle, "dsseEnvelope", "payload", value=forged),
        damaged(bundle, "dsseEnvelope", "payload", value="%%%"),
        damaged(bundle, "dsseEnvelope", "payloadType", value="text/plain"),
        damaged(bundle, "dsseEnvelope", "signatures", 0, "sig", value="AAAA"),
        damaged(bundle, "dsseEnvelope", "signatures", 0, "sig", value=None),
    ]
    for text in refused:
        with pytest.raises(ConfigError, match=r"signature|statement"):
            verify_folder(folder, text, PUBLIC)
    with pytest.raises(ConfigError, match="not of the key"):
        verify_folder(folder, bundle, ec.generate_private_key(ec.SECP256R1()).public_key())


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://cyclonedx.org/bom"},
        {"subject": []},
        {"subject": [{"name": "model", "digest": {"sha256": "0" * 64}}]},
        {"predicate": {}},
        {"predicate": None},
    ],
)
def test_a_signed_statement_of_another_kind_is_no_signature_of_a_folder(folder: Path, change: dict[str, Any]) -> None:
    statement = read_statement(sign_folder(folder, KEY), PUBLIC)
    with pytest.raises(ConfigError, match="statement"):
        verify_folder(folder, sign_statement({**statement, **change}, KEY), PUBLIC)


def test_keys_are_read_from_the_files_that_the_environment_names(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_pair(monkeypatch, None, None)
    assert (read_signing_key(), read_verifying_key()) == (None, None)
    use_pair(monkeypatch, *write_pair(tmp_path, password=b"secret"))
    with pytest.raises(ConfigError, match="TRRG_SIGNING_KEY_PASSWORD"):
        read_signing_key()
    monkeypatch.setenv("TRRG_SIGNING_KEY_PASSWORD", "secret")
    private, public = read_signing_key(), read_verifying_key()
    assert private is not None
    assert public is not None
    verify_folder(folder, sign_folder(folder, private), public)


def test_a_bad_key_is_an_error_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = write_pair(tmp_path)
    other = tmp_path / "p384.pem"
    data = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other.write_bytes(data)
    other.chmod(0o600)
    for path, reason in ((public, "chmod 600"), (tmp_path / "none", "no such file"), (other, "P-256")):
        use_pair(monkeypatch, path, None)
        with pytest.raises(ConfigError, match=reason):
            read_signing_key()
    use_pair(monkeypatch, None, private)
    with pytest.raises(ConfigError, match="no public key in PEM form"):
        read_verifying_key()
