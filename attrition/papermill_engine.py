"""papermill's engine, made quick and truthful: whole saves, few of them, and no cell called completed that was not."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from jupyter_core.utils import ensure_event_loop, run_sync
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode, v4
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.log import logger

from attrition import safe
from attrition.forks import Forks
from attrition.kernel_manager import manager

__all__ = ["NAME", "Execution", "Watcher", "event_loop"]

NAME = "attrition"
EVERY = 2.0  # seconds between two saves while cells run


class Watcher(Protocol):
    """Who looks on while a notebook runs."""

    def cell(self, index: int, count: int) -> None:
        """A cell is about to start, of ``count``; raises where none may start any more."""

    def printed(self, index: int, text: str) -> None:
        """A cell printed something."""

    def killed(self) -> str:
        """Why the kernel is gone, in words."""


class Execution(NotebookExecutionManager):  # type: ignore[misc]
    """The state of a notebook that runs, saved whole: at the start, every two seconds, at a failure, at the end."""

    def __init__(self, nb: NotebookNode, target: Path, watcher: Watcher):
        super().__init__(nb, progress_bar=False, autosave_cell_every=0)
        self.target, self.watcher, self.saved = target, watcher, -math.inf
        nb.metadata.papermill["output_path"] = str(target)

    def save(self, **_: Any) -> None:
        """Save, unless it was done within the last two seconds."""
        if time.monotonic() - self.saved >= EVERY:
            self.write()

    def write(self) -> None:
        """Put the notebook on the disk as it is now."""
        safe.write(self.target, v4.writes(self.nb))
        self.saved = time.monotonic()

    def cell_start(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        """Mark a cell as running, if one may still start."""
        self.watcher.cell(cell_index, len(self.nb.cells))
        super().cell_start(cell, cell_index)

    def cell_complete(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        """Mark a cell as completed, if it was begun and did not fail."""
        if cell.metadata.papermill["status"] != self.PENDING:
            super().cell_complete(cell, cell_index)

    def cell_exception(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        """Mark a cell as failed."""
        super().cell_exception(cell, cell_index)
        self.saved = -math.inf  # so that the save that follows is done

    def notebook_complete(self, **_: Any) -> None:
        """Save the end. What is pending stays so: papermill would call it completed."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()
        self.write()


class NotebookClient(PapermillNotebookClient):  # type: ignore[misc]
    """Executes cells; what a cell prints is passed on at once, and a dead kernel is an error of its cell."""

    nb_man: Execution

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, *args: Any, **kwargs: Any) -> NotebookNode:
        """Execute one cell.

        Raises:
            CellExecutionError: it raised.
            DeadKernelError: the kernel went away; the cell has an error output that says why.
        """
        self.cell_index = cell_index
        saving = asyncio.ensure_future(self._save_on())
        try:
            executed: NotebookNode = await super().async_execute_cell(cell, cell_index, *args, **kwargs)
            return executed
        except CellExecutionError as error:
            if all(each.output_type != "error" for each in cell.outputs):  # memory was too short to show what it raised
                cell.outputs.append(v4.new_output("error", ename=error.ename, evalue=error.evalue, traceback=[]))
            raise
        except Exception as error:
            why = self.nb_man.watcher.killed() if isinstance(error, DeadKernelError) else str(error)
            cell.outputs.append(v4.new_output("error", ename=type(error).__name__, evalue=why, traceback=[]))
            self.nb_man.cell_exception(cell, cell_index)
            raise type(error)(why) if isinstance(error, DeadKernelError) else error from None
        finally:
            saving.cancel()

    execute_cell = run_sync(async_execute_cell)

    def log_output_message(self, output: NotebookNode) -> None:
        """Pass on what a cell printed."""
        if output.output_type == "stream":
            self.nb_man.watcher.printed(self.cell_index, "".join(output.text))

    async def _save_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            self.nb_man.save()


@contextmanager
def event_loop() -> Iterator[None]:
    """The event loop that nbclient uses in this thread, closed at the end with all that it opened."""
    loop = ensure_event_loop()
    try:
        yield
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class ForkingEngine(Engine):  # type: ignore[misc]
    """Runs a notebook in a kernel that was forked."""

    @classmethod
    def execute_notebook(
        cls, nb: NotebookNode, kernel_name: str, *, target: Path, forks: Forks, watcher: Watcher, **kwargs: Any
    ) -> NotebookNode:
        """Execute ``nb``; the executed copy is kept at ``target``. Called by papermill."""
        execution = Execution(nb, target, watcher)
        execution.notebook_start()
        client = NotebookClient(
            execution,
            kernel_name=kernel_name,
            kernel_manager_class=manager(forks),
            shutdown_kernel="immediate",  # asking politely stalls now and then; stages leave nothing to atexit
            log=logger,
            log_output=True,
            startup_timeout=60,
            timeout=None,
            config=kwargs["config"],
        )
        try:
            client.execute()
        finally:
            execution.notebook_complete()
        return nb


papermill_engines.register(NAME, ForkingEngine)
