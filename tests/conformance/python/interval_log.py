"""Reads an interval log with HdrHistogram's own package: what each interval says of itself, as one line of JSON.

usage: interval_log.py FILE
"""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader


def main() -> None:
    reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 600_000_000, 3))
    while (interval := reader.get_next_interval_histogram()) is not None:
        line = {
            "purpose": interval.get_tag(),
            "count": interval.get_total_count(),
            "mean": interval.get_mean_value(),
            "max": interval.get_max_value(),
            "milliseconds": interval.get_end_time_stamp() - interval.get_start_time_stamp(),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
