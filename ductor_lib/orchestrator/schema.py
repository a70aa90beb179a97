"""The tables of ledger.db. A change here is a new line that `CREATE … IF NOT EXISTS` or a migration can apply twice."""

from __future__ import annotations

# inbox.state: waiting -> running -> done | interrupted;  waiting -> held (too old, a person decides) -> waiting;
#              waiting -> limited (a daily limit is reached, a person decides) -> waiting
#              waiting | held | limited -> dropped (cancelled or stopped) | merged (its text went into another row)
# A heartbeat that waits or runs at the end of the program is dropped.
# outbox.state: open -> sent | dead (Telegram will never take it; reason says why) -> told (the owner knows)
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS inbox(
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, lane TEXT NOT NULL,
    chat INTEGER NOT NULL, topic INTEGER, user INTEGER NOT NULL, kind TEXT NOT NULL, message_id INTEGER NOT NULL,
    text TEXT NOT NULL, untrusted TEXT NOT NULL, callback TEXT NOT NULL, sent_at REAL NOT NULL,
    accepted_at REAL NOT NULL, begun_at REAL, ended_at REAL, state TEXT NOT NULL, queued INTEGER NOT NULL DEFAULT 0,
    run INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS inbox_open ON inbox(state, lane, id);
CREATE INDEX IF NOT EXISTS inbox_message ON inbox(chat, message_id);

CREATE TABLE IF NOT EXISTS outbox(
    id INTEGER PRIMARY KEY AUTOINCREMENT, reply TEXT NOT NULL, done INTEGER NOT NULL, claimed INTEGER NOT NULL,
    messages TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, created_at REAL NOT NULL, closed_at REAL);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox(state, id);

CREATE TABLE IF NOT EXISTS slots(
    chat INTEGER NOT NULL, topic INTEGER NOT NULL, name TEXT NOT NULL, messages TEXT NOT NULL,
    PRIMARY KEY(chat, topic, name)) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tokens(token TEXT PRIMARY KEY, command TEXT NOT NULL UNIQUE, created_at REAL NOT NULL);

CREATE TABLE IF NOT EXISTS turns(
    id INTEGER PRIMARY KEY AUTOINCREMENT, inbox INTEGER NOT NULL, lane TEXT NOT NULL, provider TEXT NOT NULL,
    model TEXT NOT NULL, session_id TEXT NOT NULL, begun_at REAL NOT NULL, seconds REAL NOT NULL, outcome TEXT NOT NULL,
    error TEXT NOT NULL, cost REAL NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS turns_begun ON turns(begun_at);

CREATE TABLE IF NOT EXISTS runs(
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, source TEXT NOT NULL, name TEXT NOT NULL,
    title TEXT NOT NULL, task TEXT NOT NULL, due REAL NOT NULL, status TEXT NOT NULL, detail TEXT NOT NULL,
    accepted_at REAL NOT NULL, ended_at REAL);
CREATE INDEX IF NOT EXISTS runs_name ON runs(source, name, id);
CREATE INDEX IF NOT EXISTS runs_unended ON runs(source, name) WHERE status = '';

CREATE TABLE IF NOT EXISTS notes(
    id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, text TEXT NOT NULL, made_at REAL NOT NULL);

CREATE TABLE IF NOT EXISTS poison(
    update_id INTEGER PRIMARY KEY, raw TEXT NOT NULL, reason TEXT NOT NULL, kept_at REAL NOT NULL);
"""

# Columns of later versions, for tables that exist already: table, column, type.
ADDED = (("inbox", "run", "INTEGER NOT NULL DEFAULT 0"),)
