"""Files of a source that an attacker or an accident made: none stops, hangs or bloats an ingest."""

import csv
import gzip
import io
import json
import os
import socket
import tarfile
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.jobs import ingest
from tests.pipelines.tree import Tree, make_tree
from tests.security import hostile_images
from trrg_core.config.load import load_config
from trrg_core.config.settings import PlainConfig, SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources import open_source
from trrg_core.sources.reading import decompress, read_rows
from trrg_core.storage import local_disk
from trrg_core.storage.store import open_store
from trrg_core.study import Listing
from trrg_core.tables.rejects import count_rejects, read_rejects


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    # the name of a socket may have at most 107 bytes, a path of pytest has more
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


ODD_FILES = {"pipe": make_pipe, "socket": make_socket, "loop": make_loop, "folder": Path.mkdir}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    ODD_FILES[kind](tmp_path / "file")
    with pytest.raises(DataError) as caught:
        open_store(str(tmp_path)).read_bytes("file", 100)
    assert caught.value.reason == ("missing_file" if kind == "folder" else "not_a_file")


def test_one_bad_file_of_each_kind_costs_one_study_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "tree", 24)
    numbers = iter(sorted(tree.studies)[::2])  # these have one image each
    for make in (make_pipe, make_socket, make_loop):
        for place in (tree.image, tree.report):
            path = place(next(numbers))
            path.unlink()
            make(path)
    secret = tree.image(next(numbers))
    hostile = (
        hostile_images.dicom_with_unknown_vr,
        hostile_images.dicom_of_deep_sequences,
        hostile_images.dicom_of_32_bits,
        lambda: hostile_images.large_png(64, 64),
    )
    for attack in hostile:
        tree.image(next(numbers)).write_bytes(attack())
    refuse_to_open(monkeypatch, secret)
    config = load_config("tiny", [f"source.root={tree.root}", "ingest.max_reject_share=0.9"])
    store = open_store(str(tmp_path / "store"))
    result = ingest.run(config, store, {})
    reasons = count_rejects(read_rejects(store))["ingest"]
    assert reasons.pop("no_usable_image") == 8
    undecoded = {"undecodable_image": 2, "dicom_unsupported": 1, "blank_image": 1}
    assert reasons == {"not_a_file": 6, "unreadable_file": 1} | undecoded
    assert result.counts["studies"] == 24 - 11


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """As a file without read permission, also for root."""
    open_at_once = local_disk._open_at_once

    def refuse(name: str, flags: int) -> int:
        if Path(name) == path:
            raise PermissionError(13, "Permission denied", name)
        return open_at_once(name, flags)

    monkeypatch.setattr(local_disk, "_open_at_once", refuse)


@pytest.mark.parametrize("name", ["cxr-study-list.csv.gz", "SHA256SUMS.txt"])
def test_an_index_that_is_a_pipe_stops_with_its_name(tmp_path: Path, name: str) -> None:
    tree = make_tree(tmp_path / "tree", 2)
    (tree.root / name).unlink(missing_ok=True)
    os.mkfifo(tree.root / name)
    with pytest.raises(ConfigError, match=f"{name} is a named pipe"):
        open_source(SourceConfig(root=str(tree.root))).list_studies()


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(work: Callable[[], object], match: str) -> Callable[[], None]:
    def check() -> None:
        with pytest.raises(ConfigError, match=match):
            work()

    return check


def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100_000_000), compresslevel=9)
    assert peak_of(refused(lambda: decompress(bomb, "a.csv.gz"), "decompress to more than")) < 40_000_000
    index = ("dicom_id,subject_id\n" + "d1,10000001\n" * 100_000).encode()
    assert decompress(gzip.compress(index), "a.csv.gz") == index, "an index of equal rows is no bomb"


def test_reading_an_index_takes_little_more_than_its_rows() -> None:
    data = b"a,b\n" + b"\n" * 100_000
    assert peak_of(lambda: read_rows(data, "a.csv", required=["a"])) < 6 * len(data)


def test_a_header_of_many_columns_is_refused() -> None:
    header = ",".join(f"c{number}" for number in range(200_000)).encode()
    with pytest.raises(ConfigError, match="200000 columns, at most 2000") as caught:
        read_rows(header, "a.csv", required=["a"])
    assert len(str(caught.value)) < 200


