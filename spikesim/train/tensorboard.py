"""TensorBoard scalars; TensorBoard itself is imported at the first one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Scalars:
    """Scalars of a run. ``step`` is where it continues: later ones of a killed run are hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.first = folder, step
        self._writer: SummaryWriter | None = None

    def write(self, group: str, numbers: Mapping[str, Any], step: int) -> None:
        """Write the numbers of a record as ``group/name``; texts and groups are left out."""
        if self._writer is None:
            # A second or more, so that it comes after the first progress output.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self.first + 1)
        for name, value in numbers.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is pending."""
        if self._writer is not None:
            self._writer.close()
