"""The parts of a `multipart/form-data` body (RFC 7578) that is in memory.

Written here because the packages that FastAPI and Ray Serve bring have no such parser.
"""

from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser

from pipelines.serving.api_error import ApiError

_MOST_PARTS = 64
_MOST_HEADER_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class Part:
    """One field of a form; `filename` is None where the field is no file."""

    name: str
    filename: str | None
    data: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The value of a field that is no file."""
        return self.data.decode("utf-8", "replace").strip()


def parse_multipart(body: bytes, content_type: str) -> list[Part]:
    """The parts of `body`, in order.

    Raises:
        ApiError: 415 for another content type, 400 `malformed_form` if the body is cut or is not of this form.
    """
    header = Message()
    header["content-type"] = content_type
    if header.get_content_type() != "multipart/form-data":
        raise ApiError(415, "not_a_form", "expected multipart/form-data with one or more files named film")
    boundary = str(header.get_param("boundary") or "")
    if not boundary or len(boundary) > 70:
        raise _malformed("no valid boundary in the content type")
    # the first boundary has no line before it
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise _malformed("the body ends before its last boundary")
    if len(sections) - 2 > _MOST_PARTS:
        raise _malformed(f"{len(sections) - 2} parts, at most {_MOST_PARTS} are read")
    return [_parse_part(section) for section in sections[1:-1]]


def _parse_part(section: bytes) -> Part:
    # white space may follow a boundary
    head, separator, data = section.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not separator or len(head) > _MOST_HEADER_BYTES:
        raise _malformed("a part without headers")
    # browsers send file names as UTF-8
    headers = HeaderParser().parsestr(head.decode("utf-8", "replace"))
    name = headers.get_param("name", header="content-disposition")
    if not isinstance(name, str) or not name:
        raise _malformed("a part without a name")
    return Part(name=name, filename=headers.get_filename(), data=data)


def _malformed(message: str) -> ApiError:
    return ApiError(400, "malformed_form", message)
