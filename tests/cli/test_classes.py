"""`wbcseg classify`, `differential` and `train-classifier`, and the classifier that a result names."""

from __future__ import annotations

import json
import re
import shutil
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from napari_wbcseg import (
    classify_results,
    differential_of,
    load_model,
    load_result,
    replay,
    save,
    synthetic_smear,
)
from napari_wbcseg.classification.classify import classify_cells
from napari_wbcseg.classification.naming import each_named
from napari_wbcseg.errors import Cancelled, ModelError, SettingsError
from napari_wbcseg.images.read import read_image
from napari_wbcseg.network.classifier import ClassifierFile, read_classifier
from napari_wbcseg.results.records import ResultRecord, RunRecord
from napari_wbcseg.training import classifier as training
from napari_wbcseg.training.class_cells import CLASSES

from ..discs import PINK, VIOLET, discs, write_taught
from .shell import started, wbcseg


@pytest.fixture
def classifier(tmp_path: Path) -> ClassifierFile:
    return write_taught(tmp_path / "own.safetensors")


@pytest.fixture
def out(tmp_path: Path, model: Path) -> Path:
    """Segment two pictures, of three discs and of one, without classes."""
    (tmp_path / "in").mkdir()
    for name, colours in {"a": (PINK, VIOLET, VIOLET), "b": (VIOLET,)}.items():
        Image.fromarray(discs(colours)[0]).save(tmp_path / "in" / f"{name}.png")
    segment("none", "--format", "csv,geojson")
    return tmp_path / "out"


def segment(classes: object, *more: object) -> str:
    options = ("--model", "dark.safetensors", "--grey-threshold", 130, "--probability-threshold", 0.4)
    return wbcseg("segment", "in", "--out", "out", "--classes", classes, *options, *more).output


def classes_in(out: Path, name: str = "a") -> list[str]:
    return list(load_result(out / f"{name}-result.json").cells["class"])


