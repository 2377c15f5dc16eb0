"""Models that are a file or a folder: from what people have to a clean and a PGD number."""

from __future__ import annotations

import json
import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchharness import attacks
from benchharness.errors import BenchError, CellError
from benchharness.networks import checkpoints, costs
from benchharness.networks.classifier import Classifier
from benchharness.networks.formats import external, intensities, programs
from benchharness.networks.preprocessing import Preprocessing
from benchharness.run import config
from benchharness.run.planning import plan
from benchharness.store.cells import ModelKey
from benchharness.store.folder import Store
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.store.records import Record

    Bench = Callable[..., tuple[int, str, str]]

PGD = ("--attacks", "pgd", "--eps", "2/255", "--limit", "4", "--device", "cpu", "--out", "out")
QUIET = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


class HubNet(nn.Module):
    """A network with a constructor of its own, as PyTorchModelHubMixin saves them."""

    def __init__(self, width: int = 3, in_chans: int = 1, num_labels: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_chans, width, 3)
        self.head = nn.Linear(width, num_labels)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.conv(volumes).relu().mean(dim=(2, 3, 4)))
        return logits


def network() -> nn.Module:
    torch.manual_seed(1)
    return samples.tiny(2).eval()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    samples.write_archive(tmp_path / "one.npz")
    return tmp_path


def planned(models: str, **more: Any) -> Any:
    given = {"models": models, "datasets": "one.npz", "limit": 4, "device": "cpu"}
    return plan(config.load(None, given | more))


def refused(models: str, **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        planned(models, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_name(folder: Path) -> dict[str, Record]:
    found = Store(folder / "out").records().values()
    assert all(record.status == "ok" for record in found)
    return {record.cell.perturbation.name: record for record in found}


def measured(bench: Bench, folder: Path, *arguments: object) -> dict[str, Record]:
    code, said, error = bench("run", "--datasets", "one.npz", *PGD, *arguments)
    assert (code, error) == (0, ""), said
    found = by_name(folder)
    assert {"none", "pgd"} <= found.keys()
    return found


# Programs.


def torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.script(network()), path)


def traced(path: Path) -> None:
    torch.jit.save(torch.jit.trace(network(), torch.rand(1, 1, 12, 12, 12)), path)


def exported(path: Path, batch: int | None) -> None:
    volumes = torch.rand(batch or 2, 1, 12, 12, 12)
    shapes = ({0: torch.export.Dim("b")},) if batch is None else None
    torch.export.save(torch.export.export(network(), (volumes,), dynamic_shapes=shapes), path)


PROGRAMS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "scripted": ("torchscript:m.ts", torchscript),
    "traced": ("torchscript:m.ts", traced),
    "exported": ("pt2:m.pt2", lambda path: exported(path, None)),
    "exported for one volume": ("pt2:m.pt2", lambda path: exported(path, 1)),
    "exported for three volumes": ("pt2:m.pt2", lambda path: exported(path, 3)),
}


