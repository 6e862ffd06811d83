# The slim image of what only orders and shows: Prefect server and worker, MLflow server. It submits Ray Jobs, so it has
# Ray's client, but PyTorch without CUDA.
#   docker build -f infra/docker/flows.Dockerfile --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... -t trrg-flows .
ARG PYTHON_IMAGE

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY infra/docker/install.sh infra/docker/install.sh
COPY infra/setup/torch.txt infra/setup/torch.txt
COPY trrg_core trrg_core
COPY pipelines pipelines
COPY flows flows
RUN bash infra/docker/install.sh /opt/trrg "flows s3" cpu

FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home trrg
COPY --from=build /opt/trrg /opt/trrg
COPY prefect.yaml /opt/trrg/prefect.yaml
ENV PATH=/opt/trrg/bin:$PATH PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_LOGGING_EXTRA_LOGGERS=pipelines,trrg_core,flows MLFLOW_DISABLE_TELEMETRY=true
USER 1000
WORKDIR /home/trrg
ENTRYPOINT ["tini", "--"]
CMD ["trrg", "--help"]
