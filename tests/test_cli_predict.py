"""``npresnet predict``: pictures in, predictions out, and no picture spoils another."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)


@pytest.fixture
def weights() -> str:
    return tiny.save("weights.npz")


@pytest.fixture
def photos() -> Path:
    """Five pictures, one of them below another folder, and a file that is no picture."""
    rng = np.random.default_rng(2)
    folder = Path("photos")
    (folder / "deep").mkdir(parents=True)
    for n, name in enumerate(["a.png", "b.jpg", "c.png", "d.png", "deep/e.png"]):
        Image.fromarray(rng.integers(0, 256, (40 + n, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_predictions_for_people(capsys: pytest.CaptureFixture[str], weights: str, photos: Path) -> None:
    status, out, err = run(capsys, "predict", photos / "a.png", "--weights", weights, "--top-k", 2)
    assert (status, err) == (0, "")
    name, first, second = out.splitlines()
    assert name == "photos/a.png"
    scores = [float(line.split("%")[0]) for line in (first, second)]
    assert 100 >= scores[0] >= scores[1] > 0
    assert first.split("%  ")[1] in ("cat (0)", "dog (1)", 'résumé, "quoted" (2)')


def test_json_is_one_document_that_agrees_with_the_library(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path
) -> None:
    import npresnet

    status, out, _ = run(capsys, "predict", photos, "--weights", weights, "--json", "--batch-size", 2)
    assert status == 0
    document = json.loads(out)
    files = [f"photos/{name}" for name in ("a.png", "b.jpg", "c.png", "d.png", "deep/e.png")]
    assert [item["file"] for item in document] == files
    model = npresnet.load(weights)
    for item in document:
        expected = model.predict(item["file"])
        assert [(p["index"], p["label"]) for p in item["predictions"]] == [(p.index, p.label) for p in expected]
        assert [p["score"] for p in item["predictions"]] == pytest.approx([p.score for p in expected], abs=1e-5)
        assert sum(p["score"] for p in item["predictions"]) == pytest.approx(1, abs=1e-5)  # all three classes


def test_a_bad_picture_does_not_spoil_the_others(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path
) -> None:
    (photos / "b.jpg").write_bytes(b"no picture")
    (photos / "d.png").write_bytes((photos / "c.png").read_bytes()[:-2000])
    status, out, err = run(capsys, "predict", photos, "missing.png", "--weights", weights, "--json")
    assert status == 1
    document = {item["file"]: item for item in json.loads(out)}
    assert {file for file, item in document.items() if "error" in item} == {
        "missing.png", "photos/b.jpg", "photos/d.png",
    }  # fmt: skip
    assert all("predictions" in document[f"photos/{name}"] for name in ("a.png", "c.png", "deep/e.png"))
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("npresnet: ") for line in lines)
    for file in ("missing.png", "photos/b.jpg", "photos/d.png"):
        assert sum(file in line for line in lines) == 1


def test_batches_stay_small(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import npresnet

    sizes: list[int] = []
    predict = npresnet.ResNetForImageClassification.predict

    def watched(self: object, images: list[object], **options: object) -> object:
        sizes.append(len(images))
        return predict(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(npresnet.ResNetForImageClassification, "predict", watched)
    run(capsys, "predict", photos, "--weights", weights, "--batch-size", 2)
    assert sizes == [2, 2, 1]


def test_csv(capsys: pytest.CaptureFixture[str], weights: str, photos: Path) -> None:
    status, out, err = run(capsys, "predict", photos, "--weights", weights, "--csv", "labels.csv", "--top-k", 3)
    assert (status, out, err) == (0, "", "")
    with open("labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    assert list(rows[0]) == ["file", "rank", "index", "label", "score"]
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "3"]
    assert {row["label"] for row in rows} == set(tiny.LABELS.values())
    assert not list(Path().glob(".labels*"))
    Path("ordinary").touch()
    assert Path("labels.csv").stat().st_mode == Path("ordinary").stat().st_mode


def test_csv_is_not_touched_by_a_failure(capsys: pytest.CaptureFixture[str], photos: Path) -> None:
    Path("labels.csv").write_text("older")
    status, _, err = run(capsys, "predict", photos, "--weights", "gone.npz", "--csv", "labels.csv")
    assert status == 1
    assert "gone.npz" in err
    assert Path("labels.csv").read_text() == "older"
    assert {path.name for path in Path().iterdir()} == {"labels.csv", "photos"}
    status, _, err = run(capsys, "predict", photos, "--weights", "gone.npz", "--csv", "no/such/labels.csv")
    assert status == 1
    assert err.count("\n") == 1


def test_a_picture_from_stdin(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (photos / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    _, out, _ = run(capsys, "predict", "-", photos / "a.png", "--weights", weights, "--json")
    piped, named = json.loads(out)
    assert piped["file"] == "-"
    assert piped["predictions"] == named["predictions"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    status, _, err = run(capsys, "predict", "-", "--weights", weights)
    assert status == 1
    assert err.startswith("npresnet: stdin: ")


def test_a_folder_without_pictures(capsys: pytest.CaptureFixture[str], weights: str) -> None:
    Path("empty").mkdir()
    status, out, err = run(capsys, "predict", "empty", "--weights", weights)
    assert (status, out) == (1, "")
    assert "holds no pictures" in err
    status, out, err = run(capsys, "predict", "empty", "--weights", weights, "--json")
    assert [item["file"] for item in json.loads(out)] == ["empty"]


def test_no_weights_means_the_default_ones(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npresnet.zoo.default_weights", lambda: Path(weights))
    status, out, _ = run(capsys, "predict", photos / "a.png")
    assert status == 0
    assert "cat (0)" in out


def test_odd_file_names(capsys: pytest.CaptureFixture[str], weights: str, photos: Path) -> None:
    odd = os.fsdecode(b"photos/\xff\x1b[31m.png")
    os.rename(photos / "a.png", odd)
    status, out, _ = run(capsys, "predict", odd, "--weights", weights)
    assert status == 0
    assert out.splitlines()[0] == r"photos/\udcff\x1b[31m.png"
    _, out, _ = run(capsys, "predict", odd, "--weights", weights, "--json")
    assert json.loads(out)[0]["file"] == odd


def test_a_bar_only_where_it_does_not_disturb(
    capsys: pytest.CaptureFixture[str], weights: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    argv = ("predict", photos, "--weights", weights, "--batch-size", 1)
    _, out, err = run(capsys, *argv, "--json")
    assert len(json.loads(out)) == 5
    assert "classifying" in err
    _, _, err = run(capsys, *argv, "--csv", "labels.csv")
    assert "classifying" in err
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, _, err = run(capsys, *argv)
    assert err == ""
