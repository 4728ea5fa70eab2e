#!/usr/bin/env python3
"""Do sums over exported rows equal the Snapshot, as pandas, polars and DuckDB read them?

    sums.py FOLDER…

Each folder holds `report.json` (one line of `twtrace report --json`) and what `twtrace export`
wrote of the same recording: `events` and `connections`, each as `.parquet`, `.arrow`, `.csv`,
`.jsonl`, and `timeline.json`. `.parquet` has to be there, the others are read where they are.
A folder without `report.json` is one of such folders. Needs pandas, pyarrow, polars, duckdb.

Prints one line for each difference, and ends with 1 if there is any.
"""

import json
import math
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.ipc
import pyarrow.parquet

# The Snapshot cuts durations to the microsecond.
TOLERANCE_S = 1.1e-6
ENDS = ["expired", "fin_wait2_timeout", "reused", "reused_bound", "replaced", "reset",
        "rejected", "aborted", "purged", "other", "unseen"]


def plain(value):
    """A group's value without the dressing of its library."""
    if value is None or value is pandas.NA or value is pandas.NaT:
        return None
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value.item() if hasattr(value, "item") else value


def counted(groups):
    """Counts by group, where null may have more than one form."""
    counts = {}
    for key, count in groups:
        key = tuple(plain(value) for value in key)
        counts[key] = counts.get(key, 0) + int(count)
    return counts


class Pandas:
    """A table in pandas."""

    def __init__(self, path):
        read = {
            ".parquet": pandas.read_parquet,
            ".arrow": lambda path: arrow(path).to_pandas(),
            ".csv": lambda path: pandas.read_csv(path, low_memory=False),
            ".jsonl": lambda path: pandas.read_json(path, lines=True),
        }
        self.table = read[path.suffix](path)

    def rows(self):
        return len(self.table)

    def groups(self, columns):
        key = [self.table[column].astype("object") for column in columns]
        sizes = self.table.groupby(key, dropna=False).size()
        return counted((key if isinstance(key, tuple) else (key,), count)
                       for key, count in sizes.items())

    def summary(self, column):
        values = pandas.to_numeric(self.table[column]).dropna()
        return len(values), plain(values.min()), plain(values.max())

    def known(self, column):
        return int(self.table[column].notna().sum())


class Polars:
    """A table in polars."""

    def __init__(self, path):
        read = {
            ".parquet": polars.read_parquet,
            ".arrow": polars.read_ipc_stream,
            ".csv": lambda path: polars.read_csv(path, infer_schema_length=None),
            ".jsonl": lambda path: polars.read_ndjson(path, infer_schema_length=None),
        }
        self.table = read[path.suffix](path)

    def rows(self):
        return self.table.height

    def groups(self, columns):
        sizes = self.table.group_by(columns).len()
        return counted((row[:-1], row[-1]) for row in sizes.iter_rows())

    def summary(self, column):
        values = self.table[column].drop_nulls()
        return len(values), values.min(), values.max()

    def known(self, column):
        return self.table[column].count()


class DuckDB:
    """A table in DuckDB."""

    def __init__(self, path):
        self.database = duckdb.connect()
        if path.suffix == ".arrow":
            self.database.register("rows", arrow(path))
            return
        read = {
            ".parquet": "read_parquet('{}')",
            ".csv": "read_csv('{}', header = true, sample_size = -1)",
            ".jsonl": "read_json('{}', format = 'newline_delimited', sample_size = -1)",
        }[path.suffix].format(path)
        self.database.execute(f"CREATE TABLE rows AS SELECT * FROM {read}")

    def ask(self, query):
        return self.database.execute(query).fetchall()

    def rows(self):
        return self.ask("SELECT count(*) FROM rows")[0][0]

    def groups(self, columns):
        columns = ", ".join(f'"{column}"' for column in columns)
        found = self.ask(f"SELECT {columns}, count(*) FROM rows GROUP BY ALL")
        return counted((row[:-1], row[-1]) for row in found)

    def summary(self, column):
        query = 'SELECT count("{0}"), min("{0}"::DOUBLE), max("{0}"::DOUBLE) FROM rows'
        return self.ask(query.format(column))[0]

    def known(self, column):
        return self.ask(f'SELECT count("{column}") FROM rows')[0][0]


def arrow(path):
    with pyarrow.ipc.open_stream(path) as stream:
        return stream.read_all()


def by(table, column):
    """Counts by the values of one column, of others 0."""
    counts = table.groups([column])
    return lambda word: counts.get((word,), 0)


def distribution(table, column):
    count, low, high = table.summary(column)
    return {"count": count, "min": low, "max": high}


def ends(count):
    ended = {end: count(end) for end in ENDS}
    ended["reused"] += ended["reused_bound"]
    return ended


