"""A loaded model in use: films in, report, clues, evidence and heat maps out."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.core.toy_corpus import OBSERVATIONS, draw, toy_config
from trrg_core.clue import Clue
from trrg_core.errors import ConfigError
from trrg_core.evidence import gather_evidence, remarks_on
from trrg_core.generation.decoding import write_reports
from trrg_core.generation.film_reading import ReadFilm, RejectedFilm, film_format, read_film
from trrg_core.generation.report_writer import ReportWriter, StudyRequest, WrittenStudy
from trrg_core.generation.study_context import StudyContext
from trrg_core.generation.study_record import record_line, study_record
from trrg_core.generation.unusual_films import UnusualFilm, are_withheld, withheld_sentence
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.imaging.stored_image import read_image
from trrg_core.imaging.usual_images import ImageJudgment
from trrg_core.labels import load_label_set
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.report.parser import ReportParser
from trrg_core.study import Image as Stored
from trrg_core.tables.rows.shard_row import _view
from trrg_core.training.collate import collate_images

RECORD_KEYS = ["id", "report", "clues", "evidence", "omitted", "overruled", "abstained", "unusual", "withheld"]
RECORD_KEYS += ["unread_tokens", "generated", "model", "films", "set_aside"]


@pytest.fixture(scope="module")
def loaded(stage2) -> LoadedGenerator:
    return LoadedGenerator(config=stage2.config, generator=stage2.model, text_tokenizer=None)


@pytest.fixture(scope="module")
def writer(loaded) -> ReportWriter:
    decoding = loaded.config.generate.model_copy(update={"candidates": 3, "max_new_tokens": 40, "batch_size": 2})
    return ReportWriter(loaded, loaded.config.model_copy(update={"generate": decoding}))


def film(number: int = 1, findings: str = "e", view: str = "PA") -> ReadFilm:
    return read_film(draw(number, findings), name=f"{number}{findings}.jpg", view_position=view)


def request(study_id: str, *films: ReadFilm) -> StudyRequest:
    return StudyRequest(study_id=study_id, films=films)


def test_the_report_is_what_the_model_writes_for_these_films(writer, loaded) -> None:
    one = film(3, "ep")
    (written,) = writer.write([request("a", one)])
    plain = loaded.config.generate.model_copy(update={"max_new_tokens": 40})
    (greedy,) = ReportWriter(loaded, loaded.config.model_copy(update={"generate": plain})).write([request("a", one)])
    rows = [{"study_id": "a", "views": [{"view_position": "PA", "jpeg": one.jpeg}]}]
    batch = collate_images(rows, observations=OBSERVATIONS, config=loaded.config.pretrain)
    (expected,) = write_reports(loaded, batch, plain)
    assert (greedy.report, greedy.clues) == (expected.text, expected.clues)
    assert [clue.observation for clue in written.clues] == list(OBSERVATIONS)
    assert [written.report[item.start : item.end] for item in written.evidence.sentences] == [
        sentence.text for sentence in written.parsed.sentences
    ]


def test_a_report_depends_on_the_films_and_their_views_alone(writer) -> None:
    films = [film(number, findings) for number, findings in enumerate(("", "e", "p", "ec", "pc"))]
    together = writer.write([request(f"s{number}", one) for number, one in enumerate(films)])
    assert [one.study_id for one in together] == ["s0", "s1", "s2", "s3", "s4"]
    alone = [writer.write([request("other", replace(one, name="renamed"))])[0] for one in films]
    assert [one.report for one in alone] == [one.report for one in together]
    # padding to another batch changes the last digits only
    for first, second in zip(alone, together, strict=True):
        assert [one.probability for one in first.clues] == pytest.approx(
            [one.probability for one in second.clues], abs=1e-5
        )


def test_a_context_that_the_model_does_not_read_is_refused(writer) -> None:
    study = replace(request("a", film()), context=StudyContext(prior_report="Clear."))
    with pytest.raises(ConfigError, match=r"reads no earlier report: .*finetune\.context containing 'prior'"):
        writer.write([study])


def test_an_earlier_report_makes_comparisons_possible(loaded) -> None:
    config = loaded.config.model_copy(
        update={"finetune": loaded.config.finetune.model_copy(update={"context": ("prior",)})}
    )
    reads = ReportWriter(replace(loaded, config=config))
    study = replace(request("a", film()), context=StudyContext(prior_report="Clear."))
    (written,) = reads.write([study])
    assert written.evidence.has_prior is True
    room = config.finetune.max_context_tokens
    long = StudyContext(prior_report="Clear. " * 1000)
    assert (reads.num_unread_tokens(study.context), reads.num_unread_tokens(long) > 1000 - room) == (0, True)
    alone, cut = reads.write([request("a", film()), replace(study, context=long)])
    assert alone.evidence.has_prior is None
    assert (alone.unread_tokens, cut.unread_tokens) == (0, reads.num_unread_tokens(long))


def test_views_beyond_those_that_the_model_takes_are_named(writer, loaded) -> None:
    num_views = loaded.config.pretrain.max_views
    films = [film(number, "e") for number in range(num_views + 1)]
    (written,) = writer.write([request("a", *films)], with_heat_maps=True)
    assert len(written.films) == num_views
    assert written.unread == (films[-1],)
    assert all(len(heat.values_VHW) == num_views for heat in written.heat_maps)


def test_a_study_without_films_is_refused(writer) -> None:
    with pytest.raises(ValueError, match="without films"):
        writer.write([request("a")])
    assert writer.write([]) == []


def test_sides_are_told_only_where_a_view_may_show_them(writer) -> None:
    frontal, lateral = writer.write([request("a", film()), request("b", film(view="LATERAL"))])
    assert (frontal.has_frontal, lateral.has_frontal) == (True, False)
    assert frontal.clues[0].left is not None
    assert {clue.left for clue in lateral.clues} == {None}


def test_heat_maps_are_of_the_shown_findings_and_where_the_finding_is(writer) -> None:
    (written,) = writer.write([request("a", film(1, "e"))], with_heat_maps=True)
    shown = [clue.observation for clue in written.clues if clue.is_shown]
    assert shown
    assert written.heat_maps[0].finding in shown
    assert {heat.finding for heat in written.heat_maps} <= set(shown)
    assert written.heat_maps[0].values_VHW.shape[0] == 1
    assert written.heat_maps[0].value_max == written.heat_maps[0].values_VHW.max()
    assert writer.write([request("a", film(1, "e"))])[0].heat_maps == ()


def written_study(report: str, clues: tuple[Clue, ...]) -> WrittenStudy:
    label_set = load_label_set("chexpert14")
    parsed = ReportParser(label_set).parse(report)
    evidence = gather_evidence(parsed, clues=clues, label_set=label_set, has_prior=None)
    return WrittenStudy(
        study_id="7",
        films=(film(),),
        report=report,
        parsed=parsed,
        clues=clues,
        evidence=evidence,
        unread=(replace(film(view="LL"), name="more.jpg"),),
    )


CLUES = (
    Clue(
        observation="Pleural Effusion", probability=0.91239, threshold=0.4, left=0.9, right=0.1, degrees=(0.5, 0.3, 0.2)
    ),
    Clue(observation="Pneumothorax", probability=0.2, threshold=0.4, left=0.1, right=0.1),
    Clue(observation="Cardiomegaly", probability=0.8, threshold=0.5),
)


def test_the_record_has_one_entry_of_evidence_per_sentence_and_finding() -> None:
    written = written_study("No pleural effusion or pneumothorax. The patient is rotated.", CLUES)
    record = study_record(written, model="models:/m/1", rejected=[RejectedFilm(name="x", reason="r", message="m")])
    assert list(record) == RECORD_KEYS
    assert record["clues"][0] == {
        "finding": "Pleural Effusion",
        "probability": 0.9124,
        "left": 0.9,
        "right": 0.1,
        "degrees": [0.5, 0.3, 0.2],
    }
    assert (record["clues"][2]["left"], record["clues"][2]["degrees"]) == (None, None)
    first = "No pleural effusion or pneumothorax."
    assert record["evidence"] == [
        {
            "sentence": first,
            "finding": "Pleural Effusion",
            "status": "CONTRADICTED",
            "probability": 0.0876,
            "remarks": [],
        },
        {"sentence": first, "finding": "Pneumothorax", "status": "SUPPORTED", "probability": 0.8, "remarks": []},
        {
            "sentence": "The patient is rotated.",
            "finding": None,
            "status": "NOT_CHECKABLE",
            "probability": None,
            "remarks": [],
        },
    ]
    assert record["omitted"] == ["Cardiomegaly"]
    assert record["generated"] is True
    assert record["films"][1] == {"name": "more.jpg", "view": "LL", "is_read": False}
    assert record["set_aside"] == [{"name": "x", "reason": "r"}]


def test_a_finding_named_twice_in_a_sentence_has_its_most_severe_status() -> None:
    written = written_study("There is a left effusion, and no right pleural effusion but a right effusion.", CLUES)
    entries = [
        entry for entry in study_record(written, model="m")["evidence"] if entry["finding"] == "Pleural Effusion"
    ]
    assert len(entries) == 1
    assert entries[0]["status"] == "UNSUPPORTED"


def test_a_sentence_has_the_least_probability_of_its_entries_with_its_status() -> None:
    written = written_study("There is a pleural effusion, and a slight left pleural effusion.", CLUES)
    (sentence,) = written.evidence.sentences
    (entry,) = study_record(written, model="m")["evidence"]
    # .9 of .5 for the second mention, .91 for the first
    assert (entry["status"], entry["probability"]) == ("WEAK", 0.45)
    assert sentence.probability == pytest.approx(entry["probability"])


def test_a_record_remarks_what_its_page_does() -> None:
    written = written_study("A left effusion has increased. No effusion. A 4 cm right nodule.", CLUES)
    remarks = {entry["sentence"]: entry["remarks"] for entry in study_record(written, model="m")["evidence"]}
    assert remarks == {
        "A left effusion has increased.": ["contradicts itself", "prior unknown"],
        "No effusion.": ["contradicts itself"],
        "A 4 cm right nodule.": ["measurement: no film tells it"],
    }
    degrees = written_study("FINDINGS: Slight left effusion.\nIMPRESSION: Severe left effusion.", CLUES)
    assert [remarks for remarks in remarks_on(degrees.evidence) if remarks] == [
        ("another degree in findings and impression",)
    ] * 2


def test_a_record_is_one_line_also_without_a_report() -> None:
    lines = [
        record_line("7", written_study("No\npneumothorax.", CLUES), model="m"),
        record_line("8", None, model="m", rejected=[RejectedFilm(name="x\x9b\u2028\udcff", reason="r", message="")]),
    ]
    assert all(line.isascii() and line.isprintable() for line in lines)
    records = [json.loads(line) for line in lines]
    assert [list(record) for record in records] == [RECORD_KEYS, RECORD_KEYS]
    assert (records[1]["report"], records[1]["evidence"]) == (None, [])
    assert records[1]["set_aside"][0]["name"] == "x\x9b\u2028\udcff"


def test_a_film_has_the_bytes_that_models_are_trained_on(tmp_path) -> None:
    big = encode_jpeg(np.asarray(Image.open(io.BytesIO(draw(1, "e"))).resize((700, 600))))
    (tmp_path / "film.jpg").write_bytes(big)
    config = toy_config("ingest.max_side_px=400", "ingest.jpeg_quality=80", "shard.max_side_px=100")
    stored = read_image(str(tmp_path), Stored(dicom_id="d", path="film.jpg"), config.ingest)
    image = {"jpeg": stored.jpeg, "rows": stored.rows, "columns": stored.columns, "view_position": "PA"}
    trained_on = _view(image, config.shard.max_side_px)["jpeg"]
    read = read_film(big, name="a", form=film_format(config))
    assert (read.jpeg, read.picture, read.view_position) == (trained_on, stored.jpeg, "")
    assert max(Image.open(io.BytesIO(read.jpeg)).size) == 100
    assert "jpeg" not in repr(read)


class JudgesOne:
    """Judges one image to be far from the others."""

    def __init__(self, odd: ReadFilm) -> None:
        self.odd = odd

    def judge(self, jpeg: bytes) -> ImageJudgment:
        return ImageJudgment(deviation=3.0 if jpeg == self.odd.jpeg else 1.0)


@pytest.mark.parametrize(("withhold_above", "is_withheld"), [(1.5, True), (50.0, False), (None, False)])
def test_of_an_image_unlike_those_of_training_no_report_is_written(loaded, monkeypatch, withhold_above, is_withheld):
    odd = film(6, "p")
    monkeypatch.setattr(loaded.generator.perception, "usual_images", JudgesOne(odd))
    decoding = loaded.config.generate.model_copy(update={"max_new_tokens": 40, "withhold_above": withhold_above})
    careful = ReportWriter(loaded, loaded.config.model_copy(update={"generate": decoding}))
    usual_study, odd_study = careful.write([request("a", film(5, "e")), request("b", odd)], with_heat_maps=True)
    assert (usual_study.unusual, usual_study.withheld) == ((), False)
    assert usual_study.clues
    assert [one.name for one in odd_study.unusual] == [odd.name]
    assert odd_study.withheld is is_withheld
    assert odd_study.report.startswith("No report was written") is is_withheld
    assert bool(odd_study.clues) is bool(odd_study.heat_maps) is not is_withheld
    record = study_record(odd_study, model="m")
    assert record["withheld"] is is_withheld
    assert record["unusual"] == [{"name": odd.name, "deviation": 3.0, "looks": ""}]
    assert not [entry for entry in record["evidence"] if entry["finding"]] or not is_withheld


def test_of_an_image_that_looks_rotated_no_report_is_written():
    near = UnusualFilm(name="a", deviation=1.2, looks="")
    turned = UnusualFilm(name="b", deviation=1.2, looks="upside down")
    assert not are_withheld([near], above=1.5)
    assert are_withheld([near, turned], above=1.5)
    assert not are_withheld([turned], above=None)
    assert withheld_sentence([near, turned]).endswith("and looks upside down.")
    assert not ReportParser().parse(withheld_sentence([turned])).sentences[0].mentions
