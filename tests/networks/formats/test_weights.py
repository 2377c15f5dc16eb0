"""Every kind of file of weights: what is read, what is said, and what is refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.networks.formats import content, matching, starting
from benchharness.run import config
from benchharness.run.planning import plan
from benchharness.store.cells import ModelKey
from tests import samples
from tests.docs import diagrams
from tests.networks.formats import files
from tests.networks.formats.files import KINDS, Kind, network, other, prefixed

MODEL = ModelKey(name="tiny", factory="tests.samples:tiny")


def opened(path: Path, part: str = "") -> checkpoints.Opened:
    return checkpoints.opened(MODEL, path, num_classes=2, in_channels=1, part=part)


def refusal(path: Path, part: str = "") -> str:
    with pytest.raises(BenchError) as caught:
        opened(path, part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(made: Any, path: Path) -> Path:
    torch.save(made, path)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.shown)
def test_every_kind_gives_the_weights_that_were_saved(kind: Kind, tmp_path: Path) -> None:
    made = opened(files.write(kind, tmp_path), kind.part)
    assert made.line == kind.line
    wanted = network().state_dict()
    for name, tensor in made.network.state_dict().items():
        expected = wanted[name]
        if kind.values == "half" and expected.is_floating_point():
            expected = expected.half().float()
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.shown)
def test_every_kind_begins_a_training_too(kind: Kind, tmp_path: Path) -> None:
    """One reader, which has only the names of the network to go by, not that all must fit."""
    path = files.write(kind, tmp_path)
    own = network(seed=2).state_dict()
    found = starting.weights_of(content.read(path, flag="--init"), own, path, part=kind.part)
    assert {name for name in own if "num_batches" not in name} <= found.tensors.keys()
    wanted = network().state_dict()["head.bias"]
    wanted = wanted.half() if kind.values == "half" else wanted
    assert torch.equal(found.tensors["head.bias"], wanted)


def test_the_page_lists_what_is_tested() -> None:
    page = (diagrams.DOCS / "how-to" / "own-weights.md").read_text(encoding="utf-8")
    rows = page.split("<!-- kinds -->")[1].split("<!-- end -->")[0].strip().splitlines()[2:]
    assert rows == [
        f"| {kind.shown} | {f'`::{kind.part}`' if kind.part else ''} | {kind.line} |"
        for kind in KINDS
    ]


def test_a_line_reaches_the_notes_and_the_record(tmp_path: Path, bench: Any) -> None:
    samples.write_archive(tmp_path / "one.npz")
    path = saved({"model": prefixed(network().state_dict(), "module.")}, tmp_path / "w.pt")
    run = ("run", "--models", "tests.samples:tiny", "--checkpoint", f"tiny={path}")
    code, said, _ = bench(*run, "--datasets", "one.npz", "--limit", "4", "--out", "out")
    assert code == 0
    assert "tiny: w.pt: read model, dropped prefix 'module.'." in said
    from benchharness.store.folder import Store

    (record,) = Store(tmp_path / "out").records().values()
    assert record.provenance["weights"] == "read model, dropped prefix 'module.'"


# Several candidates.


def two(path: Path) -> Path:
    state = network().state_dict()
    return saved({"first": state, "second": prefixed(other(state), "net.")}, path)


def test_two_that_fit_are_asked_about(tmp_path: Path) -> None:
    path = two(tmp_path / "w.pt")
    assert refusal(path) == (
        f"checkpoint {path} holds several: first and second.net. Say which, such as --checkpoint "
        f"tiny={path}::first."
    )
    assert refusal(path, "third") == (
        f"checkpoint {path} has no weights under 'third'. It holds first, second, second.net."
    )


@pytest.mark.parametrize("part", ["second", "second.net", "net", "second.net."])
def test_a_part_may_be_named_by_any_end_or_beginning(tmp_path: Path, part: str) -> None:
    made = opened(two(tmp_path / "w.pt"), part)
    assert torch.equal(
        made.network.state_dict()["head.bias"], network().state_dict()["head.bias"] + 1
    )
    assert made.part == "second.net"


def test_equal_copies_are_no_choice(tmp_path: Path) -> None:
    state = network().state_dict()
    made = opened(saved({"first": state, "second": state}, tmp_path / "w.pt"))
    assert made.part == ""


def test_the_part_enters_the_identity_only_where_it_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    samples.write_archive(tmp_path / "one.npz")
    two(tmp_path / "two.pt")
    saved({"model": network().state_dict()}, tmp_path / "plain.pt")

    def identity(typed: str) -> str:
        given = {"models": "tests.samples:tiny", "datasets": "one.npz", "checkpoint": [typed]}
        (cell,) = plan(config.load(None, given)).cells
        assert type(cell).from_json(cell.to_json()) == cell
        return cell.identity

    assert identity("tiny=two.pt::first") != identity("tiny=two.pt::second")
    assert identity("tiny=plain.pt::model") == identity("tiny=plain.pt")


def test_a_file_with_the_sign_in_its_name_is_taken_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchharness.run.own_weights import WeightsFile

    monkeypatch.chdir(tmp_path)
    assert WeightsFile.of(Path("a::b")) == WeightsFile(path=Path("a"), part="b")
    assert WeightsFile.of(Path("c:/w.pt")) == WeightsFile(path=Path("c:/w.pt"))
    Path("a::b").touch()
    assert WeightsFile.of(Path("a::b")) == WeightsFile(path=Path("a::b"))


# What stays strict.


def test_what_lies_beside_the_prefix_may_be_the_network_and_is_refused(tmp_path: Path) -> None:
    state = prefixed(network().state_dict(), "backbone.") | {"head.weight": torch.ones(2, 2)}
    path = saved({"state_dict": state}, tmp_path / "w.pt")
    assert refusal(path) == (
        f"checkpoint {path} has the weights of 'tiny' under 'backbone.', and beside it 1 tensors "
        "that may belong to the network (first: head.weight). If they do not, type --checkpoint "
        f"tiny={path}::state_dict.backbone."
    )
    line = "read state_dict, dropped prefix 'backbone.', left 1 other keys unread"
    assert opened(path, "state_dict.backbone").line == line


def test_a_surplus_tensor_under_the_prefix_is_refused(tmp_path: Path) -> None:
    state = prefixed(network().state_dict() | {"second_head.weight": torch.ones(2)}, "module.")
    said = refusal(saved(state, tmp_path / "w.pt"))
    assert "1 keys are not the network's (first: second_head.weight)" in said


def test_a_missing_parameter_is_never_filled(tmp_path: Path) -> None:
    for name in ("head.weight", "features.1.running_mean", "features.1.weight"):
        state = prefixed(network().state_dict(), "model.")
        del state[f"model.{name}"]
        said = refusal(saved({"state_dict": state}, tmp_path / "w.pt"))
        assert f"1 keys are missing (first: {name})" in said


class _Criterion(nn.Module):
    """A network with a part that is called like a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.Linear(2, 2)
        self.ema = nn.Linear(2, 2)