def test_a_missing_column_is_not_explained_with_a_thousand_others() -> None:
    header = ",".join(f"c{number}" for number in range(1000)).encode()
    with pytest.raises(ConfigError, match="missing columns a") as caught:
        read_rows(header, "a.csv", required=["a"])
    assert len(str(caught.value)) < 2000


def test_quotes_that_never_close_are_not_read_again_for_ever() -> None:
    # each line leaves a quote open both at the start of a record and within one
    hostile = b"a,b\n" + b'a""","\n' * 20_000
    with pytest.raises(ConfigError, match="too many unclosed quotes"):
        read_rows(hostile, "a.csv", required=["a"])


def test_rows_after_an_unclosed_quote_are_read() -> None:
    lines = ["a,b", '"1,2', *(f"{number},{number}" for number in range(1200)), '3,"4', "5,6"]
    rows = read_rows("\n".join(lines).encode(), "a.csv", required=["a"])
    assert len(rows.rows) == 1201
    assert [reject.detail.partition(":")[0] for reject in rows.rejects] == ["line 2", "line 1203"]


def iu_xray(root: Path) -> Listing:
    return open_source(SourceConfig(kind="iu-xray", root=str(root))).list_studies()


def xml(uid: int, text: str = "Clear.", head: str = "") -> str:
    return f'{head}<eCitation><IUXRId id="{uid}"/><AbstractText Label="FINDINGS">{text}</AbstractText></eCitation>'


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_long_pax_header_is_not_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.xml")
    member.pax_headers = {"comment": "x" * 3_000_000}
    pack(tmp_path / "ecgen-radiology.tgz", [(member, xml(1).encode())])
    with pytest.raises(ConfigError, match=r"a header of 30000.. bytes, expected at most 65536"):
        iu_xray(tmp_path)


def test_a_gzip_file_of_many_members_or_an_endless_name_is_refused() -> None:
    for hostile in (gzip.compress(b"") * 110_000, b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 5_000_000):
        with pytest.raises(ConfigError, match=r"a\.csv\.gz: its gzip stream is truncated or corrupt"):
            decompress(hostile, "a.csv.gz")
    two = gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n") + bytes(5_000_000)
    assert decompress(two, "a.csv.gz") == b"a,b\n1,2\n", "members and zeros may follow"
    with pytest.raises(ConfigError, match="truncated or corrupt"):
        decompress(gzip.compress(b"a") + b"garbage", "a.csv.gz")


def test_a_table_of_malformed_rows_alone_stops_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"a\.csv: more than 100000 malformed rows"):
        read_rows(b"a,b\n" + b"x\n" * 100_002, "a.csv", required=["a"])


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_chain_of_headers_is_refused(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 11
    (tmp_path / "ecgen-radiology.tgz").write_bytes((header.tobuf() + b"11 a=bcdef\n".ljust(512, b"\0")) * 3000)
    with pytest.raises(ConfigError, match="too many headers of long names in a row"):
        iu_xray(tmp_path)


def test_a_member_of_a_negative_size_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.xml")
    member.pax_headers = {"size": "-512"}
    pack(tmp_path / "ecgen-radiology.tgz", [(member, xml(1).encode()), (tarfile.TarInfo("b.xml"), xml(2).encode())])
    with pytest.raises(ConfigError, match="a member of -512 bytes"):
        iu_xray(tmp_path)


def test_an_archive_that_expands_too_much_is_not_unpacked(tmp_path: Path) -> None:
    pack(tmp_path / "ecgen-radiology.tgz", [(tarfile.TarInfo("a.bin"), bytes(60_000_000))])
    assert peak_of(refused(lambda: iu_xray(tmp_path), "decompress to more than")) < 40_000_000


@pytest.mark.parametrize(
    "damage", [lambda data: data[:700], lambda data: data[:124] + b"\xff" * 12 + data[136:], lambda data: b"x" * 1024]
)
def test_a_damaged_archive_stops_with_its_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "ecgen-radiology.tgz"
    pack(file, [(tarfile.TarInfo("a.xml"), xml(1).encode())], "w:")
    data = bytearray(damage(file.read_bytes()))
    if len(data) > 512:
        data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))  # the checksum of the header
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=r"ecgen-radiology\.tgz: "):
        iu_xray(tmp_path)