class TestClassify:
    def test_results_get_classes_and_name_what_told_them(self, out: Path, classifier: ClassifierFile) -> None:
        assert classes_in(out) == ["", "", ""]
        shown = wbcseg("classify", "out", "--classes", "own.safetensors")
        assert classes_in(out) == ["pink", "violet", "violet"]
        record = ResultRecord.read(out / "a-result.json")
        assert record.classifier is not None
        assert record.classifier.id == classifier.id
        assert load_result(out / "a-result.json").classifier == classifier.id
        assert "2 results classified" in shown.output
        assert f"Classes told by {classifier.id}." in shown.output
        assert "3 white cells" in shown.output
        assert "pink 1: no white cells" in shown.output

    def test_the_end_of_a_job_leaves_tables_of_what_was_done(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        for number in range(20):
            Image.fromarray(discs((VIOLET,))[0]).save(f"in/{number}.png", dpi=(1, 1 + number))
        segment("none")
        process = started("classify", "out", "--classes", "own.safetensors")
        deadline = time.monotonic() + 60
        while classes_in(out, "0") == [""] and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        told = pd.read_csv(out / "cells.csv", keep_default_na=False).groupby("image")["class"].agg(list)
        assert {"violet"} <= set(told["0.png"])
        assert all(told[f"{name}.png"] == classes_in(out, name) for name in map(str, range(20)))

    def test_the_other_files_of_a_result_follow(self, out: Path, classifier: ClassifierFile) -> None:
        before = (out / "a-overlay.png").read_bytes()
        wbcseg("classify", "out/a-result.json", "--classes", "own.safetensors")
        assert pd.read_csv(out / "a-cells.csv")["class"].tolist() == ["pink", "violet", "violet"]
        features = json.loads((out / "a.geojson").read_text())["features"]
        assert [one["properties"]["classification"]["name"] for one in features] == [
            "Pink",
            "Violet",
            "Violet",
        ]
        assert (out / "a-overlay.png").read_bytes() != before
        assert not (out / "a-rois.zip").exists(), "what was not there is not made"
        counts = pd.read_csv(out / "counts.csv").set_index("image")
        assert counts.loc["a.png", ["pink", "violet"]].tolist() == [1, 2], "tables and report too"
        assert "violet" in (out / "report.html").read_text()
        assert classes_in(out, "b") == [""], "only what was named"

    def test_of_a_stack_classes_are_told_without_a_word_of_python(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        stack = np.stack([discs((PINK, VIOLET))[0]] * 2)
        tifffile.imwrite("in/c.tif", stack, photometric="rgb", metadata={"axes": "ZYXS"})
        segment("none")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would show a line of this program
            wbcseg("classify", "out/c-result.json", "--classes", "own.safetensors")
        assert classes_in(out, "c") == ["pink", "violet"] * 2

    def test_tables_tell_what_is_done_where_it_is_stopped(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        def stop(done: int, total: int, stage: str) -> None:
            if classes_in(out) == ["pink", "violet", "violet"]:
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            classify_results(out, "own.safetensors", stop)
        assert classes_in(out, "b") == [""]
        cells = pd.read_csv(out / "cells.csv", keep_default_na=False)
        assert cells["class"].tolist() == ["pink", "violet", "violet", ""]
        counts = pd.read_csv(out / "counts.csv").set_index("image")
        assert counts.loc["a.png", ["pink", "violet"]].tolist() == [1, 2]

    def test_files_tell_of_one_thing_where_it_is_stopped_while_they_are_written(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        def stop(done: int, total: int, stage: str) -> None:
            if stage == "Outlining cells":  # the table is written by then
                raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            classify_results(out, "own.safetensors", stop)
        said = classes_in(out)
        assert pd.read_csv(out / "a-cells.csv", keep_default_na=False)["class"].tolist() == said
        features = json.loads((out / "a.geojson").read_text())["features"]
        assert [one["properties"]["classification"]["name"].lower() for one in features] == said
        assert pd.read_csv(out / "cells.csv", keep_default_na=False)["class"].tolist() == [*said, ""]

    def test_what_a_person_said_stays(self, out: Path, classifier: ClassifierFile) -> None:
        found = load_result(out / "a-result.json")
        save(replace(found, cells=each_named(found.cells, {1: "violet"})), out / "a", "tiff")
        shown = wbcseg("classify", "out", "--classes", "own.safetensors")
        assert classes_in(out) == ["violet"] * 3
        assert f"Classes told by a person, {classifier.id}." in shown.output

    def test_the_command_that_segmented_brings_tables_and_report_up_to_date(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        wbcseg("classify", "out", "--classes", "own.safetensors")
        assert "Done before, and not again: 2 images" in segment("own.safetensors")
        counts = pd.read_csv(out / "counts.csv")
        assert (counts["violet"].tolist(), counts["pink"].tolist()) == ([2, 1], [1, 0])
        report = (out / "report.html").read_text(encoding="utf-8")
        assert f"classes {classifier.id}" in report
        assert report.count('alt="violet"') == 3, "the gallery"

    def test_the_run_is_had_again_with_the_classes_that_its_tables_tell(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        wbcseg("classify", "out/a-result.json", "--classes", "own.safetensors")
        assert RunRecord.read(out / "run.json").classifier is None, "it told those of one alone"
        wbcseg("classify", "out", "--classes", "own.safetensors")
        assert f"classes {classifier.id}" in (out / "report.html").read_text(encoding="utf-8")
        again = wbcseg("segment", "--settings", "out/run.json", "--out", "out").output
        assert "Done before, and not again: 2 images" in again
        assert classes_in(out) == ["pink", "violet", "violet"]

    def test_an_image_that_is_gone_or_another_is_a_sentence_and_the_others_are_told(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        Path("in/a.png").unlink()
        shown = wbcseg("classify", "out", "--classes", "own.safetensors", status=1)
        assert "The image of out/a-result.json is gone" in shown.stderr
        assert "1 result classified." in shown.output
        assert classes_in(out, "b") == ["violet"]
        Image.fromarray(np.full((200, 260, 3), 230, np.uint8)).save("in/b.png")
        shown = wbcseg("classify", "out", status=1)
        assert "b.png is not the image of out/b-result.json any more" in shown.stderr
        assert classes_in(out, "b") == ["violet"], "classes are not told of what another picture shows there"

    def test_of_a_folder_those_are_told_that_its_report_counts(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        Path("in/a.png").unlink()
        segment("none", "--min-area", 400)
        shown = wbcseg("classify", "out", "--classes", "own.safetensors").output
        assert "1 result classified." in shown
        assert "Left out, as the tables beside them are of another run: 1 result." in shown
        assert classes_in(out) == ["", "", ""]

    def test_a_folder_without_results_and_a_spoilt_classifier_are_sentences(
        self, out: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "bad.safetensors").write_bytes(b"nothing")
        assert "There is no NAME-result.json in in" in wbcseg("classify", "in", status=1).stderr
        for name, words in {"gone": "no file in/gone", "a.png": "in/a.png cannot be read"}.items():
            assert words in wbcseg("classify", Path("in", name), status=1).stderr
        with pytest.raises(SettingsError, match="in an empty list"):
            differential_of([])
        result = wbcseg("classify", "out", "--classes", "bad.safetensors", status=1)
        assert "bad.safetensors cannot be read" in result.stderr

    def test_an_image_without_a_result_is_told_of(self, out: Path) -> None:
        assert "did not come to" not in wbcseg("differential", out).output
        (out / "b-result.json").unlink()
        said = wbcseg("differential", out).output
        assert "Not in it, as a run failed at them or did not come to them: 1 image." in said

    def test_a_result_that_counts_as_it_is_named_is_not_missing(self, out: Path) -> None:
        run = RunRecord.read(out / "run.json")
        failed = [one.model_copy(update={"status": "failed"}) for one in run.inputs]
        settings = run.settings.replace(min_area=400)
        run.model_copy(update={"inputs": failed, "settings": settings}).write(out / "run.json")
        assert differential_of("out")[0].missing == 2
        assert differential_of(["out", "out/b-result.json"])[0].missing == 1

    def test_a_picture_that_counts_twice_is_told_of(self, out: Path, tmp_path: Path) -> None:
        one = wbcseg("differential", out).output
        shutil.copytree(out, tmp_path / "copy")
        assert "of the same picture" not in one
        assert "another one is of the same picture: 2 results." in wbcseg("differential", out, "copy").output
        assert differential_of([out, "copy"])[0].twice == 2

    def test_so_is_one_in_no_file(self, out: Path, tmp_path: Path) -> None:
        """A region of a slide that was saved under two names counted twice without a word."""
        region = replace(load_result(out / "b-result.json"), image_path=None, image_state=None)
        for name in ("region-1", "region-2"):
            save(region, tmp_path / "regions" / name, "tiff")
        assert differential_of(tmp_path / "regions")[0].twice == 1

    def test_a_script_may_give_one_folder_as_it_is(self, out: Path) -> None:
        found = differential_of([out])
        assert differential_of(out) == differential_of(str(out)) == found
        assert classify_results(str(out)) == classify_results([out])


class TestAnotherClassifierIsAnotherSetting:
    def test_a_file_is_done_only_if_its_classifier_is_the_same(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        assert "2 images done anew" in segment("own.safetensors")
        assert "not again: 2 images" in segment("own.safetensors")
        write_taught(Path("own.safetensors"), swapped=True)
        assert "2 images done anew" in segment("own.safetensors"), "the same name, but it is another one"
        assert classes_in(out) == ["violet", "pink", "pink"]
        Path("own.safetensors").rename("moved.safetensors")
        assert "not again: 2 images" in segment("moved.safetensors"), "another name, but it is the same"
        assert "2 images done anew" in segment("none")

    def test_a_result_whose_cells_a_person_named_is_not_written_over(
        self, out: Path, classifier: ClassifierFile
    ) -> None:
        segment("own.safetensors")
        found = load_result(out / "a-result.json")
        named = replace(found, cells=each_named(found.cells, {1: "blast"}))
        save(named, out / "a", "tiff", image=read_image("in/a.png"))
        assert "not again: 2 images" in segment("own.safetensors")
        shown = segment("none")
        assert "so kept, but not counted: a. Where the image is gone or cannot be read, put it back" in shown
        assert f"or go back to the settings in {out.resolve() / 'a-result.json'}." in shown
        assert classes_in(out) == ["blast", "violet", "violet"]
        assert "by a person" not in segment("own.safetensors"), "with the settings that it had it counts"
        assert pd.read_csv(out / "cells.csv")["class"].tolist()[:3] == ["blast", "violet", "violet"]

    def test_a_run_and_a_result_are_had_again_with_their_own_classifier_or_not_at_all(
        self, out: Path, classifier: ClassifierFile, tmp_path: Path
    ) -> None:
        segment("own.safetensors")
        again = replay(out / "a-result.json")
        assert again.cells["class"].tolist() == ["pink", "violet", "violet"]
        wbcseg("segment", "--settings", "out/run.json", "--out", "again")
        assert classes_in(tmp_path / "again") == classes_in(out)
        write_taught(Path("own.safetensors"), swapped=True)
        with pytest.raises(
            ModelError, match=rf"classifier {classifier.id} is not here.*own.safetensors is now"
        ):
            replay(out / "a-result.json")
        for asks in (("--settings", "out/run.json"), ("--settings", "out/a-result.json", "in")):
            result = wbcseg("segment", *asks, "--out", "third", status=1)
            assert f"its classifier {classifier.id} is not here" in result.stderr


class TestDifferential:
    def test_folders_and_files_are_counted_together(self, out: Path, classifier: ClassifierFile) -> None:
        wbcseg("classify", "out", "--classes", "own.safetensors")
        shown = wbcseg("differential", "out/a-result.json", "out/b-result.json", "--csv", "table.csv").output
        assert re.search(r"violet +3 +100\S* +4[34]\S* to 100", shown)
        assert shown.splitlines()[-2:] == [
            "3 white cells (pink 1: no white cells).",
            f"Classes told by {classifier.id}.",
        ]
        table = pd.read_csv("table.csv").set_index("class")
        assert table.loc["violet", ["count", "percent"]].tolist() == [3, 100]
        assert table.loc["lymphocyte", "count"] == 0

    def test_results_without_classes_are_unsure(self, out: Path) -> None:
        shown = wbcseg("differential", "out").output
        assert re.search(r"unsure\s+4\s+100", shown)
        assert "Classes told by" not in shown

    def test_a_result_has_its_own_and_is_no_file_of_one(self, out: Path) -> None:
        result = load_result(out / "a-result.json")
        assert result.differential == differential_of(out / "a-result.json")[0]
        for what in (result, [result]):
            with pytest.raises(SettingsError, match="a result that is not saved has its own differential"):
                differential_of(what)

    def test_a_picture_without_cells_has_none_of_each_class(self, out: Path, tmp_path: Path) -> None:
        Image.new("RGB", (100, 100), (225, 225, 225)).save(tmp_path / "in" / "empty.png")
        segment("built-in")
        counts = pd.read_csv(out / "counts.csv").set_index("image")
        assert counts.loc["empty.png", ["white_cells", "neutrophil", "unsure", "platelet"]].eq(0).all()
        segment("none")
        assert "neutrophil" not in pd.read_csv(out / "counts.csv"), "nobody told any"

    def test_what_is_unlike_ordinary_blood_is_told_wherever_classes_are(self, out: Path) -> None:
        Image.fromarray(discs((VIOLET,) * 6)[0]).save("in/c.png")
        assert "Unlike ordinary blood" not in segment("none")
        found = load_result(out / "c-result.json")
        named = each_named(found.cells, dict.fromkeys(found.cells["label"], "lymphocyte"))
        save(replace(found, cells=named), out / "c", "tiff")
        sentence = "Unlike ordinary blood: lymphocyte 60.0 % (at most 45 there)."
        assert sentence not in segment("none"), "which four others of ten might well be"
        Path("in/a.png").unlink()
        assert sentence.replace("60.0", "85.7") in segment("none")
        assert sentence.replace("60.0", "85.7") in wbcseg("differential", "out").output
        assert sentence.replace("60.0", "85.7") in (out / "report.html").read_text()

    def test_of_a_folder_those_count_that_its_report_counts(self, out: Path) -> None:
        tifffile.imwrite("in/focus.tif", np.stack([discs((PINK,))[0]] * 2), photometric="rgb")
        segment("none")
        segment("none", "--min-area", 400)
        Path("in/b.png").unlink()
        segment("none", "--min-area", 400)
        assert "<h1>3 white cells in 1 image, 1 in doubt</h1>" in (out / "report.html").read_text()
        assert wbcseg("differential", "out").output.splitlines()[-3:] == [
            "3 white cells.",
            "Left out, as their counts are in doubt: 1 result.",
            "Left out, as the tables beside them are of another run: 1 result.",
        ]
        shown = wbcseg("differential", "out", "out", "out/b-result.json").output
        assert "4 white cells." in shown, "what is named counts, and once"

    def test_a_class_may_be_called_as_a_column_of_the_counts(self, out: Path) -> None:
        found = load_result(out / "a-result.json")
        cells = each_named(each_named(found.cells, {1: "status"}), {2: "white_cells"})
        save(replace(found, cells=cells), out / "a", "tiff")
        segment("none")
        counts = pd.read_csv(out / "counts.csv").set_index("image").loc["a.png"]
        assert counts[["status", "white_cells"]].tolist() == ["ok", 3]
        assert counts[["class status", "class white_cells"]].tolist() == [1, 1]


class TestTrainClassifier:
    @pytest.fixture
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Write three drawn cells as of every class, and let an epoch be two steps, with few more cells."""
        smear = synthetic_smear((420, 560), white_cells=8, cell_diameter=50, touching=0, seed=3)
        centres = np.rint(ndimage.center_of_mass(smear.labels, smear.labels, (1, 2, 3))).astype(int).tolist()
        folder = tmp_path / "cells"
        (folder / "images").mkdir(parents=True)
        rows = [(f"{number}-{copy}.png", name) for number, name in enumerate(CLASSES) for copy in range(3)]
        for name, _ in rows:
            row, col = centres[int(name[-5])]
            picture = smear.image[row - 67 : row + 68, col - 67 : col + 68]
            Image.fromarray(picture).save(folder / "images" / name)
        pd.DataFrame(rows, columns=["image", "class"]).to_csv(folder / "classes.csv", index=False)
        short = partial(training.ClassifierTraining, steps=2, batch=4, validation=2, examples=1, fields=20)
        monkeypatch.setattr(training, "ClassifierTraining", short)
        return folder

    def train(self, *more: object, status: int = 0) -> str:
        command = ("train-classifier", "cells", "--out", "new.safetensors", "--epochs", 1, *more)
        return wbcseg(*command, status=status).output

    def test_it_writes_a_classifier_that_tells_cells(self, data: Path) -> None:
        shown = self.train()
        file = read_classifier("new.safetensors")
        assert f"new.safetensors: {file.id}, validation accuracy " in shown
        assert file.header.architecture.classes == CLASSES
        assert file.header.training["epochs"] == 1
        assert file.header.training_data == f"cells ({3 * len(CLASSES)} cells)"
        assert not Path("new.training").exists(), "what is needed to go on is gone when it is done"
        image, labels, cells = discs((PINK, VIOLET))
        told = classify_cells(labels, cells, image, 37.0, file)["class"]
        assert told.isin([*CLASSES, "neutrophil", "unsure"]).all()

    def stopped(self) -> None:
        """Leave what a training of three epochs leaves that was stopped in the second."""

        def stop(done: int, total: int, stage: str) -> None:
            if stage == "Training the classifier" and done == 3:
                raise Cancelled

        settings = training.ClassifierTraining(epochs=3)
        with pytest.raises(Cancelled):
            training.train_classifier(
                [Path("cells")], Path("new.safetensors"), load_model("wbc"), None, settings, stop
            )

    def test_one_that_was_stopped_ends_as_one_that_never_was(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.train("--epochs", 3)
        whole = read_classifier("new.safetensors")
        Path("new.safetensors").rename("whole.safetensors")
        self.stopped()
        drawn: set[int] = set()

        class Noting(training.Feeder[Any]):
            def get(self, epoch: int, index: int) -> Any:
                drawn.add(epoch)
                return super().get(epoch, index)

        monkeypatch.setattr(training, "Feeder", Noting)
        self.train("--epochs", 3)
        assert drawn == {1, 2}
        again = read_classifier("new.safetensors")
        assert again.header == whole.header
        assert all(np.array_equal(again.weights[name], value) for name, value in whole.weights.items())

    def test_what_is_left_of_a_training_on_other_data_is_not_gone_on_with(self, data: Path) -> None:
        self.stopped()
        assert "epochs was 3 and is now 1. Put that back, or remove new.training" in self.train(status=1)
        changed = "the training data has changed"
        shutil.copytree(data, "other")
        with_other = ("train-classifier", "other", "--out", "new.safetensors", "--epochs", 3)
        assert changed in wbcseg(*with_other, status=1).output
        table = pd.read_csv(data / "classes.csv")
        table[table["class"] != "monocyte"].to_csv(data / "classes.csv", index=False)
        assert changed in self.train("--epochs", 3, status=1), "before it is said that there is no monocyte"
        table.to_csv(data / "classes.csv", index=False)
        Image.open(data / "images" / "0-0.png").rotate(90).save(data / "images" / "0-0.png")
        assert changed in self.train("--epochs", 3, status=1)

    def test_data_that_were_mended_are_trained_on_from_another_classifier(self, data: Path) -> None:
        table = pd.read_csv(data / "classes.csv")
        table[table["class"] != "monocyte"].to_csv(data / "classes.csv", index=False)
        first = read_classifier()
        anew = ("--start", first.path)
        shown = self.train(*anew, status=1)
        assert "Of the class monocyte there are 0 cells to train on: give at least 2" in shown
        table.to_csv(data / "classes.csv", index=False)
        assert "validation accuracy" in self.train(*anew)
        assert read_classifier("new.safetensors").header.training["start"] == first.id

    def test_a_file_that_is_there_or_of_another_ending_is_refused_before_the_work(self, data: Path) -> None:
        Path("new.safetensors").write_bytes(b"an hour of work")
        assert "new.safetensors is there already" in self.train(status=1)
        assert "must end in .safetensors" in self.train("--out", "new.h5", status=1)

    def test_a_class_with_too_few_cells_or_of_no_known_name_is_a_sentence(self, data: Path) -> None:
        table = pd.read_csv(data / "classes.csv")
        table[table["class"] != "monocyte"].to_csv(data / "classes.csv", index=False)
        assert "Of the class monocyte there are 0 cells" in self.train(status=1)
        table.replace("monocyte", "ghost").to_csv(data / "classes.csv", index=False)
        assert "cells names a class 'ghost', which is none of" in self.train(status=1)