def test_the_networks_own_names_win_over_every_list(tmp_path: Path) -> None:
    own = _Criterion().state_dict()
    path = saved(own, tmp_path / "w.pt")
    found = matching.fit(content.read(path, flag=""), own, path, owner="m")
    assert found.tensors.keys() == own.keys()
    for prefix in ("model.", "_orig_mod.", "module._orig_mod."):
        nested = prefixed(network().state_dict(), prefix)
        path = saved(nested, path)
        found = matching.fit(content.read(path, flag=""), nested, path, owner="m")
        assert found.tensors.keys() == nested.keys(), "a prefix of the network's own stays"


def test_tied_weights_that_safetensors_left_out_are_filled(tmp_path: Path) -> None:
    tied = nn.Module()
    tied.one = nn.Linear(3, 3)
    tied.two = nn.Linear(3, 3)
    tied.two.weight = tied.one.weight
    own = tied.state_dict()
    path = tmp_path / "w.safetensors"
    save_file({name: t for name, t in own.items() if name != "two.weight"}, path)
    found = matching.fit(content.read(path, flag=""), own, path, owner="m")
    assert found.line == "read 3 tensors, filled tied tensors from their twins"
    assert torch.equal(found.tensors["two.weight"], own["one.weight"])


# Objects beside the tensors.


