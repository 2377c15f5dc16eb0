"""What every artefact owes: the same bits always, a range, an honest scale of levels."""

import numpy as np
import pytest
import torch

from benchharness import artefacts, registry
from benchharness.artefacts import (
    LEVELS,
    Artefact,
    Corrupted,
    Level,
)
from benchharness.artefacts.general import Contrast, Gamma
from benchharness.errors import BenchError, CellError
from tests.artefacts.phantoms import volumes
from tests.artefacts.similarity import ssim

SUITE = [artefacts.build(name) for name in registry.BUILT_IN["artefacts"]]
EVERY = pytest.mark.parametrize("artefact", SUITE, ids=lambda artefact: artefact.name)


@pytest.fixture(scope="module")
def coarse():
    return volumes(28)


@pytest.fixture(scope="module")
def fine():
    return volumes(64)


def run(artefact, x, severity=3, id="set/test/0", seed=0) -> Corrupted:  # noqa: A002
    return artefact(x, severity=severity, id=id, seed=seed)


def draws(artefact, x) -> bool:
    """Whether an artefact takes anything from its generator."""
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    artefact.apply(x.clone(), 3, generator)
    return not torch.equal(before, generator.get_state())


def test_it_is_seen_which_artefacts_draw(coarse):
    still = ("contrast", "blur", "gibbs_ringing", "downsample", "quantise")
    assert not any(draws(artefacts.build(name), coarse[0]) for name in still)
    assert all(draws(artefacts.build(name), coarse[0]) for name in ("motion", "gamma", "affine"))


@EVERY
def test_its_table_is_whole(artefact):
    assert len(artefact.levels) == len(LEVELS) == 5
    assert len({artefact.parameters(severity) for severity in LEVELS}) == 5
    assert artefact.group in {"mr", "ct", "general", "geometric"}
    assert "phantom" in artefact.plausible
    assert all((artefact.name, artefact.source, artefact.unit, artefact.summary))


@EVERY
@pytest.mark.parametrize("severity", LEVELS)
def test_the_result_is_a_changed_volume_in_range(artefact, severity, coarse):
    before = coarse[0].clone()
    result = run(artefact, coarse[0], severity)
    assert torch.equal(coarse[0], before)
    assert result.volume.dtype == torch.float32
    assert result.volume.shape == before.shape
    assert 0 <= float(result.volume.min()) < float(result.volume.max()) <= 1
    assert 0 <= result.clipped < 1
    assert float((result.volume - before).abs().max()) > 0.01
    steps = result.volume.double() * 65535
    assert float((steps - steps.round()).abs().max()) < 0.01


@EVERY
def test_the_same_names_give_the_same_bits_under_any_number_of_threads(artefact, coarse):
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            results += [run(artefact, coarse[0]).volume, run(artefact, coarse[0]).volume]
            run(artefact, coarse[1])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results)


@EVERY
def test_other_names_give_other_draws(artefact, coarse):
    if not draws(artefact, coarse[0]):
        pytest.skip("draws nothing")
    if isinstance(artefact, Gamma):
        pytest.skip("draws one of two directions; see the test of its own")
    first = run(artefact, coarse[0]).volume
    assert not torch.equal(first, run(artefact, coarse[0], id="set/test/1").volume)
    assert not torch.equal(first, run(artefact, coarse[0], seed=1).volume)


@EVERY
def test_global_generators_stay_as_they_are(artefact, coarse):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run(artefact, coarse[0])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


@EVERY
@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, True])
def test_a_level_that_does_not_exist_is_one_line(artefact, severity, coarse):
    with pytest.raises(BenchError, match=r"has no level .*\. Choose severities from 1 to 5\.$"):
        run(artefact, coarse[0], severity)


@EVERY
def test_similarity_falls_with_every_level(artefact, coarse):
    means = [
        np.mean(
            [
                ssim(x[0].numpy(), run(artefact, x, severity, f"p/{i}").volume[0].numpy())
                for i, x in enumerate(coarse)
            ]
        )
        for severity in LEVELS
    ]
    assert means == sorted(means, reverse=True), means
    assert min(-np.diff(means)) > 0.01
    assert 0.75 <= means[0] <= 0.95
    assert 0.2 <= means[4] <= 0.6


@pytest.mark.slow
@EVERY
def test_a_level_means_the_same_on_a_finer_grid(artefact, coarse, fine):
    for severity in LEVELS:
        means = [
            np.mean(
                [
                    ssim(x[0].numpy(), run(artefact, x, severity, f"p/{i}").volume[0].numpy())
                    for i, x in enumerate(grid)
                ]
            )
            for grid in (coarse, fine)
        ]
        assert abs(means[0] - means[1]) <= 0.05, (severity, means)


@EVERY
@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (3, 9, 16, 21)])
def test_flat_uneven_and_coloured_volumes_are_served(artefact, shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for severity in LEVELS:
        assert run(artefact, x, severity).volume.shape == shape


@EVERY
def test_a_shape_mask_does_not_vanish(artefact):
    mask = torch.zeros(1, 28, 28, 28)
    mask[:, 10:17, 11:16, 9:20] = 1
    for severity in LEVELS:
        result = run(artefact, mask, severity).volume
        assert float(result.min()) < float(result.max())


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(1, 0, 4, 4), r"shape \(1, 0, 4, 4\); expected \(C, D, H, W\)"),
        (torch.zeros(4, 4, 4), "with at least one voxel"),
        (torch.zeros(1, 4, 4, 4).double(), r"torch\.float64 on cpu; expected torch\.float32"),
        (torch.full((1, 4, 4, 4), torch.nan), "are NaN or infinite"),
        (torch.full((1, 4, 4, 4), 255.0), r"in \[255, 255\]; expected \[0, 1\]: divide uint8"),
    ],
)
def test_an_unusable_volume_is_one_line(x, words):
    with pytest.raises(BenchError, match=words):
        run(Contrast(), x)


