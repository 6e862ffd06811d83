"""The base of every section of the configuration, and the check of addresses in it."""

import re

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

_CREDENTIALS = re.compile(r"(?:https?|s3)://[^/?#]*@|[\w+.-]+://[^/?#@]*:[^/?#]*@", re.IGNORECASE)


class ConfigSection(BaseModel):
    """A frozen section of the configuration; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_no_credentials(uri: str) -> str:
    """`uri`, for use as a pydantic validator.

    Raises:
        PydanticCustomError: `credentials`, if the URI contains a user name or password; the message does not quote it.
    """
    # the configuration is stored in every run folder and commit, and shown in the Prefect UI
    if _CREDENTIALS.match(uri.strip()):
        raise PydanticCustomError("credentials", "must not contain credentials: they come from the environment")
    return uri
