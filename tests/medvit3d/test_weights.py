"""Published weights: parity with the networks they come from, strictness, adaptation."""

import argparse
import json
import math
from pathlib import Path

import pytest
import torch

from medvit3d import medvit3d_cbam, medvit3d_n, medvit3d_t
from medvit3d.weights import convert_cbam, convert_port, inflate, read_checkpoint

PARITY = json.loads((Path(__file__).parents[1] / "data" / "medvit_parity.json").read_text("utf-8"))
TOLERANCE = 1e-3
NORM_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def shapes_of(source):
    """The source network's parameters in state-dict order: name to shape."""
    shapes = {}
    for name, shape in PARITY["port_small" if source == "medvit2d_small" else source]["parameters"]:
        if source == "medvit2d_small" and len(shape) == 5:
            shape = [shape[0], 3 if name == "stem.0.conv.weight" else shape[1], *shape[3:]]
        if name.endswith(".*"):
            for tensor in NORM_TENSORS:
                shapes[name[:-1] + tensor] = [] if tensor == NORM_TENSORS[-1] else shape
        else:
            shapes[name] = shape
    return shapes


def fill(shapes):
    """Weights by formula: a sine of position and parameter number, scaled by kind of parameter."""
    state = {}
    for number, (name, shape) in enumerate(shapes.items()):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros([], dtype=torch.int64)
            continue
        positions = torch.arange(math.prod(shape), dtype=torch.float64)
        wave = torch.sin(positions * 0.7310585786 + number * 1.618)
        if name.endswith("running_var"):
            values = 1 + 0.5 * wave
        elif name.endswith("running_mean"):
            values = 0.1 * wave
        elif len(shape) > 1:
            values = wave * math.sqrt(2 / math.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 1 + 0.2 * wave
        else:
            values = 0.05 * wave
        state[name] = values.reshape(shape).float()
    return state


def volume(*shape):
    """Input by formula: a slow cosine along memory, in [0, 1]."""
    positions = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.5 + 0.5 * torch.cos(positions * 0.0137)).reshape(shape).float()


@pytest.fixture(scope="module")
def port_state():
    return fill(shapes_of("port_small"))


@pytest.fixture(scope="module")
def image_state():
    return fill(shapes_of("medvit2d_small"))


@pytest.fixture(scope="module")
def cbam_state():
    return fill(shapes_of("port_cbam"))


def logits_of(network, volumes):
    """In float64: with these weights float32 leaves a thousandth of a logit to the processor."""
    with torch.no_grad():
        return network.eval().double()(volumes.double()).float()


def assert_parity(logits, expected):
    torch.testing.assert_close(logits, torch.as_tensor(expected), rtol=TOLERANCE, atol=0)


def test_port_logits(port_state):
    network = medvit3d_t(5, spatial_reduction="sequence")
    network.load_state_dict(convert_port(port_state))
    logits = logits_of(network, volume(2, 1, 28, 28, 28))
    assert_parity(logits, PARITY["port_small"]["logits"])


def test_cbam_logits(cbam_state):
    network = medvit3d_cbam(5)
    network.load_state_dict(convert_cbam(cbam_state))
    logits = logits_of(network, volume(2, 1, 28, 28, 28))
    assert_parity(logits, PARITY["port_cbam"]["logits"])


def test_inflated_logits_equal_those_in_2d(image_state):
    network = medvit3d_t(5, 3, spatial_reduction="slice_sequence")
    network.load_state_dict(inflate(image_state, in_channels=3))
    image = volume(2, 3, 64, 64).unsqueeze(2)
    expected = PARITY["medvit2d_small"]["logits"]
    assert_parity(logits_of(network, image), expected)
    assert_parity(logits_of(network, image.expand(-1, -1, 9, -1, -1)), expected)


def test_one_channel_equals_the_same_grey_values_in_three(image_state):
    coloured = medvit3d_t(5, 3, spatial_reduction="slice_sequence")
    coloured.load_state_dict(inflate(image_state, in_channels=3))
    grey = medvit3d_t(5, 1, spatial_reduction="slice_sequence")
    grey.load_state_dict(inflate(image_state, in_channels=1))
    image = volume(2, 1, 1, 32, 32)
    expected = logits_of(coloured, image.expand(-1, 3, -1, -1, -1))
    assert_parity(logits_of(grey, image), expected)
    assert_parity(logits_of(grey, image.expand(-1, -1, 5, -1, -1)), expected)


