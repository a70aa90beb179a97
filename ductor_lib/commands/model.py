"""/model: who answers this conversation. Every button of its panel is a command line that can be typed as well."""

from __future__ import annotations

from collections.abc import Sequence

from ductor_lib.cli.auth import CLIS
from ductor_lib.cli.catalogue import PROVIDERS, Offer
from ductor_lib.cli.codex_models import Model
from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Button, Incoming, Reply, Rows
from ductor_lib.orchestrator.choices import how_to_sign_in
from ductor_lib.orchestrator.directives import named, refusal
from ductor_lib.orchestrator.words import count
from ductor_lib.ports import Choice

SLOT = "model"
PAGE = 8  # models on one page of the panel
IN_A_ROW = 2
MARK = "✓ "
NO_LIST = (
    "{title} has not told its models yet, so no name can be checked. As soon as it answers they are listed here; "
    "then press one, or type `/model` and its name."
)


def model(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/model [provider [page] | model [effort] | effort | default]: show the panel, or choose."""
    provider = words.casefold()
    if item.kind != "press" and provider in PROVIDERS and (offer := desk.catalogue.default(provider)):
        # Typed, a provider's name means its default model; pressed, it only opens the list of its models.
        chosen, _ = _choose(desk, item, offer, "")
        others, rows = _models(desk, desk.choices.of(item.lane), provider, 1)
        text = f"{chosen}\n\n{others}"
    else:
        text, rows = _answer(desk, item, words)
    # A press edits the panel where it is; what was typed is answered below it, and the old panel goes.
    return [Reply(item.chat, text, buttons=rows, slot=SLOT, fresh=item.kind != "press")]


def _answer(desk: Desk, item: Incoming, words: str) -> tuple[str, Rows]:
    words = " ".join(words.split())
    first, _, second = words.casefold().partition(" ")
    choice = desk.choices.of(item.lane)
    if not words:
        return _providers(desk, choice)
    if first == "default" and not second:
        return _default(desk, choice)
    if first in PROVIDERS and (not second or second.isdecimal()):
        return _models(desk, choice, first, int(second or 1))
    current = desk.catalogue.behind(choice)
    if not second and current.is_effort(first):
        return _choose(desk, item, current, first)
    if whole := _find(desk, choice, words):  # a shown name may have blanks in it
        return _choose(desk, item, whole, "")
    name, _, effort = words.rpartition(" ")
    if found := _find(desk, choice, name):
        return _choose(desk, item, found, effort.casefold())
    return _unknown(desk, words)


def _find(desk: Desk, choice: Choice, name: str) -> Offer | None:
    """The model of that name; of those that nobody lists, the present and the default one can be named too."""
    unlisted = (other for other in (choice, desk.choices.default()) if name.casefold() == other.model.casefold())
    return desk.catalogue.find(name) or next(map(desk.catalogue.behind, unlisted), None)


def _providers(desk: Desk, choice: Choice) -> tuple[str, Rows]:
    default = desk.choices.default()
    lines = [f"**This conversation** {_said(desk, choice)}"]
    if choice != default:
        lines.append(f"**Default** {_said(desk, default)}")
    lines.append("For one message only, begin it with `@` and a model or an effort: `@haiku what time is it?`")
    return "\n".join(lines), (_provider_buttons(choice), *_default_button(desk, choice))


def _models(desk: Desk, choice: Choice, provider: str, page: int) -> tuple[str, Rows]:
    title, models = CLIS[provider].title, desk.catalogue.models(provider)
    back = Button("‹ Back", "/model")
    state = desk.sign_ins.state(provider)
    missing = "" if state.signed_in else f"\n{how_to_sign_in(provider, state)}"
    if not models:
        return NO_LIST.format(title=title) + missing, ((back,),)
    last = (len(models) + PAGE - 1) // PAGE
    page = min(max(page, 1), last)
    buttons = [_model_button(each, models, choice) for each in models[(page - 1) * PAGE : page * PAGE]]
    turning = [Button("‹ Previous", f"/model {provider} {page - 1}")] * (page > 1)
    turning += [Button("Next ›", f"/model {provider} {page + 1}")] * (page < last)
    text = f"**{title}**: which model?" + (f" (page {page} of {last})" if last > 1 else "")
    return text + missing, (*_rows(buttons), *((tuple(turning),) if turning else ()), (back,))


def _choose(desk: Desk, item: Incoming, offer: Offer, effort: str) -> tuple[str, Rows]:
    """Keep a choice; without an effort the present one stays if the model knows it."""
    if effort and effort not in offer.model.efforts:
        return f"{refusal(offer, effort)} Nothing was changed.", _effort_buttons(desk, offer, desk.choices.of(item.lane))
    chosen = offer.choice(effort or desk.choices.of(item.lane).effort)
    desk.sessions.choose(item.lane, chosen)
    lines = [f"✅ {named(offer, chosen.effort)} answers this conversation.", *_consequences(desk, item, offer.provider)]
    return "\n".join(lines), _effort_buttons(desk, offer, chosen)


def _consequences(desk: Desk, item: Incoming, provider: str) -> list[str]:
    """What somebody should know who has just chosen."""
    lines = []
    state = desk.sign_ins.state(provider)
    if not state.signed_in:
        lines.append(f"{how_to_sign_in(provider, state)} Your choice is kept; until then the other agent answers, if it can.")
    if desk.turns.running(item.lane):
        lines.append("▶ A turn is running: this counts from the next one.")
    bucket = desk.sessions.peek(item.lane, provider, desk.cwd)
    if bucket and bucket.started:
        session = f"`{bucket.session_id[:8]}` ({count(bucket.messages, 'message')})"
        lines.append(f"{CLIS[provider].title} goes on with its session {session}; /new starts a fresh one.")
    return lines


def _default(desk: Desk, choice: Choice) -> tuple[str, Rows]:
    desk.choices.make_default(choice)
    text = f"✅ {_said(desk, choice)} is the default now, for every conversation that has no choice of its own."
    return text, ((Button("‹ Back", "/model"),),)


def _unknown(desk: Desk, words: str) -> tuple[str, Rows]:
    near = desk.catalogue.nearest(words.split()[0])
    lines = [f"I do not know the model `{words.replace('`', '')}`."]
    if near:
        lines[0] += f" Did you mean {' or '.join(f'`{name}`' for name in near)}?"
    if not desk.catalogue.models("codex"):
        lines.append(NO_LIST.format(title=CLIS["codex"].title))
    return "\n".join(lines), (*((Button(name, f"/model {name}"),) for name in near), (Button("All models", "/model"),))


def _said(desk: Desk, choice: Choice) -> str:
    return named(desk.catalogue.behind(choice), choice.effort)


def _provider_buttons(choice: Choice) -> tuple[Button, ...]:
    return tuple(Button(MARK * (choice.provider == each) + CLIS[each].title, f"/model {each}") for each in PROVIDERS)


def _model_button(each: Model, models: Sequence[Model], choice: Choice) -> Button:
    twice = [other.name for other in models].count(each.name) > 1
    return Button(MARK * (each.id == choice.model) + (f"{each.name} · {each.id}" if twice else each.name), f"/model {each.id}")


def _effort_buttons(desk: Desk, offer: Offer, choice: Choice) -> Rows:
    mine = (choice.provider, choice.model) == (offer.provider, offer.model.id)
    buttons = [Button(MARK * (mine and each == choice.effort) + each, f"/model {offer.model.id} {each}") for each in offer.model.efforts]
    return (*_rows(buttons), *_default_button(desk, choice), (Button("‹ Back", f"/model {offer.provider}"),))


def _default_button(desk: Desk, choice: Choice) -> Rows:
    return () if choice == desk.choices.default() else ((Button("Make default", "/model default"),),)


def _rows(buttons: Sequence[Button]) -> Rows:
    return tuple(tuple(buttons[start : start + IN_A_ROW]) for start in range(0, len(buttons), IN_A_ROW))
