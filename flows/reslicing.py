"""The flow `reslice`: compile a spec into a slice, show its tables and chart as artifacts, and optionally retrain."""

from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.artifacts import picture_text, store_artifact
from flows.cancelling import stop_cluster_jobs
from flows.form_fields import FormOrder, Settings
from flows.outcome import ended
from flows.render.decision_text import artifact_rows
from flows.render.slices import label_rows, slice_chart_png, spec_text, summarise_slice, target_rows
from flows.retraining import retrain
from flows.run_log import show_own_lines
from flows.tasks import is_worth_retrying
from pipelines.jobs.reslice import make_slice
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import open_store


@task(retries=3, retry_delay_seconds=[2, 5, 15], retry_condition_fn=is_worth_retrying, persist_result=False)
def compile_slice(spec: SliceSpec, store: str, dry_run: bool) -> str:
    """The reference of the compiled slice, empty after a dry run; its tables and chart are artifacts in Prefect."""
    sliced = make_slice(open_store(store), spec, dry_run=dry_run)
    summary = "\n\n".join([*summarise_slice(sliced), f"```yaml\n{spec_text(sliced.spec)}```"])
    store_artifact(create_markdown_artifact, summary, key="slice", description=spec.name)
    if sliced.plan.outcomes:
        rows = artifact_rows(target_rows(sliced))
        store_artifact(create_table_artifact, rows, key="slice-asked-achieved", description="Asked and achieved")
    rows = artifact_rows(label_rows(sliced))
    store_artifact(create_table_artifact, rows, key="slice-before-after", description="Train studies, before and after")
    chart = picture_text(slice_chart_png(sliced), "png", title="Labels of the train studies, before and after")
    store_artifact(create_markdown_artifact, chart, key="slice-chart", description="Before and after")
    return sliced.result.ref


@flow(name="reslice", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def reslice(
    spec: Annotated[SliceSpec, FormOrder()],
    store: str = "./trrg-store",
    dry_run: bool = False,
    then_retrain: bool = False,
    preset: str = "tiny",
    settings: Settings = (),
) -> dict[str, Any]:
    """Compile another sample of the train studies; `validate` and `test` are never changed.

    Args:
        spec: the request for the slice.
        store: folder or s3:// prefix of all tables and runs.
        dry_run: compute and show the slice, write nothing.
        then_retrain: train on the slice afterwards, from stage 1 to the registered model.
        preset: configuration of that training: `tiny`, `small`, `base`, or the path of a YAML file.
        settings: single settings of that training, e.g. `finetune.clues=off`.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        ref = compile_slice(spec, store, dry_run)
        results: dict[str, Any] = {"slice": ref}
        if then_retrain and ref:
            results |= retrain(store=store, preset=preset, settings=settings, enter_at="pretrain", slice_ref=ref)
        return results

    return ended(run)
