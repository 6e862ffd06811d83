"""What is fuzzed: readers of untrusted bytes, sound inputs for each, and the contract that each must keep.

A reader returns its rows or raises DataError or ConfigError, in less than 400 MB of memory and 5 seconds of CPU.
"""

import contextlib
import gzip
import hashlib
import io
import json
import resource
import signal
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pillow
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from tests.security import hostile_images
from trrg_core.config.load import load_config
from trrg_core.config.settings import SourceConfig
from trrg_core.config.values import load_yaml
from trrg_core.errors import ConfigError, DataError
from trrg_core.imaging.decode import decode
from trrg_core.report.parser import ReportParser
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.sources import open_source
from trrg_core.sources.reading import decode_report, read_rows

MAX_BYTES, MAX_CPU_S = 400 * 2**20, 5.0
CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
_CHEXPERT_IMAGE = "PNG/train/patient1/study1/view1_frontal.png"


class BrokenContractError(AssertionError):
    """An input for which a reader takes too long, too much memory, or fails in another way than it may."""


@dataclass(frozen=True)
class Target:
    """A reader of bytes, and sound inputs from which others are made."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


def check(name: str, data: bytes) -> None:
    """Read `data` by target `name`; an input that breaks the contract is kept under `build/fuzz`.

    Raises:
        BrokenContractError: naming the kept file.
    """
    try:
        with _limited():
            TARGETS[name].read(data)
        return
    except ConfigError:
        return
    except DataError as error:
        if "MemoryError" not in str(error):
            return
        problem: BaseException = error
    except (Exception, _TooSlowError) as error:
        problem = error
    FOUND.mkdir(parents=True, exist_ok=True)
    kept = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    kept.write_bytes(data)
    raise BrokenContractError(
        f"{name}: {type(problem).__name__}: {problem}; mend it and move {kept} to {CORPUS}"
    ) from problem


class _TooSlowError(BaseException):
    """Raised by the signal of the clock; no `except Exception` of a reader may swallow it."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlowError(f"more than {MAX_CPU_S} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    present = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (present + MAX_BYTES, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)


def _image_seeds() -> list[bytes]:
    film = hostile_images.film()
    deep = Pillow.fromarray(film.astype(np.uint16) * 200)
    runs = b"".join(bytes([1, *pair]) for pair in film.reshape(-1, 2).tolist())
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return [
        hostile_images.jpeg(),
        hostile_images.jpeg(progressive=True, exif=exif),
        hostile_images.png(),
        hostile_images.saved(deep, "PNG"),
        hostile_images.saved(Pillow.fromarray(film).convert("P"), "PNG"),
        hostile_images.dicom(ViewPosition="AP", WindowCenter=100, WindowWidth=50, PixelPaddingValue=20),
        hostile_images.dicom(film.astype(np.uint16) * 16, RescaleSlope=2, RescaleIntercept=-5),
        hostile_images.jpeg_2000_dicom(),
        hostile_images.jp2_dicom(),
        hostile_images.dicom(frame=hostile_images.jpeg(), syntax=JPEGBaseline8Bit),
        hostile_images.dicom(frame=struct.pack("<16I", 1, 64, *[0] * 14) + runs, syntax=RLELossless),
    ]


def _table_seeds() -> list[bytes]:
    text = 'image,patient,report\na.jpg,1,"Clear, both.\nNo effusion."\nb.jpg,2,"He said ""none""."\n'
    text += "c.jpg,3,Gr\u00f6\u00dfer.\n"
    return [text.encode(), b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), gzip.compress(text.encode())]


def _parquet_seeds() -> list[bytes]:
    columns = {name: [f"{name} {row}" for row in range(20)] for name in ("image", "patient", "report")}
    streams = [io.BytesIO(), io.BytesIO()]
    pq.write_table(pa.table(columns), streams[0])
    pq.write_table(pa.table(columns), streams[1], compression="zstd", use_dictionary=False)
    return [stream.getvalue() for stream in streams]


def _xml_seeds() -> list[bytes]:
    text = (
        '<?xml version="1.0" encoding="utf-8"?><eCitation><IUXRId id="1"/><AbstractText Label="FINDINGS">Clear &amp;'
        ' dry.</AbstractText><parentImage id="CXR1_IM-1"/></eCitation>'
    )
    return [text.encode(), text.replace("utf-8", "utf-16").encode("utf-16")]


def _archive_seeds() -> list[bytes]:
    seeds = []
    for mode, kind in (("w:", tarfile.PAX_FORMAT), ("w:", tarfile.GNU_FORMAT), ("w:gz", tarfile.PAX_FORMAT)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode, format=kind) as tar:  # type: ignore[call-overload]
            member = tarfile.TarInfo("a/" + "long" * 40 + "\u00e9.xml")
            member.size = len(_xml_seeds()[0])
            tar.addfile(member, io.BytesIO(_xml_seeds()[0]))
        seeds.append(stream.getvalue())
    return seeds


