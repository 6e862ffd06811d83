"""`SliceSpec`: the request for a slice, as a YAML file or as the form in Prefect; part of the slice's fingerprint.

Types and ranges are checked here, names of observations and columns against the label table in `constraints`.
"""

import math
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from trrg_core.config.section import ConfigSection
from trrg_core.config.values import explain_errors, load_yaml, nearest
from trrg_core.errors import ConfigError
from trrg_core.labels import Assertion
from trrg_core.storage.given_file import read_given_file
from trrg_core.tables.table_ref import TableRef

WhereUnit = Literal["patients", "studies"]


class Bound(ConfigSection):
    """A bound on the studies whose report makes `assertion` of `observation`: a count or a share of the slice."""

    observation: str = Field(description="Observation of the label set, e.g. Pneumothorax.")
    assertion: Assertion = Field(Assertion.PRESENT, description="PRESENT, ABSENT or UNCERTAIN.")
    share: float | None = Field(None, ge=0, le=1, description="Share of the slice's study rows; or give `count`.")
    count: int | None = Field(None, ge=0, description="Study rows, repeats counted; or give `share`.")

    @model_validator(mode="after")
    def _has_one_amount(self) -> Self:
        if (self.share is None) == (self.count is None):
            raise ValueError("give either `share` or `count`")
        return self


class Quota(Bound):
    """A lower bound."""


class Cap(Bound):
    """An upper bound; it is kept even where a quota is then missed."""


class NegatedCap(ConfigSection):
    """A cap on the share of negated sentences among those that mention `observation`; kept by sentence weights."""

    observation: str = Field(description="Observation of the label set.")
    share: float = Field(ge=0, le=1, description="Share of negated sentences, weighted; 1 removes the general cap.")


class Balance(ConfigSection):
    """Shares of the slice's study rows by the values of a column; values that are not listed are free."""

    column: str = Field(description="Column of the label table: frontal, view_positions, has_prior, sex, age_band.")
    shares: dict[str, float] = Field(min_length=1, description="Share of the study rows by value.")
    tolerance: float = Field(0.01, ge=0, le=1, description="Allowed difference from each share.")

    @field_validator("shares")
    @classmethod
    def _are_shares(cls, shares: dict[str, float]) -> dict[str, float]:
        if (
            not all(math.isfinite(share) and 0 <= share <= 1 for share in shares.values())
            or sum(shares.values()) > 1 + 1e-9
        ):
            raise ValueError("shares must lie in 0..1 and sum to at most 1")
        return shares


class SliceSpec(ConfigSection):
    """The request for a slice of the train studies; `validate` and `test` are never changed."""

    name: str = Field("slice", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the slice.")
    base: str = Field("", description="Version to slice, shards@VERSION; empty: the newest.")
    where: str = Field("", description="SQL predicate over the label table; empty keeps every study.")
    where_unit: WhereUnit = Field(
        "patients",
        description="patients: keep patients all of whose studies pass `where`; studies: keep each study that passes.",
    )
    rows: int | None = Field(
        None, ge=1, description="Study rows wanted within 1 %, repeats counted; empty: as near to the base as possible."
    )
    min_rows: int | None = Field(
        None, ge=1, description="Fewest study rows, repeats counted; kept even where a quota is then missed."
    )
    quotas: tuple[Quota, ...] = Field((), description="Lower bounds on studies, by observation and assertion.")
    caps: tuple[Cap, ...] = Field((), description="Upper bounds on studies, by observation and assertion.")
    max_negated_share: float | None = Field(
        None, ge=0, le=1, description="Cap on negated sentences of every observation; empty: none."
    )
    negated: tuple[NegatedCap, ...] = Field((), description="Caps on negated sentences of single observations.")
    balance: tuple[Balance, ...] = Field((), description="Shares by view, prior, sex or age.")
    max_repeats: int = Field(1, ge=1, le=100, description="Greatest number of times that a study is repeated.")
    seed: int = Field(7, ge=0, description="Seed of the choice between equivalent patients.")

    @field_validator("base")
    @classmethod
    def _is_shards(cls, base: str) -> str:
        if base:
            try:
                name = TableRef.parse(base).name
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if name != "shards":
                raise ValueError(f"expected shards@VERSION, found a version of {name}")
        return base

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.rows is not None and self.min_rows is not None and self.min_rows > self.rows:
            raise ValueError(f"min_rows {self.min_rows} is more than rows {self.rows}")
        return self


def list_templates() -> dict[str, str]:
    """The specs that come with TRRG: what each is for, by name."""
    files = sorted(_template_folder().iterdir(), key=lambda file: file.name)
    specs = {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in files if file.name.endswith(".yaml")}
    return {name: text.splitlines()[0].removeprefix("# ") for name, text in specs.items()}


def load_template(name: str) -> SliceSpec:
    """The spec that comes with TRRG under this name.

    Raises:
        ConfigError: if there is none, with the names that there are.
    """
    if name not in list_templates():
        raise ConfigError(f"no template {name!r}{nearest(name, list_templates())}: {', '.join(list_templates())}")
    return validate_slice_spec(load_yaml(_template_folder().joinpath(f"{name}.yaml").read_bytes(), name))


def _template_folder() -> Traversable:
    return resources.files("trrg_core.slicing").joinpath("templates")


def load_slice_spec(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SliceSpec:
    """The spec in a YAML file, with top-level values replaced by `overrides`.

    Raises:
        ConfigError: if there is no such file or it is not a spec; names the nearest right key.
    """
    text = read_given_file(path, "slice spec")
    return validate_slice_spec({**load_yaml(text, str(path)), **(overrides or {})})


def validate_slice_spec(values: Mapping[str, Any]) -> SliceSpec:
    """`values` as a checked SliceSpec.

    Raises:
        ConfigError: naming each wrong key or value and its place.
    """
    try:
        return SliceSpec.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(explain_errors(error, SliceSpec)) from error