def attacked(classifier: Classifier) -> torch.Tensor:
    """Volumes of a short PGD, and the logits of the clean ones."""
    data = samples.dataset().test.subset(2)
    volumes = torch.as_tensor(data.volumes, dtype=torch.float32) / 255
    labels = torch.as_tensor(data.labels)
    clean = torch.as_tensor(classifier.predict(volumes, 2))
    pgd = attacks.build("pgd", {"steps": 2})
    outcome = pgd(classifier, volumes, labels, severity=8 / 255, ids=data.ids, seed=0)
    return torch.cat([clean.flatten(), outcome.volumes.flatten()])


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_of_torch_gives_the_numbers_of_its_network(kind: str, tmp_path: Path) -> None:
    """PGD's too: the gradient flows, in batches of the size that the program takes."""
    typed, write = PROGRAMS[kind]
    scheme, _, file = typed.partition(":")
    write(tmp_path / file)
    model = ModelKey(name="m", factory=programs.factory(scheme))
    found = checkpoints.load_classifier(
        model, tmp_path / file, num_classes=2, in_channels=1, device="cpu"
    )
    torch.testing.assert_close(attacked(found), attacked(Classifier(network(), num_classes=2)))
    if kind == "exported for three volumes":
        with pytest.raises(CellError, match="the program takes batches of 3 volumes only"):
            costs.measure(found, (1, 12, 12, 12), repeats=1)
    else:
        cost = costs.measure(found, (1, 12, 12, 12), repeats=1)
        assert cost.parameters == sum(p.numel() for p in network().parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings(*QUIET)
def test_a_torchscript_file_in_one_command(bench: Bench, tmp_path: Path) -> None:
    torchscript(tmp_path / "m.ts")
    found = measured(bench, tmp_path, "--models", "torchscript:m.ts", "--trust")
    assert found["none"].provenance["weights"] == "opened as a program"


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize("typed", ["torchscript:m.ts", "pt2:m.pt2"])
def test_a_program_is_opened_only_with_trust(typed: str, tmp_path: Path) -> None:
    (tmp_path / typed.partition(":")[2]).write_bytes(b"no program")
    assert "Add --trust if you know where it comes from." in refused(typed)
    assert "cannot open m." in refused(typed, trust=True)


@pytest.mark.filterwarnings(*QUIET)
def test_a_program_for_another_grid_is_refused_before_anything_runs(tmp_path: Path) -> None:
    volumes = torch.rand(2, 1, 16, 16, 16)
    torch.export.save(torch.export.export(network(), (volumes,)), tmp_path / "m.pt2")
    said = refused("pt2:m.pt2", trust=True)
    assert "its program takes volumes of 1 × 16 × 16 × 16 (C × D × H × W), got 1 × 12 × 12" in said
    (tmp_path / "c.toml").write_text("[model.m]\npreprocessing = { size = [16, 16, 16] }\n")
    given = {"models": "pt2:m.pt2", "datasets": "one.npz", "trust": True}
    assert len(plan(config.load(tmp_path / "c.toml", given)).cells) == 1


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("onnx:", "--models has nothing after onnx:"),
        ("onnx:none.onnx", "no file at none.onnx. Check the path after onnx:."),
        ("hf:none", "no folder at none."),
        ("monai:none", "no folder at none."),
        ("monai:.", "--models has nothing after monai:"),
        ("timm_3d:resnet18", "timm_3d: needs the package timm_3d. Install it"),
    ],
)
def test_a_mistyped_source_is_one_line(typed: str, message: str) -> None:
    assert message in refused(typed)


def test_a_source_brings_its_own_weights(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    assert "is for a model that is a file itself (m.onnx)" in refused(
        "onnx:m.onnx", checkpoint=["m=w.pt"]
    )


# ONNX.


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with its weights beside it and any batch, one whole for one volume a pass."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript, which exports, is not installed")
    folder = tmp_path_factory.mktemp("onnx")
    shapes = ({0: torch.export.Dim("b")},)
    for name, beside, dynamic in (("any.onnx", True, shapes), ("one.onnx", False, None)):
        volumes = (torch.rand(1 if dynamic is None else 2, 1, 12, 12, 12),)
        torch.onnx.export(
            network(),
            volumes,
            folder / name,
            dynamo=True,
            external_data=beside,
            dynamic_shapes=dynamic,
            verbose=False,
        )
    assert (folder / "any.onnx.data").exists()
    return folder


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize("name", ["any.onnx", "one.onnx"])
def test_an_onnx_file_is_measured_as_a_black_box(
    name: str, onnx_files: Path, bench: Bench, tmp_path: Path
) -> None:
    run = ("run", "--datasets", "one.npz", "--limit", "4", "--device", "cpu", "--out", "out")
    run = (*run, "--models", f"onnx:{onnx_files / name}", "--artefacts", "gamma")
    code, said, error = bench(*run, "--severities", "3", "--attacks", "noise_sign", "--eps", "0.1")
    assert (code, error) == (0, ""), said
    found = by_name(tmp_path)
    assert found.keys() == {"none", "noise_sign", "gamma"}, "no control: it has no gradient"
    predicted = Store(tmp_path / "out").predictions(found["none"]).logits
    data = np.load(tmp_path / "one.npz")["test_images"][:, None] / 255
    own = network()(torch.as_tensor(data, dtype=torch.float32)).detach().numpy()
    assert all(np.abs(own - row).max(1).min() < 1e-5 for row in predicted)
    assert found["none"].cost is None
    assert "black box" in found["none"].facts["no_cost"]


