"""The original form of IU-Xray: one XML file per report, in a folder or in a .tgz archive."""

import io
import tarfile
import xml.etree.ElementTree as ElementTree
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from xml.parsers import expat

from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.iu_xray.collected import SECTIONS, Collected, parse_study_id
from trrg_core.sources.listing import StudyDraft
from trrg_core.sources.reading import decompress, read_index_file
from trrg_core.sources.report_layout import format_report
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Image, Reject

ARCHIVES = ("ecgen-radiology.tgz", "NLMCXR_reports.tgz")
XML_FOLDER = "ecgen-radiology"

_MAX_XML_BYTES = 1_000_000
# a header of a member that holds a long name or attributes; it is read whole
_MAX_LONG_HEADER_BYTES = 65_536
_MAX_MEMBERS = 100_000
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def read_xml(store: Store) -> Collected:
    """The reports of the XML files, each with the names of its images.

    Raises:
        ConfigError: if the archive is truncated, corrupt, neither .tar nor .tar.gz, or expands to too much.
        StorageError: if the store fails.
    """
    collected = Collected()
    by_id: dict[str, list[StudyDraft]] = defaultdict(list)
    for name, data in _xml_files(store, collected):
        try:
            draft = _parse_xml(name, data)
        except DataError as error:
            collected.rejects.append(Reject(reason=error.reason, path=name, detail=str(error)))
            continue
        by_id[draft.study_id].append(draft)
    for study_id, drafts in by_id.items():
        if all(replace(draft, report_path="") == replace(drafts[0], report_path="") for draft in drafts):
            collected.drafts.append(drafts[0])
            collected.counts["duplicate_rows"] += len(drafts) - 1
        else:
            collected.rejects += [
                Reject(reason="duplicate_id", study_id=study_id, path=draft.report_path, detail="files differ")
                for draft in drafts
            ]
    return collected


def _xml_files(store: Store, collected: Collected) -> Iterator[tuple[str, bytes]]:
    for archive in ARCHIVES:
        if store.exists(archive):
            yield from _archive_members(archive, read_index_file(store, archive), collected)
            return
    for path in store.list(XML_FOLDER):
        if path.endswith(".xml"):
            try:
                yield path, store.read_source_file(path, _MAX_XML_BYTES)
            except DataError as error:
                collected.rejects.append(Reject(reason=error.reason, path=path, detail=str(error)))


def _archive_members(archive: str, data: bytes, collected: Collected) -> Iterator[tuple[str, bytes]]:
    # members are read, never extracted, so a hostile name cannot write outside the archive
    expanded = io.BytesIO(decompress(data, archive))
    try:
        with tarfile.open(fileobj=expanded, mode="r:", tarinfo=_CheckedMember) as tar:
            for number, member in enumerate(tar):
                if number >= _MAX_MEMBERS:
                    raise ConfigError(f"{archive}: more than {_MAX_MEMBERS} members")
                if member.size < 0:  # by an attribute, which is read after the header was checked
                    raise _RefusedMemberError(f"a member of {member.size} bytes")
                if member.isdir():
                    continue
                problem = _member_problem(member)
                if problem:
                    reject = Reject(reason=problem, path=archive, detail=f"member {member.name[:200]!r}")
                    collected.rejects.append(reject)
                elif member.name.endswith(".xml"):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        yield relative_path(member.name), stream.read(_MAX_XML_BYTES)
    except RecursionError as error:  # each of these headers is read within the one before it
        raise ConfigError(f"{archive}: too many headers of long names in a row") from error
    except _RefusedMemberError as error:
        raise ConfigError(f"{archive}: {error}") from error
    except (tarfile.TarError, EOFError, OSError, ArithmeticError, LookupError, ValueError, zlib.error) as error:
        raise ConfigError(f"{archive}: the archive is truncated or corrupt; download the file again") from error


class _RefusedMemberError(Exception):
    """A member that could take more memory or time than an archive of reports needs."""


class _CheckedMember(tarfile.TarInfo):
    """A member whose sizes are checked before anything is allocated for them."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        # tarfile calls this for each header; its own comments name it as the method to override
        if self.size < 0 or (self.type in _LONG_HEADERS and self.size > _MAX_LONG_HEADER_BYTES):
            raise _RefusedMemberError(f"a header of {self.size} bytes, expected at most {_MAX_LONG_HEADER_BYTES}")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _RefusedMemberError("a sparse member; pack the archive again without --sparse")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


def _member_problem(member: tarfile.TarInfo) -> str:
    try:
        relative_path(member.name)
    except DataError as error:
        return error.reason
    if not member.isfile():
        return "not_a_file"
    return "file_too_large" if member.size > _MAX_XML_BYTES else ""


def _refuse_declarations(name: str, data: bytes) -> None:
    """Refuse a document type, in whatever encoding it is written: entities may expand to any size."""

    def refuse(*_: object) -> None:
        raise DataError("unsafe_xml", f"{name} declares a document type")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data, True)


def _parse_xml(name: str, data: bytes) -> StudyDraft:
    try:
        _refuse_declarations(name, data)
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise DataError("malformed_xml", f"{name}: not well-formed XML") from error
    uid = root.find(".//IUXRId")
    study_id = parse_study_id("" if uid is None else uid.get("id", ""))
    sections = dict.fromkeys(SECTIONS, "")
    for part in root.iter("AbstractText"):
        label = part.get("Label", "").strip().upper()
        if label in sections:
            sections[label] += " ".join(part.itertext())
    names = [image.get("id", "") for image in root.iter("parentImage")]
    return StudyDraft(
        subject_id=study_id,
        study_id=study_id,
        report_path=name,
        report=format_report(sections),
        images=tuple(Image(dicom_id=name, path=f"{name}.png") for name in sorted(set(names)) if name),
    )
