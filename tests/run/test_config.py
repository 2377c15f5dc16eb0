"""From TOML and flags to a validated config."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from benchharness.errors import BenchError
from benchharness.run import config, values
from benchharness.run.config import ModelOptions, RunConfig

MODELS = {"models": "a"}


def from_toml(tmp_path: Path, text: str, **flags: Any) -> RunConfig:
    path = tmp_path / "bench.toml"
    path.write_text(text)
    return config.load(path, flags)


def message(**flags: Any) -> str:
    with pytest.raises(BenchError) as caught:
        config.load(None, MODELS | flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults() -> None:
    assert config.load(None, {"models": "a", "limit": None}) == RunConfig(
        models=("a",),
        datasets=("phantom3d",),
        attacks=(),
        eps=(2 / 255, 8 / 255),
        artefacts=(),
        severities=(1, 2, 3, 4, 5),
        seeds=(0,),
        perturbation_seed=0,
        recipes=(),
        limit=None,
        device="auto",
        batch_size=None,
        out=Path("results/local"),
        data_root=None,
        checkpoint=(),
        train=True,
    )


def test_every_flag() -> None:
    found = config.load(
        None,
        {
            "models": "a, b,a",
            "datasets": "d,e.npz",
            "attacks": "fgsm,pgd",
            "eps": "0, 2/255,8 / 255,.5,1",
            "artefacts": "motion",
            "severities": "1-2,5",
            "seeds": "0,1,2",
            "perturbation_seed": 7,
            "recipes": "quick",
            "limit": 16,
            "device": "cuda:1",
            "batch_size": "4",
            "out": Path("out"),
            "data_root": "data",
            "checkpoint": ["a=w.pth", "b@d=v.safetensors"],
            "train": False,
        },
    )
    assert found == RunConfig(
        models=("a", "b"),
        datasets=("d", "e.npz"),
        attacks=("fgsm", "pgd"),
        eps=(0.0, 2 / 255, 8 / 255, 0.5, 1.0),
        artefacts=("motion",),
        severities=(1, 2, 5),
        seeds=(0, 1, 2),
        perturbation_seed=7,
        recipes=("quick",),
        limit=16,
        device="cuda:1",
        batch_size=4,
        out=Path("out"),
        data_root=Path("data"),
        checkpoint=(("a", Path("w.pth")), ("b@d", Path("v.safetensors"))),
        train=False,
    )


TOML = """
models = ["a", "b"]
datasets = "d"
attacks = ["pgd"]
eps = [0, 0.5, "8/255"]
artefacts = ["motion"]
severities = [1, "4-5"]
seeds = 3
perturbation-seed = 1
recipes = "medmnist"
limit = 10
device = "cpu"
batch-size = "auto"
out = "~/out"
data_root = "data"
checkpoint = { a = "w.pth", "b@d" = "v.pth" }
train = false

[attack.pgd]
steps = 20
random_start = true

[model.a]
arguments = { width = 0.5, depths = [1, 2] }
preprocessing = { size = [28, 28, 28], scale = 0.5 }

