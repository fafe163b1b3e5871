"""From a run's folder to its page."""

import json
import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesim.report import write
from spikesim.report.collect import collect
from spikesim.report.energy_pictures import of_energy
from spikesim.train.config import Config
from spikesim.train.run import Run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """The finished run in a folder that a test may damage."""
    return Run(shutil.copytree(finished.path, tmp_path / "bars"))


def test_a_finished_run_is_shown_whole(finished: Run) -> None:
    found = collect(finished)
    assert found.notes == {}
    result = json.loads((finished.path / "result.json").read_text())
    assert found.result["accuracy"] == result["accuracy"]
    assert found.confusion.tolist() == result["confusion"]
    assert len(found.metrics) == 2
    assert found.recording is not None
    assert list(found.recording.rates) == list(result["firing_rates"])


def test_energy_layers_add_up_to_the_result(finished: Run) -> None:
    energy, result = collect(finished).energy, finished.result
    for name, value in result.energy.items():
        assert energy[name] == value
    assert len(energy["models"]) > 1
    for name, charge in energy["models"].items():
        added = sum(layer["joules"][name] for layer in energy["layers"])
        assert added == pytest.approx(charge["joules"])


def test_pictures_of_a_kind_lie_side_by_side(finished: Run) -> None:
    names = [picture.name.split("-")[0] for picture in of_energy(collect(finished).energy)]
    assert [kind for kind, _ in groupby(names)] == ["layers", "crossover", "sensitivity"]


def test_films_agree_with_the_confusion_matrix(finished: Run) -> None:
    """Ten test recordings, eight shown: wrong ones as the matrix has them, true labels kept."""
    found, test = collect(finished), finished.dataset("test")
    shown = np.zeros((2, 2), int)
    for clip in found.clips:
        index = int(clip.title.split()[1])
        frames, label = test[index]
        assert clip.truth == int(label)
        assert torch.equal(torch.as_tensor(clip.frames), frames)
        assert clip.predicted == clip.evidence[-1].argmax()
        np.testing.assert_allclose(clip.evidence.sum(1), 1, rtol=1e-5)
        shown[clip.truth, clip.predicted] += 1
    assert len(found.clips) == 8
    assert (shown <= found.confusion).all()
    wrong = found.confusion.sum() - np.trace(found.confusion)
    assert min(wrong, 1) <= shown.sum() - np.trace(shown)


def test_report_lies_in_the_run_and_repeats(finished: Run) -> None:
    page = write(finished)
    assert page == finished.path / "report.html"
    first = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;right" in first
    assert write(finished, finished.path / "again.html").read_text(encoding="utf-8") == first


def test_a_killed_run_is_shown_on_training_recordings(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied.path / "result.json").unlink()
    asked = []
    dataset = Run.dataset
    monkeypatch.setattr(
        Run, "dataset", lambda self, split="test": asked.append(split) or dataset(self, split)
    )
    found = collect(copied)
    assert asked == ["train"]
    assert "has not finished" in found.notes["result"]
    assert found.clips
    assert found.confusion is None
    page = write(copied).read_text(encoding="utf-8")
    assert "has not finished" in page
    assert "Test recordings" not in page  # its films are of training recordings


def test_without_recordings_there_is_a_note(copied: Run) -> None:
    path = copied.path / "config.yaml"
    path.write_text(path.read_text().replace("moving", "moved"))
    found = collect(copied)
    assert set(found.notes) == {"clips", "raster", "traces"}
    assert found.energy == copied.result.energy
    assert write(copied).is_file()


def test_without_a_checkpoint_there_is_a_note(copied: Run) -> None:
    shutil.rmtree(copied.path / "checkpoint")
    found = collect(copied)
    assert "checkpoint" in found.notes["clips"]
    assert write(copied).is_file()


def test_a_run_that_never_began_is_a_page(settings: Config, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    settings.save(tmp_path / "config.yaml")
    page = write(Run(tmp_path)).read_text(encoding="utf-8")
    assert "No epoch is finished yet." in page


def test_a_damaged_result_is_named(copied: Run) -> None:
    (copied.path / "result.json").write_text("{")
    assert "is damaged" in collect(copied).notes["result"]
