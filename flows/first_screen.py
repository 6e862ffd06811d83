"""What a person sees first of a run: which model is champion, and why."""

import logging

from prefect.artifacts import create_markdown_artifact

from flows.artifacts import store_artifact
from flows.render.decision_text import champion_line, champion_text
from pipelines.registry.lineage import find_champion
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.store import open_store

logger = logging.getLogger(__name__)


def show_champion(store: str, config: RegisterConfig) -> None:
    """Log the champion, and show it as an artifact of the run."""
    champion = find_champion(open_store(store), config)
    logger.info("%s", champion_line(champion))
    text = champion_text(champion)
    store_artifact(create_markdown_artifact, text, key="champion-before", description="The champion before this run")
