"""The command line ``spikesim``; commands import what they need when they run."""

import os


def main() -> None:
    """Run the command line on ``sys.argv``; exits the process."""
    # Torch's threads spin while they wait for each other, by default for long: with one other busy
    # process on two cores a training step took 8.4 s. Spinning briefly it takes 1.7 s, and 0.3 s
    # on an idle machine as before. Read by GNU OpenMP when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

    from spikesim.cli.app import app

    app(prog_name="spikesim")
