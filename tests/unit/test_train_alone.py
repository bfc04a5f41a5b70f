"""`seedstream train` by the recipe of its stream."""

from pathlib import Path

import pytest

from deploy.planning import recipe
from deploy.planning.effective import canonical, effective
from deploy.planning.recipe_copy import copy
from deploy.training.alone import Flags, hyperparameters
from stream.records import RecipeText

HINT = "the stream runs a selfcodealign of its own: name it with --recipe or --config to train as it says\n"


def stored(name: str) -> RecipeText:
    found = recipe.load(name)
    return RecipeText(found.name, canonical(effective(found, {}, {})), None)


def test_a_changed_copy_that_keeps_the_name_of_a_built_in_recipe_is_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = copy("selfcodealign", tmp_path / "mine")
    hyperparameters(Flags(base="b"), stored(str(path)))
    assert capsys.readouterr().err == ""
    changed = path.read_text().replace("\nseed = 3407", "\nseed = 77", 1).replace("\nepochs = 4 ", "\nepochs = 9 ")
    path.write_text(changed)
    assert hyperparameters(Flags(base="b"), stored(str(path))).epochs != 9.0
    assert capsys.readouterr().err == HINT
    assert hyperparameters(Flags(base="b", recipe=str(path)), stored(str(path))).epochs == 9.0
    assert capsys.readouterr().err == ""
