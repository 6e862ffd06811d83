"""Errors of the HTTP interface: a status, a short code and a message, as JSON. They never hold report text."""

from trrg_core.errors import DataError

# of the reasons for which an image is refused; every other one is a damaged or unsupported image
_STATUS_OF_REASON = {"file_too_large": 413, "too_many_pixels": 413, "not_an_image": 415, "empty_file": 415}
_DAMAGED = 422


class ApiError(Exception):
    """A request that is not answered with a report. `film` is the name of the image that is to blame."""

    def __init__(self, status: int, code: str, message: str, *, film: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.film = status, code, message, film

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The JSON of the answer."""
        detail = {"code": self.code, "message": self.message}
        return {"error": detail | ({"film": self.film} if self.film else {})}


def error_of_film(error: DataError, film: str) -> ApiError:
    """The answer to an image that cannot be read."""
    return ApiError(_STATUS_OF_REASON.get(error.reason, _DAMAGED), error.reason, str(error), film=film)