def _json_seeds() -> list[bytes]:
    entries = [{"id": f"CXR{number}_a", "report": "Clear.", "image_path": ["a/0.png"]} for number in range(3)]
    return [json.dumps({"train": entries, "val": [], "test": []}).encode()]


def _rexgradient_seeds() -> list[bytes]:
    entry = {
        "PatientID": "7",
        "StudyInstanceUid": "1.2.3",
        "Findings": "Clear.",
        "ImagePath": ["../deid_png/a.png"],
        "ImageViewPosition": ["LAT"],
        "PatientAge": "064Y",
    }
    return [json.dumps({"p7_a_1": entry, "p7_b_2": {**entry, "StudyInstanceUid": "1.2.4"}}).encode()]


def _chexpert_seeds() -> list[bytes]:
    columns = (
        "path_to_image,path_to_dcm,frontal_lateral,ap_pa,deid_patient_id,age,sex,split,section_clinical_history,"
        "section_history,section_comparison,section_findings,section_impression"
    )
    row = "train/patient1/study1/view1_frontal.jpg,a.dcm,Frontal,AP,patient1,64,Male,train,Cough.,,,Clear.,Normal."
    return [f"{columns}\n{row}\n{row.replace('study1', 'study2')}\n".encode()]


def _report_seeds() -> list[bytes]:
    text = (
        " FINAL REPORT\n EXAMINATION: Chest (PA and lateral)\n\n FINDINGS:\n No evidence of pneumothorax, effusion "
        "or edema. Small left pleural effusion (LPE), unchanged. The LPE is mild. 1. Heart normal 2. no fracture.\n"
        " IMPRESSION:\n Cannot exclude pneumonia in the right lower lobe, but it is not likely.\n"
    )
    return [text.encode(), text.replace("\n", "\r\n").encode("cp1252"), b"IMPRESSION: " + b"no " * 400 + b"edema"]


def _settings_seeds() -> list[bytes]:
    return [
        b"preset: tiny\ningest: {max_side_px: 256, max_reject_share: 0.1}\nfinetune:\n  clues: 'off'\n",
        b"preset: tiny\ningest: {max_reject_share: &a 0.5, max_reject_share_by_reason: {jpeg_corrupt: *a}}\n",
    ]


def _spec_seeds() -> list[bytes]:
    return [
        b"name: rare\nwhere: sex = 'F'\nquotas:\n  - {observation: Edema, share: 0.1}\nmax_repeats: 3\n",
        b"caps: [{observation: No Finding, count: 20}]\nbalance: [{column: frontal, shares: {AP: 0.5, PA: .4}}]\n",
    ]


def _listed(kind: str, name: str, data: bytes, image: str = "") -> object:
    with TemporaryDirectory(prefix="trrg-fuzz-") as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        if image:
            (Path(folder) / image).parent.mkdir(parents=True)
            (Path(folder) / image).touch()
        values = {"kind": kind, "root": folder, "plain": {"table": name}}
        listing = open_source(SourceConfig.model_validate(values)).list_studies()
    # whatever is listed can be stored
    pa.array([text for reject in listing.rejects for text in vars(reject).values()], pa.string())
    pa.array([text for study in listing.studies for text in (study.report, study.study_id, study.report_path)])
    return listing


@cache
def _parser() -> ReportParser:
    return ReportParser()


def _read_settings(data: bytes) -> object:
    with contextlib.suppress(ConfigError):
        load_config("tiny", [data.decode(errors="surrogateescape")])
    with TemporaryDirectory(prefix="trrg-fuzz-") as folder:
        path = Path(folder) / "settings.yaml"
        path.write_bytes(data)
        return load_config(str(path))


TARGETS = {
    "image": Target(lambda data: decode(data, max_pixels=4_000_000), _image_seeds),
    "table": Target(lambda data: read_rows(data, "t.csv", required=["image", "patient", "report"]), _table_seeds),
    "export": Target(lambda data: _listed("plain", "t.csv", data), _table_seeds),
    "parquet": Target(lambda data: _listed("plain", "t.parquet", data), _parquet_seeds),
    "xml": Target(lambda data: _listed("iu-xray", "ecgen-radiology/1.xml", data), _xml_seeds),
    "archive": Target(lambda data: _listed("iu-xray", "ecgen-radiology.tgz", data), _archive_seeds),
    "annotation": Target(lambda data: _listed("iu-xray", "annotation.json", data), _json_seeds),
    "rexgradient": Target(
        lambda data: _listed("rexgradient", "metadata/train_metadata_view_position.json", data), _rexgradient_seeds
    ),
    "chexpert": Target(
        lambda data: _listed("chexpert-plus", "df_chexpert_plus_240401.csv", data, _CHEXPERT_IMAGE), _chexpert_seeds
    ),
    "report": Target(lambda data: _parser().parse(decode_report(data, on_bad_encoding="cp1252").text), _report_seeds),
    "settings": Target(_read_settings, _settings_seeds),
    "spec": Target(lambda data: validate_slice_spec(load_yaml(data, "spec")), _spec_seeds),
}
