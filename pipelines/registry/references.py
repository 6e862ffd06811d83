"""Runs and table versions that the model registry refers to: they must be kept as long as the model. Read only."""

import logging
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store

# imported at run time only where a registry exists: garbage collection works without MLflow too
if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

logger = logging.getLogger(__name__)

CARD = "README.md"  # in the folder of a registration
# the last line of a card that is too long for the registry of a server
SHORTENED = f"The whole card is `{CARD}` in the folder of this run."
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"
_HTTP = ("http://", "https://")
_MAX_MESSAGE = 300
_WAITS_S = (1.0, 3.0)  # between attempts to connect; MLflow's own take minutes, and say nothing
_CONNECT_TIMEOUT_S = 4
# MLflow's own 7 attempts of 120 s each take minutes where a server answers with an error, or not at all
_HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_WITH_TIMEOUT = ("postgresql", "mysql")  # SQLAlchemy's names of databases whose drivers know `connect_timeout`
_RUN_OF_SOURCE = re.compile(r"runs/([^/]+)/")


def registered_names(store: Store, config: RegisterConfig) -> dict[str, str]:
    """Each run or table version that a registered model version refers to, with that model version in words.

    Raises:
        ConfigError, StorageError: if the registry cannot be read.
    """
    models = registered_models(store, config)
    return {name: f"named by {model}" for model, names in models.items() for name in names}


def registered_models(store: Store, config: RegisterConfig) -> dict[str, list[str]]:
    """The runs and table versions that each registered model version (`models:/NAME/VERSION`) refers to.

    Raises:
        StorageError: if the registry cannot be read.
    """
    with read_only_client(store, config) as client:
        if client is None:
            return {}
        from mlflow.exceptions import MlflowException

        try:
            return {f"models:/{version.name}/{version.version}": _references(version) for version in _versions(client)}
        except MlflowException as error:
            raise no_answer(error) from error


@contextmanager
def read_only_client(store: Store, config: RegisterConfig) -> Iterator["MlflowClient | None"]:
    """A client of the registry; a registry inside the store is copied first, because MLflow may write to it."""
    if not config.tracking_uri and not store.exists(REGISTRY_DATABASE):
        yield None
        return
    if config.tracking_uri:
        yield open_client(config.tracking_uri, config.tracking_uri)
    else:
        with tempfile.TemporaryDirectory() as local:
            copy = Path(local) / "mlflow.db"
            copy.write_bytes(store.read_bytes(REGISTRY_DATABASE))
            yield open_client(sqlite_uri(copy), store.join(REGISTRY_DATABASE))


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite file: `%20` and `?` in the name of a folder are no code and no query.

    MLflow makes the parent folder of the address as it is written, codes and all. Of a path with such signs the slashes
    are coded, too, so that this parent is the root of the file system.
    """
    text = str(path.absolute())
    return f"sqlite:////{quote(text[1:], safe='')}" if re.search("[%?]", text) else f"sqlite:///{text}"


def is_missing(error: "MlflowException") -> bool:
    """Whether the registry answered that it has no such model, version or alias; otherwise it has failed."""
    return error.error_code in _NOT_FOUND


def no_answer(error: "MlflowException") -> StorageError:
    """The failure of a registry without the statement that failed, which may be pages long."""
    cause = " ".join(str(error).partition("[SQL:")[0].split())
    return StorageError(f"the model registry did not answer: {cause[:_MAX_MESSAGE]}; run again later")


def open_client(uri: str, shown: str) -> "MlflowClient":
    """A client of the registry at `uri`, which messages call `shown`.

    Raises:
        ConfigError: if there can be no registry there, its file is damaged, or the driver of its database is missing.
        StorageError: if its database is locked or away.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs the traceback of what it raises
    if uri.startswith(_HTTP):
        for name, value in _HTTP_LIMITS.items():
            os.environ.setdefault(name, value)
    try:
        _connect(uri, shown)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if not uri.startswith(_HTTP):
            client.search_registered_models(max_results=1)  # MLflow opens the registry's tables when first asked
        return client
    except (OperationalError, OSError) as error:
        cause = " ".join(str(error.orig if isinstance(error, OperationalError) else error).split())
        raise StorageError(f"the model registry at {shown} did not answer: {cause[:_MAX_MESSAGE]}") from error
    except MlflowException as error:
        if error.error_code == _UNAVAILABLE:
            raise no_answer(error) from error
        raise _no_registry(shown, error) from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"the model registry at {shown} needs the Python package {error.name}: install it") from error
    except Exception as error:  # MLflow passes on those of SQLAlchemy and of drivers
        raise _no_registry(shown, error) from error


def _no_registry(shown: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"no model registry can be opened at {shown} ({type(error).__name__}): expected http(s)://HOST, "
        "postgresql://HOST/NAME, or a database of this store, which is restored from a backup"
    )


def _connect(uri: str, shown: str) -> None:
    """Connect to a server once, with a few attempts within seconds; nothing for a file, or behind a proxy."""
    from requests.utils import get_environ_proxies, select_proxy

    if uri.startswith("sqlite:"):
        return
    if uri.startswith(_HTTP):
        if not select_proxy(uri, get_environ_proxies(uri)):
            _try(lambda: _connect_to_host(uri), OSError, shown)
        return
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import OperationalError

    name = make_url(uri).get_backend_name()
    engine = create_engine(uri, connect_args={"connect_timeout": _CONNECT_TIMEOUT_S} if name in _WITH_TIMEOUT else {})
    try:
        _try(lambda: engine.connect().close(), OperationalError, shown)
    finally:
        engine.dispose()


def _try(connect: Callable[[], None], failure: type[Exception], shown: str) -> None:
    for wait_s in (*_WAITS_S, None):
        try:
            return connect()
        except failure:
            if wait_s is None:
                raise
            logger.info("the model registry at %s does not answer: trying again in %g s", shown, wait_s)
            time.sleep(wait_s)


def _connect_to_host(uri: str) -> None:
    address = urlsplit(uri)
    port = address.port or (443 if address.scheme == "https" else 80)
    socket.create_connection((address.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()


def _versions(client: "MlflowClient") -> Iterator["ModelVersion"]:
    token = None
    while True:
        page = client.search_model_versions(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _references(version: "ModelVersion") -> list[str]:
    tags = [value for key, value in version.tags.items() if key.startswith("trrg.")]
    return [*tags, *_RUN_OF_SOURCE.findall(version.source or "")]
