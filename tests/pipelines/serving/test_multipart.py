import pytest

from pipelines.serving.api_error import ApiError
from pipelines.serving.multipart import parse_multipart

TYPE = "multipart/form-data; boundary=xyz"
FILM = b"\xff\xd8\r\n--xy not a boundary\r\n\r\n\x00\xff"


def form(*parts: tuple[str, bytes], end: bytes = b"\r\n--xyz--\r\n") -> bytes:
    heads = [f"Content-Disposition: form-data; {what}\r\nContent-Type: image/jpeg".encode() for what, _ in parts]
    return (
        b"".join(
            (b"" if not at else b"\r\n") + b"--xyz\r\n" + head + b"\r\n\r\n" + data
            for at, (head, (_, data)) in enumerate(zip(heads, parts, strict=True))
        )
        + end
    )


def test_parts_keep_their_bytes_names_and_order() -> None:
    body = form(('name="film"; filename="a;b.jpg"', FILM), ('name="view"', b" PA\n"), ("name=id", b""))
    parts = parse_multipart(body, TYPE)
    assert [(part.name, part.filename, part.data) for part in parts] == [
        ("film", "a;b.jpg", FILM),
        ("view", None, b" PA\n"),
        ("id", None, b""),
    ]
    assert parts[1].text == "PA"
    assert "xd8" not in repr(parts[0])


def test_file_names_are_utf8() -> None:
    names = ["J\u00fcrgen.jpg", "\u5f71.jpg"]
    body = form(*((f'name="film"; filename="{name}"', b"x") for name in names))
    assert [part.filename for part in parse_multipart(body, TYPE)] == names
    (part,) = parse_multipart(form(("name=film; filename*=UTF-8''%e2%82%ac.jpg", b"x")), TYPE)
    assert part.filename == "\u20ac.jpg"
    broken = form(('name="film"; filename="bad"', b"x")).replace(b'"bad"', b'"\xff\xfe"')
    assert parse_multipart(broken, TYPE)[0].filename == "\ufffd\ufffd"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (form(("name=film", b"x")), "application/json", 415),
        (form(("name=film", b"x")), "", 415),
        (form(("name=film", b"x")), "multipart/form-data", 400),
        (form(("name=film", b"x")), f"multipart/form-data; boundary={'x' * 71}", 400),
        (form(("name=film", b"x"), end=b""), TYPE, 400),
        (form(("name=film", b"x"), end=b"\r\n--xyz\r\n"), TYPE, 400),
        (b"", TYPE, 400),
        (b"nothing", TYPE, 400),
        (b"--xyz\r\nno headers\r\n--xyz--", TYPE, 400),
        (b"--xyz\r\nX: y\r\n\r\nno name\r\n--xyz--", TYPE, 400),
        (form(*[("name=film", b"x")] * 65), TYPE, 400),
        (form(("name=film; x=" + "y" * 9000, b"x")), TYPE, 400),
    ],
)
def test_a_body_that_is_no_whole_form_is_refused(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(ApiError) as refused:
        parse_multipart(body, content_type)
    assert refused.value.status == status


def test_a_form_without_parts_has_none() -> None:
    assert parse_multipart(b"--xyz--\r\n", TYPE) == []
