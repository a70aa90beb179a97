"""What is known about the sign-in of every CLI: asked beside the work, never on a message's way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from ductor_lib.cli.auth import AuthState


class Asked(Protocol):
    """Asks one CLI (auth.Auth, codex_auth.CodexAuth). May take some seconds."""

    def state(self) -> AuthState: ...


class SignIns:
    """The last known states, by provider. Any thread.

    A CLI only tells that credentials are there. `rejected` notes that they were refused: then the CLI counts as not
    signed in until a turn succeeds or its state changes.
    """

    def __init__(self, clis: Mapping[str, Asked]) -> None:
        self._clis = clis
        self._lock = threading.Lock()
        self._known: dict[str, AuthState] = {}
        self._rejected: dict[str, AuthState] = {}

    def providers(self) -> tuple[str, ...]:
        return tuple(self._clis)

    def state(self, provider: str) -> AuthState:
        """What is known; only the first call has to ask."""
        with self._lock:
            known = self._known.get(provider)
        if known is None:
            known = self._ask(provider)
        with self._lock:
            refused = self._rejected.get(provider) == known
        return replace(known, signed_in=False, method="rejected") if refused and known.signed_in else known

    def signed_in(self) -> frozenset[str]:
        """The providers that can work. Seconds at the first call."""
        return frozenset(provider for provider in self._clis if self.state(provider).signed_in)

    def refresh(self) -> None:
        """Ask every CLI again. Some seconds; for the housekeeping."""
        for provider in self._clis:
            self._ask(provider)

    def rejected(self, provider: str) -> None:
        """A turn was refused for its credentials."""
        with self._lock:
            if provider in self._known:
                self._rejected[provider] = self._known[provider]

    def accepted(self, provider: str) -> None:
        """A turn has succeeded."""
        with self._lock:
            self._rejected.pop(provider, None)

    def _ask(self, provider: str) -> AuthState:
        state = self._clis[provider].state()
        with self._lock:
            self._known[provider] = state
        return state
