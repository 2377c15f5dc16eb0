"""A network with its preprocessing: logits, evaluation mode, predictions in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchharness.errors import CellError
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from tests import samples


def state(network: nn.Module) -> tuple[Any, ...]:
    modes = [module.training for module in network.modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return modes, wanted, values


def assert_same_state(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert before[:2] == after[:2]
    assert before[2].keys() == after[2].keys()
    for name, tensor in before[2].items():
        assert torch.equal(tensor, after[2][name]), name


@pytest.fixture
def classifier() -> Classifier:
    """In training mode, with one BatchNorm in evaluation mode and one frozen parameter."""
    torch.manual_seed(0)
    made = Classifier(samples.tiny(3), num_classes=3)
    made.train()
    made.network.features[1].eval()  # type: ignore[union-attr, index, operator]
    next(made.parameters()).requires_grad_(requires_grad=False)
    return made


def volumes(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


class Answer(nn.Module):
    """A network that answers the same whatever it is shown."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, shown: Tensor) -> Any:
        return self.answer(shown)


def test_the_preprocessing_stands_in_front_of_the_network() -> None:
    made = Classifier(
        Answer(lambda shown: shown.flatten(1)[:, :2]), Preprocessing(scale=0.5), num_classes=2
    )
    given = volumes()
    torch.testing.assert_close(made(given), given.flatten(1)[:, :2] * 0.5)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda shown: torch.zeros(len(shown), 2), "returned shape (5, 2) for 5 volumes of a task"),
        (lambda shown: torch.zeros(3), "returned shape (3,) for 5 volumes of a task with 3"),
        (lambda _: torch.zeros(1, 3), "returned shape (1, 3) for 5 volumes"),
        (lambda shown: (torch.zeros(len(shown), 3),), "returned tuple of tensor (5, 3); expected"),
        (lambda _: None, "returned NoneType; expected one tensor of logits"),
    ],
)
def test_another_output_is_a_fault_of_the_cell(answer: Any, text: str) -> None:
    with pytest.raises(CellError) as caught:
        Classifier(Answer(answer), num_classes=3)(volumes())
    assert text in str(caught.value)


def test_frozen_is_evaluation_mode_and_leaves_no_trace(classifier: Classifier) -> None:
    before = state(classifier)
    with classifier.frozen() as inside:
        assert inside is classifier
        assert not any(module.training for module in classifier.modules())
        assert not any(parameter.requires_grad for parameter in classifier.parameters())
        classifier(volumes())
    assert_same_state(before, state(classifier))


def test_frozen_restores_after_an_error_inside(classifier: Classifier) -> None:
    before = state(classifier)
    with pytest.raises(RuntimeError, match="inside"), classifier.frozen():
        raise RuntimeError("inside")
    assert_same_state(before, state(classifier))


def test_frozen_still_lets_gradients_reach_the_volumes(classifier: Classifier) -> None:
    given = volumes().requires_grad_()
    with classifier.frozen():
        classifier(given).sum().backward()
    assert given.grad is not None
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_predictions_do_not_depend_on_the_batch_and_leave_no_trace(classifier: Classifier) -> None:
    before, seen = state(classifier), []
    whole = classifier.predict(volumes(), 5)
    parts = classifier.predict(volumes(), 2, progress=seen.append)
    assert (whole.dtype, whole.shape, seen) == (np.float32, (5, 3), [2, 2, 1])
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert_same_state(before, state(classifier))


def test_bytes_are_predicted_as_fractions_of_255(classifier: Classifier) -> None:
    grey = (volumes().numpy() * 255).astype(np.uint8)
    as_fractions = torch.from_numpy(grey).float() / 255
    np.testing.assert_array_equal(classifier.predict(grey, 5), classifier.predict(as_fractions, 5))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_a_fault_of_the_cell(
    classifier: Classifier, poison: float
) -> None:
    def answer(shown: Tensor) -> Tensor:
        logits = torch.zeros(len(shown), 3)
        logits[shown.flatten(1)[:, 0] > 0.5, 1] = poison
        return logits

    classifier.network = Answer(answer)
    broken = volumes().clone()
    broken[:, 0, 0, 0, 0] = torch.tensor([0.1, 0.9, 0.1, 0.9, 0.1])
    with pytest.raises(CellError, match=r"^the logits of 2 of 5 volumes are not finite$"):
        classifier.predict(broken, 2)


def test_a_network_that_raises_leaves_the_classifier_as_it_was(classifier: Classifier) -> None:
    before = state(classifier)
    with pytest.raises(RuntimeError, match="expected input"):
        classifier.predict(torch.rand(2, 3, 8, 8, 8), 2)
    assert_same_state(before, state(classifier))


def test_predict_halves_too(classifier: Classifier) -> None:
    sizes = []

    def forward(shown: Tensor) -> Tensor:
        sizes.append(len(shown))
        if len(shown) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return F.one_hot((shown.flatten(1)[:, 0] * 3).long(), 3).float()

    expected = F.one_hot((volumes().flatten(1)[:, 0] * 3).long(), 3).numpy()
    classifier.network = Answer(forward)
    assert classifier.predict(volumes(), 5).tolist() == expected.tolist()
    assert sizes == [5, 2, 2, 1]