def xml_folder(root: Path, files: dict[str | bytes, bytes]) -> Listing:
    folder = os.fsencode(root / "ecgen-radiology")
    os.mkdir(folder)
    for name, data in files.items():
        with open(os.path.join(folder, os.fsencode(name)), "wb") as file:
            file.write(data)
    return iu_xray(root)


DOCTYPE = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def test_utf_16_xml_is_read_and_its_document_type_refused(tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="UTF-16"?>'
    files: dict[str | bytes, bytes] = {
        "1.xml": xml(1, "Effusi\u00f3n.", head).encode("utf-16"),
        "2.xml": xml(2, "&b;", head + DOCTYPE).encode("utf-16"),
        "3.xml": xml(3, "&b;", DOCTYPE).encode(),
        "4.xml": b"<a>" * 300_000,
        "5.xml": b"<a>" * 60_000 + b"</a>" * 60_000,
        "6.xml": b'<?xml version="1.0" encoding="no-such"?><a/>',
    }
    listing = xml_folder(tmp_path, files)
    assert [(study.study_id, "Effusi\u00f3n." in str(study.report)) for study in listing.studies] == [("CXR1", True)]
    reasons = {Path(reject.path).stem: reject.reason for reject in listing.rejects}
    assert reasons == {"2": "unsafe_xml", "3": "unsafe_xml", "4": "malformed_xml", "5": "bad_id", "6": "malformed_xml"}


def test_a_file_name_that_is_not_utf_8_is_set_aside_under_an_escaped_name(tmp_path: Path) -> None:
    listing = xml_folder(tmp_path, {b"caf\xe9.xml": xml(1).encode(), "2.xml": xml(2).encode()})
    assert [study.study_id for study in listing.studies] == ["CXR2"]
    assert [(reject.reason, reject.path) for reject in listing.rejects] == [
        ("path_not_utf8", "ecgen-radiology/caf\\udce9.xml")
    ]


def test_lone_surrogates_of_json_are_set_aside(tmp_path: Path) -> None:
    entries = [
        {"id": "CXR1_a", "report": "Clear.", "image_path": ["a.png"]},
        {"id": "CXR2_a", "report": "Clear \ud83d.", "image_path": ["b.png"]},
        {"id": "CXR3_a", "report": "Clear.", "image_path": ["\udce9.png"]},
        {"id": "CXR\ud800", "report": "Clear.", "image_path": ["c.png"]},
    ]
    (tmp_path / "annotation.json").write_text(json.dumps({"train": entries}))
    source = SourceConfig(kind="iu-xray", root=str(tmp_path), image_folder="images")
    listing = open_source(source).list_studies()
    assert [study.study_id for study in listing.studies] == ["CXR1", "CXR3"]
    assert Counter(reject.reason for reject in listing.rejects) == {
        "report_not_utf8": 1,
        "path_not_utf8": 1,
        "bad_id": 1,
    }
    for reject in listing.rejects:
        pa.array(list(vars(reject).values()))  # fails for text that a table cannot hold


@pytest.mark.parametrize("text", ["[" * 100_000, '{"train": [' + "[" * 500_000, '{"train": 3}', "\ufeff{", "1" * 9000])
def test_json_that_is_no_annotation_stops_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotation.json").write_text(text)
    with pytest.raises(ConfigError, match=r"annotation\.json: expected lists of studies"):
        iu_xray(tmp_path)


def test_json_with_a_key_twice_loses_no_study_in_silence(tmp_path: Path) -> None:
    entry = '{"id": "CXR1_a", "report": "Clear.", "image_path": ["a.png"]}'
    twice = '{"id": "CXR1_a", "report": "Clear.", "report": "Effusion.", "image_path": ["a.png"]}'
    for text, key in ((f'{{"train": [{entry}], "train": []}}', "train"), (f'{{"train": [{twice}]}}', "report")):
        (tmp_path / "annotation.json").write_text(text)
        with pytest.raises(ConfigError, match=rf"annotation\.json: '{key}' occurs 2 times in one object"):
            open_source(SourceConfig(kind="iu-xray", root=str(tmp_path))).list_studies()
    metadata = tmp_path / "rex" / "metadata" / "train_metadata_view_position.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text('{"p1_a_1": {"Findings": "Clear."}, "p1_a_1": {"Findings": "Effusion."}}')
    with pytest.raises(ConfigError, match="'p1_a_1' occurs 2 times"):
        open_source(SourceConfig(kind="rexgradient", root=str(metadata.parents[1]))).list_studies()


def plain(root: Path, table: str, **columns: str) -> Listing:
    config = PlainConfig(table=table, **columns)
    return open_source(SourceConfig(kind="plain", root=str(root), plain=config)).list_studies()


def test_composed_and_decomposed_accents_are_one_patient(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "patient", "report"])
        for number, form in enumerate(("NFC", "NFD") * 10):
            writer.writerow([f"{number}.jpg", unicodedata.normalize(form, "P\u00e9rez"), f"Study {number}."])  # type: ignore[arg-type]
    listing = plain(tmp_path, "t.csv")
    assert {study.subject_id for study in listing.studies} == {unicodedata.normalize("NFC", "P\u00e9rez")}
    assert len({study.split for study in listing.studies}) == 1


