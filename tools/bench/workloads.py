"""The workloads of tools/bench/compare: what is run against which system, and what is kept of it."""

import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import time


@dataclasses.dataclass(frozen=True)
class Cell:
    """One thing to measure, of one system. Each repetition of it is a line of results."""
    workload: str
    system: str
    shape: tuple  # of pairs; what the pictures and the table find it by
    flags: tuple  # of the program
    program: str = "bench_peers"
    fresh: tuple | None = None  # a server of its own, with these flags
    timeout: float = 90


def shape(**values):
    return tuple(values.items())


def flags(**values):
    words = []
    for name, value in values.items():
        if value is not False:
            words += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    return tuple(words)


# RabbitMQ's code is compiled as it runs, and it comes back slowly from standing still.
def warm_up(system, in_flight):
    return 1000 if system == "rabbitmq" else max(64, 4 * in_flight)


def w1(systems, short):
    """64 bytes each way: small requests."""
    for system in systems:
        if short and system == "nats (libnats)":
            continue
        # In a hurry, what the table asks for.
        for in_flight in (1, 16, 64, 256) if not short or system in ("relay", "nats") else (64,):
            for each in (False, True):
                for receivers in (4,) if short else (1, 4):
                    yield Cell("W1", system, shape(in_flight=in_flight, each=each, receivers=receivers),
                               flags(in_flight=in_flight, receivers=receivers, each=each, seconds=0.1 if short else 0.2,
                                     warm_up=warm_up(system, in_flight)))


def pairs(systems, short):
    """The relay beside proxies of bytes, with the same sockets: each request has a connection to each side."""
    for system in systems:
        if system in ("relay", "forwarder", "haproxy"):
            for in_flight in (1, 16, 64):
                yield Cell("pairs", system, shape(in_flight=in_flight),
                           flags(in_flight=in_flight, receivers=in_flight, each=True, seconds=0.1 if short else 0.3,
                                 warm_up=warm_up(system, in_flight)))


