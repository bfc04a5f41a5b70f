"""deploy/compose.yaml and deploy/Dockerfile say what the program, the recipe and the project say."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deploy.cli import app
from deploy.local_kafka import jars
from deploy.local_kafka.properties import SIZED
from deploy.planning import recipe

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "seedstream"]
STAGES = {stage.name: stage for stage in recipe.load("selfcodealign").stages}
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def words(service: str) -> list[str]:
    """Return the arguments of `seedstream` that a service runs, with every variable at its default."""
    return shlex.split(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[service]["command"]))


def option(service: str, name: str) -> str:
    given = words(service)
    return given[given.index(name) + 1]


@pytest.mark.parametrize("service", OURS)
def test_the_program_understands_the_command_of_each_service(service: str):
    group: Any = typer.main.get_command(app)
    context = group.make_context("seedstream", words(service))
    name, command, rest = group.resolve_command(context, context._protected_args + context.args)
    parsed = command.make_context(name, list(rest), parent=context)
    assert parsed.params["bus"] == "kafka://kafka:9092"


def test_each_stage_of_the_recipe_is_a_service_and_nothing_else_is_but_the_source():
    assert [name for name in OURS if name != "ingest"] == list(STAGES)
    for name in STAGES:
        assert words(name)[:2] == ["run", name]
    assert words("ingest")[0] == "ingest"


def test_a_stage_waits_for_the_model_where_it_asks_one_and_for_the_broker_always():
    for name, stage in STAGES.items():
        assert set(SERVICES[name]["depends_on"]) == ({"kafka", "vllm"} if stage.kind.asks else {"kafka"})


def test_all_services_name_the_model_that_is_served():
    served = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES["vllm"]["command"][0])
    assert {option(name, "--model") for name in OURS} == {served}
    assert {option(name, "--llm") for name in OURS} == {"http://vllm:8000"}


def test_the_broker_is_the_one_that_the_tests_run_with_the_settings_that_our_topics_need():
    kafka = SERVICES["kafka"]
    settings: dict[str, str] = kafka["environment"]
    assert kafka["image"] == f"apache/kafka:{jars.KAFKA}"
    assert "PLAINTEXT://kafka:9092" in settings["KAFKA_ADVERTISED_LISTENERS"].split(",")
    for name in (
        "auto.create.topics.enable",
        "log.retention.ms",
        "log.retention.bytes",
        "offsets.retention.minutes",
        "group.initial.rebalance.delay.ms",
    ):
        assert settings[f"KAFKA_{name.upper().replace('.', '_')}"] == SIZED[name]


def test_only_the_service_that_runs_programs_may_make_namespaces_and_none_has_a_capability():
    for name in OURS:
        assert "cap_add" not in SERVICES[name] and not SERVICES[name].get("privileged")
    assert [name for name in OURS if "security_opt" in SERVICES[name]] == ["executions"]
    assert "no-new-privileges:true" in SERVICES["executions"]["security_opt"]


def test_the_image_has_every_package_of_the_project_and_the_base_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY")]
    sources = [source for sources in copied for source in sources]
    assert {*packages, "requirements/base.txt", "pyproject.toml"} <= {*sources}
    passed = {
        line[1:] for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert passed == {*sources}
    assert all((ROOT / source).exists() for source in sources)