def test_free_text_in_a_view_column_becomes_other_and_is_counted(tmp_path: Path) -> None:
    rows = ["image,patient,report,view", "a.jpg,1,Clear.,pa", "b.jpg,2,Clear.,Jane Doe", "c.jpg,3,Clear.,other"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    listing = plain(tmp_path, "t.csv", view_column="view")
    assert [image.view_position for study in listing.studies for image in study.images] == ["PA", "OTHER", "OTHER"]
    assert listing.counts["unlisted_views"] == 1


def test_a_parquet_table_that_expands_too_much_is_refused(tmp_path: Path) -> None:
    same = pa.array(["x" * 80_000], pa.string()).take(pa.array([0] * 1000))
    names = pa.array([f"{number}.jpg" for number in range(1000)])
    pq.write_table(pa.table({"image": names, "patient": names, "report": same}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 200_000
    with pytest.raises(ConfigError, match=r"t\.parquet: \d+ bytes that expand to more than"):
        plain(tmp_path, "t.parquet")


def test_parquet_text_that_is_not_utf_8_stops_with_its_name(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9"]).view(pa.string())
    fine = pa.array(["a"])
    pq.write_table(pa.table({"image": fine, "patient": broken, "report": fine}), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"t\.parquet: not a valid Parquet file"):
        plain(tmp_path, "t.parquet")


@pytest.mark.parametrize(
    "values", [pa.array([10**13], pa.timestamp("s")), pa.array([1], pa.timestamp("us", "No/Zone"))]
)
def test_a_parquet_value_that_python_has_no_form_for_stops_with_its_name(tmp_path: Path, values: pa.Array) -> None:
    pq.write_table(pa.table({"image": ["a"], "patient": values, "report": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"t\.parquet: not a valid Parquet file"):
        plain(tmp_path, "t.parquet")


def test_a_parquet_table_of_many_columns_is_not_listed_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({f"c{number}": [1] for number in range(1000)}), tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match=r"missing columns .* and 950 more") as caught:
        plain(tmp_path, "t.parquet")
    assert len(str(caught.value)) < 1000


def test_a_study_of_a_thousand_images_is_set_aside(tmp_path: Path) -> None:
    many = {"id": "CXR1_a", "report": "Clear.", "image_path": [f"{number}.png" for number in range(1001)]}
    few = {"id": "CXR2_a", "report": "Clear.", "image_path": ["a.png"]}
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [many, few]}))
    source = SourceConfig(kind="iu-xray", root=str(tmp_path), image_folder="images")
    listing = open_source(source).list_studies()
    assert [study.study_id for study in listing.studies] == ["CXR2"]
    assert [reject.reason for reject in listing.rejects] == ["too_many_images"]


def test_a_column_whose_name_is_not_utf_8_is_named_escaped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"image,patient,report,gr\xf6sse\na.jpg,1,Clear.,3\n")
    listing = plain(tmp_path, "t.csv")
    assert listing.unknown_columns == {"t.csv": ("gr\\udcf6sse",)}
    assert len(listing.studies) == 1


def test_digits_of_other_scripts_are_no_mimic_id(tmp_path: Path) -> None:
    tree: Tree = make_tree(tmp_path / "tree", 4)
    path = tree.root / "cxr-study-list.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode().replace("10000002,50000003", "\u0661000002,50000003")
    path.write_bytes(gzip.compress(text.encode()))
    listing = open_source(SourceConfig(root=str(tree.root))).list_studies()
    assert "bad_id" in {reject.reason for reject in listing.rejects}