def w2(systems, short):
    """Bodies, four at once, there and back."""
    for system in systems:
        if system in ("relay", "nats", "haproxy", "forwarder"):
            for mebibytes in (16,) if short else (1, 16, 256):
                yield Cell("W2", system, shape(mebibytes=mebibytes),
                           flags(bytes=mebibytes << 20, rounds=max(1, 16 // mebibytes)), program="bench_streams")


def w3(systems, short):
    """Four receivers, one of which takes 50 ms and three 1 ms; 32 in flight."""
    for system in systems:
        if system not in ("haproxy", "forwarder", "nats (libnats)"):
            yield Cell("W3", system, shape(in_flight=32),
                       flags(in_flight=32, receivers=4, slots=1, service_us="50000,1000,1000,1000",
                             warm_up=warm_up(system, 32), seconds=0.5 if short else 2))


def w4(systems, short):
    """Ten thousand receivers that wait, and one request after the other through them."""
    for system in systems:
        if system not in ("relay", "redis", "nats", "gearman", "majordomo") or (short and system != "relay"):
            continue
        for receivers, slots in ((10_000, 1), (100, 100), (1, 1)):
            if system == "relay" or slots == 1:
                # Whose CPU is told is watched for two of its heartbeats.
                idle = 10 if system == "relay" and receivers == 10_000 and not short else 1 if receivers > 1 else 0.1
                yield Cell("W4", system, shape(receivers=receivers, slots=slots),
                           flags(receivers=receivers, slots=slots, in_flight=1, requests=200, idle=idle), fresh=())


QUEUE_COUNT = 4000


def w5(systems, short):
    """Three times what four receivers of 1 ms can do, whatever comes back. Promised is what the queue holds. The relay's
    receivers have one client each, or two, of which one waits while the other's work is done. All of its senders share
    ten connections."""
    for system in systems:
        if system in ("haproxy", "forwarder", "nats (libnats)") or (short and system != "relay"):
            continue
        seconds = 2 if short else 10 if system == "relay" else 1  # the others refuse nothing, and answer three times as long
        for slots in (1, 2) if system == "relay" else (1,):
            yield Cell("W5", system, shape(seconds=seconds, slots=slots),
                       flags(receivers=4, slots=slots, in_flight=40_000 if system == "relay" else 120_000, rate=12_000,
                             seconds=seconds, service_us="1000,1000,1000,1000", patience=10),
                       fresh=("--queue-count", str(QUEUE_COUNT)) if system == "relay" else ())


NO_LIMITS = ("--queue-count", "4000000", "--queue-bytes", "2GiB", "--queue-bytes-total", "4GiB", "--max-clients", "4000000",
             "--max-channels", "400000", "--send-queue-bytes-total", "4GiB")


def w6(systems, short):
    """More of everything: what an operation costs must not grow."""
    if "relay" not in systems:
        return
    for queued in (1_000, 100_000) if short else (1_000, 10_000, 100_000, 1_000_000):
        yield Cell("W6", "relay", shape(grows="queued", count=queued),
                   flags(in_flight=queued, requests=queued, receivers=4, slots=16, late=True), fresh=NO_LIMITS)
    requests = 20_000 if short else 100_000
    for channels in (1, 100, 10_000) if short else (1, 100, 10_000, 100_000):
        clients = max(64, channels)
        yield Cell("W6", "relay", shape(grows="channels", count=channels),
                   flags(in_flight=clients, receivers=max(4, clients // 4000), channels=channels, active=64,
                         requests=requests, warm_up=clients), fresh=NO_LIMITS)
    for waiting in (100, 10_000) if short else (100, 1_000, 10_000):
        for dies in (True,) if short else (False, True):
            yield Cell("W6", "relay", shape(grows="waiting, one dies" if dies else "waiting", count=waiting),
                       flags(in_flight=64, receivers=4, slots=waiting // 4, requests=requests,
                             kill_after=requests // 2 if dies else False, warm_up=1000), fresh=NO_LIMITS)


def w7(systems, short):
    """The same load on raw frames and through the SDK; CPU of the clients' process."""
    if "relay" not in systems:
        return
    requests = 5_000 if short else 40_000
    for calls in ("raw", "callback", "blocking", "streamed"):
        yield Cell("W7", "relay", shape(calls=calls),
                   flags(requests=requests, warm_up=1000) + (() if calls == "raw" else ("--calls", calls)),
                   program="raw" if calls == "raw" else "sdk")


ALL = {"W1": w1, "pairs": pairs, "W2": w2, "W3": w3, "W4": w4, "W5": w5, "W6": w6, "W7": w7}


def run(cell, system, build):
    """One repetition; what the program has printed."""
    if cell.program in ("raw", "sdk"):
        command = [build / "tools" / "relay", "bench", cell.program, "--json", "--server", system.url, "--server-pid", system.pid]
    else:
        command = [build / "tools" / "bench" / "peers" / (system.program if cell.program == "bench_peers" else cell.program),
                   *system.arguments()]
    base = system.rss_bytes()
    done = subprocess.run([str(word) for word in (*command, *cell.flags)], capture_output=True, text=True, timeout=cell.timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{cell.workload} {cell.system} {dict(cell.shape)}: {done.stderr.strip()}")
    return {**json.loads(done.stdout), "base_rss_bytes": base}


READS = {"read", "readv", "recvfrom", "recvmsg", "recvmmsg"}
WRITES = {"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"}


def count_calls(system, build, each, scratch):
    """Reads, writes and all system calls per request, 64 in flight and 4 receivers, by strace's count."""
    out = pathlib.Path(scratch) / "strace.out"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(system.pid)], stderr=subprocess.PIPE)
    tracer.stderr.readline()  # attached
    try:
        driver = build / "tools" / "bench" / "peers" / system.program
        command = [driver, *system.arguments(), *flags(in_flight=64, receivers=4, requests=1000, each=each)]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()
    if done.returncode != 0:
        raise RuntimeError(f"{system.name} under strace: {done.stderr.strip()}")
    counts = {"reads": 0, "writes": 0, "calls": 0}
    for line in out.read_text().splitlines():
        row = re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)", line)
        if row and row[2] != "total":
            counts["calls"] += int(row[1])
            counts["reads"] += int(row[1]) if row[2] in READS else 0
            counts["writes"] += int(row[1]) if row[2] in WRITES else 0
    return {name: count / json.loads(done.stdout)["requests"] for name, count in counts.items()}


def settle(system):
    """A system that still works on what the last client left is given a moment, at most 0.3 seconds."""
    before = None
    for _ in range(6):
        fields = pathlib.Path(f"/proc/{system.pid}/schedstat").read_text().split()
        if before is not None and int(fields[0]) - before < 200_000:
            return
        before = int(fields[0])
        time.sleep(0.05)
