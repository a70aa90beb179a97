"""`ductor webhook …` as functions: each takes the office and JSON and gives JSON back; a secret is told once, when it is made."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import fields

from ductor_lib.automation import changes
from ductor_lib.automation.changes import DELIVERY, UNFINISHED, Answer, Kind, Raw
from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.office import Office
from ductor_lib.automation.validation import public, read_hook
from ductor_lib.errors import DuctorError
from ductor_lib.orchestrator.runs import Run

SECRET_BYTES = 24  # of a token or secret that is made here; 32 characters
SHOWN = 5  # last runs in `show`
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # an address to listen on is none to call
PRESETS: dict[str, dict[str, object]] = {
    "github": {"hmac_header": "X-Hub-Signature-256", "hmac_sig_prefix": "sha256="},
    "stripe": {
        "hmac_header": "Stripe-Signature", "hmac_sig_regex": "v1=([0-9a-f]+)", "hmac_payload_prefix_regex": r"t=(\d+)",
        "hmac_tolerance_seconds": 300,
    },
    "slack": {
        "hmac_header": "X-Slack-Signature", "hmac_sig_prefix": "v0=",
        "hmac_payload_prefix_regex": r"X-Slack-Request-Timestamp: ^(?P<t>\d+)$ => v0:{t}:", "hmac_tolerance_seconds": 300,
    },
}  # fmt: skip
GIVEN = ("stripe", "slack")  # senders that make the secret themselves

HOOKS: Kind[Hook] = Kind(
    "hook", "webhook", lambda office: office.hooks, read_hook, lambda raw: raw.get("mode") == "cron_task",
    frozenset(field.name for field in fields(Hook)) - {"created_at", "token"},
)  # fmt: skip


def add(office: Office, args: Raw) -> Answer:
    """A hook: its address, how to call it, and once the secret that was made for it."""
    raw = _given(args) | changes.delivery(office, args)
    made = _made(raw, own_token=args.get("own_token") is True, preset=args.get("preset"))
    hook = changes.add(office, HOOKS, raw | made)
    return _told(office, hook, fresh=bool(made)) | made


def edit(office: Office, args: Raw) -> Answer:
    """Change the fields that are named."""
    hook = HOOKS.find(office, args)
    wanted = _given({name: value for name, value in args.items() if name != "id"})
    if {"chat", "everyone"} & args.keys():
        wanted |= changes.delivery(office, args)
    made: Answer = {"token": _secret()} if args.get("own_token") is True else {}
    if wanted.get("auth_mode") == "hmac" and not hook.hmac_secret and not wanted.get("hmac_secret"):
        made |= _made(wanted, own_token=False, preset=args.get("preset"))
    if not wanted and not made:
        raise DuctorError("There is nothing to change. `ductor webhook edit --help` shows what can be.")
    return _told(office, changes.edit(office, HOOKS, hook, wanted | made), fresh=bool(made)) | made


def rotate(office: Office, args: Raw) -> Answer:
    """A new secret or token in the place of the old one, which is refused from now on."""
    hook = HOOKS.find(office, args)
    name = "hmac_secret" if hook.auth_mode == "hmac" else "token"
    given = args.get("hmac_secret")
    if given and name == "token":
        raise DuctorError(f"“{hook.title}” has a token, and no secret. Leave the secret out; a new token is made.")
    changed = office.hooks.edit(hook.id, {name: given or _secret()})
    shown = {} if given else {name: getattr(changed, name)}
    notes = ["webhooks.token opens it, too. If that is what has become known, change it in config.toml and restart ductor."]
    answer = _told(office, changed, fresh=bool(shown)) | shown
    return answer | {"notes": [*_texts(answer["notes"]), *(notes if name == "token" else [])]}


def show(office: Office, args: Raw) -> Answer:
    """Everything about one hook but its secrets, with its last runs."""
    hook = HOOKS.find(office, args)
    latest, counts = office.ledger.runs.latest("hook"), office.ledger.runs.counts("hook")
    runs = office.ledger.runs.history("hook", hook.id, limit=SHOWN)
    record = _record(office, hook, latest.get(hook.id), counts.get(hook.id, 0))
    return {"hook": public(hook), **_told(office, hook), **record, "runs": [changes.told(office, run) for run in runs]}


def list_(office: Office, args: Raw) -> Answer:
    """A row for each hook, in the order of the file."""
    latest, counts = office.ledger.runs.latest("hook"), office.ledger.runs.counts("hook")
    rows = [
        {"id": hook.id, "title": hook.title, "enabled": hook.enabled, "mode": hook.mode, "auth_mode": hook.auth_mode,
         "folder": hook.task_folder, "path": path_of(hook), **_record(office, hook, latest.get(hook.id), counts.get(hook.id, 0))}
        for hook in office.hooks.all()
    ]  # fmt: skip
    return {"hooks": rows, "listening": office.settings.webhooks.enabled}


def enable(office: Office, args: Raw) -> Answer:
    return _told(office, office.hooks.edit(HOOKS.find(office, args).id, {"enabled": True}))


def disable(office: Office, args: Raw) -> Answer:
    """Callers get 403 from now on."""
    return _told(office, office.hooks.edit(HOOKS.find(office, args).id, {"enabled": False}))


def remove(office: Office, args: Raw) -> Answer:
    return changes.remove(office, HOOKS, HOOKS.find(office, args), with_folder=args.get("with_folder") is True)


def test(office: Office, args: Raw) -> Answer:
    """Take a payload as if it had come, past the check of who sends it."""
    try:
        hook = HOOKS.find(office, args)
    except DuctorError as error:
        raise DuctorError(f"error:not_found: {error}") from None
    payload = args.get("payload", {})
    if not isinstance(payload, dict):
        raise DuctorError('payload: must be a JSON object, such as {"branch": "main"}.')
    size = len(json.dumps(payload).encode())
    if size > office.settings.webhooks.max_body_bytes:
        raise DuctorError(f"payload: {size} bytes are more than webhooks.max_body_bytes, {office.settings.webhooks.max_body_bytes}.")
    return changes.queued(office, HOOKS, hook, lambda: office.intake.take(hook, payload, key=f"test:{uuid.uuid4()}"))


def log(office: Office, args: Raw) -> Answer:
    return changes.history(office, HOOKS, HOOKS.find(office, args), args)


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _given(args: Raw) -> Answer:
    """The fields, with those of a preset under them. Raises DuctorError for a preset that is not known."""
    raw = HOOKS.given(args, besides=(*DELIVERY, "preset", "own_token"))
    preset = args.get("preset")
    if not preset:
        return raw
    if preset not in PRESETS:
        raise DuctorError(f"preset: {preset} is not known; must be one of {', '.join(PRESETS)}.")
    return {"auth_mode": "hmac", **PRESETS[str(preset)], **raw}


def _made(raw: Raw, *, own_token: bool, preset: object) -> Answer:
    """The secret that has to be made, since none was given."""
    if raw.get("auth_mode") != "hmac":
        return {"token": _secret()} if own_token else {}
    if own_token:
        raise DuctorError("own_token: a hook with signatures has a secret, and no token. Leave it out.")
    if raw.get("hmac_secret"):
        return {}
    if preset in GIVEN:
        raise DuctorError(f"hmac_secret: {str(preset).title()} makes the secret. Copy it from there, and give it with --hmac-secret-file.")
    return {"hmac_secret": _secret()}


def _secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def path_of(hook: Hook) -> str:
    return f"/hooks/{hook.id}"


def url_of(office: Office, hook: Hook) -> str:
    """The address on this machine; from outside it is that of the proxy or tunnel."""
    host, port = office.settings.webhooks.host, office.settings.webhooks.port
    host = EVERYWHERE.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}{path_of(hook)}"


def how_to_call(url: str, hook: Hook, *, token: str = "$TOKEN") -> str:
    """A command line for a hook with a token; for one with signatures what the sender has to do."""
    if hook.auth_mode == "hmac":
        return f"POST {url} with Content-Type application/json, signed in the header {hook.hmac_header}"
    return f'curl -s "{url}" -H "Authorization: Bearer {token}" -H "Content-Type: application/json" -d \'{{}}\''


def _told(office: Office, hook: Hook, *, fresh: bool = False) -> Answer:
    """A hook after it was changed. `fresh`: its token was made just now, and may be shown."""
    url, ours = url_of(office, hook), office.settings.webhooks
    notes = changes.hint_at_sign_in(office, hook)
    if fresh:
        notes.append("This is shown once: keep it now. `ductor webhook rotate` makes another.")
    elif hook.auth_mode == "bearer" and not hook.token:
        where = "webhooks.token of config.toml or webhook_token of state.json" if office.token else "made at the first start"
        notes.append(f"$TOKEN is the token of all hooks: {where}. `ductor webhook edit {hook.id} --own-token` makes one for this hook.")
    if not hook.enabled:
        notes.append(f"It is switched off. `ductor webhook enable {hook.id}` switches it on.")
    if not ours.enabled:
        notes.append("ductor does not listen for webhooks: set enabled = true under [webhooks] in config.toml, and restart it.")
    token = hook.token if fresh and hook.token else "$TOKEN"
    return {
        "id": hook.id, "title": hook.title, "enabled": hook.enabled, "mode": hook.mode, "auth_mode": hook.auth_mode,
        **changes.folder_of(office, hook), "url_path": path_of(hook), "url": url, "call": how_to_call(url, hook, token=token),
        "chat": public(hook)["chat"], "notes": notes,
    }  # fmt: skip


def _record(office: Office, hook: Hook, last: Run | None, count: int) -> Answer:
    return {
        "trigger_count": count, "last_triggered_at": office.moment(last.accepted_at) if last else "",
        "last_status": (last.status or UNFINISHED) if last else "", "last_error": changes.last_error(office, HOOKS, hook),
    }  # fmt: skip


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
