"""What a model file says of itself, in the words that the shell and napari show."""

from __future__ import annotations

from pathlib import Path

from .model_file import ModelHeader
from .tensor_file import hash_of

#: Scores that stand for a model in a list, the most honest first; none of the training, as the samples of
#: the robust recipe are composed to be hard.
_MAIN_SCORES = ("held_out_dice", "val_dice")


def model_card(header: ModelHeader, path: Path | None = None, origin: str = "") -> dict[str, str]:
    """Return the card of a model: headings and what is under them, nothing that is empty.

    Parameters
    ----------
    header : ModelHeader
    path : Path, optional
        Its file.
    origin : str
        Where it came from, by `napari_wbcseg.network.library.ModelInfo.origin`.
    """
    architecture = header.architecture
    widths = "-".join(map(str, architecture.widths))
    again = ", and a second that looks again at unsure cells" if header.second_look else ""
    card = {
        "name": header.name,
        "origin": origin or header.origin,
        "recipe": header.recipe,
        "for": use_of(header),
        "scores": short_scores(header.scores),
        "notes": header.notes,
        "trained on": header.training_data,
        "network": f"U-Net {widths}, {architecture.parameter_count:,} weights{again}",
        "input": header.input,
        "cell diameter": f"{header.canonical_diameter:g} pixels"
        if header.canonical_diameter
        else "as it comes",
        "training": ", ".join(f"{key} {value}" for key, value in header.training.items()),
        # That results name the model by, as `ModelFile.hash`.
        "hash": hash_of(path.read_bytes()) if path is not None and path.is_file() else "",
        "file": str(path or ""),
        "written by": f"napari-wbcseg {header.created_with}",
    }
    return {heading: text for heading, text in card.items() if text}


def use_of(header: ModelHeader) -> str:
    """Return the pictures that a model is for, in words."""
    if header.recipe == "robust":
        return "smears of any stain and magnification"
    return "pictures like those of the SigTuple set, cells about 63 pixels across"


def main_score(header: ModelHeader) -> str:
    """Return the Dice on what a model was not trained on; nothing where that is not known."""
    score = next((header.scores[key] for key in _MAIN_SCORES if key in header.scores), None)
    return "" if score is None else f"{score:.3f}"


def short_scores(scores: dict[str, float]) -> str:
    """Return the scores of a header in one line; some are numbers of tiles or cells."""
    shown = {
        key: f"{value:.0f}" if value > 1 and value.is_integer() else f"{value:.3f}"
        for key, value in scores.items()
    }
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
