"""``python -m spikesim``: the command line, for instance under ``torchrun -m spikesim``."""

from spikesim.cli import main

if __name__ == "__main__":
    main()
