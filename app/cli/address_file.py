"""`--address-file`: where a server of ours writes its address, for whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, address: str) -> None:
    """Write the file whole, so that nobody reads half of it; for our eyes only, since it may hold a password."""
    draft = path.with_name(f"{path.name}.partial")
    draft.touch(mode=0o600)
    draft.write_text(f"{address}\n")
    draft.replace(path)
