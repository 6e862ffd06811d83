"""What an evaluation does with a model's images: which studies, and that no model is loaded for nothing."""

from random import Random

from pipelines.ray_data.image_work import ImageResults, ImageWork, choose_changed, do_image_work
from trrg_core.config.load import load_config
from trrg_core.storage.store import open_store


def test_the_same_studies_are_chosen_for_every_model_in_whatever_order() -> None:
    ids = [f"s{number}" for number in range(40)]
    chosen = [ids[at] for at in choose_changed(ids, 12)]
    assert len(chosen) == 12
    assert chosen == sorted(chosen)
    mixed = Random(1).sample(ids, len(ids))
    assert [mixed[at] for at in choose_changed(mixed, 12)] == chosen
    assert chosen != sorted(ids)[:12]
    assert len(choose_changed(ids, 99)) == len(ids)
    assert choose_changed(ids, 0) == []


def test_without_work_no_model_is_loaded(tmp_path) -> None:
    store = open_store(str(tmp_path))
    assert do_image_work(load_config("tiny"), store, "finetune-that-is-not-there", ImageWork()) == ImageResults()
