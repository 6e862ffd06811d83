"""The file that names the programs of outside metrics, and where report text may go::

    metrics:
      radgraph: {python: /opt/radeval/bin/python}
      crimson: {command: [/opt/crimson/bin/python, run_crimson.py], endpoint: "http://localhost:8000/v1"}
    under_agreement: true
    declared_endpoints: []

A metric that the file does not name is not computed.
"""

import ipaddress
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator

from trrg_core.config.section import ConfigSection, check_no_credentials
from trrg_core.config.values import explain_errors, load_yaml
from trrg_core.errors import ConfigError
from trrg_core.metrics.outside.known_metrics import KNOWN
from trrg_core.storage.given_file import read_given_file


class OutsideMetric(ConfigSection):
    """How one metric is run: `python` for a metric that RadEval computes, or `command` for any program."""

    python: str = Field("", description="Python of an environment with RadEval; runs the adapter that TRRG ships.")
    command: tuple[str, ...] = Field(
        (), description="A program and its arguments; the paths of a file of pairs and of one for scores are added."
    )
    endpoint: Annotated[str, AfterValidator(check_no_credentials)] = Field(
        "", description="Address of a language model that judges; empty: the program judges by itself."
    )
    timeout_s: float = Field(3600, gt=0, description="Seconds after which the program is stopped.")
    environment: tuple[str, ...] = Field((), description="Names of environment variables that the program may read.")
    log: str = Field("", description="File for the messages of the program, which may quote reports; empty: none.")

    @model_validator(mode="after")
    def _has_one_program(self) -> Self:
        if bool(self.python) == bool(self.command):
            raise ValueError("give either `python` or `command`")
        return self


class OutsideSettings(ConfigSection):
    """The programs by name of the metric, and where the texts may be sent."""

    metrics: dict[str, OutsideMetric] = Field({}, description="Programs by the name of their metric.")
    under_agreement: bool = Field(
        True, description="Whether the texts are under a data use agreement, as those of MIMIC-CXR are."
    )
    declared_endpoints: tuple[str, ...] = Field(
        (), description="Outside addresses that the agreement allows; a person answers for this list."
    )

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        for name, metric in self.metrics.items():
            if metric.python and (name not in KNOWN or not KNOWN[name].flag):
                by_radeval = ", ".join(known for known, item in KNOWN.items() if item.flag)
                raise ValueError(f"{name}: `python` is for metrics of RadEval ({by_radeval}); give `command`")
        return self


def read_outside_settings(path: str) -> OutsideSettings:
    """The settings of a YAML file, checked.

    Raises:
        ConfigError: if it cannot be read, has an unknown key, or sends texts where they may not go.
    """
    values = load_yaml(read_given_file(path), path)
    try:
        settings = OutsideSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain_errors(error, OutsideSettings)}") from error
    for name, metric in settings.metrics.items():
        check_endpoint(name, metric, settings)
    return settings


def check_endpoint(name: str, metric: OutsideMetric, settings: OutsideSettings) -> None:
    """Check that the texts may be sent to the endpoint of a metric.

    Raises:
        ConfigError: if it is outside this machine, the texts are under an agreement, and it is not declared.
    """
    if not metric.endpoint or is_local(metric.endpoint) or not settings.under_agreement:
        return
    if metric.endpoint not in settings.declared_endpoints:
        raise ConfigError(
            f"{name}: {metric.endpoint} is outside this machine, and the texts are under a data use agreement "
            "(under_agreement); use a local judge, or list the address in declared_endpoints if the agreement allows it"
        )


def is_local(endpoint: str) -> bool:
    """Whether an address is of this machine; a name that would have to be looked up is not."""
    try:
        host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
