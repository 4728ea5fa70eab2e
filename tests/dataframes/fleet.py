#!/usr/bin/env python3
"""Do the queries of docs/fleet.md, over recordings of many hosts, say what their reports do?

    fleet.py FLEET.md FOLDER…

Each folder is a host: `report.json` (one line of `twtrace report --json`) and
`connections.parquet` of the same recording. Needs duckdb.

Prints one line for each difference, and ends with 1 if there is any.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import duckdb

GLOB = "'hosts/*.parquet'"


def queries(text):
    """The queries of the page by the name in their first line."""
    blocks = re.findall(r"```sql\n-- (\w+)\n(.*?)```", text, re.DOTALL)
    return {name: query for name, query in blocks}


def main():
    page, folders = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    if len(folders) < 2:
        sys.exit("one host is no fleet")
    found = queries(page.read_text())
    if sorted(found) != ["births", "closers", "ends", "searches"]:
        sys.exit(f"{page} has other queries: {sorted(found)}")
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    with tempfile.TemporaryDirectory() as hosts:
        for number, folder in enumerate(folders):
            link = Path(hosts) / f"host-{number}.parquet"
            link.symlink_to((folder / "connections.parquet").resolve())
        told = {}
        for name, query in found.items():
            if GLOB not in query:
                sys.exit(f"{name} does not read {GLOB}")
            query = query.replace(GLOB, f"'{hosts}/*.parquet'")
            told[name] = duckdb.connect().execute(query).fetchall()
    return compare(told, reports)


def compare(told, reports):
    """How many differences there are."""
    def total(*path):
        values = []
        for report in reports:
            for key in path:
                report = report[key]
            values.append(report or 0)
        return sum(values)

    ends = {row[0]: row[1] for row in told["ends"]}
    reused = ends.get("reused", 0) + ends.get("reused_bound", 0)
    pairs = {
        "closes.active": (sum(row[2] for row in told["closers"]), total("closes", "active")),
        "time_wait.born": (sum(row[1] for row in told["births"]), total("time_wait", "born")),
        "hosts with births": (
            len(told["births"]),
            sum(1 for report in reports if report["time_wait"]["born"]),
        ),
        "time_wait.ended.reused": (reused, total("time_wait", "ended", "reused")),
        "lifetimes": (
            sum(row[2] for row in told["ends"]),
            total("time_wait", "lifetime_s", "count"),
        ),
        "searches": (
            sum(row[2] for row in told["searches"]),
            total("port_search", "connect", "count"),
        ),
        "no_port": (
            sum(row[5] for row in told["searches"]),
            total("connects", "no_port"),
        ),
    }
    for end in ["expired", "replaced", "reset", "purged", "unseen"]:
        pairs[f"time_wait.ended.{end}"] = (ends.get(end, 0), total("time_wait", "ended", end))
    different = 0
    for key, (seen, wanted) in pairs.items():
        if seen != wanted:
            different += 1
            print(f"{key} is {seen} by DuckDB and {wanted} by the reports")
    if not pairs["closes.active"][1]:
        different += 1
        print("nothing happened")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