@pytest.mark.filterwarnings(*QUIET)
def test_white_box_attacks_on_onnx_are_refused_or_left_out(
    onnx_files: Path, tmp_path: Path
) -> None:
    typed = f"onnx:{onnx_files / 'one.onnx'}"
    for attack in ("pgd", "autoattack3d", "cw"):
        assert f"{attack} needs a gradient, and one is a black box" in refused(
            typed, attacks=attack
        )
    assert "all of these are ONNX files" in refused(
        f"{typed},onnx:{onnx_files / 'any.onnx'}", attacks="transfer"
    )
    made = planned(typed, attacks="all")
    assert {c.perturbation.name for c in made.cells} == {
        *("none", "square3d", "square3d_l2", "noise_sign")
    }
    assert any(
        "left out on one for one, since an ONNX file gives no gradient" in n for n in made.notes
    )
    torch.save(network().state_dict(), tmp_path / "w.pt")
    beside = planned(
        f"{typed},tests.samples:tiny", attacks="transfer", checkpoint=["tiny=w.pt"], eps="8/255"
    )
    pairs = {
        (c.model.name, c.perturbation.source.model.name)
        for c in beside.cells
        if c.perturbation.source is not None
    }
    assert pairs == {("one", "tiny"), ("tiny", "tiny")}, "it is judged, and never the source"


@pytest.mark.filterwarnings(*QUIET)
def test_the_same_file_moved_gives_the_same_cells_and_other_weights_others(
    onnx_files: Path, tmp_path: Path
) -> None:
    def identity(folder: Path) -> str:
        (cell,) = planned(f"onnx:{folder / 'any.onnx'}").cells
        identity: str = cell.identity
        return identity

    moved = shutil.copytree(onnx_files, tmp_path / "moved")
    assert identity(moved) == identity(onnx_files)
    beside = bytearray((moved / "any.onnx.data").read_bytes())
    beside[-1] ^= 1
    (moved / "any.onnx.data").write_bytes(beside)
    assert identity(moved) != identity(onnx_files), "weights beside the file count too"
    (moved / "any.onnx.data").unlink()
    assert "no ONNX file at" in refused(f"onnx:{moved / 'any.onnx'}")


def test_an_onnx_file_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    place = b"\x0a\x08location\x12\x0b/etc/passwd"
    tensor = b"\x6a" + bytes([len(place)]) + place
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    (tmp_path / "m.onnx").write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(BenchError, match=r"takes weights from '/etc/passwd', outside its folder"):
        external.read(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"\xff" * 99, b"\x3a\xff\xff\xff\xff\x7f", b"text\n" * 9])
def test_a_damaged_onnx_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "m.onnx").write_bytes(content)
    said = refused("onnx:m.onnx")
    assert said.startswith(("cannot open m.onnx: ", "cannot read ONNX file m.onnx: "))


# Hugging Face.


def hub_folder(folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    torch.manual_seed(3)
    save_file(HubNet(width=6, num_labels=2).state_dict(), folder / "model.safetensors")
    written = {"width": 6, "in_chans": 1, "num_labels": 2, "torch_dtype": "float32", **settings}
    (folder / "config.json").write_text(json.dumps(written))
    return folder


CLASS = f"{__name__}:HubNet"


def test_a_folder_of_the_hub_with_its_class_in_one_command(bench: Bench, tmp_path: Path) -> None:
    """The constructor's arguments come from config.json, whatever they are called."""
    hub_folder(tmp_path / "net")
    found = measured(bench, tmp_path, "--models", CLASS, "--checkpoint", "HubNet=net")
    assert found["none"].cell.model.arguments == (("width", 6),)
    assert found["none"].provenance["weights"] == "read 4 tensors"


def test_a_folder_that_names_a_model_needs_no_class(tmp_path: Path) -> None:
    from medvit3d import medvit3d_n

    folder = tmp_path / "net"
    folder.mkdir()
    save_file(medvit3d_n(2).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["medvit3d_n"]}))
    (cell,) = planned("hf:net").cells
    assert (cell.model.name, cell.model.factory) == ("net", "medvit3d.variants:medvit3d_n")
    typed = planned("medvit3d_n", checkpoint=["medvit3d_n=net/model.safetensors"])
    assert [one.identity for one in typed.cells] == [cell.identity]


