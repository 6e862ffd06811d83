"""Codes of findings in UMLS, SNOMED CT and RadLex, from `rules/codes.yaml`: those that two public files agree in."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

SYSTEMS = ("umls", "snomed_ct", "radlex")


@cache
def load_codes() -> Mapping[str, Mapping[str, str]]:
    """finding -> system -> code; a finding or a system without a checked code is left out."""
    listed = read_codes()["findings"]
    return {finding: {system: entry["code"] for system, entry in codes.items()} for finding, codes in listed.items()}


def read_codes() -> dict[str, Any]:
    """The file as it is: `sources`, and under `findings` each code with its name and its two sources."""
    text = resources.files("trrg_core.report.rules").joinpath("codes.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
