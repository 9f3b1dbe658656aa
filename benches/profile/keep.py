"""From a profile as text, on standard input, to a smaller one: without small functions that never ran.

Large ones stay, so that the compiler knows to make them small rather than fast."""

import sys

# Counters, one for each way through a function.
LARGE = 16


def keeps(record):
    lines = record.splitlines()
    at = lines.index("# Num Counters:") + 1
    number = int(lines[at])
    counters = lines[at + 2 : at + 2 + number]
    return number >= LARGE or any(counter != "0" for counter in counters)


header = "# IR level Instrumentation Flag\n:ir\n"
records = sys.stdin.read().removeprefix(header).split("\n\n")
kept = [record for record in records if record.strip() and keeps(record)]
print(header + "\n\n".join(kept))