def connection_sums(table):
    close, connect, end = (by(table, name) for name in ["first_fin", "connect", "tw_end"])
    births = table.groups(["tw_substate", "tw_refused"])
    search = by(table, "searched")
    active = {pid: count for (first_fin, pid), count
              in table.groups(["first_fin", "closer_pid"]).items()
              if first_fin == "active" and pid is not None}
    return {
        "closes": {
            **{word: close(word) for word in
               ["active", "passive", "simultaneous", "reset_local", "reset_remote"]},
            "reset": sum(close(word) for word in
                         ["reset_local", "reset_remote", "reset_unexplained"]),
        },
        "connects": {word: connect(word) for word in
                     ["ok", "refused", "timed_out", "no_port", "other"]},
        "time_wait": {
            "born": table.known("tw_born"),
            "ended": ends(end),
            "lifetime_s": distribution(table, "lifetime_s"),
            "time_wait_s": distribution(table, "time_wait_s"),
        },
        "fin_wait2": {"born": births.get(("FIN_WAIT2", False), 0)},
        "port_search": {"connect": {
            "count": search(True),
            "latency_ns": distribution(table, "search_latency_ns"),
        }},
        "active_closes_by_pid": active,
    }


def event_sums(table):
    outcome, kind, end = (by(table, name) for name in ["outcome", "kind", "end"])
    pairs = table.groups(["old_state", "new_state"])
    births = table.groups(["kind", "substate"])
    ended = ends(end)
    # The event that tells of those is the birth of another.
    del ended["unseen"]
    return {
        "closes": {
            "passive": outcome("close_passive"),
            "simultaneous": outcome("close_simultaneous"),
            "reset_local": outcome("reset_local"),
            "reset_remote": outcome("reset_remote"),
        },
        "connects": {word: outcome(f"connect_{word}") for word in
                     ["ok", "refused", "timed_out", "no_port", "other"]},
        "transitions": {"by_pair": {f"{old}>{new}": count for (old, new), count in pairs.items()
                                    if old is not None}},
        "time_wait": {"born": kind("birth"), "ended": ended},
        "fin_wait2": {"born": births.get(("birth", "FIN_WAIT2"), 0)},
    }


def expected(report):
    """The Snapshot, with the closers by pid."""
    active = {}
    for row in report["closers"] or []:
        if row["pid"] is not None and row["active_closes"]:
            active[row["pid"]] = active.get(row["pid"], 0) + row["active_closes"]
    summed = any(row.get("other") for row in report["closers"] or [])
    return {**report, "active_closes_by_pid": None if summed else active}


def differences(sums, report, path=""):
    """Where sums are not what the Snapshot says; what that does not know is no difference."""
    if report is None:
        return
    if isinstance(sums, dict):
        # A process that is nowhere in the Snapshot is not unknown to it.
        keys = sums.keys() | report.keys() if path == ".active_closes_by_pid" else sums.keys()
        for key in sorted(keys, key=str):
            if key not in report and path != ".active_closes_by_pid":
                yield f"{path}.{key} is not in the Snapshot"
            else:
                yield from differences(sums.get(key), report.get(key, 0), f"{path}.{key}")
    elif isinstance(report, float) and sums is not None:
        if abs(sums - report) > TOLERANCE_S:
            yield f"{path} is {sums}, not {report}"
    elif sums != report:
        yield f"{path} is {sums}, not {report}"


def check_units(path):
    """Every column says what it is."""
    for field in pyarrow.parquet.read_schema(path):
        missing = {b"unit", b"description", b"null"} - (field.metadata or {}).keys()
        if missing:
            yield f"{field.name} has no {missing}"


def check_timeline(path):
    if not path.exists():
        return
    if not isinstance(json.loads(path.read_text())["traceEvents"], list):
        yield "there are no traceEvents"


def check(folder):
    report = expected(json.loads((folder / "report.json").read_text()))
    for kind, sums in [("events", event_sums), ("connections", connection_sums)]:
        first = folder / f"{kind}.parquet"
        rows = pyarrow.parquet.read_metadata(first).num_rows
        yield from (f"{first}: {found}" for found in check_units(first))
        for path in [first.with_suffix(end) for end in [".parquet", ".arrow", ".csv", ".jsonl"]]:
            if not path.exists() and path != first:
                continue
            # Without a line no reader knows the columns.
            if path.suffix == ".jsonl" and rows == 0 and path.stat().st_size == 0:
                continue
            for library in [Pandas, Polars, DuckDB]:
                table = library(path)
                found = list(differences(sums(table), report))
                if table.rows() != rows:
                    found.append(f" has {table.rows()} rows, not {rows}")
                yield from (f"{path} ({library.__name__}): {line}" for line in found)
    timeline = folder / "timeline.json"
    yield from (f"{timeline}: {found}" for found in check_timeline(timeline))


def folders(paths):
    for path in map(Path, paths):
        if (path / "report.json").exists():
            yield path
        else:
            yield from sorted(found.parent for found in path.glob("*/report.json"))


def main():
    found = list(folders(sys.argv[1:]))
    if not found:
        sys.exit("sums.py FOLDER…: there is no report.json")
    wrong = [line for folder in found for line in check(folder)]
    print("\n".join(wrong) if wrong else f"{len(found)} recordings: all sums are the Snapshots'")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
