"""Reads exported tables as pandas does without a hint, each as one line of JSON: its columns with their kinds, its rows.

usage: tables.py FILE...
"""

import json
import sys

import pandas


def main() -> None:
    for path in sys.argv[1:]:
        frame = pandas.read_parquet(path) if path.endswith(".parquet") else pandas.read_csv(path)
        kinds = {name: "number" if pandas.api.types.is_numeric_dtype(kind) else "other" for name, kind in frame.dtypes.items()}
        # Only what pandas writes for a missing figure becomes null.
        print(json.dumps({"kinds": kinds, "rows": json.loads(frame.to_json(orient="records", double_precision=15))}))


if __name__ == "__main__":
    main()
