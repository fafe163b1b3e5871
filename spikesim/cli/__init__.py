"""The command line ``spikesim``; commands import what they need when they run."""


def main() -> None:
    """Run the command line on ``sys.argv``; exits the process."""
    from spikesim.cli.app import app

    app(prog_name="spikesim")
