"""Rows of `shards` -> the label table: one row per study with all that a slice is chosen by, no text, no pixel.

Columns: ids, `split`, `has_prior`, `sex`, `age_years`, `age_band`, views, the label of each observation under its
column name (1, 0, -1, null), how many sentences assert it (`edema_present`, `edema_absent`, `edema_uncertain`), how
many of those are of the section that stage 2 learns (`edema_present_in_report`, ...), and what each sentence denies. A
sentence makes one assertion of an observation, the strongest of its mentions: "no left, small right effusion" is
PRESENT.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.labels import LABEL_OF_ASSERTION, Assertion, column_name
from trrg_core.report.target_sentences import find_sentences
from trrg_core.tables.arrow_numpy import filled, text_scalar, to_arrow, to_numpy, whole

Ints = NDArray[np.int64]

_COPIED_COLUMNS = ("subject_id", "study_id", "split", "has_prior", "sex", "age_years")
FILLED_COLUMNS = ("subject_id", "study_id", "split", "report")
READ_COLUMNS = (*_COPIED_COLUMNS, "views", "report", "sentences", "labels")
_HINT = "write it with all columns of docs/data.md, or make the version by `trrg run`"
_AGE_BANDS = {"0-17": 0, "18-39": 18, "40-59": 40, "60-79": 60, "80+": 80}  # name -> least age, years
_ORDER = ("split", "subject_id", "study_id")
NOT_MENTIONED = 127  # not the value of any label
IN_REPORT = "_in_report"  # ends the name of a count over the section that stage 2 learns
MAX_OBSERVATIONS = 62  # the denied observations of a sentence are the bits of an int64


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """One row per study, sorted by split, patient and study, so that the train studies of a patient are adjacent.

    The column `denials` holds one int64 per sentence of the shard row, in its order: bit `i` is set if the sentence
    denies observation `i`; all bits are 0 if it affirms or suspects anything, or states nothing. `in_report` holds, in
    the same order, whether the sentence is of the section that stage 2 learns.
    """

    rows: pa.Table
    observations: tuple[str, ...]

    def split_rows(self, split: str) -> pa.Table:
        """The rows of one split, without a copy."""
        indices = np.flatnonzero(to_numpy(pc.equal(self.rows["split"], text_scalar(split))))
        return self.rows.slice(int(indices[0]) if len(indices) else 0, len(indices))


def label_table(shards: pa.Table, observations: Sequence[str]) -> LabelTable:
    """The label table of rows of `shards`, in any order; of images only the view positions are read.

    Raises:
        ValueError: for more than 62 observations.
    """
    return join_label_tables([label_rows(shards, observations)], observations)


def join_label_tables(pieces: Iterable[pa.Table], observations: Sequence[str]) -> LabelTable:
    """The label table of at least one piece of `label_rows`. The texts of a piece can be freed before the next one.

    A column is joined and sorted, and its parts freed, before the next one: an iterator of pieces that nothing else
    holds needs the memory of the table once, not two or three times.
    """
    parts: dict[str, list[Any]] = {}
    for piece in pieces:
        for name in piece.column_names:
            parts.setdefault(name, []).extend(piece[name].chunks or [pa.array([], piece.schema.field(name).type)])
    names = list(parts)
    keys = {name: pa.concat_arrays(parts.pop(name)) for name in _ORDER}
    order = _order_of(pa.table(keys))
    others = {name: _in_order(pa.concat_arrays(parts.pop(name)), order) for name in list(parts)}
    columns = {name: _in_order(column, order) for name, column in keys.items()} | others
    return LabelTable(rows=pa.table({name: columns[name] for name in names}), observations=tuple(observations))


def _in_order(column: Any, order: Any) -> Any:
    return column if order is None else column.take(order)


def label_rows(shards: pa.Table, observations: Sequence[str]) -> pa.Table:
    """The rows of a label table for some rows of `shards`, in their order. Raises as `label_table`."""
    if len(observations) > MAX_OBSERVATIONS:
        raise ValueError(f"{len(observations)} observations: at most {MAX_OBSERVATIONS} fit")
    columns: dict[str, Any] = {name: shards[name] for name in _COPIED_COLUMNS}
    columns["age_band"] = _age_bands(shards["age_years"])
    columns |= _view_columns(whole(shards["views"]))
    columns["num_words"] = pc.cast(pc.list_value_length(pc.utf8_split_whitespace(whole(shards["report"]))), pa.int32())
    labels = whole(shards["labels"])
    columns |= {column_name(name): labels.field(column_name(name)) for name in observations}
    sentences = whole(shards["sentences"])
    columns |= _sentence_columns(sentences, _in_report(sentences, whole(shards["report"])), observations)
    return pa.table(columns)


def check_columns(
    rows: pa.Table, path: str, *, read: Sequence[str] = READ_COLUMNS, filled: Sequence[str] = FILLED_COLUMNS
) -> pa.Table:
    """`rows` of the file `path`, if they have what labels are counted with: a file that no job wrote may lack it.

    Args:
        rows: of `shards`, or of another table.
        path: of the file.
        read: the columns that are read.
        filled: those that may not be null.

    Raises:
        ConfigError: naming the missing columns, or one that is null in some rows.
    """
    missing = [name for name in read if name not in rows.column_names]
    if missing:
        raise ConfigError(
            f"{path} has no column {', '.join(map(repr, missing))}, which labels are counted with: {_HINT}"
        )
    for name in filled:
        if num_null := rows[name].null_count:
            raise ConfigError(f"{path} has {num_null:,} of {rows.num_rows:,} rows without {name!r}: {_HINT}")
    return rows


def states(rows: pa.Table, observation: str, assertion: Assertion) -> NDArray[np.bool_]:
    """Whether the label of `observation` is that of `assertion`, for each study [S]; a null label is no assertion."""
    return np.asarray(label_codes(rows, observation) == LABEL_OF_ASSERTION[assertion])


def label_codes(rows: pa.Table, observation: str) -> NDArray[np.int8]:
    """The label of `observation` of each study [S], `NOT_MENTIONED` where it is null."""
    return filled(rows[column_name(observation)], NOT_MENTIONED)


def ordered(labels: LabelTable) -> LabelTable:
    """`labels` sorted by split, patient and study, so that the order of the files does not matter."""
    order = _order_of(labels.rows)
    if order is None:
        return labels
    return LabelTable(rows=labels.rows.take(order).combine_chunks(), observations=labels.observations)


def _order_of(rows: pa.Table) -> Any:
    """The indices that sort `rows`; None where they are sorted."""
    if _is_ordered(rows):
        return None
    return pc.sort_indices(rows, sort_keys=[(key, "ascending") for key in _ORDER])


def _is_ordered(rows: pa.Table) -> bool:
    later = np.zeros(max(0, rows.num_rows - 1), dtype=bool)
    for key in reversed(_ORDER):  # a later row is greater by this key, or equal and greater by the next keys
        current, previous = rows[key].slice(1), rows[key].slice(0, len(later))
        later = to_numpy(pc.greater(current, previous)) | (to_numpy(pc.equal(current, previous)) & later)
    return bool(later.all())


def _age_bands(ages: Any) -> Any:
    """The name of the band of each age; empty where the age is unknown."""
    names, starts = ["", *_AGE_BANDS], np.array(list(_AGE_BANDS.values()))
    known = to_numpy(whole(ages).fill_null(-1))
    return pa.array(names, pa.string()).take(to_arrow(np.searchsorted(starts, known, side="right")))


def _view_columns(views: Any) -> dict[str, Any]:
    """`num_views`, `view_positions` (the distinct ones, joined: "LATERAL+PA"), `frontal` (PA before AP, or none)."""
    combinations: dict[tuple[str, ...], int] = {}
    positions = views.flatten().field("view_position").fill_null("").to_pylist()
    lengths = to_numpy(pc.list_value_length(views).fill_null(0))
    codes = np.empty(len(views), dtype=np.int64)
    start = 0
    for row, length in enumerate(lengths.tolist()):
        combination = tuple(sorted({position or "unknown" for position in positions[start : start + length]}))
        codes[row] = combinations.setdefault(combination, len(combinations))
        start += length
    names = pa.array(["+".join(combination) or "none" for combination in combinations], pa.string())
    frontal = [next((view for view in ("PA", "AP") if view in combination), "none") for combination in combinations]
    frontals = pa.array(frontal, pa.string())
    return {
        "num_views": to_arrow(lengths.astype(np.int16)),
        "view_positions": names.take(to_arrow(codes)),
        "frontal": frontals.take(to_arrow(codes)),
    }


def _in_report(sentences: Any, reports: Any) -> NDArray[np.bool_]:
    """Whether each sentence is of the section that stage 2 learns; true where nothing tells.

    Shards of before TRRG 0.3 do not store it: their sentences are looked for in the report.
    """
    flat = sentences.flatten()
    names = [flat.type.field(index).name for index in range(flat.type.num_fields)]
    if "in_report" in names:
        stored = flat.field("in_report")
        return to_numpy(stored.cast(pa.uint8()).fill_null(to_arrow(np.ones(1, np.uint8))[0])).astype(bool)
    if "text" not in names:
        return np.ones(len(flat), dtype=bool)
    lengths = to_numpy(pc.list_value_length(sentences).fill_null(0)).tolist()
    texts: list[Any] = flat.field("text").to_pylist()
    found: list[bool] = []
    for report, length in zip(reports.to_pylist(), lengths, strict=True):
        places = find_sentences(report or "", texts[len(found) : len(found) + length])
        found += [place >= 0 for place in places]
    return np.array(found, dtype=bool)


def _sentence_columns(sentences: Any, in_report: NDArray[np.bool_], observations: Sequence[str]) -> dict[str, Any]:
    """Counts by observation and assertion, of all sections and of the report; `num_sentences`, lists by sentence."""
    lengths = to_numpy(pc.list_value_length(sentences).fill_null(0)).astype(np.int64)
    bits = _assertion_bits(sentences.flatten().field("facts"), observations)
    present, uncertain = bits[Assertion.PRESENT], bits[Assertion.UNCERTAIN] & ~bits[Assertion.PRESENT]
    absent = bits[Assertion.ABSENT] & ~present & ~uncertain
    columns: dict[str, Any] = {"num_sentences": to_arrow(lengths.astype(np.int32))}
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for index, name in enumerate(observations):
        for assertion, mask in (
            (Assertion.PRESENT, present),
            (Assertion.ABSENT, absent),
            (Assertion.UNCERTAIN, uncertain),
        ):
            stated = mask >> index & 1
            column = f"{column_name(name)}_{assertion.lower()}"
            columns[column] = _sums(stated, offsets)
            columns[f"{column}{IN_REPORT}"] = _sums(stated & in_report, offsets)
    denials = np.where(present | uncertain, 0, absent)
    starts = to_arrow(offsets.astype(np.int32))
    columns["denials"] = pa.ListArray.from_arrays(starts, to_arrow(denials))
    columns["in_report"] = pa.ListArray.from_arrays(starts, to_arrow(in_report.astype(np.uint8)))
    return columns


def _sums(values: Ints, offsets: Ints) -> Any:
    """The sum of each study's values, int16."""
    running = np.concatenate([[0], np.cumsum(values)])
    return to_arrow((running[offsets[1:]] - running[offsets[:-1]]).astype(np.int16))


