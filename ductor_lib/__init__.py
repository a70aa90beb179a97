"""ductor: Claude Code and Codex on your own machine, from a Telegram chat."""

__version__ = "0.1.0"
