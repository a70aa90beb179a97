"""Start ductor: `python ductor.py`, the same as the `ductor` command."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).resolve().parent / ".venv" / "bin" / "python"  # where ./install.sh put what ductor needs
NEEDED = ("telebot", "requests", "schedule", "cronsim", "markdown_it", "tomli_w")

if missing := [name for name in NEEDED if find_spec(name) is None]:
    if OWN.exists() and Path(sys.prefix) != OWN.parent.parent:
        os.execv(OWN, [str(OWN), *sys.argv])
    sys.exit(f"ductor cannot start: this Python has no {missing[0]}. Run ./install.sh first; it needs no account and no root.")

from ductor_lib.main import main  # noqa: E402  (only now it can be imported)

if __name__ == "__main__":
    sys.exit(main())