def test_a_config_cannot_name_code(tmp_path: Path) -> None:
    hub_folder(tmp_path / "net", model="os:system", architectures=["HubNet"])
    said = refused("hf:net")
    assert "names os:system, HubNet, and no model of that name is known here" in said
    assert "--models package.module:Class --checkpoint Class=net." in said


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "the folder has none of model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "cannot read net/config.json"),
        (lambda f: (f / "config.json").write_text("[" * 99_999), "nested too deeply"),
        (lambda f: (f / "config.json").write_text("[]"), "it is no JSON object"),
        (
            lambda f: (f / "config.json").write_text('{"width": {"a": 1}}'),
            "width = {'a': 1} cannot be an argument",
        ),
    ],
)
def test_a_damaged_folder_is_one_line(
    harm: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    hub_folder(tmp_path / "net")
    harm(tmp_path / "net")
    assert message in refused(CLASS, checkpoint=["HubNet=net"])


def test_a_repository_of_the_hub_is_fetched_at_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_folder(tmp_path / "net")
    asked = []
    fake = ModuleType("huggingface_hub")

    def snapshot_download(**given: Any) -> str:
        asked.append(given)
        return str(tmp_path / "net")

    fake.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    remote = planned(CLASS, checkpoint=["HubNet=hf://acme/net@v1.0"])
    local = planned(CLASS, checkpoint=["HubNet=net"])
    assert [c.identity for c in remote.cells] == [c.identity for c in local.cells]
    assert "HubNet: model.safetensors: read 4 tensors, from hf://acme/net@v1.0." in remote.notes
    assert asked[0]["repo_id"] == "acme/net"
    assert asked[0]["revision"] == "v1.0"
    assert "config.json" in asked[0]["allow_patterns"]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    said = refused(CLASS, checkpoint=["HubNet=hf://acme/net"])
    assert said == "hf:// needs huggingface-hub. Install it: pip install 'benchharness[hub]'."


# MONAI.

DENSE = {
    "_target_": "DenseNet",
    "spatial_dims": 3,
    "in_channels": "@channels",
    "out_channels": 2,
    "init_features": 4,
    "growth_rate": 2,
    "block_config": [1, 1],
}


def bundle(folder: Path, network_def: Any = DENSE, **more: Any) -> Path:
    from monai.networks.nets import DenseNet

    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    written = {"network_def": network_def, "channels": 1, **more}
    (folder / "configs" / "inference.json").write_text(json.dumps(written))
    torch.manual_seed(3)
    made = DenseNet(3, 1, 2, init_features=4, growth_rate=2, block_config=(1, 1))
    torch.save({"model": made.state_dict()}, folder / "models" / "model.pt")
    return folder


def steps(*transforms: dict[str, Any]) -> dict[str, Any]:
    loading = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureTyped"}]
    return {"_target_": "Compose", "transforms": [*loading, *transforms]}


def scaled_bundle(folder: Path) -> Path:
    scaled = {"_target_": "ScaleIntensityRanged", "a_min": 0.5, "a_max": 1, "keys": "image"}
    return bundle(folder, preprocessing=steps(scaled), device="$torch.device('cuda')")


@pytest.mark.slow
def test_a_bundle_in_one_command(bench: Bench, tmp_path: Path) -> None:
    scaled_bundle(tmp_path / "lung")
    found = measured(bench, tmp_path, "--models", "monai:lung")
    assert found["none"].provenance["weights"] == "read model"


def test_a_bundle_moved_gives_the_same_cells(tmp_path: Path) -> None:
    scaled_bundle(tmp_path / "lung")
    made = planned("monai:lung", attacks="pgd")
    assert "lung: preprocessing of the bundle, as it is done here: none." not in made.notes
    shutil.move(tmp_path / "lung", tmp_path / "other")
    moved = planned("monai:other", attacks="pgd")
    assert [c.identity for c in made.cells] == [c.identity for c in moved.cells]
    key = made.cells[0].model
    assert dict(key.preprocessing) == {"mean": 0.5, "std": 0.5}
    assert "lung" not in str(key.arguments), "no path enters the identity"
    assert "cuda" not in str(key.arguments), "nor what the network does not depend on"


@pytest.mark.parametrize(
    ("network_def", "reason"),
    [
        (DENSE | {"out_channels": "$1 + 1"}, "computes '$1 + 1'"),
        (DENSE | {"out_channels": "@classes"}, "computes '$1 + 1'"),
        ({"_target_": "os.system", "command": "true"}, "builds 'os.system', no network of MONAI"),
        (DENSE | {"norm": {"_target_": "subprocess.run"}}, "builds 'subprocess.run'"),
        ({"_target_": "monai.networks.utils.convert_to_onnx"}, "no network of MONAI"),
        (DENSE | {"_mode_": "debug"}, "no network of MONAI"),
        ("%/etc/passwd", "computes '%/etc/passwd'"),
    ],
)
def test_code_in_a_bundle_needs_trust(network_def: Any, reason: str, tmp_path: Path) -> None:
    bundle(tmp_path / "lung", network_def, classes="$1 + 1")
    said = refused("monai:lung")
    assert reason in said
    assert "which is code. Add --trust to run it" in said


def test_with_trust_an_expression_is_computed_and_the_identity_says_so(tmp_path: Path) -> None:
    bundle(tmp_path / "lung", DENSE | {"out_channels": "$1 + 1"})
    (cell,) = planned("monai:lung", trust=True).cells
    assert dict(cell.model.arguments)["trusted"] is True


def test_a_folder_that_is_no_bundle_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lung").mkdir()
    assert "lung is no MONAI bundle" in refused("monai:lung")
    shutil.rmtree(tmp_path / "lung")
    folder = bundle(tmp_path / "lung")
    (folder / "models" / "model.pt").unlink()
    assert "lung has no weights. Put them into models/model.pt." in refused("monai:lung")
    (folder / "models" / "model.ts").touch()
    assert "--models torchscript:lung/models/model.ts --trust" in refused("monai:lung")
    (folder / "configs" / "inference.json").write_text("{" * 99)
    assert "cannot read bundle config lung/configs/inference.json" in refused("monai:lung")


def target(name: str, **given: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": ["image"], **given}


WHOLE = {"per": "volume"}
MAPPED: tuple[tuple[list[dict[str, Any]], dict[str, Any]], ...] = (
    ([target("NormalizeIntensityd", nonzero=True)], {"zscore": "nonzero", **WHOLE}),
    ([target("NormalizeIntensityd", channel_wise=True)], {"zscore": "all"}),
    ([target("monai.transforms.NormalizeIntensityd")], {"zscore": "all", **WHOLE}),
    ([target("ScaleIntensityd")], {"minmax": True, **WHOLE}),
    (
        [target("ScaleIntensityd", minv=-1, maxv=1, channel_wise=True)],
        {"minmax": True, "mean": 0.5, "std": 0.5},
    ),
    (
        [target("ScaleIntensityRanged", a_min=0.2, a_max=0.7, b_min=0, b_max=1, clip=True)],
        {"clip": (0.2, 0.7), "mean": 0.2, "std": 0.5},
    ),
    (
        [target("ScaleIntensityRanged", a_min=0.2, a_max=0.7, b_min=-1, b_max=1)],
        {"mean": 0.45, "std": 0.25},
    ),
    (
        [
            target(
                *("ScaleIntensityRangePercentilesd",),
                lower=1,
                upper=99,
                b_min=0,
                b_max=2,
                clip=True,
            )
        ],
        {"percentiles": (1.0, 99.0), "minmax": True, "std": 0.5, **WHOLE},
    ),
    (
        [
            target("Resized", spatial_size=[8, 8, 8], mode="trilinear"),
            target("ScaleIntensityd"),
        ],
        {"size": (8, 8, 8), "minmax": True, **WHOLE},
    ),
    ([target("Resized", spatial_size=[4, 4, 4])], {"size": (4, 4, 4), "resize": "area"}),
    (
        [target("ScaleIntensityd"), target("NormalizeIntensityd")],
        {"zscore": "all", **WHOLE},
    ),
    (
        [
            target("NormalizeIntensityd", channel_wise=True),
            target("NormalizeIntensityd", subtrahend=0.5, divisor=2.0),
        ],
        {"zscore": "all", "mean": 0.5, "std": 2.0},
    ),
    ([target("RepeatChanneld", repeats=3)], {"repeat_channels": 3}),
)


@pytest.mark.parametrize(("transforms", "expected"), MAPPED)
def test_a_mapped_transform_gives_the_voxels_of_monai(
    transforms: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    """Its settings, and the volumes that they make, against MONAI's own transforms."""
    from monai.bundle.config_parser import ConfigParser

    settings, grid = intensities.mapped([*transforms, target("Spacingd")], None, model="m")
    assert settings.keys() == expected.keys()
    for name, value in expected.items():
        assert settings[name] == (pytest.approx(value) if name in ("mean", "std") else value)
    assert grid == ("Spacing",)
    channels = 1 if "repeat_channels" in settings else 2
    draws = torch.Generator().manual_seed(0)
    volume = torch.rand(channels, 12, 12, 12, generator=draws)
    volume[:, :4] = 0
    composed = {"_target_": "monai.transforms.Compose", "transforms": transforms}
    composed["transforms"] = [
        {**one, "_target_": f"monai.transforms.{one['_target_'].rpartition('.')[2]}"}
        for one in transforms
    ]
    theirs = ConfigParser({"t": composed}, globals=False).get_parsed_content("t")
    expected_volume = torch.as_tensor(theirs({"image": volume.clone()})["image"])
    ours = Preprocessing.checked(settings)(volume[None])[0]
    torch.testing.assert_close(ours, expected_volume.as_tensor(), atol=2e-5, rtol=1e-4)


def test_a_range_in_hounsfield_units_is_the_window_of_the_run() -> None:
    from benchharness.datasets.preparation import Window

    window = Window(kind="ct", low=-160, high=240)
    given = target("ScaleIntensityRanged", a_min=-160, a_max=240, b_min=-1, b_max=1, clip=True)
    settings, _ = intensities.mapped([given], window, model="m")
    assert settings == {"mean": 0.5, "std": 0.5}
    with pytest.raises(BenchError, match="--window ct:40,400"):
        intensities.mapped([given], Window(kind="ct", low=-161, high=240), model="m")


@pytest.mark.parametrize(
    ("transforms", "reason"),
    [
        ([target("RandFlipd")], "it is not among those that are known"),
        ([target("ScaleIntensityRanged", a_min=-1000, a_max=600)], "--window ct:-200,1600"),
        ([target("NormalizeIntensityd", subtrahend=120, divisor=40)], "unit of the file"),
        ([target("NormalizeIntensityd", nonzero="$x")], "nonzero is computed"),
        (
            [target("ScaleIntensityd"), target("Resized", spatial_size=[32, 32, 32])],
            "the grid comes first",
        ),
        ([target("Resized", spatial_size=[32, 32, 16])], "only cubes"),
        ([target("ScaleIntensityd", factor=0.2)], "multiplies by a factor"),
        (
            [target("ScaleIntensityd"), target("NormalizeIntensityd", nonzero=True)],
            "what is zero has been shifted before",
        ),
    ],
)
def test_transforms_without_an_equal_are_refused(
    transforms: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(BenchError, match="has no equal here") as caught:
        intensities.mapped(transforms, None, model="m")
    assert reason in str(caught.value)
    assert "Set [model.m] preprocessing in a config file" in str(caught.value)


# Libraries.


def test_timm_3d_is_asked_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = ModuleType("timm_3d")

    def create_model(name: str, *, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        assert (name, pretrained) == ("resnet18", False)
        return samples.tiny(num_classes, in_chans)

    fake.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm_3d", fake)
    torch.save(network().state_dict(), tmp_path / "w.pt")
    (cell,) = planned("timm_3d:resnet18", checkpoint=["resnet18=w.pt"]).cells
    assert cell.model.factory == "benchharness.networks.formats.libraries:timm_3d"
    assert cell.model.arguments == (("name", "resnet18"),)


MONAI = {
    "DenseNet121": ({"spatial_dims": 3, "in_channels": 1, "out_channels": 2}, {}),
    "EfficientNetBN": (
        {"spatial_dims": 3, "in_channels": 1, "num_classes": 2, "pretrained": False},
        {"model_name": "efficientnet-b0"},
    ),
    "SEResNet50": ({"spatial_dims": 3, "in_channels": 1, "num_classes": 2}, {}),
}


@pytest.mark.parametrize("name", MONAI)
def test_a_network_of_monai_is_called_by_the_names_of_its_parameters(name: str) -> None:
    from benchharness.networks import calling
    from benchharness.registry import import_target

    built, arguments = MONAI[name]
    positional, named = calling.call(import_target(f"monai.networks.nets:{name}"), 2, 1, arguments)
    assert positional == ()
    assert {"pretrained": False, **named} == {"pretrained": False, **built, **arguments}


@pytest.mark.slow
@pytest.mark.parametrize("name", MONAI)
def test_a_network_of_monai_from_its_file_to_a_pgd_number(
    name: str, bench: Bench, tmp_path: Path
) -> None:
    from monai.networks import nets

    built, arguments = MONAI[name]
    torch.manual_seed(0)
    made = getattr(nets, name)(**built, **arguments)
    state = {f"model.{key}": tensor for key, tensor in made.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "w.ckpt")
    draws = np.random.Generator(np.random.PCG64(0))
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = draws.integers(0, 255, (4, 32, 32, 32), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1], [0], [1]], np.uint8)
    np.savez(tmp_path / "one.npz", **arrays)
    written = [f"{key} = {json.dumps(value)}" for key, value in arguments.items()]
    (tmp_path / "c.toml").write_text(f"[model.{name}.arguments]\n" + "\n".join(written))
    model = ("--models", f"monai.networks.nets:{name}", "--checkpoint", f"{name}=w.ckpt")
    measured(bench, tmp_path, *model, "--config", "c.toml")
