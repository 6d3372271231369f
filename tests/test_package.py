"""The package as a whole: what importing it costs, which room may know which, what is shipped."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import importlib.metadata
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from jinja2 import Template

import napari_wbcseg

PACKAGE = Path(napari_wbcseg.__file__).parent
ROOT = PACKAGE.parents[1]
MODULES = sorted(PACKAGE.rglob("*.py"))
NAME = PACKAGE.name

#: Rooms from the lowest to the highest; the modules of the ground are one room.
GROUND = ("box", "errors", "executors", "files", "progress", "settings", "sizes", "version", "words")
LEVELS = (
    ("ground",),
    ("images", "synthetic"),
    ("datasets",),
    ("network",),
    ("classification",),
    ("segmentation",),
    ("results", "evaluation"),
    ("batch", "training"),
    ("plugin", "cli"),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
WIDGETS = ("segment", "review", "session", "train", "models")
#: Which rooms alone may import these.
KEPT_IN = {
    ("network", "training"): {
        *("keras", "tensorflow", "torch", "jax", "onnx", "onnxruntime", "openvino", "safetensors"),
    },
    ("plugin",): {"napari", "qtpy", "superqt", "magicgui", "npe2", "PyQt6", "PySide6"},
}

needs_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="the package is not installed from a checkout"
)


def name_of(path: Path) -> str:
    """Return the name of a module below the package, such as ``network.device``; nothing for the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def room_of(module: str) -> str:
    """Return the folder that a module lies in."""
    first = module.split(".")[0]
    return "ground" if first in GROUND else first


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of everything that a module imports, wherever in it that is.

    What only a type checker or a function that is called later imports counts like all else.
    """
    here = (NAME, *path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: -node.level], *filter(None, [node.module])] if node.level else [node.module or ""]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant))


@functools.cache
def arrows(module: str) -> frozenset[str]:
    """Return the modules of this package that a module imports."""
    found = set()
    for name in imported(NAMES[module]):
        package, _, inside = name.partition(".")
        if package == NAME:
            # The last part is a module, or something in one.
            found.add(inside if inside in NAMES else inside.rpartition(".")[0])
    return frozenset(found - {module})


def others() -> set[str]:
    """Return the packages of others that this one imports."""
    names = {name.split(".")[0] for path in MODULES for name in imported(path)}
    return names - set(sys.stdlib_module_names) - {NAME, ""}


@functools.cache
def installed() -> Mapping[str, list[str]]:
    """Return the distributions that each package comes from."""
    return importlib.metadata.packages_distributions()


def ask(code: str) -> object:
    """Run code in a fresh interpreter and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


class TestImporting:
    def test_it_brings_in_nothing_heavy(self):
        loaded = ask(f"import json, sys, {NAME}; print(json.dumps(list(sys.modules)))")
        heavy = ("keras", "tensorflow", "torch", "jax", "onnxruntime", "cv2", "skimage", "scipy", "pandas")
        assert not {*heavy, "numpy", "matplotlib", "napari", "qtpy", "PyQt6"} & set(loaded)

    def test_its_settings_bring_in_neither_numpy_nor_a_network(self):
        code = f"import json, sys; from {NAME} import SegmentationSettings, TrainingSettings"
        loaded = ask(f"{code}; print(json.dumps(list(sys.modules)))")
        assert not {"keras", "onnxruntime", "numpy", "napari"} & set(loaded)

    def test_the_public_names_are_there_and_are_explained(self):
        promised = {"segment", "train", "evaluate", "load_model", "synthetic_smear"}
        promised |= {"Segmentation", "SegmentationSettings", "TrainingSettings", "WBCSegError"}
        assert promised <= set(napari_wbcseg.__all__) <= set(dir(napari_wbcseg))
        for name in napari_wbcseg.__all__:
            thing = getattr(napari_wbcseg, name)
            assert name.startswith("__") or inspect.getdoc(thing), f"{name} has no docstring"

    def test_a_name_that_is_not_there_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="attribute segmnet"):
            napari_wbcseg.segmnet  # noqa: B018


