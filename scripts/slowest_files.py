#!/usr/bin/env python3
"""Prints the ten files that took longest to compile, by Ninja's log of a build folder.

Usage: slowest_files.py BUILD_FOLDER. A file that ccache answered for counts with that short time.
"""

import sys
from pathlib import Path


def compile_seconds(log: Path) -> dict[str, float]:
    """Seconds by object file; a later line of the log replaces an earlier one of the same file."""
    seconds = {}
    for line in log.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) == 5 and fields[3].endswith(".o"):
            seconds[fields[3]] = (int(fields[1]) - int(fields[0])) / 1000
    return seconds


def main() -> None:
    seconds = compile_seconds(Path(sys.argv[1]) / ".ninja_log")
    print("slowest files to compile:")
    for name, value in sorted(seconds.items(), key=lambda item: -item[1])[:10]:
        source = name.removesuffix(".o").split("CMakeFiles/")
        folder, _, file = source[-1].partition(".dir/")
        print(f"{value:8.1f} s  {source[0]}{file or folder}")


if __name__ == "__main__":
    main()
