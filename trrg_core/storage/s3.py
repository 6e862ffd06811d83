"""Objects in S3, as `store` uses them: bounded retries, one deadline, errors that say what to do.

Credentials come only from the AWS environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, roles), never from a
configuration or a uri. A URI here is `s3://bucket/key`.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError

_T = TypeVar("_T")
_LIBRARY_ATTEMPTS = 8
_Fault = Literal["missing", "refused", "exists", "empty_range", "temporary", "permanent"]

_REFUSED_CODES = {"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "301"}
_BUSY_CODES = {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "XAmzContentSHA256Mismatch", "BadDigest"}


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a request is repeated: in all, without an answer, and with which growing pauses between attempts."""

    deadline_s: float = 120.0
    answer_timeout_s: float = 30.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0

    def pauses(self) -> Iterator[float]:
        """The seconds to wait between attempts, without end; drawn, so that workers do not try again together."""
        pause_s = self.first_pause_s
        while True:
            yield pause_s * random.uniform(0.5, 1.0)
            pause_s = min(2 * pause_s, self.longest_pause_s)


class _ExistsError(Exception):
    """The object exists already."""


def read(uri: str, retry_policy: RetryPolicy, max_bytes: int | None = None) -> bytes:
    """The bytes of an object.

    Raises:
        DataError: `missing_file`, or `file_too_large` when it has more than `max_bytes`.
        ConfigError: if access is refused or the bucket does not exist.
        StorageError: if the service gave no valid answer within the deadline.
    """
    fs = _file_system(retry_policy)
    if max_bytes is None:
        return bytes(_with_retries(lambda: fs.cat_file(uri, max_concurrency=1), uri, retry_policy))
    data = bytes(_with_retries(lambda: fs.cat_file(uri, start=0, end=max_bytes + 1), uri, retry_policy, b""))
    if len(data) > max_bytes:
        raise DataError("file_too_large", f"{uri} has more than {max_bytes} bytes")
    return data


def write(uri: str, data: bytes, retry_policy: RetryPolicy, *, replace: bool = True) -> bool:
    """PUT `data` as one object; without `replace` only if there is none yet (If-None-Match).

    Returns:
        Whether this call created the object; always True with `replace`.

    Raises:
        ConfigError, StorageError: as `read`.
    """
    fs = _file_system(retry_policy)
    mode = "overwrite" if replace else "create"
    try:
        _with_retries(lambda: fs.pipe_file(uri, data, mode=mode), uri, retry_policy)
    except _ExistsError:
        # a PUT whose answer was lost is sent again, and then its own object exists
        return read(uri, retry_policy) == data
    return True


def exists(uri: str, retry_policy: RetryPolicy) -> bool:
    """Whether there is an object `uri`, or any object under it."""
    fs = _file_system(retry_policy)
    return bool(_with_retries(lambda: fs.exists(uri), uri, retry_policy))


def list_files(uri: str, retry_policy: RetryPolicy) -> list[str]:
    """Every object under `uri`, relative to it, sorted."""
    return sorted(stamps(uri, retry_policy))


def stamps(uri: str, retry_policy: RetryPolicy) -> dict[str, str]:
    """For every object under `uri` its size and ETag, by its relative name; marks of folders are none."""
    return {name: mark for name, mark in _objects(uri, retry_policy).items() if name and not name.endswith("/")}


def _objects(uri: str, retry_policy: RetryPolicy) -> dict[str, str]:
    """As `stamps`, with the empty objects `NAME/` by which pyarrow and consoles mark a folder."""
    fs = _file_system(retry_policy)
    base = uri.removeprefix("s3://").rstrip("/") + "/"
    try:
        objects = _with_retries(lambda: fs.find(uri, detail=True), uri, retry_policy)
    except DataError:
        return {}
    return {
        str(key).removeprefix(base): f"{details.get('size')}:{details.get('ETag', '')}"
        for key, details in objects.items()
        if str(key).startswith(base)
    }


def delete(uri: str, retry_policy: RetryPolicy) -> None:
    """Remove an object and all objects under it; nothing happens when there is none."""
    fs = _file_system(retry_policy)
    for name in [uri, *(f"{uri.rstrip('/')}/{name}" for name in _objects(uri, retry_policy))]:
        _with_retries(lambda name=name: fs.rm_file(name), name, retry_policy)  # type: ignore[misc]


