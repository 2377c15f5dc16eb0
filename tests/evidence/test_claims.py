"""claims.toml: what is read, and one line for every mistake."""

from __future__ import annotations

import tomllib

import pytest

from benchharness.errors import BenchError
from benchharness.evidence import claims_file
from benchharness.evidence.claims import Condition, Point, Population
from tests.evidence.conftest import PRODUCT, claim


def parse(text: str) -> claims_file.Claims:
    return claims_file.parse(tomllib.loads(text))


def test_a_whole_file_is_read() -> None:
    found = parse(
        PRODUCT
        + '[groups]\ncolumns = ["site"]\nsmallest = 5\n[groups.bands]\nage = [40, 60]\n'
        + claim(
            metric='"sensitivity"',
            class_="1",
            operating_point="{ specificity = 0.9 }",
            condition='{ attacks = "8/255", norm = "linf", only = ["pgd"] }',
            population='{ age = "below 40" }',
        )
        + claim(name='"second"', condition="{ artefacts = 3 }", population='"each site"')
    )
    first, second = found.claims
    assert first.point == Point(rule="specificity", value=0.9)
    assert first.condition == Condition(
        kind="attacks", severity=8 / 255, norm="linf", only=("pgd",)
    )
    assert str(first.condition) == "pgd up to ε = 8/255 in L∞"
    assert first.population == Population(column="age", group="below 40")
    assert first.measured == "sensitivity of class 1 at specificity 0.9 on val"
    assert str(second.condition) == "plausible artefacts up to level 3"
    assert second.population == Population(column="site")
    assert found.groups.bands == (("age", (40.0, 60.0)),)


WRONG = {
    "no claim": ("", "claims is missing; type at least one table that begins with [[claims]]"),
    "unknown key": (claim(bond="0.9"), "unknown key claims[1].bond. Did you mean 'bound'"),
    "missing key": (claim(bound=None, bonud="1"), "claims[1].bound is missing"),
    "metric": (claim(metric='"acuracy"'), "claims[1].metric got 'acuracy'; type one of accuracy"),
    "bound": (claim(bound="1.2"), "claims[1].bound got 1.2; type a share above 0"),
    "bound of 0": (claim(bound="0"), "claims[1].bound got 0.0; type a share above 0"),
    "truth": (claim(bound="true"), "claims[1].bound got True; type"),
    "confidence": (claim(confidence="1"), "claims[1].confidence got 1.0; type at least 0.5"),
    "text": (claim(text='" "'), "claims[1].text got ' '; type a text that is not empty"),
    "condition": (claim(condition='"noise"'), "unknown condition 'noise'"),
    "level": (claim(condition="{ artefacts = 6 }"), "condition.artefacts got 6.0; type a whole"),
    "half a level": (claim(condition="{ artefacts = 2.5 }"), "artefacts got 2.5; type a whole"),
    "budget": (
        claim(condition='{ attacks = "8/0", norm = "linf" }'),
        "condition.attacks got '8/0'; type a budget such as",
    ),
    "no norm": (claim(condition="{ attacks = 0.1 }"), "condition.norm is missing; type one of"),
    "both": (
        claim(condition='{ attacks = 0.1, norm = "l2", artefacts = 2 }'),
        "unknown key claims[1].condition.artefacts",
    ),
    "population": (claim(population='"each stie"'), "unknown population 'each stie'"),
    "group": (claim(population='{ site = "Bern" }'), "Known: none: [groups] names no column"),
    "no point": (
        claim(metric='"sensitivity"'),
        "operating_point got nothing; type one for sensitivity",
    ),
    "useless point": (claim(operating_point='"youden"'), "type none, since accuracy has no"),
    "rule": (
        claim(metric='"specificity"', operating_point="{ sensitivty = 0.9 }"),
        "unknown key claims[1].operating_point.sensitivty. Did you mean 'sensitivity'",
    ),
    "share of 1": (
        claim(metric='"specificity"', operating_point="{ sensitivity = 1.0 }"),
        "operating_point.sensitivity got 1.0; type a share between 0 and 1",
    ),
    "class": (claim(class_="1"), "claims[1].class got 1; type none, since accuracy is over all"),
    "two of a name": (claim() + claim(), "two claims have the name 'first'"),
    "bands": ("[groups.bands]\nage = [60, 40]\n" + claim(), "groups.bands.age got [60, 40]; type"),
    "column twice": (
        '[groups]\ncolumns = ["age"]\n[groups.bands]\nage = [60]\n' + claim(),
        "groups.columns and groups.bands both name 'age'",
    ),
    "a table's key": ("[subject]\nmodle = 'x'\n" + claim(), "unknown key subject.modle. Did you"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line_that_names_the_key(name: str) -> None:
    text, said = WRONG[name]
    with pytest.raises(BenchError) as caught:
        parse(PRODUCT + text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_date_in_quotes_is_no_date() -> None:
    with pytest.raises(BenchError, match=r"product\.date got '2026-11-26'; type a date such as"):
        parse(PRODUCT.replace("2026-11-26", '"2026-11-26"') + claim())


def test_what_is_no_toml_is_one_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "claims.toml"
    path.write_text("[product\n")
    with pytest.raises(BenchError, match="is not TOML"):
        claims_file.read(path)
    with pytest.raises(BenchError, match="cannot read claims"):
        claims_file.read(tmp_path / "absent.toml")
