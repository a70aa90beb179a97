"""Start ductor: `python ductor.py`, the same as the `ductor` command."""

import os
import sys
from pathlib import Path

OWN = Path(__file__).resolve().parent / ".venv" / "bin" / "python"  # where ./install.sh put what ductor needs

try:
    from ductor_lib.main import main
except ModuleNotFoundError as error:
    if OWN.exists() and Path(sys.prefix) != OWN.parent.parent:
        os.execv(OWN, [str(OWN), *sys.argv])
    sys.exit(f"ductor cannot start: this Python has no {error.name}. Run ./install.sh first; it needs no account and no root.")

if __name__ == "__main__":
    sys.exit(main())
