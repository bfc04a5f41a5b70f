"""Table [train]: the published figures are the defaults, and a wrong number is refused by its name and line."""

import msgspec
import pytest

from stream import config
from stream.errors import WrongConfig
from trainer.hyperparameters import Lora, Train


def read(text: str) -> Train:
    document = config.parse(text, "seedstream.toml")
    return config.convert(document.data["train"], Train, [document], ("train",))


def test_the_defaults_are_the_published_figures():
    train = Train()
    assert (train.optimizer, train.learning_rate, train.schedule) == ("adafactor", 1e-5, "linear")
    assert (train.warmup_ratio, train.epochs, train.batch, train.max_length) == (0.05, 4, 64, 1_280)
    assert (train.dropout, train.clip_norm) == (0, 0)
    assert train.base is None


def test_a_table_is_read_with_its_tables():
    train = read(
        '[train]\nbase = "m"\nepochs = 2\npack_to = 4096\n[train.lora]\nrank = 8\n[train.trigger]\nleast = 5\n'
    )
    assert (train.base, train.epochs, train.pack_to, train.lora, train.trigger.least) == ("m", 2, 4096, Lora(rank=8), 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate = 0", "learning_rate must be above 0, got 0"),
        ("learning_rate = nan", "learning_rate: expected a finite number, got nan"),
        ("epochs = -1", "epochs must be above 0"),
        ("warmup_ratio = 1.0", "warmup_ratio must be from 0 to under 1"),
        ("batch = 0", "batch must be at least 1"),
        ("batch = 10\nmicro_batch = 4", "batch \\(10\\) must be a multiple of micro_batch \\(4\\)"),
        ("pack_to = 100", "pack_to \\(100\\) must not be less than max_length \\(1280\\)"),
        ('pack_to = 4096\nmethod = "dpo"', "are not packed"),
        ("betas = [0.9]", "betas must be two numbers"),
        ("clip_norm = -0.1", "clip_norm must be at least 0"),
        ("[train.lora]\nrank = 0", "rank must be at least 1"),
        ("[train.lora]\ntargets = []", "targets must name at least one"),
        ('optimizer = "sgd"', "line 2.*train.optimizer: expected one of adafactor, adamw, rmsprop, got 'sgd'"),
        ('template = "$instruction $response"', "no response marker"),
        ("learning_rat = 1e-5", "unknown key; did you mean learning_rate"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(line: str, message: str):
    with pytest.raises(WrongConfig, match=f"seedstream.toml, line \\d+.*{message}|{message}"):
        read(f"[train]\n{line}\n")


def test_only_what_changes_what_is_learned_stands_in_the_canonical_form():
    one, other = Train(base="a", gpus=1), Train(base="b", gpus=8, checkpoint_steps=7)
    assert one.canonical() == other.canonical() != Train(epochs=3.0).canonical()
    assert msgspec.json.decode(one.canonical(), type=Train) == Train()
