"""The evidence as sections of tables, for the page and the PDF alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.evidence import mapping, words
from benchharness.evidence.claims import METRICS
from benchharness.report.parts import Section
from benchharness.report.tables.layout import text_table
from benchharness.store.cells import OWN_WEIGHTS, describe_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.evidence.gathering import Evidence
    from benchharness.evidence.judging import Outcome
    from benchharness.evidence.subgroups import Subgroups
    from benchharness.report.tables.layout import Table

_VERDICTS = (
    "A claim is met where the lower bound reaches the limit, and not met where the upper bound "
    "stays below it. Both are one-sided, as is usual for a claim of “at least”: each is wrong with "
    "a probability of at most 1 − confidence. Otherwise the claim is not shown. A suspect or "
    "missing cell lets no claim be met. Of several groups all must meet the limit."
)
_WORST = (
    "Under a condition with several cells every volume counts as the cell that treats it worst, "
    "the clean one among them."
)


def sections(evidence: Evidence) -> tuple[Section, ...]:
    """Everything below the cover, in its order."""
    return (
        Section(title="Claims", lead=(_verdicts(evidence), _found(evidence))),
        Section(title="Where each claim ends", lead=(_crossings(evidence),)),
        *_subgroups(evidence),
        Section(title="What the numbers rest on", lead=(_origin(evidence), _cells(evidence))),
        Section(
            title="Where each item belongs",
            lead=(
                text_table(
                    "Items and headings",
                    mapping.HEADER,
                    mapping.ROWS,
                    caption=mapping.NO_LEGAL_CLAIM,
                ),
            ),
        ),
    )


def cover(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """What stands on the cover, each with its name."""
    product, cell = evidence.claims.product, evidence.measured.cell
    return (
        ("Product", product.name),
        ("Release", product.release),
        ("Intended use", product.intended_use),
        ("Author", product.author),
        ("Date", product.date.isoformat()),
        ("Verdicts", words.tally(evidence.outcomes)),
        ("Test data", evidence.counts),
        ("SHA-256 of the weights", str(cell.checkpoint.sha256)),
        ("Digest of the data", cell.dataset.digest),
        *((f"SHA-256 of the code {name}", digest) for name, digest in evidence.code.items()),
    )


def _verdicts(evidence: Evidence) -> Table:
    rows = [
        (
            outcome.claim.name,
            outcome.verdict,
            outcome.claim.text,
            outcome.claim.measured,
            str(outcome.claim.condition),
            str(outcome.claim.population),
            f"at least {outcome.claim.bound:g}",
            f"{100 * outcome.claim.confidence:g} %",
        )
        for outcome in evidence.outcomes
    ]
    header = ("Claim", "Verdict", "In words", "Metric", "Condition", "Population", "Limit")
    return text_table("Verdicts", (*header, "Confidence"), rows, caption=_VERDICTS)


def _found(evidence: Evidence) -> Table:
    rows = [
        (
            outcome.claim.name,
            str(one.group) + (" (small)" if one.group.small else ""),
            f"{one.found.size} {one.found.unit}",
            words.number(one.found),
            words.DASH if outcome.threshold is None else f"{outcome.threshold:.4f}",
            one.verdict,
            " ".join([words.reason(outcome, one), *words.doubts(outcome)]),
        )
        for outcome in evidence.outcomes
        for one in outcome.judged
    ]
    return text_table(
        "Numbers and reasons",
        ("Claim", "Population", "Rests on", "Value and bounds", "Threshold", "Verdict", "Why"),
        rows,
        caption=f"{_WORST} Brackets give the two one-sided bounds. Where patients are known, whole "
        "patients are resampled. Thresholds are fixed on clean validation volumes. How many would "
        "decide: n·(d/g)², with d the distance from the value to its bound on the side of the "
        "limit and g its distance from the limit; with so many, about half of new samples decide.",
    )


def _crossings(evidence: Evidence) -> Table:
    rows = [
        (outcome.claim.name, str(one.group), *crossing.split(": ", 1))
        for outcome in evidence.outcomes
        for one in outcome.judged
        for crossing in one.crossings
    ]
    return text_table(
        "The severity at which the lower bound falls below the limit",
        ("Claim", "Population", "Along", "Falls below"),
        rows,
        caption="Every severity counts as the worst case over all up to it, of the cells that were "
        "measured. A claim that falls below its limit when clean stands at no severity.",
    )


def _subgroups(evidence: Evidence) -> Iterator[Section]:
    if not evidence.subgroups:
        return
    tables = [
        table for found in evidence.subgroups for table in (_groups(found), _gaps(found)) if table
    ]
    yield Section(
        title="Subgroups",
        text=f"Groups with fewer than {evidence.claims.groups.smallest} patients, or volumes where "
        "patients are unknown, are named as small: little can be said of them.",
        lead=tuple(tables),
    )


def _groups(found: Subgroups) -> Table:
    shown = [metric for metric in METRICS if any(metric in row for _, row in found.rows)]
    rows = [
        (
            group.column or "all",
            group.name,
            f"{group.size} {group.unit}" + (" (small)" if group.small else ""),
            int(group.members.sum()),
            *(words.number(row[metric]) if metric in row else words.DASH for metric in shown),
        )
        for group, row in found.rows
    ]
    titles = [METRICS[metric][0].upper() + METRICS[metric][1:] for metric in shown]
    return text_table(
        f"By group: {found.condition}",
        ("Column", "Group", "Size", "Volumes", *titles),
        rows,
        caption="Brackets give 95 % intervals that resample whole patients where they are known. "
        "Sensitivity and specificity are of the second of two classes, at the threshold with the "
        "largest Youden index on val.",
        wordy=False,
    )


def _gaps(found: Subgroups) -> Table:
    rows = [
        (
            METRICS[gap.metric],
            str(gap.group) + (" (small)" if gap.group.small else ""),
            "worst of its column" if gap.worst else "",
            f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]",
            "< 0.001" if gap.p_adjusted < 0.001 else f"{gap.p_adjusted:.3f}",
        )
        for gap in found.gaps
    ]
    return text_table(
        f"Each group against everybody else: {found.condition}",
        ("Metric", "Group", "", "Gap", "p by Holm"),
        rows,
        caption="Gap: the group minus all other volumes, with its 95 % interval (Zou and Donner "
        "2008). p: a permutation test over patients, adjusted by Holm over all groups of a metric. "
        "A small group is named worst only where its column has no other.",
    )


def _origin(evidence: Evidence) -> Table:
    cell, provenance = evidence.measured.cell, evidence.measured.clean.record.provenance
    versions = provenance.get("versions")
    recipe = cell.checkpoint.recipe
    settings = OWN_WEIGHTS if recipe is None else ", ".join(f"{k} = {v}" for k, v in recipe)
    rows = [
        ("Network", f"{cell.model.name} ({cell.model.factory})"),
        ("Training", f"{settings}; {describe_seed(cell.checkpoint.seed)}"),
        ("Weights, SHA-256", str(cell.checkpoint.sha256)),
        ("Data", f"{cell.dataset.name}, {cell.dataset.modality}; {evidence.counts}"),
        ("Data, digest", cell.dataset.digest),
        ("Ids of the volumes, digest", cell.dataset.volumes),
        *((f"Code {name}, SHA-256", digest) for name, digest in evidence.code.items()),
        ("Measured on", str(provenance.get("device_name", "unknown"))),
        (
            "Measured with",
            ", ".join(f"{k} {v}" for k, v in versions.items())
            if isinstance(versions, dict)
            else "unknown",
        ),
    ]
    return text_table(
        "Origin",
        ("What", "Which"),
        rows,
        caption="Digests of code are of the packages installed where this evidence was written; "
        "“Measured with” names the versions where the numbers were made.",
    )


def _cells(evidence: Evidence) -> Table:
    rows = [(outcome.claim.name, _listed(outcome)) for outcome in evidence.outcomes]
    return text_table("Cells that each claim covers", ("Claim", "Cells"), rows)


def _listed(outcome: Outcome) -> str:
    names = [row.condition for row in outcome.covered.rows]
    return f"{len(names)}: {', '.join(names)}"
