"""Programs that hand out credentials (a profile's `credential_process`), started in threads of the system's too.

Under gevent, botocore starts them by gevent's subprocess, which works in the main thread only. In an errand's thread
that is a TypeError, and the worker would never have credentials.
"""

from __future__ import annotations

import os
import subprocess
from tempfile import TemporaryFile
from typing import Any

from botocore import credentials
from gevent import get_hub
from gevent.monkey import get_original, is_module_patched

_spawn, _wait = get_original("os", "posix_spawnp"), get_original("os", "waitpid")
#: gevent's leaves it to the loop of its thread, and that of an errand never runs.
_close = get_original("os", "close")


def install() -> None:
    """Have botocore start programs so, whichever session asks."""
    credentials.ProcessProvider = _ProcessProvider


class _ProcessProvider(credentials.ProcessProvider):
    """Botocore's, which starts the program in the way that works in the thread it is in."""

    def __init__(self, profile_name: str, load_config: Any) -> None:
        super().__init__(profile_name, load_config, popen=_start)


def _start(command: list[str], **options: Any) -> Any:
    if is_module_patched("subprocess") and not get_hub().loop.default:
        return _Program(command)
    return subprocess.Popen(command, **options)  # noqa: S603 - what the profile says


class _Program:
    """As much of `subprocess.Popen` as botocore uses, without anything that gevent replaces."""

    def __init__(self, command: list[str]) -> None:
        self.returncode: int | None = None
        self._errors = TemporaryFile()  # noqa: SIM115 - until it is read
        self._output, output = os.pipe()
        try:
            actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, self._errors.fileno(), 2)]
            self._pid = _spawn(command[0], command, os.environ, file_actions=actions)
        except OSError:
            _close(self._output)
            self._errors.close()
            raise
        finally:
            _close(output)

    def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end; what it wrote to its standard output and its standard error."""
        with self._errors as errors, open(self._output, "rb") as output:  # noqa: PTH123 - a descriptor
            written = output.read()
            try:
                self.returncode = os.waitstatus_to_exitcode(_wait(self._pid, 0)[1])
            except ChildProcessError:
                self.returncode = 0  # gevent's loop has seen it end before us, and knows the status alone
            errors.seek(0)
            return written, errors.read()
