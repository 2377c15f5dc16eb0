"""A model card in Hugging Face's format: YAML that the hub reads, then text for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchharness.evidence.words import number
from benchharness.outside.escaping import markdown, markdown_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.evidence.gathering import Evidence
    from benchharness.evidence.judging import Outcome


def document(evidence: Evidence) -> str:
    """The card of the network that claims are about."""
    product = evidence.claims.product
    cell = evidence.measured.cell
    header = {
        **({"license": product.licence} if product.licence else {}),
        "library_name": "benchharness",
        "pipeline_tag": "image-classification",
        "tags": ["medical-imaging", "robustness", cell.dataset.modality],
        "model-index": [
            {
                "name": f"{product.name} {product.release}",
                "results": [_result(outcome, evidence) for outcome in evidence.outcomes],
            }
        ],
    }
    # JSON is YAML, and quotes every text that YAML would take for something else.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()]
    return "\n".join(["---", *lines, "---", "", *_text(evidence)]) + "\n"


def _result(outcome: Outcome, evidence: Evidence) -> dict[str, Any]:
    dataset = evidence.measured.cell.dataset
    claim = outcome.claim
    return {
        "task": {"type": "image-classification"},
        "dataset": {"name": dataset.name, "type": dataset.name, "split": dataset.split},
        "metrics": [
            {
                "type": claim.metric,
                "name": f"{claim.measured}, {claim.condition}, {one.group}",
                "value": one.found.value,
            }
            for one in outcome.judged
            if one.found.value is not None
        ],
    }


def _text(evidence: Evidence) -> Iterator[str]:
    product, cell = evidence.claims.product, evidence.measured.cell
    checkpoint = cell.checkpoint
    yield f"# {markdown(f'{product.name} {product.release}')}"
    yield ""
    yield markdown_block(f"By {product.author}, {product.date}.")
    yield from _part("Intended use", [product.intended_use])
    training = [f"Network: {cell.model.name} ({cell.model.factory})."]
    if checkpoint.recipe is None:
        training.append(
            "Its weights were brought, so this file does not say how they were trained."
        )
    else:
        settings = ", ".join(f"{name} {value}" for name, value in checkpoint.recipe)
        training.append(f"Training: {settings}; seed {checkpoint.seed}.")
    training.append(f"SHA-256 of the weights: {checkpoint.sha256}.")
    yield from _part("Model", training)
    yield from _part("Data", [evidence.counts, f"Digest of the data: {cell.dataset.digest}."])
    yield from _part("Evaluation", _claims(evidence.outcomes))
    yield from _part("Limitations", _limits(evidence))


def _part(title: str, paragraphs: Sequence[str]) -> Iterator[str]:
    yield from ("", f"## {title}")
    for paragraph in paragraphs:
        yield from ("", markdown_block(paragraph))


def _claims(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.claim.text} {one.group}: {number(one.found)}; claimed at least "
        f"{outcome.claim.bound:g}: {one.verdict}."
        for outcome in outcomes
        for one in outcome.judged
    ]


def _limits(evidence: Evidence) -> list[str]:
    modality = evidence.measured.cell.dataset.modality
    limits = [
        f"Measured on one test set ({modality}). Intervals speak of other patients from where "
        "these came from, and of no other scanner, site or population.",
    ]
    small = sorted({str(one) for own in evidence.groups.values() for one in own if one.small})
    if small:
        limits.append(f"Small groups, of which little can be said: {', '.join(small)}.")
    return limits
