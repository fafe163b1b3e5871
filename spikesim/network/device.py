"""The device that a network runs on."""

import torch

from spikesim.errors import BackendError, UserError
from spikesim.kernels.check import check_cupy
from spikesim.world import World


def chosen(name: str, world: World) -> torch.device:
    """The device of a name: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Of several processes on a machine ``"cuda"`` gives each another one.

    Raises:
        UserError: another name.
        BackendError: a CUDA device that cannot serve.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device must be 'cpu', 'cuda' or such as 'cuda:1', got {name!r}")
    if device.type == "cpu":
        return device
    try:
        check_cupy()
    except BackendError as error:
        raise BackendError(f"{name!r} cannot serve: {error}, or use device='cpu'") from error
    index = device.index
    if index is None:
        index = world.local_rank or torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise BackendError(
            f"there is no device {name!r}: torch sees {torch.cuda.device_count()} of CUDA; "
            "use device='cpu'"
        )
    return torch.device("cuda", index)