def upload(path: Path, uri: str, retry_policy: RetryPolicy) -> None:
    """Copy a local file to an object, which appears complete or not at all. Raises as `read`."""
    fs = _file_system(retry_policy)
    _with_retries(lambda: fs.put_file(str(path), uri), uri, retry_policy)


def download(uri: str, path: Path, retry_policy: RetryPolicy) -> None:
    """Copy an object to the local file `path`. Raises as `read`."""
    fs = _file_system(retry_policy)
    _with_retries(lambda: fs.get_file(uri, str(path)), uri, retry_policy)


def endpoint() -> str:
    """The service's address from the environment; empty for Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")


def region() -> str:
    """The region from the environment, or Amazon's default."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _file_system(retry_policy: RetryPolicy) -> Any:
    import s3fs  # aiobotocore takes half a second to import, and most runs are local

    settings = {
        "connect_timeout": min(10.0, retry_policy.answer_timeout_s),
        "read_timeout": retry_policy.answer_timeout_s,
        "retries": {"total_max_attempts": 1},
    }
    # created anew each time: fsspec's own cache of instances is emptied after a fork
    fs = s3fs.S3FileSystem(
        endpoint_url=endpoint() or None,
        client_kwargs={"region_name": region()},
        config_kwargs=settings,
        use_listings_cache=False,
    )
    fs.retries = 1  # only `_with_retries` retries
    return fs


def repeating_file_system(retry_policy: RetryPolicy) -> Any:
    """A file system that repeats requests by itself, for libraries that read through it."""
    fs = _file_system(retry_policy)
    fs.retries = _LIBRARY_ATTEMPTS
    return fs


def _with_retries(call: Callable[[], _T], uri: str, retry_policy: RetryPolicy, empty: _T | None = None) -> _T:
    start = time.monotonic()
    pauses = retry_policy.pauses()
    while True:
        pause_s = next(pauses)
        try:
            return call()
        except Exception as error:  # s3fs raises botocore, aiohttp and OS errors; all are classified below
            fault = _fault(error)
            if fault == "empty_range" and empty is not None:
                return empty
            left_s = retry_policy.deadline_s - (time.monotonic() - start)
            if fault != "temporary" or left_s <= pause_s:
                raise _explain(fault, uri, error, time.monotonic() - start) from error
        time.sleep(pause_s)


def _fault(error: BaseException) -> _Fault:
    from botocore import exceptions as boto  # type: ignore[import-untyped]

    answer = _answer(error)
    if answer is not None:
        return _fault_of_answer(*answer)
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, FileExistsError):
        return "exists"
    if isinstance(error, PermissionError | boto.NoCredentialsError | boto.PartialCredentialsError):
        return "refused"
    if isinstance(error, boto.ParamValidationError | ValueError | TypeError):
        return "permanent"
    return "temporary"


def _fault_of_answer(status: int, code: str) -> _Fault:
    if code in _BUSY_CODES:
        return "temporary"
    if status in (401, 403) or code in _REFUSED_CODES:
        return "refused"
    if status == 404:
        return "missing"
    if status == 412:
        return "exists"
    if status == 416:
        return "empty_range"
    if status in (408, 409, 429) or status >= 500:
        return "temporary"
    return "permanent"


def _answer(error: BaseException | None) -> tuple[int, str] | None:
    # s3fs wraps the service's answer in an OSError; the answer itself is the cause
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and "Error" in response:
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status), str(response["Error"].get("Code", ""))
        error = error.__cause__
    return None


def _explain(fault: _Fault, uri: str, error: Exception, spent_s: float) -> TrrgError | _ExistsError:
    answer = _answer(error)
    what = f"{answer[1]} ({answer[0]})" if answer else type(error).__name__
    if fault == "missing":
        return DataError("missing_file", f"no object {uri}")
    if fault == "exists":
        return _ExistsError(uri)
    if fault == "refused":
        return ConfigError(f"{uri}: {what}; check the bucket's name and the AWS_* environment")
    return StorageError(f"{uri}: {what}, given up after {spent_s:.1f} s")
