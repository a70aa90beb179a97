"""A program that answers each prompt with the next turn of a recording (argv[1]), as Claude Code once did; `$KEY` is the prompt's uuid."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    said = iter([line.get("msg", line) for line in lines if line.get("dir") != "in"])
    for prompt in sys.stdin:
        key = json.loads(prompt).get("uuid", "")
        for raw in said:
            print(json.dumps(raw).replace("$KEY", key), flush=True)
            if raw["type"] == "result" and not raw.get("and_on"):
                break


if __name__ == "__main__":
    main()
