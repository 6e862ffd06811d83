"""Image files of an attacker: each is set aside with a reason, before it costs memory or time."""

import io
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.security import hostile_images as hostile
from trrg_core.errors import DataError
from trrg_core.imaging import codestream
from trrg_core.imaging.burned_in_text import count_text_rows
from trrg_core.imaging.decode import decode, decode_image
from trrg_core.imaging.intensity import stretch

ATTACKS: list[tuple[Callable[[], bytes], str]] = [
    (hostile.dicom_with_unknown_vr, "undecodable_image"),
    (hostile.dicom_with_infinite_rows, "dicom_corrupt"),
    (hostile.dicom_of_deep_sequences, "undecodable_image"),
    (hostile.dicom_of_deep_lookup_tables, "undecodable_image"),
    (hostile.dicom_of_32_bits, "dicom_unsupported"),
    (hostile.dicom_deflated_behind_a_long_uid, "dicom_unsupported"),
    (hostile.dicom_behind_a_long_jp2_box, "dicom_corrupt"),
    (hostile.dicom_of_many_tiles, "dicom_unsupported"),
    (hostile.dicom_of_many_components, "dicom_corrupt"),
    (hostile.dicom_run_length_bomb, "dicom_corrupt"),
    (hostile.jpeg_of_many_scans, "jpeg_unsupported"),
    (hostile.dicom_of_a_cut_film, "dicom_corrupt"),
    (hostile.dicom_of_many_scans, "dicom_unsupported"),
    (hostile.jpeg_of_fill_bytes, "jpeg_truncated"),
    (hostile.large_jpeg_of_scans, "jpeg_unsupported"),
    (hostile.dicom_of_many_elements, "dicom_unsupported"),
    (hostile.png_of_many_chunks, "png_corrupt"),
    (hostile.png_with_a_changed_pixel, "png_corrupt"),
    (lambda: hostile.png()[:-12], "png_corrupt"),
    (lambda: hostile.png()[:-1], "png_corrupt"),
]


@pytest.mark.parametrize(("attack", "reason"), ATTACKS, ids=[attack.__name__.strip("<>") for attack, _ in ATTACKS])
def test_a_hostile_file_is_refused_before_it_takes_memory(attack: Callable[[], bytes], reason: str) -> None:
    data = attack()
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            decode_image(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.reason == reason
    assert peak < 4 * len(data) + 2**23


def test_the_message_of_a_failed_decoder_quotes_nothing_of_the_file() -> None:
    with pytest.raises(DataError) as caught:
        decode_image(hostile.dicom_with_unknown_vr().replace(b"1.2.3.4", b"DOEJANE"))
    assert "DOEJANE" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_last_header_of_a_png_counts() -> None:
    with pytest.raises(DataError) as caught:
        decode_image(hostile.png_with_a_second_header(), max_pixels=4_000_000)
    assert caught.value.reason == "too_many_pixels"
    assert decode_image(hostile.png_with_a_second_header(80, 90)).shape == (80, 90)


def test_sixteen_bits_are_stretched_in_little_memory() -> None:
    deep = np.add.outer(np.arange(1500), np.arange(2000)).astype(np.uint16)
    data = hostile.saved(Pillow.fromarray(deep), "PNG")
    tracemalloc.start()
    try:
        pixels = decode_image(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(pixels, stretch(deep.astype(np.float32)))
    assert peak < 8 * deep.size


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("BodyPartExamined", "wrong_body_part"),
        ("Modality", "wrong_modality"),
        ("PhotometricInterpretation", "dicom_not_grey"),
    ],
)
def test_free_text_of_the_header_is_not_repeated_in_a_message(tag: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        decode_image(hostile.dicom(**{tag: "DOE JANE"}))
    assert (caught.value.reason, "DOE" in str(caught.value)) == (reason, False)
    with pytest.raises(DataError, match="'KNEE'"):
        decode_image(hostile.dicom(BodyPartExamined="KNEE"))


@pytest.mark.parametrize("sound", [hostile.jpeg_2000_dicom, hostile.jp2_dicom, hostile.dicom])
def test_a_sound_file_of_the_same_kind_is_decoded(sound: Callable[[], bytes]) -> None:
    pixels = decode_image(sound())
    assert pixels.shape == (hostile.SIDE, hostile.SIDE)
    assert np.corrcoef(pixels.ravel(), hostile.film().ravel())[0, 1] > 0.999


def test_a_progressive_jpeg_of_usual_scans_is_decoded() -> None:
    assert decode_image(hostile.jpeg(progressive=True)).shape == (hostile.SIDE, hostile.SIDE)


def test_32_bits_with_few_grey_levels_are_displayed() -> None:
    pixels = decode_image(hostile.dicom(hostile.film().astype(np.uint32) + 1_000_000))
    assert np.corrcoef(pixels.ravel(), hostile.film().ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("orientation", "displayed"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.T),
        (6, lambda stored: stored.T[:, ::-1]),
        (7, lambda stored: stored[::-1, ::-1].T),
        (8, lambda stored: stored.T[::-1]),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_exif_orientation_is_applied_as_a_viewer_does(
    kind: str, orientation: int, displayed: Callable[[np.ndarray], np.ndarray]
) -> None:
    picture = Pillow.fromarray(hostile.film(40, 60))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    decoded = decode(hostile.saved(picture, kind, exif=exif))
    plain = decode_image(hostile.saved(picture, kind))
    assert np.array_equal(decoded.pixels, displayed(plain))
    assert (decoded.rows, decoded.columns) == decoded.pixels.shape
    assert Pillow.open(io.BytesIO(hostile.saved(picture, kind, exif=exif))).getexif()[0x0112] == orientation


def test_an_unreadable_exif_block_does_not_cost_the_image() -> None:
    for data in (hostile.jpeg(exif=b"Exif\0\0not tiff at all"), hostile.png_with_exif(b"not tiff at all")):
        assert decode_image(data).shape == (hostile.SIDE, hostile.SIDE)


def test_the_message_about_a_file_is_the_same_every_time() -> None:
    with pytest.raises(DataError, match="PNG of 64 x 64: its header is not valid") as caught:
        decode_image(hostile.png_of_no_colour_type())
    assert "0x" not in str(caught.value), "an address in memory"


def test_the_number_of_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.corrcoef(decode_image(hostile.dicom_of_short_runs()).ravel(), hostile.film().ravel())[0, 1] > 0.999
    monkeypatch.setattr(codestream, "_MAX_RUNS", hostile.SIDE**2 - 1)
    with pytest.raises(DataError, match="more than 4095 runs for 64 x 64 pixels") as caught:
        decode_image(hostile.dicom_of_short_runs())
    assert caught.value.reason == "dicom_unsupported"


def test_marks_like_letters_are_counted_in_little_time() -> None:
    film = hostile.film_of_letters()
    start = time.process_time()
    count_text_rows(film)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(("text", "code"), [("pa", "PA"), ("AP LLD", "AP LLD"), ("DOE JANE", "OTHER"), ("", None)])
def test_free_text_in_the_view_position_does_not_leave_the_file(text: str, code: str | None) -> None:
    assert decode(hostile.dicom(ViewPosition=text)).tags.get("ViewPosition") == code
