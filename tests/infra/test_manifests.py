"""The manifests of a cluster: rendered by Kustomize, checked against schemas, and every command in them executed."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from pipelines.running.catalog import JOBS
from trrg_core.config.load import load_config

INFRA = Path(__file__).parents[2] / "infra"
SIZES = ("dev", "one-gpu", "eight-gpu")
FOLDERS = [*(f"{part}/overlays/{size}" for part in ("kuberay", "prefect") for size in SIZES), "kuberay/jobs"]
SCHEMAS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "kubernetes_schema.yaml").read_text())
BIN = Path(sys.executable).parent

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which has Kustomize, is not installed")


@cache
def render(folder: str) -> tuple[dict[str, Any], ...]:
    done = subprocess.run(["kubectl", "kustomize", INFRA / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def pods(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the spec of every pod that the objects of a folder make."""
    for found in render(folder):
        name, spec = found["metadata"]["name"], found.get("spec", {})
        if found["kind"] == "RayCluster":
            for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
                yield f"{name}/{group.get('groupName', 'head')}", group["template"]["spec"]
        elif "template" in spec:
            yield name, spec["template"]["spec"]


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_fits_its_schema(folder: str) -> None:
    objects = render(folder)
    assert objects
    for found in objects:
        kind = f"{found['apiVersion']}/{found['kind']}"
        base = {name: found.pop(name) for name in ("apiVersion", "kind", "metadata")} | {}
        try:
            for schema, value in (
                ({"$ref": "#/definitions/metadata"}, base["metadata"]),
                (SCHEMAS["kinds"][kind], found),
            ):
                jsonschema.validate(value, {**schema, "definitions": SCHEMAS["definitions"]})
        finally:
            found.update(base)


def test_a_misspelt_field_does_not_fit() -> None:
    schema = {**SCHEMAS["kinds"]["ray.io/v1/RayJob"], "definitions": SCHEMAS["definitions"]}
    with pytest.raises(jsonschema.ValidationError, match="entryPoint"):
        jsonschema.validate({"spec": {"entryPoint": "trrg", "clusterSelector": {}}}, schema)


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_mounted_and_selected_exists(folder: str) -> None:
    objects = render(folder)
    claims = {
        claim["metadata"]["name"] for one in objects for claim in one.get("spec", {}).get("volumeClaimTemplates", ())
    }
    for name, spec in pods(folder):
        volumes = {volume["name"] for volume in spec.get("volumes", ())} | claims
        for volume in (volume for volume in spec.get("volumes", ()) if "persistentVolumeClaim" in volume):
            claim = volume["persistentVolumeClaim"]["claimName"]
            assert any((one["kind"], one["metadata"]["name"]) == ("PersistentVolumeClaim", claim) for one in objects)
        mounted = {mount["name"] for one in spec["containers"] for mount in one.get("volumeMounts", ())}
        assert mounted <= volumes, name
        for container in spec["containers"]:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert requests.keys() <= limits.keys(), name
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] in ("Deployment", "StatefulSet")
    ]
    for service in (one for one in objects if one["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        assert any(wanted <= found.items() for found in labels), service["metadata"]["name"]


@needs_kubectl
@pytest.mark.parametrize("size", ["one-gpu", "eight-gpu"])
def test_images_are_pinned_by_digest(size: str) -> None:
    images = {
        c["image"]
        for part in ("kuberay", "prefect")
        for _, s in pods(f"{part}/overlays/{size}")
        for c in s["containers"]
    }
    assert images
    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image) for image in images), images


@needs_kubectl
@pytest.mark.parametrize("size", SIZES)
def test_the_cluster_has_a_place_for_each_worker_and_the_installed_ray(size: str) -> None:
    objects = render(f"kuberay/overlays/{size}")
    settings = next(one["data"] for one in objects if one["kind"] == "ConfigMap")
    cluster = next(one["spec"] for one in objects if one["kind"] == "RayCluster")
    assert cluster["rayVersion"] == version("ray")
    config = load_config(settings["TRRG_PRESET"], [f"engine.num_workers={settings['TRRG_WORKERS']}"])
    kind, room = ("nvidia.com/gpu" if config.engine.use_gpu else "cpu"), 0
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        room += group["maxReplicas"] * int(container["resources"]["limits"].get(kind, 0))
    assert room >= config.engine.num_workers
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0", "work on the head can take the cluster down"


