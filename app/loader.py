"""How the modules with tasks are imported: one that cannot be is told with the setting that named it."""

from __future__ import annotations

import traceback
from typing import Any

from celery.loaders.app import AppLoader


class Loader(AppLoader):
    """Celery's own, with a last line that says what to do."""

    def import_task_module(self, module: str) -> Any:
        """Import one module of SLUICE_TASK_MODULES.

        Raises:
            SystemExit: it raised something; the traceback is printed before, since it is somebody's code to mend.
        """
        try:
            return super().import_task_module(module)
        except Exception as error:  # noqa: BLE001 - whatever somebody's module may raise
            traceback.print_exc()
            raise SystemExit(
                f"{module}, named by SLUICE_TASK_MODULES, cannot be imported ({type(error).__name__}): "
                "the reason is above; mend the module, or take it out of SLUICE_TASK_MODULES."
            ) from None
