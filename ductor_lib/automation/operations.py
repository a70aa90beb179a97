"""Everything that people and agents can do with jobs and hooks, by name: the one table behind verbs, requests and panels."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from ductor_lib.automation import cleanup, hook_operations, job_operations
from ductor_lib.automation.office import Office
from ductor_lib.errors import DuctorError

__all__ = ["OPERATIONS", "Office", "operate"]

Raw = Mapping[str, object]
OPERATIONS: Mapping[str, Callable[[Office, Raw], Raw]] = {
    "cron.add": job_operations.add,
    "cron.list": job_operations.list_,
    "cron.show": job_operations.show,
    "cron.edit": job_operations.edit,
    "cron.enable": job_operations.enable,
    "cron.disable": job_operations.disable,
    "cron.remove": job_operations.remove,
    "cron.run": job_operations.run,
    "cron.stop": job_operations.stop,
    "cron.log": job_operations.log,
    "webhook.add": hook_operations.add,
    "webhook.list": hook_operations.list_,
    "webhook.show": hook_operations.show,
    "webhook.edit": hook_operations.edit,
    "webhook.enable": hook_operations.enable,
    "webhook.disable": hook_operations.disable,
    "webhook.rotate": hook_operations.rotate,
    "webhook.remove": hook_operations.remove,
    "webhook.test": hook_operations.test,
    "webhook.log": hook_operations.log,
    "cleanup": cleanup.operation,
}


def operate(name: str, office: Office, args: Raw) -> Raw:
    """Do the operation of that name. Takes and returns what JSON can hold; raises DuctorError with a sentence. Any thread."""
    try:
        return OPERATIONS[name](office, args)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise DuctorError(f"It cannot be stored: {error.strerror or error}{where}. Check the disk and its permissions.") from error
    except sqlite3.OperationalError as error:
        raise DuctorError(f"It cannot be stored: the ledger says {error}. Check the disk and its permissions.") from error
