"""Jupyter's kernel manager, provisioner and client, told to fork kernels and to wait for events, not for a time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from nbclient.exceptions import DeadKernelError
from traitlets import Type

from attrition.forks import ForkFailed, Forks, Kernel

__all__ = ["manager"]

ORDINARY = Path(__file__).with_name("fork_server.py")


class Provisioner(LocalProvisioner):  # type: ignore[misc]
    """Starts a kernel by a fork, or as a process of its own where that fails; its end is awaited, not polled for."""

    forks: Forks
    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start it; a forked one listens already when this returns."""
        connection_file = str(Path(self.parent.connection_file).resolve())
        cwd = str(kwargs.get("cwd") or Path.cwd())
        environment = kwargs.get("env") or os.environ
        try:
            kernel: Kernel = await asyncio.to_thread(self.forks.fork, connection_file, cwd, environment)
        except ForkFailed:
            # The command of the kernel's own specification would open a TCP port, and know of no death but its own.
            cmd = [sys.executable, "-P", str(ORDINARY), "kernel", str(os.getpid()), connection_file]
            info = await super().launch_kernel(cmd, **kwargs)
            self.forks.latest = self.process
            return info
        self.process, self.pid, self.pgid, self.cwd = kernel, kernel.pid, kernel.pid, cwd
        return self.connection_info

    async def send_signal(self, signum: int) -> None:
        """Send a signal, but no interrupt: Jupyter interrupts a kernel before it kills it.

        Where that meets a kernel that is just done with its last cell, the kernel writes of an ERROR into cron's log.
        A cell at work is interrupted by :meth:`attrition.forks.Forks.interrupt`.
        """
        if signum != signal.SIGINT:
            await super().send_signal(signum)

    async def kill(self, restart: bool = False) -> None:
        """Kill it, with its process group, and wait until it is gone."""
        await super().kill(restart)
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self.process.wait, 5)


class Client(AsyncKernelClient):  # type: ignore[misc]
    """Asks the kernel once whether it is ready. Its end shows in its process, so no heartbeat is kept."""

    def start_channels(self, **_: bool) -> None:
        """Those that a notebook needs: what it is told, and what it says."""
        super().start_channels(stdin=False, hb=False, control=False)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait for the reply to one request, and for the first sign on the channel that outputs come by.

        Raises:
            DeadKernelError, RuntimeError: the kernel died; it did not answer in time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (timeout or 60)
        self.kernel_info()
        for channel in (self.shell_channel, self.iopub_channel):
            while True:
                try:
                    message = await channel.get_msg(timeout=0.2)
                except Empty:
                    if not await self.parent.is_alive():
                        raise DeadKernelError("the kernel died before it was ready") from None
                    if loop.time() > end:
                        raise RuntimeError(f"the kernel did not answer within {timeout} s") from None
                else:
                    if message["msg_type"] == "kernel_info_reply":
                        self._handle_kernel_info_reply(message)
                    break


def manager(forks: Forks) -> type[AsyncKernelManager]:
    """A kernel manager class, as nbclient wants it, whose kernels come from ``forks``."""

    class Manager(AsyncKernelManager):  # type: ignore[misc]
        provisioner: Any
        client_factory = Type(klass=AsyncKernelClient, default_value=Client)

        async def start_kernel(self, **kwargs: Any) -> None:
            """Start the kernel, forked if possible."""
            if self.provisioner is None:
                self.provisioner = Provisioner(kernel_id="", kernel_spec=self.kernel_spec, parent=self)
                self.provisioner.forks = forks
            await super().start_kernel(**kwargs)

    return Manager