@pytest.mark.parametrize(
    "beside",
    [
        *(np.float64(1), np.bool_(True), np.arange(3), np.dtype("i2"), np.array(["a"])),
        *(Path("a/b"), {1, 2}, frozenset([1]), slice(1), range(3), b"x", 1j, torch.float16),
        *(torch.Size([1]), np.random.Generator(np.random.PCG64(1)).bit_generator.state),
    ],
    ids=repr,
)
def test_harmless_objects_do_not_stop_it(tmp_path: Path, beside: Any) -> None:
    path = saved({"state_dict": network().state_dict(), "more": beside}, tmp_path / "w.pt")
    assert opened(path).line == "read state_dict"


# Hostile and damaged files.


class Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_code_beside_the_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved({"state_dict": network().state_dict(), "x": Trap(marker)}, tmp_path / "w.pt")
    assert "and opening that could run code" in refusal(path)
    assert not marker.exists()


def test_a_pickle_that_asks_for_more_than_a_value_is_refused(tmp_path: Path) -> None:
    """Names on the list only hold values; their methods and their modules' others are not on it."""
    for number, line in enumerate(
        (b"cbuiltins\neval\n(S'1'\ntR.", b"cpathlib\nos.system\n(S'true'\ntR.", b"cnumpy\nload\n.")
    ):
        path = tmp_path / f"{number}.pt"
        torch.save({"w": torch.ones(1)}, path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, b"\x80\x02" + line if name.endswith("data.pkl") else data)
        assert refusal(path).startswith(f"cannot read checkpoint {path}: it ")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(network().state_dict(), path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", b"\0" * (1 << 22))
    said = refusal(path)
    assert "unpack to" in said
    assert "torch compresses nothing" in said


def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    endless = torch.ones(1).expand(1 << 40)
    path = saved(network().state_dict() | {"head.weight": endless}, tmp_path / "w.pt")
    assert "head.weight claims shape (1099511627776,)" in refusal(path)


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    meta = {name: t.to("meta") for name, t in network().state_dict().items()}
    assert "is a meta tensor" in refusal(saved(meta, tmp_path / "w.pt"))
    sparse = network().state_dict() | {"head.weight": torch.eye(2, 6).to_sparse()}
    assert "is a sparse tensor" in refusal(saved(sparse, tmp_path / "w.pt"))


def test_dicts_without_end_are_looked_through_once(tmp_path: Path) -> None:
    endless: dict[str, Any] = {"state_dict": network().state_dict()}
    endless["again"] = endless
    for _ in range(30):
        endless = {"a": endless, "b": endless}
    path = saved(endless, tmp_path / "w.pt")
    assert "is not a state dict of tensors" in refusal(path)
    loop: dict[str, Any] = {"state_dict": network().state_dict()}
    loop["again"] = loop
    assert opened(saved(loop, path)).line == "read state_dict"


def test_names_of_any_length_cost_no_time(tmp_path: Path) -> None:
    state = {"x." * 20_000: torch.ones(1), "\x1b[31m.head.bias": torch.ones(2)}
    said = refusal(saved(network().state_dict() | state, tmp_path / "w.pt"))
    assert "2 keys are not the network's" in said


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.9])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "old.pt"])
def test_a_truncated_file_is_one_line(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    state = network().state_dict()
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    assert refusal(path).startswith(f"cannot read checkpoint {path}: ")


def test_a_header_that_lies_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    assert refusal(path).startswith(f"cannot read checkpoint {path}: ")
    path.write_bytes((1 << 62).to_bytes(8, "little") + header)
    assert refusal(path).startswith(f"cannot read checkpoint {path}: ")


def test_files_of_other_programs_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 64)
    assert "is an HDF5 file, which Keras writes" in refusal(path)
    stream = io.BytesIO()
    pickle.dump(nn.Linear(1, 1), stream, protocol=2)
    path.write_bytes(stream.getvalue())
    assert refusal(path).startswith(f"cannot read checkpoint {path}: it ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_programs_are_sent_to_models(tmp_path: Path) -> None:
    script, exported = tmp_path / "m.ts", tmp_path / "m.pt2"
    traced = torch.jit.trace(network().eval(), torch.rand(2, 1, 8, 8, 8))
    torch.jit.save(traced, script)
    torch.export.save(torch.export.export(network().eval(), (torch.rand(2, 1, 8, 8, 8),)), exported)
    for kind, path in (("torchscript", script), ("pt2", exported)):
        assert f"Name it as a model: --models {kind}:{path} --trust" in refusal(path)
