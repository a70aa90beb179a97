"""A program that answers with a recording of Codex (argv[1]): of its server turn by turn, of `exec --json` all at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def serve(lines: list[dict[str, object]]) -> None:
    """Each request gets the recorded reply to the next one of its kind; a turn's start also all until the turn's end."""
    rest = iter(lines)
    for request in map(json.loads, sys.stdin):
        if "id" not in request or "method" not in request:
            continue
        if request["method"] not in ("initialize", "thread/start", "thread/resume", "turn/start"):
            print(json.dumps({"id": request["id"], "result": {}}), flush=True)
            continue
        number = next(line["msg"]["id"] for line in rest if line["dir"] == "in" and line["msg"].get("method") == request["method"])  # type: ignore[index, attr-defined]
        for line in rest:
            told = line["msg"]
            assert isinstance(told, dict)
            if line["dir"] == "in":
                continue
            if "id" in told and "method" not in told:
                if told["id"] != number:
                    continue
                told = {**told, "id": request["id"]}
            print(json.dumps(told), flush=True)
            if told.get("method") == "turn/completed" or ("id" in told and request["method"] != "turn/start"):
                break


def main() -> None:
    text = Path(sys.argv[1]).read_text()
    if "app-server" in sys.argv:
        serve([json.loads(line) for line in text.splitlines()])
    else:
        sys.stdin.read()
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
