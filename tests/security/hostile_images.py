"""Image files as an attacker makes them: small files that ask a decoder for much memory, time or depth."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGExtended12Bit, JPEGLSLossless, RLELossless

SIDE = 64


def film(rows: int = SIDE, columns: int = SIDE) -> NDArray[np.uint8]:
    return (np.add.outer(np.arange(rows), np.arange(columns)) % 200 + 20).astype(np.uint8)


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(**options: Any) -> bytes:
    return saved(Pillow.fromarray(film()), "JPEG", **options)


def png() -> bytes:
    return saved(Pillow.fromarray(film()), "PNG")


def jpeg_2000(side: int = SIDE) -> bytes:
    return saved(Pillow.fromarray(film(side, side)), "JPEG2000", no_jp2=True)


def dicom(pixels: NDArray[Any] | None = None, *, frame: bytes = b"", syntax: str = "", **tags: Any) -> bytes:
    """A DICOM radiograph of `pixels`, or of one compressed `frame` in transfer syntax `syntax`."""
    pixels = film() if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4"
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.BodyPartExamined = "DX", "CHEST"
    file.PhotometricInterpretation, file.SamplesPerPixel = "MONOCHROME2", 1
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated = file.BitsStored = pixels.dtype.itemsize * 8
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, 0
    file.PixelData = encapsulate([frame]) if frame else pixels.tobytes()
    file["PixelData"].VR = "OB" if file.BitsAllocated == 8 else "OW"
    for name, value in tags.items():
        setattr(file, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def with_element(data: bytes, tag: bytes, element: bytes) -> bytes:
    """`data` with the short element of `tag` (4 bytes and its VR) replaced by `element`."""
    start = data.index(tag)
    (length,) = struct.unpack("<H", data[start + 6 : start + 8])
    return data[:start] + element + data[start + 8 + length :]


def dicom_with_unknown_vr() -> bytes:
    return dicom().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00ZZ")


def dicom_with_infinite_rows() -> bytes:
    rows = b"\x28\x00\x10\x00"
    return with_element(dicom(), rows + b"US", rows + b"FD\x08\x00" + struct.pack("<d", float("inf")))


def dicom_of_deep_sequences(depth: int = 5000) -> bytes:
    data = dicom()
    start = data.index(b"\x08\x00\x60\x00CS")  # Modality, the first element after the meta information
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return data[:start] + opening * depth + closing * depth + data[start:]


def dicom_of_deep_lookup_tables(depth: int = 5000) -> bytes:
    """The same depth below a sequence that is read."""
    return dicom_of_deep_sequences(depth).replace(b"\x08\x00\x40\x11SQ", b"\x28\x00\x10\x30SQ")


def dicom_of_32_bits() -> bytes:
    pixels = np.zeros((40, 40), np.uint32)
    pixels[0, 0] = 2**32 - 1
    return dicom(pixels)


def dicom_deflated_behind_a_long_uid(size: int = 60_000_000) -> bytes:
    plain = dicom()
    start = plain.index(b"\x08\x00\x60\x00CS")
    long_element = b"\x09\x00\x01\x00OB\0\0" + struct.pack("<I", size) + bytes(size)
    packer = zlib.compressobj(9, wbits=-15)
    deflated = packer.compress(long_element + plain[start:]) + packer.flush()
    uid = b"1." * 749 + b"12"
    elements = (
        b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\0\x01"
        + b"\x02\x00\x03\x00UI"
        + struct.pack("<H", len(uid))
        + uid
        + b"\x02\x00\x10\x00UI\x16\x00"
        + b"1.2.840.10008.1.2.1.99"
    )
    length = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(elements))
    return bytes(128) + b"DICM" + length + elements + deflated


def dicom_behind_a_long_jp2_box(rows: int = 9000) -> bytes:
    """A JPEG 2000 codestream of `rows` x `rows` in a JP2 file whose first boxes are longer than 256 bytes."""
    stream = bytearray(jpeg_2000())
    stream[8:16] = stream[24:32] = struct.pack(">II", rows, rows)  # size of image and of its one tile
    free = struct.pack(">I4s", 1008, b"free") + bytes(1000)
    return dicom(frame=_jp2_header(rows) + free + _box(b"jp2c", bytes(stream)), syntax=JPEG2000Lossless)


def dicom_of_many_tiles() -> bytes:
    stream = bytearray(jpeg_2000(128))
    stream[24:32] = struct.pack(">II", 1, 1)
    return dicom(film(128, 128), frame=bytes(stream), syntax=JPEG2000Lossless)


def dicom_of_many_components() -> bytes:
    stream = jpeg_2000()
    (length,) = struct.unpack(">H", stream[6:8])
    parts = stream[44:47] * 16_000
    header = struct.pack(">H", length + len(parts)) + stream[8:40] + struct.pack(">H", 16_001)
    frame = stream[:6] + header + parts + stream[44:]
    return dicom(frame=frame[:60_000] + stream[47:], syntax=JPEG2000Lossless)


def dicom_run_length_bomb(size: int = 4_000_000) -> bytes:
    """Each two bytes of the frame become 128."""
    runs = b"\x81\x00" * (size // 2)
    return dicom(frame=struct.pack("<16I", 1, 64, *[0] * 14) + runs, syntax=RLELossless)


def dicom_of_short_runs() -> bytes:
    """Run lengths with a run for each pixel: the more runs, the longer a decoder takes."""
    runs = b"".join(bytes([0, value]) for value in film().ravel().tolist())
    return dicom(frame=struct.pack("<16I", 1, 64, *[0] * 14) + runs, syntax=RLELossless)


def jpeg_of_many_scans(count: int = 1500) -> bytes:
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def large_jpeg_of_scans(rows: int = 6300, count: int = 20) -> bytes:
    """Each scan is a pass over all pixels."""
    data = saved(Pillow.new("L", (rows, rows)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def dicom_of_many_elements(count: int = 300_000) -> bytes:
    """Empty elements that nobody reads."""
    data = dicom()
    start = data.index(b"\x08\x00\x60\x00CS")
    return data[:start] + b"\x08\x00\x05\x00CS\x00\x00" * count + data[start:]


def dicom_of_many_items(count: int = 100_000) -> bytes:
    """The same within a sequence of no stated length."""
    data = dicom()
    start = data.index(b"\x08\x00\x60\x00CS")
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x05\x00CS\x00\x00\xfe\xff\x0d\xe0\x00\x00\x00\x00"
    sequence = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + item * count + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    return data[:start] + sequence + data[start:]


def png_of_many_chunks(count: int = 300_000) -> bytes:
    data = png()
    return data[:33] + _chunk(b"tEXt", b"a\x00b") * count + data[33:]


def dicom_of_a_cut_film(rows: int = 4000) -> bytes:
    """A JPEG-LS stream that ends at once: decoders fill in 16 megapixels."""
    start = b"\xff\xd8\xff\xf7\x00\x0b\x08" + struct.pack(">HH", rows, rows) + b"\x01\x01\x11\x00"
    frame = start + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + bytes(100) + b"\xff\xd9"
    return dicom(frame=frame, syntax=JPEGLSLossless, Rows=rows, Columns=rows)


def dicom_of_many_scans() -> bytes:
    """In the syntax of extended JPEG, which another decoder reads."""
    return dicom(frame=jpeg_of_many_scans(), syntax=JPEGExtended12Bit)


def jpeg_of_fill_bytes(size: int = 30_000_000) -> bytes:
    return b"\xff\xd8" + b"\xff" * size


def png_with_a_second_header(rows: int = 3000, columns: int = 3000) -> bytes:
    """The first header states 64 x 64 pixels; decoders take the last one."""
    headers = [_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)) for size in ((64, 64), (columns, rows))]
    pixels = _chunk(b"IDAT", zlib.compress(bytes(columns + 1) * rows, 9))
    return b"\x89PNG\r\n\x1a\n" + b"".join(headers) + pixels + _chunk(b"IEND", b"")


def large_png(rows: int, columns: int, *, bits: int = 16, colour: int = 0, turned: bool = False) -> bytes:
    """A black PNG of some kilobytes. `colour` is the type of PNG: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    packer = zlib.compressobj(6)
    row = bytes(1 + columns * bits // 8 * {0: 1, 2: 3, 4: 2, 6: 4}[colour])
    pixels = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, 0))
    header += _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) if turned else b""
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def large_jpeg_ls(rows: int, columns: int) -> bytes:
    """A DICOM of 16 bits whose JPEG-LS stream is one run of black."""
    start = b"\xff\xd8\xff\xf7\x00\x0b\x10" + struct.pack(">HH", rows, columns) + b"\x01\x01\x11\x00"
    runs = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + b"\xff\x7f" * (rows * columns // 1600) + b"\xff\xd9"
    return dicom(frame=start + runs, syntax=JPEGLSLossless, Rows=rows, Columns=columns, BitsAllocated=16, BitsStored=16)


def large_dicom_of_32_bits(rows: int, columns: int) -> bytes:
    """With padding, and bits that are not used: each of them costs a decoder a copy."""
    return dicom(np.ones((rows, columns), np.uint32), PixelPaddingValue=0, BitsStored=16, HighBit=15)


def large_jpeg(rows: int, columns: int) -> bytes:
    """Progressive, with three full components: the coefficients of all are kept until the last scan."""
    return saved(Pillow.new("RGB", (columns, rows)), "JPEG", progressive=True, subsampling=0)


def film_of_letters(side: int = 1024) -> NDArray[np.uint8]:
    """As many marks of the size of letters as a film can have, on no common lines."""
    pixels = np.zeros((side, side), np.uint8)
    for column in range(2, side - 8, 6):
        for row in range(2 + column * 5 % 12, side - 20, 12):
            pixels[row : row + 7, column : column + 3] = 255
    return pixels


def png_with_a_changed_pixel() -> bytes:
    """The pixels are stored as they are, so that a changed one does not break the stream."""
    data = bytearray(saved(Pillow.fromarray(film()), "PNG", compress_level=0))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def png_with_exif(exif: bytes) -> bytes:
    data = png()
    return data[:33] + _chunk(b"eXIf", exif) + data[33:]


def png_of_no_colour_type() -> bytes:
    data = png()
    return data[:8] + _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 5, 0, 0, 0)) + data[33:]


def jpeg_2000_dicom() -> bytes:
    return dicom(frame=jpeg_2000(), syntax=JPEG2000Lossless)


def jp2_dicom() -> bytes:
    return dicom(frame=saved(Pillow.fromarray(film()), "JPEG2000"), syntax=JPEG2000Lossless)


def _jp2_header(rows: int) -> bytes:
    image = struct.pack(">IIHBBBB", rows, rows, 1, 7, 7, 0, 0)
    colour = struct.pack(">BBBI", 1, 0, 0, 17)
    signature = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
    return signature + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + _box(b"jp2h", _box(b"ihdr", image) + _box(b"colr", colour))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), kind) + data
