"""Which devices did the guest wait for? From `trapline export run.trap --to parquet -o exits.parquet`, by polars."""

import sys

import polars as pl

devices = (
    pl.scan_parquet(sys.argv[1])
    .with_columns(pl.col("device", "kind").cast(pl.String))
    .filter(pl.col("kind") != "halt")
    .group_by("device")
    .agg(pl.len().alias("exits"), pl.col("vmm_ns").sum())
    .sort(["vmm_ns", "exits", "device"], descending=[True, True, False], nulls_last=True)
    .collect()
)
print(devices.write_csv(), end="")
