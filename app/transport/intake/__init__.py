"""Receiving: how much is asked for and when, and what is given to the consumer."""

from __future__ import annotations

from app.transport.intake.intake import Intake

__all__ = ["Intake"]
