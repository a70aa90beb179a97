"""One preview on the screen: which messages show it, and what they show. Only what changed is sent."""

from __future__ import annotations

from collections.abc import Callable

from ductor_lib.bot.client import Client
from ductor_lib.bot.failures import Rejected
from ductor_lib.bot.keyboard import keyboard
from ductor_lib.bot.markup import Part
from ductor_lib.bot.preview import Preview
from ductor_lib.messages import Rows
from ductor_lib.orchestrator.outbox import Outbox


class Frames:
    """The messages of one preview. One thread at a time.

    The ids are in the outbox's slot right after each send, so that the final finds them.
    """

    def __init__(self, preview: Preview, client: Client, outbox: Outbox) -> None:
        self._preview = preview
        self._client = client
        self._outbox = outbox
        self._messages = list(outbox.slot(preview.chat, preview.slot))
        self._shown: list[tuple[Part, str] | None] = [None] * len(self._messages)
        self._buttons: Rows = ()
        self._keyboard = ""

    def draw(self, take: Callable[[], bool]) -> bool:
        """Show the newest state; `take` allows each call or ends the frame. Whether all of it is shown.

        Raises what the client raises: try the next frame.
        """
        draft = self._preview.draw()
        if draft.buttons != self._buttons:
            self._keyboard, self._buttons = keyboard(draft.buttons, self._outbox), draft.buttons
        for number, part in enumerate(draft.parts):
            look = (part, self._keyboard if number == len(draft.parts) - 1 else "")
            if number < len(self._shown) and self._shown[number] == look:
                continue
            if not take():
                return False
            self._show(number, *look)
        if draft.parts and len(self._messages) > len(draft.parts):
            if not take():
                return False
            self._client.delete(self._preview.chat, self._messages[len(draft.parts):])
            self._keep(len(draft.parts))
        return True

    def _show(self, number: int, part: Part, keyboard: str) -> None:
        if number == len(self._messages):
            self._messages.append(self._client.send(self._preview.chat, part, keyboard=keyboard, silent=True))
            self._shown.append((part, keyboard))
            self._keep(len(self._messages))
            return
        try:
            self._client.edit(self._preview.chat, self._messages[number], part, keyboard=keyboard)
        except Rejected as error:
            if error.remedy == "send_new":  # somebody deleted it; the next frame begins a new message
                self._client.delete(self._preview.chat, self._messages[number + 1:])  # with the buttons under the last
                self._keep(number)
            raise
        self._shown[number] = (part, keyboard)

    def _keep(self, number: int) -> None:
        """Forget the messages beyond the first `number`."""
        del self._messages[number:], self._shown[number:]
        self._outbox.fill(self._preview.chat, self._preview.slot, self._messages)
