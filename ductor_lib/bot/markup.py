"""Markdown to Telegram text with entities. No text is lost, and every prefix of a document renders."""

from __future__ import annotations

from ductor_lib.bot.parts import Entity, Part, units

__all__ = ["Entity", "Part", "units"]
