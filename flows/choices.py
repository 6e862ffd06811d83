"""Choices that the command line and the flow parameters share."""

from typing import Literal

OnDrift = Literal["warn", "stop", "ignore"]
