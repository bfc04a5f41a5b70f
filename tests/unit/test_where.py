"""Where a stream is: from flags and config file, the bus and the local folder beside it."""

from pathlib import Path

import pytest

from deploy.planning import settings
from deploy.streams.where import Where, find
from stream.embedded import Embedded
from stream.errors import WrongConfig
from stream.kafka.security import KafkaConfig


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "seedstream.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("directory", "bus", "expected"),
    [
        (Path("run"), None, (Path("run"), Path("run"))),
        (None, "embedded:run", (Path("run"), Path("run"))),
        (Path("run"), "embedded:run", (Path("run"), Path("run"))),
        (None, "kafka://a:9092", ("a:9092", Path())),
        (Path("run"), "kafka://a:9092,10.0.0.1:1,[::1]:2", ("a:9092,10.0.0.1:1,[::1]:2", Path("run"))),
    ],
)
def test_the_bus_and_the_folder_beside_it_are_named_by_flags(
    directory: Path | None, bus: str | None, expected: tuple[Path | str, Path]
) -> None:
    where = find(directory, bus, "main")
    assert (where.bus, where.folder) == expected


@pytest.mark.parametrize(
    "bus",
    ["kafka:", "kafka://", "kafka://a", "kafka://a:", "kafka://a:0", "kafka://a:70000", "kafka://a:1,", "kafka://a:1/x",
     "kafka:a:1", "embedded:", "run"],
)  # fmt: skip
def test_what_names_no_bus_is_refused_with_what_was_expected(bus: str) -> None:
    with pytest.raises(WrongConfig, match=r"^--bus .*: expected embedded:PATH or kafka://HOST:PORT"):
        find(None, bus, "main")


def test_the_config_file_names_the_bus_and_a_flag_goes_before_it(tmp_path: Path) -> None:
    path = config(tmp_path, 'bus = "kafka://a:1"\npartitions = 3\n[kafka]\npartitions = 12\n')
    where = find(None, None, "v2", path)
    assert (where.bus, where.namespace, where.partitions, where.kafka.partitions) == ("a:1", "v2", 3, 12)
    assert find(None, "kafka://b:2", "main", path).bus == "b:2"
    assert find(Path("run"), None, "main", path) == Where("a:1", Path("run"), "main", 3, KafkaConfig(12), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics_port = 70000", r"seedstream\.toml: metrics_port must be from 1 to 65535"),
        ("partitions = 99999999999999999999", "partitions must be from 1 to 10,000"),
        ("processes = 0", "processes must be from 1 to 1,024"),
        ("[runner]\ncall_deadline_s = 0", "call_deadline_s = 0 would let no call end"),
        ("[runner]\ncall_deadline_s = nan", "runner.call_deadline_s: expected a finite number, got nan"),
        ("[runner]\ncommit_interval_s = inf", "runner.commit_interval_s: expected a finite number, got inf"),
        ("[runner]\ndrain_s = -1", "drain_s must not be negative"),
    ],
)
def test_a_number_that_no_run_could_live_with_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WrongConfig, match=message):
        settings.read(config(tmp_path, text))


@pytest.mark.parametrize("recipe", ["mine.toml", "./mine.toml", "a/mine.toml"])
def test_a_recipe_that_a_config_names_by_its_file_stands_beside_it(tmp_path: Path, recipe: str) -> None:
    read, _ = settings.read(config(tmp_path, f'recipe = "{recipe}"\n'))
    assert Path(read.recipe) == tmp_path / recipe
    assert settings.read(config(tmp_path, 'recipe = "lab"\n'))[0].recipe == "lab"


def test_paths_in_the_config_file_are_relative_to_its_folder(tmp_path: Path) -> None:
    path = config(tmp_path, 'bus = "embedded:run"\n[kafka]\ntls = true\nca = "ca.pem"\n')
    assert find(None, None, "main", path).bus == tmp_path / "run"
    assert settings.read(path)[0].kafka.ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('mechanism = "PLAIN"', r"line 1, kafka: mechanism PLAIN needs user_env and password_env"),
        ('password_env = "P"', r"line 1, kafka: user_env and password_env want a mechanism"),
        ("partitions = 0", r"line 1, kafka: partitions must be from 1 to 10,000, got 0"),
        ('password = "x"', r"line 2, kafka\.password: unknown key; did you mean password_env\?"),
        ('mechanism = "GSSAPI"', r"line 2, kafka\.mechanism: expected one of PLAIN"),
    ],
)
def test_a_wrong_kafka_table_is_refused_with_its_line(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(WrongConfig, match=message):
        find(None, "kafka://a:1", "main", config(tmp_path, f"[kafka]\n{table}\n"))


def test_what_a_command_line_is_told_to_repeat_names_the_same_place(tmp_path: Path) -> None:
    path = config(tmp_path, "[kafka]\npartitions = 2\n")
    for where in (
        Where(Path("run"), Path("run")),
        Where(Path("run"), Path("run"), "v2"),
        Where("a:1", Path("run"), "v2"),
        Where("a:1", Path(), "main", 1, KafkaConfig(2), path),
    ):
        words = where.flags().split()
        told = dict(zip(words[::2], words[1::2], strict=True))
        folder = Path(told["--dir"]) if "--dir" in told else None
        file = Path(told["--config"]) if "--config" in told else None
        assert find(folder, told.get("--bus"), told.get("--namespace", "main"), file) == where


async def test_an_embedded_bus_is_opened_in_its_folder_and_made_only_when_told_so(tmp_path: Path) -> None:
    where = find(tmp_path / "run", None, "v2", settings.Config(partitions=3))
    with pytest.raises(WrongConfig, match="there is no bus here"):
        async with where.open():
            pass
    async with where.open(create=True) as bus:
        assert isinstance(bus, Embedded) and bus.namespace == "v2"
    async with where.of("main").open() as bus:
        assert bus.namespace == "main"
