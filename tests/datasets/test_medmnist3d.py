"""MedMNIST3D: where files are looked for, checked and fetched from."""

import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchharness import datasets, disk, registry
from benchharness.datasets import medmnist, medmnist3d
from benchharness.errors import BenchError

FLAGS = tuple(medmnist3d.SETS)
ROOT = os.environ.get("BENCH_DATA_ROOT")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address at which a local server offers its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(served, monkeypatch):
    """A small adrenalmnist3d on the local server, known to `medmnist.INFO`."""
    folder, address = served
    random = np.random.default_rng(0)
    held = {}
    for split in ("train", "val", "test"):
        held[f"{split}_images"] = random.integers(0, 256, (4, 5, 5, 5), dtype=np.uint8)
        held[f"{split}_labels"] = np.array([[0], [1], [0], [1]])
    path = folder / "adrenalmnist3d.npz"
    np.savez_compressed(path, **held)
    info = medmnist.information("adrenalmnist3d")
    monkeypatch.setitem(info, "url", f"{address}/adrenalmnist3d.npz?download=1")
    monkeypatch.setitem(info, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


def test_an_absent_file_is_downloaded_once(published, tmp_path):
    root = tmp_path / "new" / "root"
    first = datasets.load("adrenalmnist3d", root)
    assert (root / "adrenalmnist3d.npz").read_bytes() == published.read_bytes()
    assert [file.name for file in root.iterdir()] == ["adrenalmnist3d.npz"]
    published.unlink()
    second = datasets.load("adrenalmnist3d", root)
    np.testing.assert_array_equal(first.test.volumes, second.test.volumes)
    assert first.classes == ("normal", "hyperplasia")
    assert first.test.ids[3] == "adrenalmnist3d/test/3"
    assert first.modality == "shape"
    assert first.default_recipe == "medmnist"
    assert first.digest == f"md5:{medmnist.information('adrenalmnist3d')['MD5']}"


def test_a_failed_download_names_address_and_place(published, tmp_path):
    published.unlink()
    with pytest.raises(BenchError) as caught:
        datasets.load("adrenalmnist3d", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("cannot download http://127.0.0.1:")
    assert "404" in message
    assert f"save it as {tmp_path / 'adrenalmnist3d.npz'}" in message
    assert not (tmp_path / "adrenalmnist3d.npz").exists()


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(published, tmp_path):
    published.write_bytes(b"something else")
    with pytest.raises(BenchError, match="cannot download") as caught:
        datasets.load("adrenalmnist3d", tmp_path)
    assert "hash" in str(caught.value)
    assert not (tmp_path / "adrenalmnist3d.npz").exists()


def test_a_root_that_cannot_be_made_is_one_line(published, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot download"):
        datasets.load("adrenalmnist3d", tmp_path / "file")


def test_a_present_file_with_a_wrong_md5_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "vesselmnist3d_64.npz"
    path.write_bytes(b"damaged")
    with pytest.raises(BenchError) as caught:
        datasets.load("vesselmnist3d_64", tmp_path)
    message = str(caught.value)
    assert "its MD5 is" in message
    assert "expected 6bb274a8846e1097066dcd64e2c4520f. Remove it to download it again" in message
    assert path.read_bytes() == b"damaged"


def test_the_root_is_the_argument_then_the_variable_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_ROOT", "/from/variable")
    assert medmnist.data_root(tmp_path) == tmp_path
    assert medmnist.data_root() == Path("/from/variable")
    monkeypatch.delenv("BENCH_DATA_ROOT")
    assert medmnist.data_root() == Path.home() / ".medmnist"


def test_every_set_has_a_factory_at_both_sizes_that_bears_its_name():
    names = {
        *registry.GROUPS["datasets"]["medmnist3d"],
        *registry.GROUPS["datasets"]["medmnist3d_64"],
    }
    assert names == {f"{flag}{suffix}" for flag in FLAGS for suffix in ("", "_64")}
    for name in names:
        assert registry.load("datasets", name).__name__ == name


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("suffix", ["", "_64"])
def test_the_package_knows_address_and_checksum(flag, suffix):
    info = medmnist.information(flag)
    assert info[f"url{suffix}"].startswith("https://")
    assert f"{flag}{suffix}.npz" in info[f"url{suffix}"]
    assert len(info[f"MD5{suffix}"]) == 32
    assert set(info["label"]) == {str(index) for index in range(len(info["label"]))}


@pytest.mark.slow
def test_loading_imports_no_torchvision(tmp_path):
    code = (
        "import sys\n"
        "from benchharness.datasets import medmnist\n"
        "medmnist.information('organmnist3d')\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(ROOT is None, reason="BENCH_DATA_ROOT is not set")
@pytest.mark.parametrize(
    ("name", "grid", "sizes", "positives"),
    [
        ("adrenalmnist3d", 28, (1188, 98, 298), 69),
        ("vesselmnist3d", 28, (1335, 191, 382), 43),
        pytest.param("adrenalmnist3d_64", 64, (1188, 98, 298), 69, marks=pytest.mark.slow),
    ],
)
def test_the_published_archives_load(name, grid, sizes, positives):
    if not (Path(ROOT) / f"{name}.npz").exists():
        pytest.skip(f"{name}.npz is not in BENCH_DATA_ROOT")
    dataset = datasets.load(name)
    assert dataset.grid == (grid, grid, grid)
    assert tuple(len(getattr(dataset, split)) for split in ("train", "val", "test")) == sizes
    assert int(dataset.test.labels.sum()) == positives
    assert set(np.unique(dataset.test.volumes)) == {0, 255}


KILLED = """
import os, signal, sys
from pathlib import Path
import pooch
from benchharness.datasets import medmnist
def torn(self, url, output, _):
    Path(output).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
pooch.HTTPDownloader.__call__ = torn
medmnist._download("http://127.0.0.1:1/a", "0" * 32, Path(sys.argv[1]) / "vesselmnist3d.npz")
"""


@pytest.mark.parametrize("present", [False, True])
def test_what_a_killed_download_leaves_is_removed_at_the_next_start(published, tmp_path, present):
    """Of any archive, whether or not the next start downloads one."""
    root = tmp_path / "root"
    root.mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False)
    assert done.returncode == -9
    assert list(root.glob(".vesselmnist3d.npz.*.partial"))
    if present:
        (root / "adrenalmnist3d.npz").write_bytes(published.read_bytes())
    datasets.load("adrenalmnist3d", root)
    assert [file.name for file in root.iterdir()] == ["adrenalmnist3d.npz"]


def test_a_download_that_another_process_has_begun_is_left_alone(published, tmp_path):
    begun = tmp_path / ".vesselmnist3d.npz.1.partial"
    begun.touch()
    with disk.locked(tmp_path / ".vesselmnist3d.npz.lock"):
        datasets.load("adrenalmnist3d", tmp_path)
        assert begun.exists()


def test_a_downloaded_archive_can_be_read_by_whom_the_umask_lets(published, tmp_path):
    before = os.umask(0o022)
    try:
        datasets.load("adrenalmnist3d", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "adrenalmnist3d.npz").stat().st_mode & 0o777 == 0o644