class TestRooms:
    def test_no_import_goes_in_a_circle(self):
        order = graphlib.TopologicalSorter({module: arrows(module) for module in NAMES})
        try:
            order.prepare()
        except graphlib.CycleError as error:
            pytest.fail(" imports ".join(reversed(error.args[1])))

    @pytest.mark.parametrize("module", sorted(filter(None, NAMES)))
    def test_imports_go_one_way(self, module):
        room = room_of(module)
        for other in sorted(arrows(module)):
            assert other, f"{module} comes in by the front door, which opens every room"
            if room_of(other) != room:
                assert LEVEL[room_of(other)] < LEVEL[room], f"{module} imports {other}"

    @pytest.mark.parametrize("module", sorted(name for name in NAMES if name.startswith("plugin.")))
    def test_no_widget_knows_another(self, module):
        folder = module.split(".")[1]
        known = {other.split(".")[1] for other in arrows(module) if other.startswith("plugin.")}
        if folder in WIDGETS:
            assert known <= {folder, "controls", "shared"}
        elif folder == "controls":
            assert known <= {"controls", "shared"}
        elif folder == "shared":
            assert known <= {"shared"}

    def test_a_folder_imports_nothing_by_itself(self):
        # Importing any module in it would import that as well.
        folders = [name for name, path in NAMES.items() if path.name == "__init__.py"]
        assert [name for name in folders if arrows(name)] == ["cli"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
class TestModules:
    def test_frameworks_stay_in_their_room(self, path):
        packages = {name.split(".")[0] for name in imported(path)}
        for rooms, kept in KEPT_IN.items():
            if room_of(name_of(path)) not in rooms:
                assert not packages & kept

    def test_no_place_of_one_machine_is_named(self, path):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""["'\s(](/(home|root|work|Users|mnt|tmp|opt)/|[A-Z]:\\\\)""", text)


@needs_checkout
@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_what_benchmarks_and_examples_import_is_there(folder: str) -> None:
    for path in sorted((ROOT / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = str(getattr(node, "module", ""))
            if module.split(".")[0] == NAME and "plugin" not in module:  # whose modules need a window
                there = importlib.import_module(module)
                missing = [one.name for one in node.names if not hasattr(there, one.name)]
                assert not missing, f"{path.name} asks {module} for {missing}"


@needs_checkout
class TestDependencies:
    def declared(self) -> dict[str, set[str]]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        groups = {"": project["dependencies"], **project["optional-dependencies"]}
        return {
            group: {re.match(r"[\w.-]+", one).group().lower().replace("_", "-") for one in requirements}
            for group, requirements in groups.items()
        }

    def distributions(self, package: str) -> set[str]:
        """Return who installs a package; of one that is not installed, what bindings are usually called."""
        found = installed().get(package, [package, f"{package}-python"])
        return {name.lower().replace("_", "-") for name in found}

    def test_all_that_is_imported_is_asked_for(self):
        declared = self.declared()
        extras = ("napari", "cluster", "bioimageio", "slides", "phone", "openvino", "torch", "jax")
        asked_for = declared[""].union(*(declared[extra] for extra in extras))
        for package in others():
            assert self.distributions(package) & asked_for, f"{package} is in no list of requirements"

    def test_nothing_is_asked_for_that_is_not_imported(self):
        used = {name for package in others() for name in self.distributions(package)}
        assert self.declared()[""] <= used

    def test_what_an_extra_brings_is_not_needed_without_it(self):
        program = """
import sys

for name in ("distributed", "openslide", "bioimageio", "pyarrow", "openvino", "pillow_heif"):
    sys.modules[name] = None  # as where it is not installed
import napari_wbcseg.batch.classify, napari_wbcseg.batch.run, napari_wbcseg.cli
import napari_wbcseg.segmentation.large.run
"""
        subprocess.run([sys.executable, "-c", program], check=True)

    def test_neither_napari_nor_a_qt_is_forced_on_anyone(self):
        assert not {"napari", "pyqt5", "pyqt6", "pyside6"} & self.declared()[""]

    def test_the_recipe_for_conda_asks_for_the_same(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        text = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
        recipe = yaml.safe_load(Template(text).render(PYTHON="python", environ={}))
        there = {
            "dask[array]": "dask-core",
            "matplotlib": "matplotlib-base",
            "opencv-python-headless": "py-opencv",
        }
        asked_for = [re.match(r"([^>]+)(>=.+)", one).groups() for one in project["dependencies"]]

        python, *others = recipe["requirements"]["run"]
        assert python == f"python {project['requires-python']}"
        assert sorted(others) == sorted(f"{there.get(name, name)} {bound}" for name, bound in asked_for)
        assert recipe["package"]["version"] == napari_wbcseg.version.__version__
        assert recipe["build"]["entry_points"] == ["wbcseg = napari_wbcseg.cli:main"]
        assert recipe["about"]["summary"] == project["description"]
        # The order in which conda-forge's linter wants the sections.
        assert list(recipe) == ["package", "source", "build", "requirements", "test", "about", "extra"]


@needs_checkout
class TestWheel:
    @pytest.fixture(scope="class")
    @staticmethod
    def wheel(tmp_path_factory) -> zipfile.ZipFile:
        """Build the wheel as `pip` would."""
        pytest.importorskip("hatchling")
        folder = tmp_path_factory.mktemp("wheel")
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=120,
        )
        (built,) = folder.glob("*.whl")
        with zipfile.ZipFile(built) as archive:
            yield archive

    def test_it_holds_the_manifest_the_models_and_the_types(self, wheel):
        files = set(wheel.namelist())
        models = [f"models/{name}.safetensors" for name in ("classes", "classic", "robust")]
        for name in ("napari.yaml", "py.typed", *models):
            assert f"{NAME}/{name}" in files
        assert {f"{NAME}/{path.relative_to(PACKAGE).as_posix()}" for path in MODULES} <= files

    def test_it_holds_nothing_else(self, wheel):
        kinds = {Path(name).suffix for name in wheel.namelist() if name.startswith(f"{NAME}/")}
        assert kinds == {".py", ".pyi", ".yaml", ".typed", ".safetensors", ".txt", ".csv", ".html", ".md"}
        assert not [name for name in wheel.namelist() if "cache" in name or name.startswith("tests")]

    def test_it_is_small_enough(self, wheel, record_property):
        size = Path(wheel.filename).stat().st_size
        record_property("measured", f"wheel: {size / 1e6:.1f} MB")
        assert size < 25_000_000

    def test_its_metadata_says_what_napari_and_the_index_ask(self, wheel):
        (info,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = wheel.read(info).decode()
        assert "\nLicense-Expression: BSD-3-Clause\n" in metadata
        assert "\nClassifier: Framework :: napari\n" in metadata
        assert f"\nVersion: {napari_wbcseg.version.__version__}\n" in metadata
        entry_points = wheel.read(info.replace("METADATA", "entry_points.txt")).decode()
        assert "[napari.manifest]\nnapari-wbcseg = napari_wbcseg:napari.yaml" in entry_points


class TestCommand:
    def test_it_is_installed(self):
        command = shutil.which("wbcseg", path=str(Path(sys.executable).parent)) or shutil.which("wbcseg")
        assert command is not None, "the command is installed with the package"
        done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"wbcseg {napari_wbcseg.version.__version__}\n"
