"""Optional packages by the extra that installs them, and the error when one is missing.

`pip install trrg` installs what the parser, the slice compiler, the scorer and the table commands import. All other
packages come with an extra of pyproject.toml, e.g. `pip install 'trrg[train]'`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import MappingProxyType

from trrg_core.errors import ConfigError

# names as imported; a test compares them with pyproject.toml. The first of each extra shows that it is installed.
PACKAGES_OF_EXTRA: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": (
            "ray",
            "torch",
            "transformers",
            "huggingface_hub",
            "tokenizers",
            "safetensors",
            "peft",
            "tensorboardX",
            "accelerate",
            "deepspeed",
            "spacy",
            "scispacy",
            "pydicom",
            "simplejpeg",
            "cryptography",
            "requests",
        ),
        "flows": ("prefect", "mlflow", "sqlalchemy", "asyncpg", "prometheus_client"),
        "serve": ("uvicorn", "fastapi", "starlette"),
        "s3": ("s3fs", "botocore"),
        "weights": ("gguf",),
        "otel": ("opentelemetry",),
    }
)


@contextmanager
def needs_extra(what: str) -> Iterator[None]:
    """A block that imports optional packages for `what`, e.g. "trrg run".

    Raises:
        ConfigError: if one is missing; the message is one line with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        raise _missing(extra, what) from error


def require_package(package: str, what: str) -> None:
    """Check that an optional package is installed, without importing it.

    Raises:
        ConfigError: if it is missing, as `needs_extra`.
    """
    if find_spec(package) is None:
        raise _missing(str(extra_of(package)), what)


def extra_of(module: str) -> str | None:
    """The extra that installs `module`; None for a module that belongs to no extra."""
    package = module.partition(".")[0]
    return next((extra for extra, packages in PACKAGES_OF_EXTRA.items() if package in packages), None)


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'trrg[{extra}]'"


def _missing(extra: str, what: str) -> ConfigError:
    return ConfigError(f"{what} needs the extra '{extra}': {install_command(extra)}")
