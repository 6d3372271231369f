"""What a model file says of itself, in the words that the shell and napari show."""

from __future__ import annotations

from .model_file import ModelFile


def model_card(model: ModelFile, origin: str = "") -> dict[str, str]:
    """Return the card of a model: headings and what is under them, nothing that is empty.

    Parameters
    ----------
    model : ModelFile
    origin : str
        Where it came from, by `napari_wbcseg.network.models.ModelInfo.origin`.
    """
    header, architecture = model.header, model.architecture
    weights = sum(value.size for value in model.weights.values())
    card = {
        "name": header.name,
        "origin": origin or header.origin,
        "recipe": header.recipe,
        "for": _purpose(model),
        "scores": short_scores(header.scores),
        "notes": header.notes,
        "trained on": header.training_data,
        "network": f"U-Net {'-'.join(map(str, architecture.widths))}, {weights:,} weights",
        "input": header.input,
        "cell diameter": f"{header.canonical_diameter:g} pixels"
        if header.canonical_diameter
        else "as it comes",
        "training": ", ".join(f"{key} {value}" for key, value in header.training.items()),
        "hash": model.hash,
        "file": str(model.path or ""),
        "written by": f"napari-wbcseg {header.created_with}",
    }
    return {heading: text for heading, text in card.items() if text}


def short_scores(scores: dict[str, float]) -> str:
    """Return the scores of a header in one line."""
    return ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in scores.items())


def _purpose(model: ModelFile) -> str:
    if model.header.recipe == "robust":
        return "smears of any stain and magnification"
    return "pictures like those of the SigTuple set, cells about 63 pixels across"