[model.b]
preprocessing = {}
[recipe.mine]
base = "adv_pgd"
eps = "2/255"
"""


def test_every_key_of_a_file(tmp_path: Path) -> None:
    assert from_toml(tmp_path, TOML) == RunConfig(
        models=("a", "b"),
        datasets=("d",),
        attacks=("pgd",),
        eps=(0.0, 0.5, 8 / 255),
        artefacts=("motion",),
        severities=(1, 4, 5),
        seeds=(3,),
        perturbation_seed=1,
        recipes=("medmnist",),
        limit=10,
        device="cpu",
        batch_size=None,
        out=Path("~/out").expanduser(),
        data_root=Path("data"),
        checkpoint=(("a", Path("w.pth")), ("b@d", Path("v.pth"))),
        train=False,
        attack_parameters=(("pgd", (("random_start", True), ("steps", 20))),),
        model_options=(
            (
                "a",
                ModelOptions(
                    arguments=(("depths", (1, 2)), ("width", 0.5)),
                    preprocessing=(("scale", 0.5), ("size", (28, 28, 28))),
                ),
            ),
            ("b", ModelOptions(preprocessing=())),
        ),
        recipe_options=(("mine", (("base", "adv_pgd"), ("eps", "2/255"))),),
    )


def test_every_field_can_be_set_by_a_flag_or_a_table() -> None:
    names = {field.name for field in fields(RunConfig)}
    assert names - values.PARSERS.keys() == {
        "attack_parameters",
        "model_options",
        "recipe_options",
        "recipes_left_out",
        "given",
    }
    assert values.PARSERS.keys() <= names


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    found = from_toml(tmp_path, TOML, models="c", limit=3, train=True, device=None)
    assert (found.models, found.limit, found.train, found.device) == (("c",), 3, True, "cpu")


def test_what_a_flag_overrides_need_not_be_right_in_the_file(tmp_path: Path) -> None:
    assert from_toml(tmp_path, "models = 'a'\nlimit = -1", limit=3).limit == 3


def test_negative_zero_is_zero() -> None:
    (eps,) = config.load(None, MODELS | {"eps": "-0.0"}).eps
    assert str(eps) == "0.0"


@pytest.mark.parametrize("eps", ["1.1", "256/255", "-1/255", "nan", "inf", "-inf", "8"])
def test_an_epsilon_out_of_range(eps: str) -> None:
    assert message(eps=eps) == (
        f"--eps must lie in [0, 1], the range of intensities, got {eps}. "
        "For 8 grey levels of 255 type 8/255."
    )


@pytest.mark.parametrize("eps", ["x", "1/0", "8/255/2", "1e-3/2", "/255", True, [None]])
def test_an_epsilon_that_is_no_number(eps: Any) -> None:
    item = eps[0] if isinstance(eps, list) else eps
    assert message(eps=eps) == f"--eps takes numbers such as 8/255 or 0.03, got {item!r}."


@pytest.mark.parametrize("eps", ["1e-999999999", "1e999999999"])
def test_an_absurd_exponent_is_answered_at_once(eps: str) -> None:
    if eps.startswith("1e-"):
        assert config.load(None, MODELS | {"eps": eps}).eps == (0.0,)
    else:
        assert "must lie in [0, 1]" in message(eps=eps)


@pytest.mark.parametrize("level", ["0", "6", "-1", "1-6", "3-1", "1-", "1.5", "x", "1-2-3", "١"])
def test_a_level_out_of_range(level: str) -> None:
    assert message(severities=level) == (
        f"--severities takes levels 1 to 5, got {level!r}. Type 1-5 or 1,3,5."
    )


@pytest.mark.parametrize("level", [True, 2.0, None])
def test_a_level_in_a_file_is_a_whole_number(level: Any) -> None:
    assert f"--severities takes levels 1 to 5, got {level!r}." in message(severities=[level])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"models": None}, "no models given. Name some: --models medvit3d_n,resnet3d_18."),
        ({"models": ""}, "--models has an empty item: ['']. Separate items by one comma."),
        ({"models": "a,,b"}, "--models has an empty item: ['a', '', 'b']. Separate items by"),
        ({"models": []}, "--models has an empty item: []."),
        ({"models": [1]}, "--models takes names, got 1."),
        ({"seeds": "0,-1"}, "--seeds takes numbers from 0 up, got '-1'."),
        ({"seeds": "0.5"}, "--seeds takes whole numbers, got '0.5'."),
        ({"seeds": [True]}, "--seeds takes whole numbers, got True."),
        ({"seeds": "9" * 5000}, "--seeds takes whole numbers, got '999"),
        ({"perturbation_seed": -3}, "--perturbation-seed takes numbers from 0 up, got -3."),
        ({"limit": 0}, "--limit must be at least 1, got 0."),
        ({"limit": -5}, "--limit must be at least 1, got -5."),
        ({"limit": 2.0}, "--limit takes whole numbers, got 2.0."),
        ({"batch_size": "0"}, "--batch-size must be at least 1, got 0."),
        ({"batch_size": "many"}, "--batch-size takes whole numbers, got 'many'."),
        ({"recipes": 3}, "--recipes takes names, got 3."),
        ({"device": 0}, "--device takes text, got 0."),
        ({"out": 3}, "--out takes text, got 3."),
        ({"train": "no"}, "--no-train is true or false, got 'no'."),
        (
            {"checkpoint": ["a"]},
            "--checkpoint takes model=path, model@dataset=path or model#seed=path, got 'a'.",
        ),
        ({"checkpoint": ["=x"]}, "--checkpoint takes model=path, model@dataset=path or model#"),
        ({"checkpoint": ["a#=x"]}, "--checkpoint takes a training seed after #, got 'a#'."),
        ({"checkpoint": ["a#-1=x"]}, "--checkpoint takes a training seed after #, got 'a#-1'."),
        ({"checkpoint": ["a#١=x"]}, "--checkpoint takes a training seed after #, got 'a#١'."),
        ({"checkpoint": ["a@=x"]}, "--checkpoint has an empty name in 'a@'."),
        ({"checkpoint": {"a": 3}}, "--checkpoint.a takes text, got 3."),
        ({"out": "a\0b"}, "--out has a NUL character in 'a\\x00b'."),
        ({"checkpoint": ["a=\0"]}, "--checkpoint has a NUL character"),
        ({"init": "\0"}, "--init has a NUL character"),
        ({"data_root": "~nosuchuser/x"}, "--data-root names the home folder of a user who does"),
        ({"out": Path("~nosuchuser")}, "--out names the home folder of a user who does not exist"),
        ({"out": "a/" + "é" * 128}, "--out has a name of 256 bytes"),
        ({"checkpoint": ["a=x", "a=y"]}, "--checkpoint names 'a' twice. Keep one of its paths."),
    ],
)
def test_a_wrong_value_is_one_clear_line(flags: dict[str, Any], expected: str) -> None:
    assert message(**flags).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model = 'a'", "config key 'model' must be a table, got 'a'. Write [model.NAME] above"),
        ("[model]\na = 1", "config key 'model.a' must be a table, got 1. Write [model.NAME] above"),
        ("attack = 1", "config key 'attack' must be a table, got 1. Write [attack.NAME] above"),
        ("attacs = ['pgd']", "unknown config key 'attacs'. Did you mean 'attacks'"),
        ("[atack.pgd]\nsteps=1", "unknown config key 'atack'. Did you mean 'attacks'"),
        (
            "[model.a]\nargs = {}",
            "unknown config key 'model.a.args'. Known: arguments, outputs, preproc",
        ),
        (
            "[model.a]\narguments = 1",
            "config key 'model.a.arguments' must be a table, got 1.",
        ),
        ("[attack.pgd]\nsteps = nan", "config key 'attack.pgd.steps' cannot be nan. Write text,"),
        (
            "[model.a.arguments]\nwhen = 1979-05-27",
            "config key 'model.a.arguments.when' cannot be datetime.date(1979, 5, 27).",
        ),
        (
            "[model.a.arguments]\nnested = {b = 1}",
            "config key 'model.a.arguments.nested' cannot be {'b': 1}.",
        ),
        (
            "[model.a.preprocessing]\nscale = [inf]",
            "config key 'model.a.preprocessing.scale' cannot be [inf].",
        ),
    ],
)
def test_a_wrong_key_is_one_clear_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(BenchError) as caught:
        from_toml(tmp_path, text, models="a")
    assert str(caught.value).startswith(expected)


def test_a_key_may_not_stand_in_both_spellings(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"has 'batch_size' twice, with - and with _. Keep one"):
        from_toml(tmp_path, "batch-size = 1\nbatch_size = 2", models="a")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"
    with pytest.raises(BenchError) as caught:
        config.load(path, MODELS)
    assert str(caught.value) == f"cannot read config {path}: No such file or directory."


@pytest.mark.parametrize("content", [b"models = [", b"\xff\xfe", b"models = 1\nmodels = 2"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bench.toml"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"config .*bench\.toml is not valid TOML: "):
        config.load(path, MODELS)


DEEP = [
    "a = " + "[" * 50 + "]" * 50,
    "a = " + "[" * 20_000 + "]" * 20_000,
    "a = " + "{b=" * 300 + "1" + "}" * 300,
    ".".join("a" * 40) + " = 1",
    "[model.m.arguments]\na = " + "[" * 40 + "]" * 40,
]


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_a_file_that_is_nested_without_end_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchError, match="is nested more than 16 deep") as caught:
        from_toml(tmp_path, text, models="a")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("digits", ["9" * 5000, "0x" + "f" * 5000, "-" + "9" * 4000, "1_000" * 30])
@pytest.mark.parametrize("key", ["limit = {}", "eps = [{}]", "[model.a.arguments]\nwidth = {}"])
def test_a_number_without_end_is_one_line(tmp_path: Path, key: str, digits: str) -> None:
    with pytest.raises(BenchError) as caught:
        from_toml(tmp_path, key.format(digits), models="a")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
def test_a_file_without_end_is_one_line() -> None:
    with pytest.raises(BenchError, match="has more than 1000000 bytes"):
        config.load(Path("/dev/zero"), MODELS)