def test_mean_inflation_keeps_the_response_to_a_constant_inside(image_state):
    inflated = inflate(image_state, method="mean", in_channels=3)
    kernel = inflated["stem.0.conv.weight"]
    torch.testing.assert_close(kernel.sum(dim=2), image_state["stem.0.conv.weight"])
    assert torch.equal(kernel[:, :, 0], kernel[:, :, 2])


def test_conversion_uses_every_tensor_once(port_state):
    converted = convert_port(port_state)
    assert len(converted) == len(port_state)
    assert {id(tensor) for tensor in converted.values()} == {id(t) for t in port_state.values()}


@pytest.mark.parametrize(
    ("convert", "source"), [(convert_port, "port_small"), (convert_cbam, "port_cbam")]
)
def test_conversion_names_what_is_missing_and_left_over(convert, source):
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes_of(source).items()}
    del state["stem.1.norm.bias"]
    state["aux.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"missing stem\.1\.norm\.bias; left over aux\.weight$"):
        convert(state)


def test_conversion_names_wrong_shapes(cbam_state):
    state = {**cbam_state, "stem.1.norm.bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"stem\.1\.norm\.bias \(3,\) instead of \(64,\)"):
        convert_cbam(state)


def test_conversion_refuses_other_networks(cbam_state):
    with pytest.raises(ValueError, match=r"20, 30 or 40 blocks named features\.N, got 0"):
        convert_port(cbam_state)
    with pytest.raises(ValueError, match=r"missing head\.weight"):
        convert_cbam({})


def test_inflation_refusals(image_state):
    with pytest.raises(ValueError, match="method must be one of centre, mean, got 'center'"):
        inflate(image_state, method="center")
    with pytest.raises(ValueError, match="a stem for 3 channels serves that many or 1, got"):
        inflate(image_state, in_channels=2)


def test_initialise_from_2d_remakes_stem_and_head(image_state):
    network = medvit3d_t(2, 1)
    own_head = network.head.weight.clone()
    said = network.initialise_from(image_state)
    assert said == "2-D MedViT weights, centre inflation; head re-made for 2 classes"
    assert torch.equal(network.head.weight, own_head)
    stem = network.stem[0].conv.weight[:, :, 1]
    torch.testing.assert_close(stem, image_state["stem.0.conv.weight"].sum(dim=1, keepdim=True))


def test_initialise_from_3d_keeps_a_head_that_fits(port_state, cbam_state):
    network = medvit3d_t(5)
    assert network.initialise_from(port_state) == "MedViT-3D weights; head kept for 5 classes"
    assert torch.equal(network.head.weight, port_state["proj_head.0.weight"])
    small = medvit3d_cbam(5)
    assert small.initialise_from(cbam_state).startswith("MedViT-3D CBAM weights; head kept")


def test_initialise_from_refuses_another_size(port_state):
    message = r"do not fit this network: they are for depths \(3, 4, 10, 3\), .* has \(1, 2, 5, 2\)"
    with pytest.raises(ValueError, match=message):
        medvit3d_n(5).initialise_from(port_state)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_checkpoints_are_unwrapped(tmp_path, wrapper):
    state = {"module.head.bias": torch.ones(2)}
    content = state if wrapper is None else {wrapper: state, "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "weights.pth")
    loaded = read_checkpoint(tmp_path / "weights.pth")
    assert list(loaded) == ["head.bias"]
    assert torch.equal(loaded["head.bias"], torch.ones(2))


def test_unreadable_checkpoints_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the checkpoint .*absent\.pth: "):
        read_checkpoint(tmp_path / "absent.pth")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"cannot read the checkpoint .*broken\.pth: "):
        read_checkpoint(broken)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"holds no state dict: save one with torch\.save"):
        read_checkpoint(tmp_path / "list.pth")
