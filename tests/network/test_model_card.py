from __future__ import annotations

from napari_wbcseg.network.model_card import short_scores


def test_scores_have_three_decimals_and_numbers_of_things_none() -> None:
    scores = {"dice": 1.0, "count_error": 1.25, "trained_on_tiles": 182.0}
    assert short_scores(scores) == "dice 1.000, count error 1.250, trained on tiles 182"
