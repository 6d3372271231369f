"""What the guides type, in the shell and in Python, runs in a folder that holds what they name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wbcseg import save, segment, synthetic_smear
from napari_wbcseg.datasets.corrections import add_correction
from napari_wbcseg.network.classifier import read_classifier

from .cli.shell import wbcseg
from .dark_model import write_dark_model
from .discs import write_taught
from .images.slide_files import write_aperio
from .network.exchange.test_import_keras import keras2
from .test_docs import DOCUMENTS, README, blocks, commands
from .tiny_networks import small_robust

#: Data and hours that a test has not; what they say is checked in test_docs.
NOT_RUN = ("model_card.md", "finetune.md")
#: It needs the network; tests/datasets/test_download.py has a server of its own.
OF_THE_NETWORK = ("download",)
#: One step of a training is enough to see that it was told rightly.
ONE_STEP = ("--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "2")
SHORT = {"train": ONE_STEP, "finetune": ONE_STEP}
GUIDES = [path for path in DOCUMENTS if path.name not in NOT_RUN]
ADDRESS = "tcp://10.0.0.1:8786"
DOCS = README.parent / "docs"
SLURM = {
    "sbatch": '#!/bin/sh\nsh "$1" >/dev/null 2>&1 &\necho Submitted batch job $!\n',
    "scancel": '#!/bin/sh\nkill "$@"\n',
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with all that the guides name."""
    desk = tmp_path_factory.mktemp("desk")
    smears = [synthetic_smear(seed=seed, shape=(256, 320), white_cells=3) for seed in range(8)]
    (desk / "slides").mkdir()
    (desk / "annotated").mkdir()
    (desk / "sigtuple" / "Train_Data").mkdir(parents=True)
    for number, smear in enumerate(smears[2:]):
        Image.fromarray(smear.image).save(desk / "annotated" / f"{number}.png")
        tifffile.imwrite(desk / "annotated" / f"{number}_labels.tif", smear.labels.astype(np.uint16))
        add_correction(smear.image, smear.labels, name=f"field {number}", folder=desk / "corrections")
        for ending, pixels in {"": smear.image, "-mask": np.uint8(smear.labels > 0) * 255}.items():
            tile = Image.fromarray(pixels[:128, :128])
            tile.save(desk / "sigtuple" / "Train_Data" / f"train-{60 + 2 * number}{ending}.jpg")
    for name in ("smear.png", "other.tif", "slides/a.tif", "slides/b.tif"):
        Image.fromarray(smears[name.endswith("tif")].image).save(desk / name)
    shutil.copytree(desk / "annotated", desk / "kept-aside")
    large = np.tile(synthetic_smear(seed=1, shape=(1024, 1024)).image, (2, 2, 1))
    write_aperio(desk / "slide.svs", large)
    tifffile.imwrite(desk / "big.tif", large, tile=(256, 256), photometric="rgb")
    found = segment(smears[0].image)
    save(found, desk / "scan", "ome-zarr", image=smears[0].image)
    write_dark_model(desk / "colleague.safetensors")
    keras2(desk / "unet.hdf5")
    write_taught(desk / "stain.safetensors")
    return desk


@pytest.fixture
def here(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of that folder, in which the test runs, with a result of its picture."""
    small_robust(monkeypatch)
    here = shutil.copytree(desk, tmp_path / "shared")
    monkeypatch.chdir(here)
    monkeypatch.setenv("WBCSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("WBCSEG_CORRECTIONS", str(here / "corrections"))
    wbcseg("segment", "smear.png", "--out", "results")
    for name in ("smear-labels.tif", "smear-result.json"):
        shutil.copy(here / "results" / name, here)
    return here


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def here_and_now(text: str, here: Path, client: Any) -> str:
    """Return text with the folder of the test, and the cluster on this machine, in place of the reader's."""
    (here / "scheduler.json").write_text(json.dumps({"address": client.scheduler.address}))
    return text.replace("/shared", str(here)).replace(ADDRESS, client.scheduler.address)


@pytest.mark.slow
@pytest.mark.timeout(900)  # three trainings, short as they are, on a busy machine
@pytest.mark.parametrize("document", [path for path in GUIDES if commands(path)], ids=lambda path: path.name)
def test_what_is_typed_in_the_shell_runs(document, here, request):
    for words in commands(document):
        if "--scheduler" in words:
            client = request.getfixturevalue("client")
            words = [here_and_now(word, here, client) for word in words]
        if words[0] not in OF_THE_NETWORK:
            wbcseg(*words, *SHORT.get(words[0], ()))


@pytest.mark.slow
def test_large_images_are_segmented_looked_at_and_corrected_from_python(here):
    names: dict[str, Any] = {}
    for block in blocks(DOCS / "large_images.md", "python"):
        exec(compile(block, "large_images.md", "exec"), names)
    assert len(names["result"].cells) > 1
    assert 7 not in names["result"].region(names["window"])


@pytest.mark.slow
def test_a_folder_is_classified_and_counted_from_python(here):
    names: dict[str, Any] = {}
    for block in blocks(DOCS / "differential.md", "python"):
        exec(compile(block, "differential.md", "exec"), names)
    found = names["differential"]
    assert found.white_cells + sum(found.others.values()) > 0
    assert names["told_by"] == [read_classifier("stain.safetensors").id]


@pytest.mark.slow
def test_folders_and_slides_are_segmented_on_a_cluster_from_python(here, client, capsys):
    names: dict[str, Any] = {}
    for block in blocks(DOCS / "clusters.md", "python")[:2]:
        exec(compile(here_and_now(block, here, client), "clusters.md", "exec"), names)
        names["client"] = client
    assert "images done, 0 failed" in capsys.readouterr().out
    assert names["result"].count > 0


@pytest.mark.slow
def test_a_queue_starts_workers(here, monkeypatch):
    """SLURM's ``sbatch`` and ``scancel`` are played: a job is a process of this machine."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    (block,) = [block for block in blocks(DOCS / "clusters.md", "python") if "SLURMCluster" in block]
    for name, text in SLURM.items():
        path = here / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    (here / "venv" / "bin").mkdir(parents=True)
    (here / "venv" / "bin" / "activate").touch()
    code = (
        block.replace("/shared", str(here))
        .replace("cores=4", "cores=1")
        .replace("processes=4", "processes=1")
    )
    names: dict[str, Any] = {}
    exec(compile(code.replace("maximum_jobs=20", "maximum_jobs=1"), "clusters.md", "exec"), names)
    names["cluster"].close()
    assert {path.name for path in (here / "results").glob("?-result.json")} == {
        "a-result.json",
        "b-result.json",
    }


@pytest.mark.slow
def test_pods_have_the_disk_of_the_slides(monkeypatch, client):
    """The cluster is of this machine; what Kubernetes is asked for is looked at."""
    operator = pytest.importorskip("dask_kubernetes.operator", reason="dask-kubernetes is not installed")
    asked = []
    monkeypatch.setattr(
        operator,
        "KubeCluster",
        lambda **options: asked.append(options) or contextlib.nullcontext(client.cluster),
    )
    (block,) = [block for block in blocks(DOCS / "clusters.md", "python") if "KubeCluster" in block]
    exec(compile(block, "clusters.md", "exec"), {})
    spec = asked[0]["custom_cluster_spec"]["spec"]
    for part in ("scheduler", "worker"):
        (container,) = spec[part]["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": "slides", "mountPath": "/shared"}]
