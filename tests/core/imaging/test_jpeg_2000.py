"""A large JPEG 2000 frame is decoded at half of its size, and displayed as the whole would be."""

import numpy as np
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image as Pillow
from pydicom.uid import JPEG2000Lossless

from tests.security import hostile_images
from trrg_core.errors import DataError
from trrg_core.imaging import jpeg_2000
from trrg_core.imaging.decode import DecodedImage, decode

ROWS, COLUMNS = 2200, 96


def smooth() -> NDArray[np.int64]:
    return 1500 + (1000 * np.sin(np.add.outer(np.arange(ROWS) / 200, np.arange(COLUMNS) / 30))).astype(np.int64)


def dicom(values: NDArray[np.int64], *, bits: int = 12, is_signed: bool = False, **tags: int) -> bytes:
    kind = "i2" if is_signed else "u2"
    frame = encode_array(values.astype(kind), bits_stored=bits, photometric_interpretation=2)
    signed = {"PixelRepresentation": 1} if is_signed else {}
    tags = {"BitsStored": bits, "HighBit": bits - 1, **signed, **tags}
    return hostile_images.dicom(values.astype("u2"), frame=bytes(frame), syntax=JPEG2000Lossless, **tags)


def halved(monkeypatch: pytest.MonkeyPatch, data: bytes, min_side_px: int = 512) -> DecodedImage:
    with monkeypatch.context() as patch:
        patch.setattr(jpeg_2000, "_MAX_FULL_BYTES", 100)
        return decode(data, min_side_px=min_side_px)


def check_is_half_of(half: DecodedImage, whole: DecodedImage) -> None:
    assert half.pixels.shape == (ROWS // 2, COLUMNS // 2)
    assert (half.rows, half.columns) == (whole.rows, whole.columns) == (ROWS, COLUMNS)
    size = (COLUMNS // 2, ROWS // 2)
    expected = np.asarray(Pillow.fromarray(whole.pixels).resize(size, Pillow.Resampling.BOX))
    assert np.abs(half.pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("is_signed", [False, True])
def test_a_halved_frame_is_displayed_as_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, bits: int, is_signed: bool
) -> None:
    values = smooth() - (1200 if is_signed else 0)
    data = dicom(values, bits=bits, is_signed=is_signed, WindowCenter=300 if is_signed else 1500, WindowWidth=1500)
    check_is_half_of(halved(monkeypatch, data), decode(data))


def test_padding_does_not_blend_with_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a window, the range of the film is stretched: a blend of film and padding would widen it."""
    values = smooth()
    values[:301] = values[:, 70:] = 4095
    data = dicom(values, PixelPaddingValue=4095)
    half, whole = halved(monkeypatch, data), decode(data)
    inside = np.s_[160:, :30]
    small = np.asarray(Pillow.fromarray(whole.pixels).resize((COLUMNS // 2, ROWS // 2), Pillow.Resampling.BOX))
    assert np.abs(half.pixels[inside].astype(int) - small[inside]).max() <= 4
    assert not half.pixels[:145].any()


def test_a_frame_is_whole_where_its_size_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(smooth())
    for min_side_px in (0, 1101):
        assert halved(monkeypatch, data, min_side_px).pixels.shape == (ROWS, COLUMNS)
    assert decode(data, min_side_px=512).pixels.shape == (ROWS, COLUMNS), "a frame of less than 12 MB"


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_frame_is_set_aside(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    values = smooth().astype("u2")
    frame = bytes(encode_array(values, bits_stored=12, photometric_interpretation=2))
    cut = frame[: int(share * len(frame))]
    data = hostile_images.dicom(values, frame=cut, syntax=JPEG2000Lossless, BitsStored=12, HighBit=11)
    with pytest.raises(DataError) as caught:
        halved(monkeypatch, data)
    assert caught.value.reason == "dicom_corrupt"


def test_more_than_16_bits_are_not_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(smooth())
    form = data.index(b"\xff\x4f\xff\x51") + 42
    with pytest.raises(DataError) as caught:
        halved(monkeypatch, data[:form] + b"\x17" + data[form + 1 :])
    assert (caught.value.reason, "with 24 bits" in str(caught.value)) == ("dicom_unsupported", True)
