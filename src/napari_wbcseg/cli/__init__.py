"""The shell: ``wbcseg demo``, ``segment``, ``classify``, ``train`` and so on, see ``wbcseg --help``.

Results go to standard output; progress, notes and errors to standard error. The exit
status is 0 when all went well, 1 when something failed, 2 for a command that cannot be
understood, and 130 when it was stopped.
"""

from typing import Any

from ..settings import Recipe, SegmentationSettings, TrainingSettings
from . import classes, corrections, demo, download, evaluate, models, segment, train
from .app import add_command, app, main

__all__ = ["app", "main"]

_OF_THE_MODEL = {"recipe": "that of the model"}


def _values(recipe: Recipe, fine_tuning: bool = False) -> dict[str, Any]:
    return TrainingSettings.for_recipe(recipe, fine_tuning=fine_tuning).model_dump(exclude={"recipe"})


# In the order of the help.
add_command(app, demo.demo)
add_command(app, segment.segment, settings=SegmentationSettings, defaults={"": _OF_THE_MODEL})
add_command(app, classes.classify)
add_command(app, classes.differential)
add_command(
    app,
    train.train,
    settings=TrainingSettings,
    defaults={
        "robust": _values("robust"),
        "with --start": _OF_THE_MODEL,
        "from a robust model": _values("robust", fine_tuning=True),
        "from a classic model": _values("classic", fine_tuning=True),
    },
)
add_command(app, classes.train_classifier, "train-classifier")
add_command(
    app,
    train.finetune,
    settings=TrainingSettings,
    defaults={
        "": {**_values("robust", fine_tuning=True), **_OF_THE_MODEL},
        "classic": _values("classic", fine_tuning=True),
    },
)
app.add_typer(corrections.corrections_app, name="corrections")
add_command(app, evaluate.evaluate, settings=SegmentationSettings, defaults={"": _OF_THE_MODEL})
app.add_typer(models.models_app, name="models")
add_command(app, download.download)
