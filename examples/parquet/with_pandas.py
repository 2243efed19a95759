"""Which devices did the guest wait for? From `trapline export run.trap --to parquet -o exits.parquet`, by pandas."""

import sys

import pandas as pd

exits = pd.read_parquet(sys.argv[1], columns=["device", "kind", "vmm_ns"])
exits["device"] = exits["device"].astype("object")
devices = (
    exits[exits["kind"] != "halt"]
    .groupby("device", dropna=False)["vmm_ns"]
    .agg(exits="size", vmm_ns="sum")
    .reset_index()
    .sort_values(["vmm_ns", "exits", "device"], ascending=[False, False, True])
)
print(devices.to_csv(index=False), end="")
