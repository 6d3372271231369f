"""The synthetic smear: exact truth, the parameters do what they say, same seed same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from napari_wbcseg.errors import SettingsError
from napari_wbcseg.synthetic.smear import random_smear, synthetic_smear
from napari_wbcseg.synthetic.stains import BACKGROUNDS, STAINS, Stain, random_stain
from napari_wbcseg.synthetic.white_cells import KINDS

SMALL = (256, 320)


def touching_pairs(labels: np.ndarray) -> set[tuple[int, int]]:
    """Return pairs of labels with neighbouring pixels."""
    pairs: set[tuple[int, int]] = set()
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        both = (one != other) & (one > 0) & (other > 0)
        pairs |= {
            (min(a, b), max(a, b)) for a, b in zip(one[both].tolist(), other[both].tolist(), strict=True)
        }
    return pairs


def assert_exact(smear) -> None:
    """Check everything that the truth of a smear promises."""
    labels, nuclei = smear.labels, smear.nuclei
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert found.tolist() == list(range(1, smear.count + 1))
    assert (np.diff(first) > 0).all(), "labels are not in reading order"
    for label in found:
        assert ndimage.label(labels == label)[1] == 1, f"label {label} is in pieces"
    assert (nuclei[nuclei > 0] == labels[nuclei > 0]).all()
    assert len(smear.kinds) == smear.count
    assert set(smear.kinds) <= set(KINDS)


class TestPicture:
    def test_is_rgb_of_the_asked_shape_with_labels_beside_it(self):
        smear = synthetic_smear((200, 300), white_cells=2)
        assert smear.image.shape == (200, 300, 3)
        assert smear.image.dtype == np.uint8
        assert smear.labels.shape == smear.nuclei.shape == (200, 300)
        assert smear.labels.dtype == smear.nuclei.dtype == np.int32

    def test_same_seed_gives_the_same_bytes(self):
        one, other = synthetic_smear(SMALL, seed=5), synthetic_smear(SMALL, seed=5)
        assert one.image.tobytes() == other.image.tobytes()
        assert one.labels.tobytes() == other.labels.tobytes()
        assert one.nuclei.tobytes() == other.nuclei.tobytes()
        assert one.kinds == other.kinds

    def test_another_seed_gives_another_smear(self):
        one, other = synthetic_smear(SMALL, seed=5), synthetic_smear(SMALL, seed=6)
        assert (one.image != other.image).any(-1).mean() > 0.5

    def test_stain_and_camera_change_the_picture_but_not_the_truth(self):
        one = synthetic_smear(SMALL, seed=3, white_cells=3)
        other = synthetic_smear(
            SMALL, seed=3, white_cells=3, stain="yellow", blur=2, noise=8, jpeg_quality=40
        )
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.nuclei, other.nuclei)
        assert (one.image != other.image).any(-1).mean() > 0.9

    @pytest.mark.parametrize("stain", STAINS)
    def test_nuclei_are_darkest_then_cytoplasm_and_red_cells_then_the_field(self, stain):
        smear = synthetic_smear((400, 500), white_cells=8, stain=stain, dark_edge=0, debris=0, seed=1)
        green = smear.image[..., 1].astype(float)
        nucleus = np.median(green[smear.nuclei > 0])
        cytoplasm = np.median(green[(smear.labels > 0) & (smear.nuclei == 0)])
        field = np.percentile(green[smear.labels == 0], 90)
        reds = np.percentile(green[smear.labels == 0], 20)
        assert nucleus < 0.65 * cytoplasm
        assert cytoplasm < field - 8
        assert nucleus < reds < field - 8

    @pytest.mark.parametrize("background", BACKGROUNDS)
    def test_the_empty_field_has_the_colour_asked_for(self, background):
        smear = synthetic_smear(
            SMALL,
            white_cells=0,
            density=0,
            platelets=0,
            debris=0,
            background=background,
            dark_edge=0,
            uneven_light=0,
        )
        np.testing.assert_allclose(np.median(smear.image, (0, 1)), BACKGROUNDS[background], atol=3)

    def test_a_stain_of_your_own(self):
        green_nuclei = Stain("mine", azure=(2.0, 0.2, 2.0), blue=(0.1, 0.0, 0.1))
        smear = synthetic_smear(SMALL, white_cells=3, stain=green_nuclei, seed=2)
        red, green, blue = np.median(smear.image[smear.nuclei > 0], 0)
        assert green > red + 60
        assert green > blue + 60
        assert smear.stain == green_nuclei

    def test_jpeg_noise_can_be_left_out(self):
        still = {"white_cells": 0, "density": 0, "platelets": 0, "debris": 0, "noise": 0, "dark_edge": 0}
        raw = synthetic_smear(SMALL, jpeg_quality=None, uneven_light=0, aberration=0, **still).image
        assert (raw == raw[0, 0]).all()


class TestTruth:
    @pytest.mark.parametrize("seed", range(6))
    def test_is_exact(self, seed):
        assert_exact(synthetic_smear((384, 512), cell_diameter=50, white_cells=14, touching=0.8, seed=seed))

    def test_outlines_lie_where_the_cells_are_painted(self):
        smear = synthetic_smear(
            (400, 500), white_cells=8, density=0, platelets=0, debris=0, dark_edge=0, uneven_light=0, noise=0,
            blur=0, sharpening=0, aberration=0, jpeg_quality=None, kinds={"lymphocyte": 1}, seed=4,
        )  # fmt: skip
        painted = (smear.image.astype(int) < smear.image.reshape(-1, 3).max(0).astype(int) - 4).any(-1)
        truth = smear.labels > 0
        assert (truth & ~painted).sum() < 0.001 * truth.sum()
        # Beyond the truth, only pixels that the wall covers in part.
        assert not (painted & ~ndimage.binary_dilation(truth, np.ones((3, 3)))).any()

    @pytest.mark.parametrize("number", [0, 1, 7, 20])
    def test_holds_as_many_cells_as_asked_for(self, number):
        smear = synthetic_smear((512, 640), white_cells=number)
        assert smear.count == smear.labels.max() == number

    def test_without_white_cells_is_empty(self):
        smear = synthetic_smear(SMALL, white_cells=0)
        assert not smear.labels.any()
        assert not smear.nuclei.any()
        assert smear.kinds == ()

    def test_holds_some_cells_by_default(self):
        assert 4 <= synthetic_smear().count <= 20

    @pytest.mark.parametrize("diameter", [20, 63, 120])
    def test_cells_have_the_diameter_asked_for(self, diameter):
        side = diameter * 14
        smear = synthetic_smear((side, side), cell_diameter=diameter, white_cells=30, touching=0, dark_edge=0)
        edge = {
            int(v) for v in np.concatenate([smear.labels[[0, -1]].ravel(), smear.labels[:, [0, -1]].ravel()])
        }
        whole = [p.equivalent_diameter_area for p in regionprops(smear.labels) if p.label not in edge]
        assert len(whole) >= 15
        assert np.median(whole) == pytest.approx(diameter, rel=0.12)
        assert smear.cell_diameter == diameter

    def test_touching_cells_touch_and_the_others_do_not(self):
        settings = {"shape": (900, 900), "cell_diameter": 50, "white_cells": 30, "dark_edge": 0}
        alone = touching_pairs(synthetic_smear(**settings, touching=0).labels)
        some = {v for pair in touching_pairs(synthetic_smear(**settings, touching=0.4).labels) for v in pair}
        all_ = {v for pair in touching_pairs(synthetic_smear(**settings, touching=1).labels) for v in pair}
        assert not alone
        assert 9 <= len(some) <= 14
        assert len(all_) >= 27

    @pytest.mark.parametrize("kind", KINDS)
    def test_draws_the_kind_asked_for_with_its_nucleus(self, kind):
        smear = synthetic_smear((400, 400), white_cells=5, kinds={kind: 1}, touching=0, dark_edge=0, seed=1)
        assert smear.kinds == (kind,) * 5
        share = (smear.nuclei > 0).sum() / (smear.labels > 0).sum()
        assert 0.15 < share < 0.95
        assert_exact(smear)

    def test_lymphocytes_are_smaller_than_monocytes_and_mostly_nucleus(self):
        def look(kind: str) -> tuple[float, float]:
            smear = synthetic_smear((700, 700), white_cells=12, kinds={kind: 1}, touching=0, dark_edge=0)
            return (smear.labels > 0).sum(), (smear.nuclei > 0).sum() / (smear.labels > 0).sum()

        (small, dense), (large, loose) = look("lymphocyte"), look("monocyte")
        assert small < 0.7 * large
        assert dense > loose

    def test_what_the_dark_edge_hides_is_no_truth(self):
        for seed in range(4):
            smear = synthetic_smear(
                (300, 400),
                cell_diameter=40,
                white_cells=12,
                dark_edge=0.3,
                uneven_light=0,
                noise=0,
                seed=seed,
            )
            bright = smear.image.max(-1)
            assert (bright < 25).mean() == pytest.approx(0.3, abs=0.08)
            assert smear.count == 12
            assert (bright[smear.labels > 0] < 20).mean() < 0.02
            assert_exact(smear)

    def test_cells_at_the_border_are_cut_by_it(self):
        smear = synthetic_smear((256, 256), white_cells=6, dark_edge=0, seed=2)
        rim = np.concatenate([smear.labels[[0, -1]].ravel(), smear.labels[:, [0, -1]].ravel()])
        assert rim.any()


class TestExtremes:
    @pytest.mark.parametrize("shape", [(64, 64), (16, 200), (33, 47)])
    def test_tiny_images_work(self, shape):
        smear = synthetic_smear(shape, white_cells=1)
        assert smear.image.shape == (*shape, 3)
        assert smear.count == 1
        assert_exact(smear)

    @pytest.mark.parametrize("density", [0, 0.1, 0.9])
    def test_density_is_the_area_of_red_cells(self, density):
        smear = synthetic_smear(
            (500, 500), white_cells=0, density=density, platelets=0, debris=0, pallor=0, dark_edge=0, noise=0,
            uneven_light=0, sharpening=0, odd_shapes=0, jpeg_quality=None, seed=1,
        )  # fmt: skip
        green = smear.image[..., 1].astype(float)
        covered = (green < 225).mean()
        # Overlaps take some of it back.
        assert 0.7 * density <= covered <= 1.15 * density

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"shape": (0, 100)}, "shape"),
            ({"shape": (100,)}, "shape.1.*field required"),
            ({"cell_diameter": 0}, "cell_diameter"),
            ({"cell_diameter": float("nan")}, "cell_diameter"),
            ({"white_cells": -1}, "white_cells"),
            ({"white_cells": 2.5}, "white_cells=2.5: .*valid integer"),
            ({"white_cells": 500}, "Only .* of 500 white cells .* fit"),
            ({"touching": 1.5}, "touching"),
            ({"density": "many"}, "density"),
            ({"dark_edge": 0.9}, "dark_edge"),
            ({"jpeg_quality": 0}, "jpeg_quality"),
            ({"seed": -1}, "seed"),
            ({"stain": "ketchup"}, "no stain named 'ketchup'.*giemsa"),
            ({"stain": 3}, "stain"),
            ({"background": "plaid"}, "no background named 'plaid'"),
            ({"background": (0, 0, 300)}, "background"),
            ({"kinds": {"platypus": 1}}, "no white cell named 'platypus'"),
            ({"kinds": {"blast": 0}}, "kinds"),
        ],
    )
    def test_impossible_parameters_get_a_sentence(self, wrong, says):
        with pytest.raises(SettingsError, match=says):
            synthetic_smear(**{"shape": SMALL, **wrong})


class TestRandom:
    def test_truth_is_exact_whatever_is_drawn(self):
        rng = np.random.default_rng(1)
        counts = []
        for _ in range(30):
            smear = random_smear(rng, (160, 160), cell_diameter_range=(20, 80))
            assert_exact(smear)
            counts.append(smear.count)
        assert min(counts) == 0
        assert max(counts) > 5

    def test_same_seed_gives_the_same_bytes(self):
        assert random_smear(7, (128, 128)).image.tobytes() == random_smear(7, (128, 128)).image.tobytes()

    def test_covers_a_wide_range_of_looks_and_the_range_of_sizes(self):
        rng = np.random.default_rng(2)
        smears = [random_smear(rng, (64, 64), cell_diameter_range=(20, 60)) for _ in range(40)]
        diameters = [s.cell_diameter for s in smears]
        assert min(diameters) < 25
        assert max(diameters) > 52
        assert all(20 <= d <= 60 for d in diameters)
        colours = np.array([np.median(s.image, (0, 1)) for s in smears])
        assert (colours.std(0) > 15).all()

    def test_equal_ends_fix_the_diameter(self):
        assert random_smear(1, (64, 64), cell_diameter_range=(30, 30)).cell_diameter == pytest.approx(30)

    def test_cells_that_are_too_large_get_a_sentence(self):
        with pytest.raises(SettingsError, match="cell_diameter"):
            random_smear(1, cell_diameter_range=(2000, 2000))

    def test_random_stains_keep_nuclei_visible(self):
        rng = np.random.default_rng(3)
        for _ in range(200):
            stain = random_stain(rng)
            assert max(np.asarray(stain.azure) * stain.strength) > 0.5
            assert 90 <= min(stain.background) <= max(stain.background) <= 255