class Broken(Artefact):
    name, version, group, source, unit, summary = "broken", 1, "general", "test", "none", "None."
    plausible = frozenset({"phantom"})
    levels = (Level(),) * 5

    def __init__(self, function):
        self.function = function

    def apply(self, volume, severity, generator):
        return self.function(volume)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[:, 1:], "expected floating point of shape"),
        (lambda x: x * torch.nan, "returned NaN or infinite intensities"),
        (torch.zeros_like, "nothing is left of the volume"),
    ],
)
def test_what_comes_back_is_verified(function, words, coarse):
    with pytest.raises(CellError, match=words):
        run(Broken(function), coarse[0])


def test_the_clipped_fraction_is_counted(coarse):
    x = torch.linspace(0, 1, 4).reshape(1, 1, 2, 2)
    result = run(Broken(lambda v: v * 2 - 0.5), x)
    assert result.clipped == 0.5
    assert float(result.volume.min()) == 0.0
    assert float(result.volume.max()) == 1.0


def test_a_voxel_left_alone_keeps_its_exact_value():
    levels = (torch.arange(256, dtype=torch.float32) / 255).reshape(1, 4, 8, 8)
    assert torch.equal(run(Broken(lambda v: v), levels).volume, levels)


def test_every_artefact_of_the_registry_is_in_one_group():
    groups = dict(registry.GROUPS["artefacts"])
    assert groups.pop("all") == tuple(registry.BUILT_IN["artefacts"])
    assert sorted(name for members in groups.values() for name in members) == sorted(
        registry.BUILT_IN["artefacts"]
    )
    for artefact in SUITE:
        assert artefact.name in groups[artefact.group]


def test_gamma_goes_both_ways(coarse):
    x = torch.full((1, 4, 4, 4), 0.5)
    brighter = [float(run(Gamma(), x, id=str(i)).volume.mean()) > 0.5 for i in range(16)]
    assert any(brighter)
    assert not all(brighter)


def test_a_real_spacing_makes_a_blur_round():
    x = torch.zeros(1, 27, 27, 27)
    x[:, 13, 13, 13] = 1
    blurred = run(artefacts.build("blur"), x, 3).volume[0]
    spaced = artefacts.build("blur")(x, severity=3, id="a", seed=0, spacing=(3.0, 1.0, 1.0))
    spaced = spaced.volume[0]
    # Voxels are three times as deep as wide: one step in depth is three in the plane.
    assert float(spaced[14, 13, 13]) == pytest.approx(float(spaced[13, 16, 13]), rel=0.05)
    assert float(blurred[14, 13, 13]) > 2 * float(blurred[13, 16, 13])


@pytest.mark.parametrize("name", ["motion", "affine"])
def test_the_unit_spacing_changes_no_bit_and_a_real_one_does(name, coarse):
    artefact, x = artefacts.build(name), coarse[0]
    plain = run(artefact, x, 4, "a").volume

    def spaced(*spacing):
        return artefact(x, severity=4, id="a", seed=0, spacing=spacing).volume

    assert torch.equal(spaced(1.0, 1.0, 1.0), plain)
    # A field of view twice as large in every direction is the same, but for rounding.
    assert float((spaced(2.0, 2.0, 2.0) - plain).abs().max()) < 1e-3
    assert float((spaced(3.0, 1.0, 1.0) - plain).abs().max()) > 0.01


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, 1.0), (1.0, -1.0, 2.0)])
def test_a_spacing_that_is_none_is_one_line(spacing, coarse):
    with pytest.raises(BenchError, match=r"the spacing .* is not three positive numbers"):
        Contrast()(coarse[0], severity=1, id="a", seed=0, spacing=spacing)


def test_a_black_volume_is_one_line():
    with pytest.raises(BenchError, match="volume 'a': every voxel is 0, so there is nothing"):
        run(Contrast(), torch.zeros(1, 4, 4, 4), id="a")


def test_the_suite_s_version_and_who_computes_are_in_the_identity():
    identity = dict(Contrast().identity(2))
    assert identity["suite"] == artefacts.SUITE_VERSION
    assert identity["implementation"] == "cpu"
    assert identity["factor"] == dict(Contrast().parameters(2))["factor"]
    assert Contrast().identity(2) != Contrast().identity(2, "torch")


def test_canonical_volumes_are_made_on_one_thread_whatever_the_process_uses(coarse, monkeypatch):
    """Fourier transforms on some processors give other last bits on other numbers of threads."""
    seen = []
    apply = Gamma.apply

    def watched(self, *arguments):
        seen.append(torch.get_num_threads())
        return apply(self, *arguments)

    monkeypatch.setattr(Gamma, "apply", watched)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run(Gamma(), coarse[0])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert seen == [1]
