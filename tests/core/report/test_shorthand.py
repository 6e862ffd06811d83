"""Signs and squeezed commas are written out, offsets point at what was typed, and hurried notes are read right."""

import pytest

from infra.bench.challenge import read_facts
from infra.bench.challenge_rows import ChallengeRow, read_rows
from trrg_core.report.parser import ReportParser
from trrg_core.report.shorthand import written_out

PARSER = ReportParser()
UP, DOWN, SAME, DELTA, ARROW = "\u2191", "\u2193", "\u2194", "\u0394", "\u2192"
NOTES = [
    "no ptx,ETT 4cm above carina,NGT in stomach => -pneumothorax | +endotracheal_tube | +enteric_tube",
    "ngt in esoph needs advancing, ett in good pos => +enteric_tube malpositioned | +endotracheal_tube",
    f"R eff {DOWN}, L eff same => +pleural_effusion right improved | +pleural_effusion left stable",
    f"congestion {UP}{UP},edema no {DELTA},no ptx => +vascular_congestion worse | +edema stable | -pneumothorax",
    f"mod eff {ARROW} small => +pleural_effusion small improved",
    "ptx -, eff + => -pneumothorax | +pleural_effusion",
    "consolidation (-) effusion (+) => -consolidation | +pleural_effusion",
    "no #, L 4-8 rib #s => -fracture | +fracture left",
    "cavity LUL ?TB => +cavity left | ?tuberculosis",
    "GGO b/l periph ?covid => +ground_glass_opacity bilateral",
    "new b/l opacities, edema likely,pna cant be excluded => +opacity bilateral new | ?edema | ?pneumonia",
    "cardiomegaly unch, edema resolved => +cardiomegaly stable | -edema",
    "no ptx, effusion smaller => -pneumothorax | +pleural_effusion improved",
    "RLL aspiration pna, linear atx L base => +pneumonia right | +atelectasis left",
    "diffuse infil ARDS? => +infiltrate | ?airspace_disease",
    "r/o pna - no consol, heart N => ?pneumonia@hypothetical | -consolidation | -cardiomegaly",
    "no consolidation,cardiomegaly,no edema => -consolidation | +cardiomegaly | -edema",
    "L drain in situ,lung re-expanded,no ptx => +other_device left | -pneumothorax",
    "NG tip in R lower lobe bronchus => +enteric_tube malpositioned",
    f"R hemidiaph {UP}, L base atx => +elevated_diaphragm right | +atelectasis left",
    "no new mow thorax; media stinal widening => -pneumothorax | +enlarged_cardiomediastinum",
    "card you megaly with at electasis,nopneumothorax => +cardiomegaly | +atelectasis | -pneumothorax",
    "no ptx ETT ok, NGT ok => -pneumothorax | +endotracheal_tube | +enteric_tube",
    "consol no eff, heart enlarged edema worse => +consolidation | -pleural_effusion | +cardiomegaly | +edema worse",
    "No pneumothorax pleural effusion, or consolidation => -pneumothorax | -pleural_effusion | -consolidation",
    "UVC high in RA pull 1cm, UAC T8 => +central_venous_catheter malpositioned | +central_venous_catheter",
    "AC joint separation L, no ptx => -pneumothorax",
    "TTN likely, fluid in fissure => +pleural_effusion",
    "fibrocavitary lesion LUZ s/o koch's => +cavity left | ?tuberculosis",
    "mod R / sm L effs => +pleural_effusion right moderate | +pleural_effusion left small",
    "#L clavicle mid 1/3, no ptx => +fracture left | -pneumothorax",
    "no pulm edema,R CPA blunted => -edema | +blunted_angle right",
    "RUL consol cleared,residual linear atx, eff gone => -consolidation right | +atelectasis | -pleural_effusion",
    "ett in,no ptx,consol R base => +endotracheal_tube | -pneumothorax | +consolidation right",
    "tension ptx L!!! mediast shift to R => +pneumothorax left | +mediastinal_shift right",
    "No pneumothorax, chest tube or effusion => -pneumothorax | -chest_tube | -pleural_effusion",
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ChallengeRow]:
    file = tmp_path_factory.mktemp("notes") / "rows.txt"
    file.write_text("\n".join(NOTES), "utf-8")
    return list(read_rows(file))


@pytest.mark.parametrize("number", range(len(NOTES)))
def test_a_hurried_note_is_read_with_its_details(rows: list[ChallengeRow], number: int) -> None:
    assert read_facts(PARSER, rows[number]) == rows[number].facts


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("no ptx,rll consol;ett ok", "no ptx, rll consol; ett ok"),
        (f"effs {UP}{UP}", "effs  increased "),
        (f"interval {UP} in edema", "interval  increase in edema"),
        (f"{DOWN}ing edema", " decreasing edema"),
        (f"eff {SAME}", "eff  unchanged "),
        ("ett@carina", "ett at carina"),
        ("shift -> r", "shift to r"),
        ("eff w/atx", "eff with atx"),
        ("# 5th rib, no #", "fracture 5th rib, no fracture"),
    ],
)
def test_a_sign_is_written_in_words(typed: str, written: str) -> None:
    found = written_out(typed.lower())
    assert found is not None
    text, offsets = found
    assert " ".join(text.split()) == " ".join(written.split())
    assert len(offsets) == len(text)
    assert list(offsets) == sorted(offsets)


@pytest.mark.parametrize("text", ["no effusion, no edema.", "1,200 ml; seen", "image #2, series # 3", "w/o effusion"])
def test_clean_text_is_left_as_it_is(text: str) -> None:
    assert written_out(text) is None


def test_a_mention_points_at_what_was_typed() -> None:
    text = f"no ptx,R eff{UP},# R clavicle"
    mentions = [one for sentence in PARSER.parse(text).sentences for one in sentence.mentions]
    assert [text[one.start : one.end] for one in mentions] == ["ptx", "eff", "#"]
