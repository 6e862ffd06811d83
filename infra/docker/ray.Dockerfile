# The image of every Ray node: all stages of the chain, with PyTorch's CUDA build. Its CUDA libraries come with the
# wheels, so the base is a plain Python; the driver comes from the node.
#   docker build -f infra/docker/ray.Dockerfile --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... -t trrg-ray .
# No default: the digest is looked up by whoever builds, `docker buildx imagetools inspect python:3.11-slim-bookworm`.
ARG PYTHON_IMAGE

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY infra/docker/install.sh infra/docker/install.sh
COPY infra/setup/torch.txt infra/setup/torch.txt
COPY trrg_core trrg_core
COPY pipelines pipelines
COPY flows flows
RUN bash infra/docker/install.sh /opt/trrg "train flows s3" cuda

FROM ${PYTHON_IMAGE}
# wget: the probes that KubeRay adds by itself; tini: reaps what workers leave
RUN apt-get update && apt-get install -y --no-install-recommends wget tini procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home trrg
COPY --from=build /opt/trrg /opt/trrg
ENV PATH=/opt/trrg/bin:$PATH PYTHONUNBUFFERED=1 RAY_TRAIN_V2_ENABLED=1 DO_NOT_TRACK=1
USER 1000
WORKDIR /home/trrg
ENTRYPOINT ["tini", "--"]
CMD ["trrg", "--help"]
