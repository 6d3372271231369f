"""The shell explains itself, quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_wbcseg import SegmentationSettings, TrainingSettings
from napari_wbcseg.version import __version__

from .shell import wbcseg


class TestHelp:
    def test_the_version_is_told(self) -> None:
        assert wbcseg("--version").stdout == f"wbcseg {__version__}\n"

    def test_help_imports_nothing_heavy(self) -> None:
        program = (
            "import sys\n"
            "from napari_wbcseg.cli import app\n"
            "try: app(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = 'numpy pandas keras tensorflow onnxruntime skimage cv2 scipy napari qtpy'.split()\n"
            "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "segment" in result.stdout
        assert result.stderr.strip() == "[]"

    @pytest.mark.parametrize("command", ["demo", "segment", "train", "evaluate", "models", "download"])
    def test_every_command_explains_itself(self, command: str) -> None:
        assert "Options" in wbcseg(command, "--help").stdout

    @pytest.mark.parametrize("group", [[], ["corrections"], ["models"]])
    def test_what_a_list_says_of_a_command_is_whole(self, group: list[str]) -> None:
        assert "..." not in wbcseg(*group, "--help").stdout.partition("Commands:")[2]

    @pytest.mark.parametrize(
        ("command", "settings"),
        [("segment", SegmentationSettings), ("evaluate", SegmentationSettings), ("train", TrainingSettings)],
    )
    def test_every_setting_is_an_option_with_its_own_words(
        self, command: str, settings: type[SegmentationSettings | TrainingSettings]
    ) -> None:
        text = " ".join(wbcseg(command, "--help").stdout.split())
        for name, field in settings.model_fields.items():
            assert f"--{name.replace('_', '-')}" in text
            assert field.description is not None
            assert field.description in text

    def test_defaults_of_both_recipes_are_told(self) -> None:
        text = " ".join(wbcseg("train", "--help").stdout.split())
        assert "Passes over the training data. (default: 50; robust: 60; from a robust model: 10;" in text
        text = " ".join(wbcseg("finetune", "--help").stdout.split())
        assert "Passes over the training data. (default: 10; classic: 6)" in text
        assert "(default: 30; classic: all images)" in text
        assert "(default: automatic)" in " ".join(wbcseg("segment", "--help").stdout.split())

    @pytest.mark.parametrize("command", ["segment", "evaluate"])
    def test_the_recipe_is_that_of_the_model(self, command: str) -> None:
        text = " ".join(wbcseg(command, "--help").stdout.split())
        assert "classic as published. (default: that of the model)" in text

    def test_options_tell_of_none_that_the_command_lacks(self) -> None:
        assert "--recipe" not in wbcseg("demo", "--help").stdout
        settings = wbcseg("evaluate", "--help").stdout.partition("--settings")[2].partition("--fold")[0]
        assert "model" not in settings
        text = " ".join(wbcseg("segment", "--help").stdout.split())
        assert "that of the recorded --settings, else wbc" in text
        assert "...}..." not in wbcseg("classify", "--help").stdout

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sgment"],
            ["segment", "a.png"],
            ["segment", "--out", "x"],
            ["segment", "a.png", "--out", "x", "--cell-diameter", "2"],
            ["segment", "a.png", "--out", "x", "--probability-threshold", "1"],
            ["segment", "a.png", "--out", "x", "--recipe", "modern"],
            ["train", "folder"],
            ["evaluate", "wbc"],
            ["segment", "a.png", "--out", ""],
            ["segment", "a.png", "--out="],
            ["corrections", "--folder", "", "add", "a.png", "b.png"],
        ],
    )
    def test_a_command_that_cannot_be_understood_ends_with_status_2(self, arguments: list[str]) -> None:
        assert "Traceback" not in wbcseg(*arguments, status=2).output
