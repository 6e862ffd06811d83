import contextlib
import io
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit

from tests.real_data import REAL_DATA
from trrg_core.config.settings import IngestConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import ImageForm, decode, decode_image, encode_jpeg, prepare_image, resize_long_side
from trrg_core.imaging.stored_image import read_image
from trrg_core.study import Image


def film(rows: int = 400, columns: int = 500) -> NDArray[np.uint8]:
    noise = np.random.default_rng(3).normal(0, 8, (rows, columns))
    return (np.add.outer(np.arange(rows), np.arange(columns)) * 200 / (rows + columns) + noise + 20).astype(np.uint8)


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def reason_of(data: bytes, **options: int) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(data, **options)
    return caught.value.reason


JPEG = saved(Pillow.fromarray(film()), "JPEG", quality=90)
PNG = saved(Pillow.fromarray(film()), "PNG")
TURNED = Pillow.fromarray(film()[::-1].copy())


def zeroed(data: bytes, start: int, size: int) -> bytes:
    return data[:start] + bytes(size) + data[start + size :]


def with_jpeg_size(rows: int, columns: int) -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", rows, columns) + JPEG[place + 4 :]


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("L", {"progressive": True}),
        ("RGB", {}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"keep_rgb": True}),
        ("CMYK", {}),
    ],
)
def test_a_sound_jpeg_of_any_colour_space_becomes_grey(mode: str, options: dict[str, Any]) -> None:
    data = saved(Pillow.fromarray(film()).convert(mode), "JPEG", quality=95, **options)
    pixels = decode_image(data)
    assert (pixels.shape, pixels.dtype) == ((400, 500), np.uint8)
    assert np.abs(pixels.astype(int) - film()).mean() < 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"<html>404 not found</html>" * 20, "not_an_image"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "not_an_image"),
        (JPEG[: len(JPEG) // 2], "jpeg_truncated"),
        (JPEG[:-2], "jpeg_truncated"),
        (JPEG[:100], "jpeg_truncated"),
        (b"\xff\xd8", "jpeg_truncated"),
        (zeroed(JPEG, len(JPEG) // 2, 3000), "jpeg_corrupt"),
        (with_jpeg_size(65000, 65000), "too_many_pixels"),
        (with_jpeg_size(0, 500), "too_small"),
        (PNG[: len(PNG) // 2], "png_corrupt"),
        (PNG[:20], "png_corrupt"),
        (zeroed(PNG, len(PNG) // 2, 3000), "png_corrupt"),
        (saved(Pillow.new("L", (2, 2)), "PNG"), "too_small"),
        (saved(Pillow.fromarray(film()), "PNG", save_all=True, append_images=[TURNED]), "png_multiframe"),
    ],
)
def test_a_bad_file_has_its_reason(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_a_tolerant_reader_would_have_hidden_the_zeroed_middle() -> None:
    data = zeroed(JPEG, len(JPEG) // 2, 3000)
    with Pillow.open(io.BytesIO(data)) as image:
        image.load()
    assert reason_of(data) == "jpeg_corrupt"
    with pytest.raises(DataError, match="Corrupt"):
        decode(data, min_side_px=100)


def test_a_jpeg_of_12_bits_is_unsupported_rather_than_guessed() -> None:
    place = JPEG.index(b"\xff\xc0") + 4
    assert reason_of(JPEG[:place] + b"\x0c" + JPEG[place + 1 :]) == "jpeg_unsupported"


def test_a_wrong_size_in_the_header_costs_no_memory() -> None:
    png = PNG[:16] + struct.pack(">II", 60000, 60000) + PNG[24:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(with_jpeg_size(60000, 60000)) == "too_many_pixels"
    assert reason_of(png) == "too_many_pixels"
    assert reason_of(dicom(Rows=60000, Columns=60000)) == "too_many_pixels"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_the_limit_counts_pixels() -> None:
    assert decode_image(JPEG, max_pixels=400 * 500).shape == (400, 500)
    assert reason_of(JPEG, max_pixels=400 * 500 - 1) == "too_many_pixels"


def test_png_of_16_bits_is_stretched_over_its_range() -> None:
    deep = (film().astype(np.uint16) * 16)[:, :, None][:, :, 0]
    pixels = decode_image(saved(Pillow.fromarray(deep), "PNG"))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.corrcoef(pixels.ravel(), film().ravel())[0, 1] > 0.999


def test_a_scaled_decode_keeps_the_long_side_and_the_picture() -> None:
    big = film(1600, 1200)
    found = decode(encode_jpeg(big, 95), min_side_px=400)
    assert found.pixels.shape == (400, 300)
    assert (found.rows, found.columns) == (1600, 1200)
    assert np.abs(found.pixels.astype(int) - resize_long_side(big, 400)).mean() < 3


def test_resizing_keeps_the_aspect_and_never_enlarges() -> None:
    assert resize_long_side(film(400, 500), 250).shape == (200, 250)
    assert resize_long_side(film(400, 500), 512) is not None
    assert resize_long_side(film(400, 500), 512).shape == (400, 500)
    assert resize_long_side(film(10, 5000), 100).shape == (1, 100)


def test_encoding_is_repeatable_and_close() -> None:
    assert encode_jpeg(film()) == encode_jpeg(film())
    assert np.abs(decode_image(encode_jpeg(film(), 95)).astype(int) - film()).mean() < 3


def test_a_stored_image_carries_no_metadata_of_its_original(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x010E] = "DOE^JANE"
    data = saved(Pillow.fromarray(film(800, 1000)), "JPEG", exif=exif, comment=b"MRN 1234567")
    (tmp_path / "a.jpg").write_bytes(data)
    assert b"DOE^JANE" in data
    stored = read_image(str(tmp_path), Image(dicom_id="a", path="a.jpg"), IngestConfig(max_side_px=200))
    assert (stored.rows, stored.columns, stored.original_rows, stored.original_columns) == (160, 200, 800, 1000)
    assert b"DOE" not in stored.jpeg
    assert b"MRN" not in stored.jpeg
    assert decode_image(stored.jpeg).shape == (160, 200)


def test_the_dicom_is_read_where_its_jpeg_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom(ViewPosition="PA"))
    stored = read_image(str(tmp_path), Image(dicom_id="a", path="a.jpg"))
    assert (stored.path, stored.view_position) == ("a.dcm", "PA")


@pytest.mark.parametrize(
    ("path", "settings", "reason"),
    [
        ("none.jpg", {}, "missing_image"),
        ("../a.jpg", {}, "path_escape"),
        ("a.jpg", {"max_file_bytes": 10}, "file_too_large"),
    ],
)
def test_a_file_that_cannot_be_read_has_its_reason(
    tmp_path: Path, path: str, settings: dict[str, int], reason: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    with pytest.raises(DataError) as caught:
        read_image(str(tmp_path), Image(dicom_id="a", path=path), IngestConfig(**settings))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "image",
    [
        Pillow.new("L", (90, 80), 70),
        Pillow.new("RGB", (90, 80)),
        Pillow.new("I;16", (90, 80), 3000),
        Pillow.fromarray((film() % 3).astype(np.uint8)),
    ],
)
def test_an_image_of_one_value_is_blank(image: Pillow.Image) -> None:
    with pytest.raises(DataError) as caught:
        prepare_image(saved(image, "PNG"), ImageForm())
    assert caught.value.reason == "blank_image"


def test_16_bits_of_low_contrast_are_not_blank() -> None:
    pixels = np.full((90, 80), 3000, np.uint16)
    pixels[30:60] += 2
    assert prepare_image(saved(Pillow.fromarray(pixels), "PNG"), ImageForm()).rows == 90


def raw12() -> NDArray[np.uint16]:
    return film().astype(np.uint16) * 16


def dicom(
    pixels: NDArray[Any] | None = None, *, syntax: str = ExplicitVRLittleEndian, data: bytes | None = None, **tags: Any
) -> bytes:
    pixels = raw12() if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID = "DOE^JANE", "1234567"
    file.Modality, file.BodyPartExamined = "DX", "CHEST"
    file.PhotometricInterpretation, file.SamplesPerPixel = "MONOCHROME2", 1
    file.Rows, file.Columns = pixels.shape[:2]
    file.BitsAllocated = pixels.dtype.itemsize * 8
    file.BitsStored = 12 if file.BitsAllocated == 16 else 8
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, 0
    file.PixelData = pixels.tobytes() if data is None else data
    file["PixelData"].VR = "OW" if file.BitsAllocated == 16 else "OB"
    for name, value in tags.items():
        if value is None:
            del file[name]
        else:
            setattr(file, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BodyPartExamined": "KNEE"}, "wrong_body_part"),
        ({"BodyPartExamined": "THORACIC SPINE"}, "wrong_body_part"),
        ({"Modality": "CT"}, "wrong_modality"),
        ({"NumberOfFrames": 3, "data": raw12().tobytes() * 3}, "dicom_multiframe"),
        # the header states one frame
        ({"syntax": JPEGBaseline8Bit, "data": encapsulate([JPEG, saved(TURNED, "JPEG")])}, "dicom_multiframe"),
        ({"PixelData": None}, "dicom_no_pixels"),
        ({"PhotometricInterpretation": "RGB"}, "dicom_not_grey"),
        ({"BurnedInAnnotation": "YES"}, "burned_in_annotation"),
        ({"WindowCenter": 100, "WindowWidth": 0}, "dicom_bad_voi"),
        ({"data": raw12().tobytes()[:1000]}, "dicom_corrupt"),
        ({"Rows": 60000, "Columns": 50000}, "too_many_pixels"),
        ({"syntax": JPEGBaseline8Bit, "data": encapsulate([JPEG[:4000]])}, "jpeg_truncated"),
    ],
)
def test_a_dicom_that_cannot_be_used_has_its_reason(tags: dict[str, Any], reason: str) -> None:
    assert reason_of(dicom(**tags)) == reason


def test_a_cut_dicom_is_corrupt() -> None:
    assert reason_of(dicom()[:-5000]) == "dicom_corrupt"


def test_a_deflated_dicom_is_refused_before_it_is_unpacked() -> None:
    assert reason_of(dicom(syntax=DeflatedExplicitVRLittleEndian)) == "dicom_unsupported"


@pytest.mark.parametrize("part", ["CHEST", "Chest PA", "THORAX", ""])
def test_a_chest_is_taken_by_any_of_its_names(part: str) -> None:
    assert decode_image(dicom(BodyPartExamined=part)).shape == (400, 500)


def test_monochrome1_is_turned_round() -> None:
    usual, turned = decode_image(dicom()), decode_image(dicom(PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(turned, 255 - usual)
    assert np.corrcoef(usual.ravel(), raw12().ravel())[0, 1] > 0.999


def test_the_window_is_the_grey_scale() -> None:
    # DICOM PS3.3 C.11.2.1.2: 255 * ((x - (c - 0.5)) / (w - 1) + 0.5), clipped
    values = np.array([[0, 500, 1000, 1500, 2000, 4000]] * 10, np.uint16)
    pixels = decode_image(dicom(np.tile(values, (1, 2)), WindowCenter=1000, WindowWidth=1001))
    expected = np.clip(255 * ((values[0] - 999.5) / 1000 + 0.5), 0, 255)
    assert np.abs(pixels[0, :6] - expected).max() <= 1


def test_a_voi_table_is_applied() -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 12], [4095 - value for value in range(4096)]
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    pixels = decode_image(dicom(VOILUTSequence=[item]))
    assert np.corrcoef(pixels.ravel(), raw12().ravel())[0, 1] < -0.999


def test_a_slope_below_zero_is_applied() -> None:
    pixels = decode_image(dicom(RescaleSlope=-1, RescaleIntercept=4095))
    assert np.corrcoef(pixels.ravel(), raw12().ravel())[0, 1] < -0.999


def test_padding_is_black_and_does_not_squeeze_the_scale() -> None:
    pixels = raw12()
    pixels[:, :50] = 4095
    file = decode_image(dicom(pixels, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1"))
    assert not file[:, :50].any()
    assert file[:, 50:].max() == 255


def test_an_overlay_in_the_high_bits_is_masked() -> None:
    pixels = raw12()
    pixels[10:20] |= 0x8000
    assert np.array_equal(decode_image(dicom(pixels)), decode_image(dicom()))


def test_a_baseline_jpeg_inside_dicom_is_decoded_strictly() -> None:
    grey = film()
    sound = dicom(grey, syntax=JPEGBaseline8Bit, data=encapsulate([JPEG]))
    assert np.corrcoef(decode_image(sound).ravel(), grey.ravel())[0, 1] > 0.99
    broken = dicom(grey, syntax=JPEGBaseline8Bit, data=encapsulate([zeroed(JPEG, len(JPEG) // 2, 3000)]))
    assert reason_of(broken) == "jpeg_corrupt"


def test_a_codestream_larger_than_its_header_is_refused() -> None:
    data = dicom(film(), syntax=JPEGBaseline8Bit, data=encapsulate([with_jpeg_size(9000, 9000)]))
    assert reason_of(data) == "dicom_corrupt"


def test_only_allowed_tags_leave_a_dicom() -> None:
    tags = decode(dicom(ViewPosition="AP", InstitutionName="St Elsewhere")).tags
    assert "DOE" not in str(tags)
    assert "1234567" not in str(tags)
    assert "Elsewhere" not in str(tags)
    assert tags["ViewPosition"] == "AP"


def test_random_bytes_never_do_more_than_raise_a_reason() -> None:
    random = np.random.default_rng(0)
    for base in (JPEG, PNG, dicom()):
        for _ in range(60):
            data = bytearray(base)
            for place in random.integers(4, len(data), 8):
                data[place] = random.integers(256)
            with contextlib.suppress(DataError):  # anything else that is raised fails the test
                assert decode_image(bytes(data[: random.integers(200, len(data))])).ndim == 2


def test_a_png_that_unpacks_to_more_than_it_says_is_refused() -> None:
    chunk = zlib.compress(bytes(50_000_000))
    header = struct.pack(">IIBBBBB", 20, 20, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", chunk[: len(chunk) // 2]), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(DataError):  # whether or not the pixels are taken, the rest must not be unpacked
        assert decode_image(data).shape == (20, 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "shape", "sign"), [("RG1_J2KI.dcm", (1955, 1841), -1), ("xrv_test.dcm", (1024, 1024), 1)]
)
def test_real_dicom_follows_inversion_and_window(name: str, shape: tuple[int, int], sign: int) -> None:
    path = REAL_DATA / "dicom" / name
    if not path.is_file():
        pytest.skip(f"no {path}: set TRRG_REAL_DATA")
    file = pydicom.dcmread(path)
    raw = file.pixel_array.astype(np.float64)
    pixels = decode_image(path.read_bytes())
    assert pixels.shape == shape
    assert np.corrcoef(pixels.ravel(), raw.ravel())[0, 1] * sign > 0.999
    if sign < 0:
        shown = np.clip((raw - (file.WindowCenter - 0.5)) / (file.WindowWidth - 1) + 0.5, 0, 1)
        assert np.abs(pixels - (255 - 255 * shown)).max() <= 1
    file.BodyPartExamined = "FOOT"
    stream = io.BytesIO()
    file.save_as(stream)
    assert reason_of(stream.getvalue()) == "wrong_body_part"
