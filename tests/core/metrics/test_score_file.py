from trrg_core.metrics.score_file import SystemScores, scores_from_bytes, scores_to_bytes


def test_the_card_reads_back_the_part_that_it_shows():
    entry = {
        "system": "model",
        "family": "trrg14",
        "section": "findings",
        "num_studies": 3,
        "num_patients": 2,
        "values": {"bleu4.full": 0.25},
        "absent": {"meteor.full": "no Java"},
        "conventions": {"interval": "95 %"},
    }
    assert scores_from_bytes(scores_to_bytes([entry])) == [
        SystemScores(
            system="model",
            section="findings",
            num_studies=3,
            num_patients=2,
            values={"bleu4.full": 0.25},
            absent={"meteor.full": "no Java"},
            conventions={"interval": "95 %"},
        )
    ]