def _assertion_bits(facts: Any, observations: Sequence[str]) -> dict[Assertion, Ints]:
    """For each assertion, a bit mask per sentence: the observations of which the sentence makes it."""
    lengths = to_numpy(pc.list_value_length(facts).fill_null(0)).astype(np.int64)
    stated = facts.flatten()
    bit = _lookup(stated.field("observation"), {name: 1 << index for index, name in enumerate(observations)})
    codes = {str(assertion): code for code, assertion in enumerate(Assertion, start=1)}
    code = _lookup(stated.field("assertion"), codes)
    starts = np.cumsum(lengths) - lengths
    nonempty = np.flatnonzero(lengths)
    bits = {}
    for assertion in Assertion:
        bits[assertion] = np.zeros(len(lengths), dtype=np.int64)
        if len(nonempty):
            stated_bits = np.where(code == codes[str(assertion)], bit, 0)
            bits[assertion][nonempty] = np.bitwise_or.reduceat(stated_bits, starts[nonempty])
    return bits


def _lookup(words: Any, values: dict[str, int]) -> Ints:
    """The value of each word; 0 for a word that is not in `values`."""
    coded = words.dictionary_encode()
    table = np.array([values.get(word, 0) for word in coded.dictionary.to_pylist()] + [0], dtype=np.int64)
    numbers: Ints = table[to_numpy(coded.indices.fill_null(len(table) - 1))]
    return numbers
