"""The Ray Serve application: replicas that hold the model and write in batches, behind one that answers HTTP."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from ray import serve
from ray.serve.handle import DeploymentHandle

from pipelines.serving.api_error import ApiError
from pipelines.serving.app import ServedStudy, build_app
from pipelines.serving.batches import Batches
from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelChoice, ModelStatus
from pipelines.serving.served_model import RefusedStudy, ServedModel
from trrg_core.generation.report_writer import StudyRequest

logger = logging.getLogger(__name__)

_SPARE_REQUESTS = 64  # pages, health and refusals are answered also while as many reports as allowed are pending
_DRAIN_S = 0.5  # between two looks at whether pending requests are answered, when the server stops
_DROPPED = 1024  # requests that wait for the process behind the proxy before Ray Serve drops them


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How studies are put together: at most `max_studies`, after at most `wait_s`; the alias is read every `poll_s`."""

    max_studies: int = 8
    wait_s: float = 0.01
    poll_s: float = 15.0


@dataclass(frozen=True, kw_only=True)
class WriteTask:
    """A study on its way to a batch."""

    study: StudyRequest
    with_heat_maps: bool


class ModelReplica:
    """Holds the model; studies that arrive together are written together."""

    def __init__(self, choice: ModelChoice, batches: BatchSettings) -> None:
        self._model, self._poll_s = ServedModel(choice), batches.poll_s
        self._batches = Batches(self._write, most=batches.max_studies, wait_s=batches.wait_s)
        self._polling: asyncio.Task[None] | None = None

    async def write(self, task: WriteTask) -> ServedStudy | RefusedStudy:
        """What the model writes for a study, together with others."""
        return await self._batches.answer(task)

    async def status(self) -> ModelStatus:
        """The model that writes now."""
        return self._model.status

    async def check_health(self) -> None:
        """Called by Ray Serve from time to time: the alias is followed from the first call on."""
        self._start_polling()

    def _write(self, tasks: list[WriteTask]) -> list[ServedStudy | RefusedStudy]:
        with_heat_maps = any(task.with_heat_maps for task in tasks)
        name, written = self._model.write([task.study for task in tasks], with_heat_maps=with_heat_maps)
        return [
            one if isinstance(one, RefusedStudy) else ServedStudy(written=one, model=name, batch_size=len(tasks))
            for one in written
        ]

    def _start_polling(self) -> None:
        # not in the constructor, which runs outside the event loop
        if self._polling is None:
            self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await asyncio.to_thread(self._model.refresh)


class ReplicaService:
    """The `ReportService` of the application: calls the replicas."""

    def __init__(self, replicas: "DeploymentHandle[Any]") -> None:
        self._replicas = replicas

    async def write(self, study: StudyRequest, *, with_heat_maps: bool) -> ServedStudy:
        """What a replica writes for a study."""
        task = WriteTask(study=study, with_heat_maps=with_heat_maps)
        answer = cast(ServedStudy | RefusedStudy, await self._replicas.write.remote(task))
        if isinstance(answer, RefusedStudy):  # a value: an error would reach this process as one of Ray
            raise ApiError(400, answer.code, answer.reason)
        return answer

    async def status(self) -> ModelStatus:
        """The model of one of the replicas."""
        return cast(ModelStatus, await self._replicas.status.remote())


class HttpReplica:
    """Answers HTTP: checks and decodes what comes in, and lets the model's replicas write."""

    def __init__(self, replicas: "DeploymentHandle[Any]", limits: ServingLimits) -> None:
        self._service, self._limits = ReplicaService(replicas), limits

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        return build_app(self._service, self._limits)


def build_application(
    choice: ModelChoice, limits: ServingLimits, batches: BatchSettings, *, num_replicas: int, use_gpu: bool
) -> Any:
    """The application to run: `num_replicas` replicas of the model, each with one GPU or one CPU."""
    pending = limits.max_pending
    model = serve.deployment(
        name="model",
        num_replicas=num_replicas,
        max_constructor_retry_count=1,  # a model that cannot be loaded is no better the third time, a minute later
        graceful_shutdown_wait_loop_s=_DRAIN_S,
        max_ongoing_requests=max(pending, 2 * batches.max_studies) + _SPARE_REQUESTS,
        ray_actor_options={"num_gpus": 1} if use_gpu else {"num_cpus": 1},
    )(ModelReplica)
    http = serve.deployment(
        name="http",
        graceful_shutdown_wait_loop_s=_DRAIN_S,
        max_ongoing_requests=pending + _SPARE_REQUESTS,
        max_queued_requests=_DROPPED,
        ray_actor_options={"num_cpus": 0.5},
    )(serve.ingress()(HttpReplica))
    return http.bind(model.bind(choice, batches), limits)
