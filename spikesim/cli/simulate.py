"""``spikesim simulate``: a published network, some settings, what it did, and files of it."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group as Lines

from spikesim import __version__
from spikesim.cli.group import INTERRUPTED
from spikesim.cli.screen import console, error_line, progress_aside, show, table
from spikesim.errors import UserError

if TYPE_CHECKING:
    from spikesim.network import Network
    from spikesim.world import World

DEFAULT_MS = 1000.0
TRACED = 2
"""Neurons of each population whose potential is recorded for a picture."""
ENDINGS = {"--spikes": (".npz",), "--plot": (".png", ".pdf", ".svg"), "--nwb": (".nwb",)}


def _file(option: str, about: str) -> Any:
    metavar = f"FILE{ENDINGS[option][0]}"
    return typer.Option(option, metavar=metavar, help=about, show_default=False)


def simulate(
    recipe: Annotated[
        str | None, typer.Argument(show_default=False, help="A network; --list names them.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            show_default=False,
            help="Settings to change, such as seed=1 scale=0.1 threads=2; RECIPE --list explains "
            "all, with their defaults.",
        ),
    ] = None,
    ms: Annotated[
        float | None,
        typer.Option("--ms", help="Biological time (default: 1000).", show_default=False),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="The same in seconds.", show_default=False)
    ] = None,
    spikes: Annotated[
        Path | None, _file("--spikes", "Write index and time_ms of all spikes.")
    ] = None,
    plot: Annotated[
        Path | None,
        _file("--plot", "Draw spikes, rates, potentials and distributions (or .pdf, .svg)."),
    ] = None,
    nwb: Annotated[
        Path | None, _file("--nwb", "Write what was recorded as Neurodata Without Borders.")
    ] = None,
    as_list: Annotated[
        bool, typer.Option("--list", help="Only list the networks, or the keys of RECIPE.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON instead of text.")
    ] = False,
) -> None:
    """Run a published network, record all spikes, and say how active and how fast it was.

    In the JSON, build_s is the wall time of building, with compiling where that was needed; run_s
    and cpu_s are wall time and the processor time of all threads, of the run alone.

    Under torchrun the processes share the network; the first one speaks and writes.
    """
    if as_list:
        _list(recipe, as_json)
        return
    if ms is not None and seconds is not None:
        raise UserError("--ms and --seconds say the same; give one")
    duration = DEFAULT_MS if ms is None and seconds is None else ms or 1e3 * (seconds or 0.0)
    files = {"--spikes": spikes, "--plot": plot, "--nwb": nwb}
    _check_files(files)
    with progress_aside(as_json):
        if os.environ.get("RANK", "0") == "0":  # said before anything large is loaded
            said = " ".join([*([recipe] if recipe else []), *(overrides or ())])
            title = f"spikesim {__version__}: simulate {said}"
            console().print(title, style="bold", soft_wrap=True)
        from spikesim.network.distributed import distributed

        with distributed() as world:
            document, rows = _simulate(
                recipe, overrides or [], duration, files, world, quiet=as_json
            )
    if not world.is_first:
        return
    speed = document["run_s"] * 1e3 / duration
    text = Lines(
        f"\n{document['N']:,} neurons, {document['synapses']:,} synapses, built in "
        f"{document['build_s']:.2f} s; {duration:g} ms in {document['run_s']:.2f} s "
        f"({speed:.2f} x real time, {document['cpu_s']:.2f} s of processors)\n",
        table(("population", "neurons", "spikes", "rate (Hz)", "CV of intervals"), rows),
        *(f"wrote {path}" for path in files.values() if path is not None),
    )
    show(document, text, as_json, indent=None)


def _simulate(
    recipe: str | None,
    overrides: list[str],
    duration: float,
    files: Mapping[str, Path | None],
    world: "World",
    quiet: bool,
) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Build, run and write; the document, and a row for each population."""
    import numpy as np

    from spikesim.cli.simulate_keys import recipe_named, settings
    from spikesim.network.distributed import gather
    from spikesim.network.grid import step_size, whole_steps
    from spikesim.network.population import Population
    from spikesim.network.statistics import cv_isi

    make = recipe_named(recipe)
    keys = settings(make, overrides)
    if not whole_steps(duration, step_size(keys["dt"]), "the biological time"):
        raise UserError("the biological time must be at least one step, got 0 ms")
    start = time.perf_counter()
    net: Network = make(**keys)
    groups = [group for group in net.groups if isinstance(group, Population)]
    probes = [net.probe(group, "spikes") for group in groups]
    if files["--plot"] is not None:
        for group in (group for group in groups if "v" in group.state):
            net.probe(group, "v", neurons=np.arange(min(TRACED, group.size)))
    net.run(0.0)  # builds it, and compiles what it needs
    build_s = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    try:
        net.run(duration, progress=world.is_first and not quiet)
    except KeyboardInterrupt:
        if world.is_first:
            error_line(f"interrupted after {net.time:g} of {duration:g} ms; nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    cpu_s, run_s = time.process_time() - cpu, time.perf_counter() - start
    cpu_s = sum(gather(world, cpu_s))
    _write(net, files, f"spikesim simulate {recipe} {' '.join(overrides)}".rstrip())
    probes = [probe.gather() for probe in probes]
    cvs = [cv[np.isfinite(cv)] for cv in map(cv_isi, probes)]
    spikes, cv = sum(map(len, probes)), np.concatenate(cvs)
    document = {
        "model": recipe,
        "N": net.neurons,
        "synapses": net.synapses,
        "dt_ms": net.dt,
        "biological_ms": duration,
        "build_s": round(build_s, 4),
        "run_s": round(run_s, 4),
        "cpu_s": round(cpu_s, 4),
        "spikes": spikes,
        "rate_hz": round(spikes / net.neurons / duration * 1e3, 4),
        "cv_isi": round(float(cv.mean()), 4) if cv.size else None,
        "device": str(net.device),
        "threads": net.threads,
        "processes": world.size,
        "seed": net.seed,
    }
    rows = [
        (p.group.name, p.group.size, len(p), f"{p.rate:.2f}", f"{c.mean():.2f}" if c.size else "")
        for p, c in zip(probes, cvs, strict=True)
    ]
    return document, rows


def _write(net: "Network", files: Mapping[str, Path | None], description: str) -> None:
    """The files that were asked for, each whole or absent; the first process writes them."""
    import io

    from spikesim.files import write_atomic
    from spikesim.network import export, export_npz, export_nwb
    from spikesim.network.plot import picture

    spikes, plot, nwb = (files[option] for option in ENDINGS)
    recording, probes = export.record(net), [probe.gather() for probe in net.probes]
    if not net.world.is_first:
        return
    if spikes is not None:
        export_npz.save(spikes, recording)
    if nwb is not None:
        export_nwb.write_nwb(nwb, recording, description)
    if plot is not None:
        image = io.BytesIO()
        picture(probes, 0.0, net.time).savefig(image, format=plot.suffix[1:], dpi=150)
        write_atomic(plot, image.getvalue())


def _check_files(files: Mapping[str, Path | None]) -> None:
    """Refuse before a long run what could not be written after it."""
    for option, path in files.items():
        if path is not None and path.suffix not in ENDINGS[option]:
            raise UserError(f"{option} {path}: name it {' or '.join(ENDINGS[option])}")
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.absolute().parent}")


def _list(recipe: str | None, as_json: bool) -> None:
    """The networks, or the keys of one."""
    from spikesim.cli.simulate_keys import keys_of, recipe_named, summary
    from spikesim.network.recipes import RECIPES

    if recipe is None:
        networks = [{"network": name, "what": summary(make)} for name, make in RECIPES.items()]
        show(networks, table(("network", "what"), [tuple(n.values()) for n in networks]), as_json)
        return
    rows = [
        {"key": name, "default": key.default, "values": key.values, "what": key.about}
        for name, key in keys_of(recipe_named(recipe)).items()
    ]
    text = [(r["key"], _yaml(r["default"]), r["values"], r["what"]) for r in rows]
    show(rows, table(("key", "default", "values", "what"), text), as_json)


def _yaml(value: Any) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else json.dumps(value)
