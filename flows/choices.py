"""Choices that the command line and the flow parameters share; imported before a command is known, so it is light."""

from typing import Literal

OnDrift = Literal["warn", "stop", "ignore"]
