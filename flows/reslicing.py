"""The flow `reslice`: a spec, filled in as a form, becomes a slice with its tables and chart; training may follow."""

import base64
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from flows.render.slices import asked_rows, label_rows, slice_picture, summary
from flows.retraining import retrain
from flows.tasks import is_worth_retrying
from pipelines.jobs.reslice import make_slice
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import open_store


@task(retries=3, retry_delay_seconds=[2, 5, 15], retry_condition_fn=is_worth_retrying, persist_result=False)
def compile_slice(spec: SliceSpec, store: str, dry_run: bool) -> str:
    """Compile the spec and leave its tables and chart; the slice's reference, empty after a dry run."""
    made = make_slice(open_store(store), spec, dry_run=dry_run)
    create_markdown_artifact("\n\n".join(summary(made)), key="slice", description=spec.name)
    if made.plan.lines:
        create_table_artifact(asked_rows(made), key="slice-asked-achieved", description="Asked and achieved")
    create_table_artifact(label_rows(made), key="slice-before-after", description="Train studies, before and after")
    picture = base64.b64encode(slice_picture(made)).decode()
    create_image_artifact(f"data:image/png;base64,{picture}", key="slice-chart", description="Before and after")
    return made.result.ref


@flow(name="reslice", persist_result=False, validate_parameters=True)
def reslice(
    spec: SliceSpec,
    store: str = "./trrg-store",
    dry_run: bool = False,
    then_retrain: bool = False,
    preset: str = "tiny",
    settings: list[str] | None = None,
) -> dict[str, Any]:
    """Choose another sample of the train studies; `validate` and `test` are never touched.

    Args:
        spec: what the slice is asked to be.
        store: folder or s3:// prefix where everything is kept.
        dry_run: show what would come of it and write nothing.
        then_retrain: train on the slice afterwards, from stage 1 to the registered model.
        preset: of that training: `tiny`, `base`, or the path of a YAML file.
        settings: of that training, e.g. `finetune.clues=off`.
    """
    ref = compile_slice(spec, store, dry_run)
    told: dict[str, Any] = {"slice": ref}
    if then_retrain and ref:
        told |= retrain(store=store, preset=preset, settings=settings, enter_at="pretrain", slice_ref=ref)
    return told
