import io
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchharness import report
from benchharness.errors import BenchError
from benchharness.report.plots import costs
from benchharness.store import baseline
from benchharness.store.opening import open_source
from tests.factories import Made

SUBSET = Made(n=20, of=60)
SUSPECT = Made(
    n=20, of=60, perturbation="pgd", severity=8 / 255, correct=0.1, failed_check="gradients vanish"
)
FAILED = Made(n=20, of=60, perturbation="fgsm", severity=8 / 255, error="the logits are NaN")


def printed(store: Path, width: int = 140) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(report.overview(store))
    return stream.getvalue()


@pytest.fixture(scope="module")
def written(full_store, tmp_path_factory):
    return report.write(full_store, tmp_path_factory.mktemp("report"))


def test_every_file_is_there(written):
    files = [written.html, written.markdown, written.csv, written.latex, *written.plots]
    assert all(path.stat().st_size > 200 for path in files)
    stems = {path.stem for path in written.plots}
    assert stems >= {
        *(f"curves_adrenalmnist3d_{f}_{m}" for f in ("linf", "mr") for m in ("accuracy", "auc")),
        *(f"{cost}_{where}" for cost in costs.MEASURES for where in ("average", "vesselmnist3d")),
        *("compared_adrenalmnist3d_accuracy", "tradeoff_adrenalmnist3d"),
        *("reliability_adrenalmnist3d", "reliability_vesselmnist3d"),
    }
    suffixes = Counter(path.suffix for path in written.plots)
    assert suffixes == dict.fromkeys((".png", ".svg", ".csv"), len(written.plots) // 3)


def test_page_loads_nothing_and_its_links_lead_somewhere(written):
    page = written.html.read_text(encoding="utf-8")
    # What Vega's scripts could load is for the tests in a browser to see.
    page = re.sub(r"<script>\(\(\) => \{.*?</script>", "", page, flags=re.DOTALL)
    pictures = re.findall(r'"data:image/svg[+]xml,([^"]*)"', page)
    assert pictures
    assert all("http" not in re.sub(r"xmlns(:xlink)?='http://[^']*'", "", one) for one in pictures)
    page = re.sub(r'"data:image/svg[+]xml,[^"]*"', '"data:image/svg+xml,"', page)
    loads = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert loads
    assert all(
        target.startswith(("#", "data:image/svg+xml,", "data:image/png;base64,"))
        for target in loads
    )
    anchors = {target[1:] for target in loads if target.startswith("#")}
    assert anchors == {"content", *re.findall(r'<section id="([^"]+)"', page)}
    assert "prefers-color-scheme: dark" in page
    assert "not intended for clinical use" in page


def test_page_is_escaped(make_store):
    store = make_store(Made(), Made(perturbation="pgd", severity=0.5, error="<script>x</script>"))
    page = report.write(store).html.read_text(encoding="utf-8")
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


def test_provenance_is_complete(written):
    text = written.markdown.read_text(encoding="utf-8")
    cell = Made().cell()
    assert "Test Processor" in text
    assert "torch = 2.13.0" in text
    assert cell.dataset.digest in text
    assert cell.checkpoint.sha256 in text
    assert "epochs = 12" in text
    assert re.search(r"pgd +\| linf +\| 1 +\| 0 +\| steps = 10 +\| 2/255, 8/255", text)


def test_latex_holds_results_and_leaves_out_checks_and_provenance(make_store):
    text = report.write(make_store(SUBSET, SUSPECT)).latex.read_text(encoding="utf-8")
    assert r"\caption{Overview of adrenalmnist3d" in text
    for title in ("Matrix checks", "Record checks", "Machines and versions", "Checkpoints"):
        assert title not in text


def test_writing_again_changes_no_byte(make_store):
    store = make_store(SUBSET, SUSPECT)
    first = {path: path.read_bytes() for path in _files(report.write(store))}
    second = {path: path.read_bytes() for path in _files(report.write(store))}
    assert first == second


def test_a_baseline_has_the_report_of_its_store_beside_it(make_store, tmp_path):
    store = make_store(Made(), Made(perturbation="pgd", severity=4 / 255))
    packed = tmp_path / "packed.zip"
    baseline.save(open_source(store), packed)
    found = report.write(packed)
    assert found.markdown == tmp_path / "packed-report" / "summary.md"
    assert found.markdown.read_text() == report.write(store).markdown.read_text()


def _files(found):
    return [found.html, found.markdown, found.csv, found.latex, *found.plots]


def test_records_are_left_alone(make_store):
    store = make_store(SUBSET)
    before = (store / "records.jsonl").read_bytes()
    report.write(store)
    assert (store / "records.jsonl").read_bytes() == before
    assert {path.name for path in (store / "report").iterdir()} == {
        "plots",
        "report.html",
        "summary.md",
        "summary.csv",
        "summary.tex",
    }


def test_subset_suspect_and_failure_are_marked(make_store):
    found = report.write(make_store(SUBSET, SUSPECT, FAILED))
    text = found.markdown.read_text(encoding="utf-8")
    assert "Subsets, not whole test sets: adrenalmnist3d (20 of 60 volumes)." in text
    titles = re.findall(r"^### (.*adrenal.*)$", text, flags=re.MULTILINE)
    assert titles
    assert all("(20 of 60)" in title for title in titles)
    assert re.search(r"\d\] †", text)
    reason = "pgd 8/255: gradient is not zero: gradients vanish."
    assert f"† Suspect, not ranked: resnet3d_18: {reason}" in text
    assert "fgsm 8/255 failed." in text
    assert re.search(r"resnet3d_18 .*fgsm 8/255 .*the logits are NaN", text)
    line = pd.read_csv(found.csv).set_index("perturbation")
    assert line.loc["fgsm", "status"] == "error"
    assert pd.isna(line.loc["fgsm", "accuracy"])
    assert bool(line.loc["pgd", "suspect"])
    assert (line.loc["clean", "n"], line.loc["clean", "of"]) == (20, 60)


def test_overview_in_wide_and_narrow_terminals(make_store):
    store = make_store(SUBSET, SUSPECT, FAILED)
    wide = printed(store)
    assert re.search(r"0\.\d{3}\s", wide)
    assert re.search(r"\[0\.\d{3}, 0\.\d{3}\]", wide)
    assert "Overview of adrenalmnist3d (20 of 60)" in wide
    assert "failed: resnet3d_18, adrenalmnist3d (20 of 60), fgsm 8/255: the logits are NaN" in wide
    narrow = printed(store, width=50)
    assert re.search(r"^ Clean AUC +0\.\d{3}", narrow, flags=re.MULTILINE)
    assert "…" not in narrow


def test_an_unwritable_folder_is_one_line(make_store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cannot write to .*file.*Pass another folder"):
        report.write(make_store(Made()), tmp_path / "file")


def test_torch_and_pyplot_are_never_imported(make_store):
    store = make_store(Made(n=6))
    code = (
        "import sys; from pathlib import Path; from benchharness import report; "
        f"report.write(Path({str(store)!r})); report.overview(Path({str(store)!r})); "
        "print(sorted({'torch', 'torchvision', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