@needs_kubectl
def test_every_pod_of_ray_needs_the_token() -> None:
    for name, spec in pods("kuberay/overlays/eight-gpu"):
        (container,) = spec["containers"]
        values = {one["name"]: one for one in container["env"]}
        assert values["RAY_AUTH_MODE"]["value"] == "token", name
        assert values["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "trrg-ray-token", name


@needs_kubectl
def test_there_is_a_ray_job_for_each_stage_and_its_command_is_one_of_ours() -> None:
    settings = next(one["data"] for one in render("kuberay/overlays/eight-gpu") if one["kind"] == "ConfigMap")
    jobs = {one["metadata"]["labels"]["trrg/stage"]: one["spec"]["entrypoint"] for one in render("kuberay/jobs")}
    assert set(jobs) == set(JOBS)
    for stage, entrypoint in jobs.items():
        unknown = set(re.findall(r"\$(\w+)", entrypoint)) - settings.keys()
        assert not unknown, f"{stage}: {unknown} are not in the settings"
        command, *words = shlex.split(re.sub(r"\$(\w+)", lambda name: settings[name[1]], entrypoint))
        assert (command, words[0]) == ("trrg", stage)
        values = [value for word, value in pairwise(words) if word == "--set"]
        config = load_config(settings["TRRG_PRESET"], values)
        assert (config.ray.jobs_address, config.ray.address) == ("", "auto"), "a job that submits itself again"
        result = CliRunner().invoke(app, [*words, "--help"])  # an unknown option fails before the help
        assert result.exit_code == 0, result.output


def commands() -> list[tuple[str, list[str]]]:
    if not shutil.which("kubectl"):
        return []
    found = []
    for name, spec in pods("prefect/overlays/eight-gpu"):
        for container in spec["containers"]:
            args = container.get("args", [])
            if args[:2] == ["sh", "-ec"]:
                lines = [part.strip() for line in args[2].splitlines() for part in line.split("||")]
                found += [(name, shlex.split(line)) for line in lines]
            elif args:
                found.append((name, args))
    return found


@needs_kubectl
@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_of_the_services_is_known_with_its_options(name: str, command: list[str]) -> None:
    assert command[0] in ("prefect", "mlflow")
    done = subprocess.run(
        [BIN / command[0], *command[1:], "--help"], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", ["ray", "flows"])
def test_the_images_are_staged_pinned_by_argument_and_not_root(image: str) -> None:
    text = (INFRA / "docker" / f"{image}.Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    assert stages == [("${PYTHON_IMAGE}", "build"), ("${PYTHON_IMAGE}", "")]
    assert re.search(r"^ARG PYTHON_IMAGE$", text, re.MULTILINE), "a default would be an image without a digest"
    users = re.findall(r"^USER (\d+)$", text, re.MULTILINE)
    assert users == ["1000"]
    assert text.index("USER 1000") > text.rindex("RUN "), "what runs after it would not be root"
    ignored = (INFRA / "docker" / f"{image}.Dockerfile.dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    for source in (word for line in copied for word in line.split()):
        assert (INFRA.parent / source).exists(), source
        assert f"!{source}" in ignored, f"{source} does not reach the build"
    entry, default = (json.loads(re.search(rf"^{word} (.+)$", text, re.MULTILINE)[1]) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["tini", "--"]
    assert CliRunner().invoke(app, default[1:]).exit_code == 0


def test_the_install_script_refuses_an_unknown_build(tmp_path: Path) -> None:
    script = ["bash", INFRA / "docker/install.sh", tmp_path / "venv", "flows", "rocm"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "install.sh: build rocm: expected cpu or cuda\n")
    assert not (tmp_path / "venv").exists()
