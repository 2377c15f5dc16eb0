"""Logits are taken from whatever a network returns, and from nothing that is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchharness.errors import BenchError, CellError
from benchharness.networks.adapters import Outputs, find, like_probabilities
from benchharness.networks.asked import Asked
from tests.returning import ANSWERS, PROBABLE

B = 3


def logits(classes: int = 2, count: int = B) -> Tensor:
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_gives_back_the_logits(name: str) -> None:
    answer, expected = ANSWERS[name]
    given = logits()
    found = find(answer(given), B, 2)
    assert found is not None
    assert found.outputs == Outputs(**expected)
    assert found.others == ()
    assert Outputs.from_pairs(found.outputs.to_pairs()) == found.outputs
    taken = found.outputs(answer(given), B, 2)
    if found.outputs.form == "logits":
        assert torch.equal(taken, given)
    else:
        z = given[:, 1] - given[:, 0]
        assert torch.equal(taken[:, 0], torch.zeros(B))
        torch.testing.assert_close(taken.softmax(1)[:, 1], torch.sigmoid(z))
        torch.testing.assert_close(taken.softmax(1), given.softmax(1))
    # The same outputs hold for a batch of any size, one included.
    assert found.outputs(answer(logits(count=1)), 1, 2).shape == (1, 2)


def test_logits_as_they_are_need_no_setting() -> None:
    assert Outputs().to_pairs() == ()
    given = logits()
    assert Outputs()(given, B, 2) is given


@pytest.mark.parametrize("name", ANSWERS)
def test_gradients_flow_through_every_adapter(name: str) -> None:
    answer, expected = ANSWERS[name]
    given = logits().requires_grad_()
    taken = Outputs(**expected)(answer(given), B, 2)
    (gradient,) = torch.autograd.grad(taken.log_softmax(1)[:, 0].sum(), given)
    (true,) = torch.autograd.grad(given.log_softmax(1)[:, 0].sum(), given)
    torch.testing.assert_close(gradient, true)


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "logits",
        (),
        {},
        torch.zeros(()),
        torch.zeros(B, 3),
        torch.zeros(2, B),
        torch.zeros(B, 2, 2),
        torch.zeros(1, B, 2),
        torch.zeros(B, 2, dtype=torch.long),
        torch.zeros(B) > 0,
        (torch.zeros(B, 5), [torch.zeros(B + 1, 2)]),
        [[[[torch.zeros(B, 2)]]]],
        torch.nn.Linear(2, B),
    ],
    ids=repr,
)
def test_what_holds_no_logits_is_not_adapted(returned: Any) -> None:
    assert find(returned, B, 2) is None


def test_one_output_is_no_answer_to_three_classes() -> None:
    assert find(torch.zeros(B, 1), B, 3) is None


@pytest.mark.parametrize(
    ("returned", "take", "others"),
    [
        ((logits(), -logits()), (0,), [(1,)]),
        ({"aux": -logits(), "out": logits()}, ("out",), [("aux",)]),
        ({"out": -logits(), "logits": logits()}, ("logits",), [("out",)]),
        ({"a": {"logits": -logits()}, "b": logits()}, ("b",), [("a", "logits")]),
        ((logits().softmax(1), logits()), (1,), []),
        ((logits()[:, :1], logits()), (1,), []),
    ],
)
def test_of_several_the_likeliest_is_taken_and_the_others_are_named(
    returned: Any, take: tuple[int | str, ...], others: list[Any]
) -> None:
    found = find(returned, B, 2)
    assert found is not None
    assert found.outputs.take == take
    assert list(found.others) == others


@pytest.mark.parametrize(
    ("text", "take", "form"),
    [
        ("logit", None, "logit"),
        ("probabilities", None, "probabilities"),
        ("0", (0,), None),
        (1, (1,), None),
        ("heads.main", ("heads", "main"), None),
        ("1.out:logit", (1, "out"), "logit"),
        (" out ", ("out",), None),
        (":logit", None, "logit"),
    ],
)
def test_what_a_user_says(text: object, take: Any, form: Any) -> None:
    assert Asked.parse(text) == Asked(take=take, form=form)


@pytest.mark.parametrize("text", ["", ":", "a..b", "0:", "0:softmax", True, 1.5, None])
def test_what_a_user_may_not_say(text: object) -> None:
    with pytest.raises(BenchError, match="--outputs takes what the network returns"):
        Asked.parse(text)


def test_a_user_chooses_among_several() -> None:
    returned = {"aux": logits(), "out": -logits(), "probabilities": logits().softmax(1)}
    for text, take, form in (
        ("aux", ("aux",), "logits"),
        ("probabilities", ("probabilities",), "probabilities"),
        ("aux:logits", ("aux",), "logits"),
    ):
        found = find(returned, B, 2, Asked.parse(text))
        assert found is not None
        assert (found.outputs.take, found.outputs.form) == (take, form)
    assert find(returned, B, 2, Asked.parse("head")) is None
    assert find(returned, B, 2, Asked.parse("logit")) is None
    assert find(returned, B, 2, Asked.parse("aux:probabilities")) is None


@pytest.mark.parametrize("name", PROBABLE)
def test_probabilities_are_known_in_every_precision(name: str) -> None:
    found = find(PROBABLE[name](logits(count=20)), 20, 2)
    assert found is not None
    tensor = found.outputs.tensor(PROBABLE[name](logits(count=20)))
    assert like_probabilities(tensor, found.outputs.form)


def test_logits_are_not_taken_for_probabilities() -> None:
    assert not like_probabilities(logits())
    near = torch.tensor([[0.501, 0.5], [0.4, 0.6021]])
    assert not like_probabilities(near)
    assert not like_probabilities(torch.rand(8, 2).sigmoid())
    assert not like_probabilities(torch.full((8, 1), 0.7), "logit")
    assert not like_probabilities(logits()[:, :1], "logit")
    assert not like_probabilities(logits().log_softmax(1))


@pytest.mark.parametrize("classes", [2, 5])
def test_logarithms_of_probabilities_give_them_back(classes: int) -> None:
    given = logits(classes)
    outputs = Outputs(form="probabilities")
    torch.testing.assert_close(outputs(given.softmax(1), B, classes).softmax(1), given.softmax(1))
    single = Outputs(form="probabilities")(torch.tensor([0.25, 1.0, 0.0]), B, 2)
    torch.testing.assert_close(
        single.softmax(1), torch.tensor([[0.75, 0.25], [0.0, 1.0], [1.0, 0.0]])
    )
    assert torch.isfinite(single).all()


@pytest.mark.parametrize(
    ("outputs", "returned", "message"),
    [
        (
            {"take": (1,)},
            (logits(),),
            r"returned tuple of tensor \(3, 2\); expected a tensor at '1'",
        ),
        ({"take": ("out",)}, logits(), r"returned tensor \(3, 2\); expected a tensor at 'out'"),
        ({"take": (0,)}, ([1],), r"returned list of int; expected one tensor of logits"),
        ({"form": "logit"}, logits(), r"shape \(3, 2\) .* expected one logit of a binary task"),
        ({"form": "logit"}, logits(3), r"shape \(3, 3\) for 3 volumes"),
        ({}, logits()[:, :1], r"returned shape \(3, 1\) for 3 volumes of a task with 2 classes"),
        ({"form": "probabilities"}, logits(), r"said to return probabilities, but its values"),
        ({"form": "probabilities"}, logits().sigmoid(), r"said to return probabilities, but"),
        ({"form": "probabilities"}, logits(3).softmax(1), r"shape \(3, 3\) for 3 volumes"),
    ],
)
def test_another_answer_than_the_chosen_one_is_a_fault_of_the_cell(
    outputs: dict[str, Any], returned: Any, message: str
) -> None:
    with pytest.raises(CellError, match=message):
        Outputs(**outputs)(returned, B, 2)
