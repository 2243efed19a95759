"""Which devices did the guest wait for? From `trapline export run.trap --to parquet -o exits.parquet`, by DuckDB."""

import sys

import duckdb

rows = duckdb.execute(
    """
    SELECT device, count(*) AS exits, sum(vmm_ns)::UBIGINT AS vmm_ns
    FROM read_parquet(?)
    WHERE kind <> 'halt'
    GROUP BY device
    ORDER BY vmm_ns DESC, exits DESC, device NULLS LAST
    """,
    [sys.argv[1]],
).fetchall()
print("device,exits,vmm_ns")
for device, exits, vmm_ns in rows:
    print(f"{device or ''},{exits},{vmm_ns}")
