"""A whole training step of Spikformer 2-256, and its memory, against SpikingJelly.

    python benchmarks/training_step.py --out benchmarks/results/training_step_h200.json

T = 16, B = 16, frames of 2 x 128 x 128, 10 classes: forward, cross-entropy, backward, AdamW, in
float32 (TF32 on for all sides unless ``--no-tf32``) and in bfloat16 autocast. The other side is the
same network of SpikingJelly's modules with the same weights (``spikformer_spikingjelly.py``).

Both sides are given the same choices, and the best of each counts: the ways a library has to run
its neurons, both memory layouts, ``torch.compile`` around the kernels, a CUDA graph of the whole
step (``step_choices.py``). ``times_the_peer`` is the peer's best over ours;
``times_the_peer_as_released`` the best that SpikingJelly's modules and precision API reach, with or
without ``torch.compile``, when nothing of this benchmark is put around them: no CUDA graph (its
example trainer captures one, by a private module), no float32 membrane. Times are medians of single
steps by CUDA events; peak memory is what torch has allocated at most during a step, weights and
optimizer included: of the fastest choice (``best``), and of the one with the least (``smallest``).

The JSON is written after every choice, and says what is ``missing``. The same command again goes on
(``keep.py``); ``--dtype`` and ``--only`` measure a part.
"""

from dataclasses import asdict

import keep
import measure
import tables_step
from step_choices import DTYPES
from step_search import Search
from step_sides import CHANNELS, CLASSES, Task

from spikesim.models.spikformer import SpikformerSizes


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--dtype", choices=DTYPES, help="this one alone")
    parser.add_argument("--only", default="", help="ours, and choices whose name matches this")
    options = parser.parse_args()
    run = measure.begin(options)
    if not (run.on_gpu or run.quick):
        raise SystemExit("a full step takes minutes on a CPU; add --quick to see that it runs")
    task = Task(SpikformerSizes())
    if run.quick:
        task = Task(SpikformerSizes(dim=16, depth=1, heads=2), steps=2, batch=2, size=32)
    report = measure.record("training_step", run, options.out)
    report["task"] = asdict(task) | {"classes": CLASSES, "channels": CHANNELS}
    search = Search(task, run, report.get("rows", []))
    dtypes = (options.dtype,) if options.dtype else DTYPES
    while not run.spent and (choice := search.due(dtypes, options.only)):
        search.measure(choice)
        report["rows"] = search.rows()
        keep.save(report, options.out)
    measure.finish(report, options.out, tables_step.training_step)


if __name__ == "__main__":
    main()
