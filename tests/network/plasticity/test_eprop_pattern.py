"""The example of e-prop learns, and its recurrent synapses take part."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "eprop_pattern.py"


def test_a_recurrent_network_learns_a_curve(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLE))
    both = example["learn"](40, 1)
    alone = example["learn"](40, 1, is_recurrent=False)
    assert both.error[0] > 0.9
    assert both.error[-5:].mean() < 0.35
    assert both.error[-5:].mean() < 0.85 * alone.error[-5:].mean()
    assert 5.0 < both.rate < 40.0
    example["draw"](both, alone, str(tmp_path / "pattern.png"))
    assert (tmp_path / "pattern.png").stat().st_size > 10_000
