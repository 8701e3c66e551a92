"""What observers cost the core, in instructions for each frame that it reads, as callgrind counts them: without any,
one predictable branch. Counts, not time: they are the same on a machine that is busy."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SERVER = pathlib.Path(__file__).resolve().parent.parent.parent / "server"
FEW, MANY = 320, 1600  # exchanges; what begins and ends a run is in both
# A load, a comparison and a jump for each frame read, and as much a few times in each turn.
MOST = 3.5
LEAST = 1.5  # else the branch was not found


def sites():
    """The lines where the core asks for observers, by file."""
    found = {}
    for path in SERVER.glob("relay*.cc"):
        lines = enumerate(path.read_text().splitlines(), 1)
        found[path.name] = {number for number, line in lines if "observers_." in line}
    assert found["relay_frames.cc"], "the core asks nowhere"
    return found


def counted(profile):
    """Instructions in all, and those of observers: of the lines that ask for them, with all that is called there."""
    asks = sites()
    total = ours = 0
    file = function = ""
    is_call = False
    for line in profile.read_text().splitlines():
        if match := re.match(r"(?:fl|fi|fe)=(.*)", line):
            file = match[1]
        elif line.startswith("fn="):
            function = line
        elif line.startswith("calls="):
            is_call = True
        elif match := re.match(r"(\d+) (\d+)$", line):
            number, cost = int(match[1]), int(match[2])
            is_site = "/server/" in file and number in asks.get(os.path.basename(file), ())
            is_inlined = "/server/observers.h" in file and "Observers::" not in function
            if not is_call:
                total += cost
            if is_site or (is_inlined and not is_call):
                ours += cost
            is_call = False
    return total, ours


def run(program, scratch, exchanges, observers):
    profile = scratch / "callgrind.out"
    done = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
                           f"--callgrind-out-file={profile}", program, str(exchanges), str(observers)],
                          capture_output=True, text=True, timeout=280, check=True)
    return (int(re.search(r"frames read (\d+)", done.stdout)[1]), *counted(profile))


def per_frame(program, scratch, observers):
    """Instructions for each frame read, and those of them that are observers'."""
    few, many = (run(program, scratch, exchanges, observers) for exchanges in (FEW, MANY))
    frames, total, ours = (b - a for a, b in zip(few, many))
    return total / frames, ours / frames


def main():
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: tools/setup --ci")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        total, branch = per_frame(sys.argv[1], pathlib.Path(folder), 0)
        observed, _ = per_frame(sys.argv[1], pathlib.Path(folder), 1)
    print(f"instructions for each frame read: {total:.1f}, of which to ask for observers {branch:.2f}; "
          f"{observed - total:.1f} more with one that is shown everything")
    if not LEAST <= branch <= MOST:
        print(f"without an observer that is {LEAST} to {MOST}: a branch, and no work")
        return 1
    if observed - total < 10 * MOST:
        print("an observer costs as little as none: nothing was mirrored")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
