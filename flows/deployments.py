"""The deployments: what a person or a schedule can start, the same in `trrg up` and in `prefect.yaml`."""

from dataclasses import dataclass
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.operations import evaluate_model, promote_model, refresh_data, sweep
from flows.reslicing import reslice
from flows.retraining import retrain

CRON, TIMEZONE = "0 2 * * *", "Etc/UTC"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A flow as it is deployed; `is_scheduled` ones have a schedule, paused until a person resumes it."""

    flow: Flow[..., Any]
    description: str
    is_scheduled: bool = False
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the deployment, the same as that of its flow."""
        return self.flow.name

    @property
    def entrypoint(self) -> str:
        """Where Prefect finds the flow: a module path."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"


DEPLOYMENTS = (
    Deployment(
        flow=retrain,
        description="Source tree to registered model; the earlier result of a stage is reused.",
        is_scheduled=True,
        tags=("training",),
    ),
    Deployment(
        flow=refresh_data,
        description="What is new in the source into shards; nothing is trained.",
        is_scheduled=True,
        tags=("data",),
    ),
    Deployment(
        flow=reslice,
        description="Another sample of the train studies, by a spec; training on it may follow.",
        tags=("data",),
    ),
    Deployment(
        flow=evaluate_model,
        description="Reports and scores of a model on the newest test split.",
        tags=("evaluation",),
    ),
    Deployment(
        flow=promote_model, description="A registered version becomes champion, with a reason.", tags=("registry",)
    ),
    Deployment(flow=sweep, description="A grid of settings over seeds, with a table at the end.", tags=("training",)),
)
# a second run of a deployment waits for the first: both would read the same champion
ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


def served(
    store: str, *, cron: str = CRON, timezone: str = TIMEZONE, is_active: bool = False
) -> list[RunnerDeployment]:
    """The deployments for a process that serves them, on one store; schedules start runs if `is_active`."""
    return [
        cast(
            RunnerDeployment,  # a coroutine only where an event loop runs already
            one.flow.to_deployment(
                name=one.name,
                parameters={"store": store},
                description=one.description,
                tags=["trrg", *one.tags],
                concurrency_limit=ONE_AT_A_TIME,
                schedules=[Cron(cron, timezone=timezone, active=is_active)] if one.is_scheduled else None,
                entrypoint_type=EntrypointType.MODULE_PATH,
            ),
        )
        for one in DEPLOYMENTS
    ]
