"""What tools/bench/compare writes of its results: tables in markdown, pictures, and the table of the README."""

import collections
import json
import pathlib
import statistics

import pictures

BUDGET = pathlib.Path(__file__).resolve().parent / "budget.txt"


class Results:
    """The lines of a run, as medians over repetitions."""

    def __init__(self, folder):
        self.about = {}
        self.failures = collections.Counter()
        self.cells = collections.defaultdict(lambda: collections.defaultdict(list))
        for line in (folder / "results.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["workload"] == "about":
                self.about = row
            elif "failed" in row:
                self.failures[row["workload"], row["system"]] += 1
            else:
                self.add(row)

    # What names a cell; the rest of a row was measured.
    NAMES = ("workload", "system", "in_flight", "each", "receivers", "mebibytes", "slots", "grows", "count", "calls")

    def add(self, row):
        names = self.NAMES if row["workload"] != "calls" else self.NAMES[:4]
        key = frozenset((name, row[name]) for name in names if name in row)
        for name, value in row.items():
            if (name, row[name]) not in key and name != "repetition" and not isinstance(value, str):
                self.cells[key][name].append(value)

    def median(self, figure, **names):
        """None where it was not measured."""
        values = self.cells.get(frozenset(names.items()), {}).get(figure)
        return statistics.median(values) if values else None

    def rows(self, workload):
        for key, figures in self.cells.items():
            names = dict(key)
            if names.pop("workload") == workload:
                yield names, {name: statistics.median(values) for name, values in figures.items()}


def ratio(one, other):
    return None if one is None or not other else one / other


def worst(pick, values):
    values = [value for value in values if value is not None]
    return pick(values) if values else None


def w1(results, figure, system, in_flight, each):
    # Over one receiver or four: what was measured.
    values = [results.median(figure, workload="W1", system=system, in_flight=in_flight, each=each, receivers=receivers)
              for receivers in (1, 4)]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def against(results, system, figure, cells, inverse=False):
    """The ratios of a peer to the relay (or the inverse) over cells of W1."""
    for in_flight, each in cells:
        peer, ours = (w1(results, figure, name, in_flight, each) for name in (system, "relay"))
        yield ratio(ours, peer) if inverse else ratio(peer, ours)


def budget():
    rows = [line.split() for line in BUDGET.read_text().splitlines() if line and not line.startswith("#")]
    return {name: float(instructions) for name, instructions, _ in rows}


def figures(results):
    """(what, measured values, bars, goals, whether more is better) for each line of the README's table."""
    shared, each, both = (False,), (True,), (False, True)
    cells = lambda flights, sharing: [(n, e) for n in flights for e in sharing]  # noqa: E731
    cpu = lambda flights, sharing: worst(min, against(results, "nats", "server_cpu_us", cells(flights, sharing)))  # noqa: E731
    yield "NATS / relay, server CPU per request, lean clients, 16 in flight", [cpu((16,), both)], [1.7], [2.5], True
    yield "the same, 64 and 256 in flight, shared connection", [cpu((64, 256), shared)], [2.5], [5], True
    yield "the same, 64 and 256 in flight, a connection each", [cpu((64, 256), each)], [2.0], [3], True
    yield "the same, 1 in flight", [cpu((1,), both)], [1.1], [1.3], True
    rate = lambda peers, flights: worst(min, (value for peer in peers for value in against(  # noqa: E731
        results, peer, "requests_per_second", cells(flights, both), inverse=True)))
    yield "throughput against NATS, 16 in flight and more", [rate(("nats",), (16, 64, 256))], [1.6], [3], True
    yield ("throughput against Gearman, Majordomo, RabbitMQ, Redis at 64 in flight",
           [rate(("gearman", "majordomo", "rabbitmq", "redis"), (64,))], [3], [8], True)

    pair = lambda system: results.median("server_cpu_us", workload="pairs", system=system, in_flight=64)  # noqa: E731
    yield "relay / byte forwarder, CPU, same sockets, one operation per connection", [ratio(pair("relay"), pair("forwarder"))], [1.15], [1.0], False
    body = lambda load, figure, system, size: results.median(figure, workload=load, system=system, mebibytes=size)  # noqa: E731
    loads = ["W2"] + (["W2 reno"] if any(True for _ in results.rows("W2 reno")) else [])
    note = "; the same with Reno" if len(loads) > 1 else ""

    def bodies(figure, peer, pick):
        return [worst(pick, (ratio(body(load, figure, "relay", n), body(load, figure, peer, n)) for n in (1, 16, 256))) for load in loads]

    several = lambda mark: [mark] * len(loads)  # noqa: E731
    yield (f"relay / byte forwarder, CPU per GB of body{note}", bodies("server_cpu_s_per_gb", "forwarder", max),
           several(1.3), several(1.0), False)
    yield f"throughput of bodies against HAProxy{note}", bodies("mb_per_second", "haproxy", min), several(0.9), several(1.2), True
    yield f"throughput of bodies against NATS{note}", bodies("mb_per_second", "nats", min), several(1.5), several(2.5), True

    counted = budget()
    yield ("instructions in user space per small request, 64 in flight: shared; a connection each",
           [counted["one_frame.shared"], counted["one_frame.each"]], [1400, 2000], [1000, 1500], False)
    yield ("instructions per three-frame request: shared; a connection each",
           [counted["three_frames.shared"], counted["three_frames.each"]], [2600, 3200], [2000, 2500], False)

    uneven = lambda figure, system: results.median(figure, workload="W3", system=system, in_flight=32)  # noqa: E731
    peers = [names["system"] for names, _ in results.rows("W3") if names["system"] != "relay"]
    yield "W3 rate against the receivers' ideal of 3,020/s", [ratio(uneven("in_time", "relay"), 3020 * (0.5 if results.about.get("short") else 2))], [0.93], [0.98], True
    best = worst(min, (uneven("p99_us", peer) for peer in peers))
    yield "W3 p99 against the best peer's", [ratio(uneven("p99_us", "relay"), best)], [1.0], [0.8], False

    idle = lambda figure, receivers, slots: results.median(figure, workload="W4", system="relay", receivers=receivers, slots=slots)  # noqa: E731
    waits = [None if idle("idle_rss_bytes", *at) is None else (idle("idle_rss_bytes", *at) - idle("base_rss_bytes", *at)) / 10_000
             for at in ((10_000, 1), (100, 100))]
    yield "W4 bytes of a waiting receiver: on its own connection; on a shared one", waits, [4096, 512], [2048, 256], False
    seconds = 1 if results.about.get("short") else 10
    # A heartbeat is due every five seconds.
    busy = idle("idle_cpu_s", 10_000, 1) if seconds >= 10 else None
    yield "W4 CPU of 10,000 idle, heartbeats on, in % of a core", [None if busy is None else 100 * busy / seconds], [2], [0.5], False
    yield "W4 latency through them, against 1 idle (p50)", [ratio(idle("p50_us", 10_000, 1), idle("p50_us", 1, 1))], [1.2], [1.0], False

    seconds = 2 if results.about.get("short") else 10
    ideal = 4000 * seconds
    over = lambda figure: [results.median(figure, workload="W5", system="relay", slots=slots) for slots in (1, 2)]  # noqa: E731
    useful = over("in_time")
    yield ("W5 useful work against the receivers' ideal: one client at each receiver; two",
           [ratio(value, ideal) for value in useful], [0.97] * 2, [0.99] * 2, True)
    yield "W5 lost", over("lost"), [0] * 2, [0] * 2, False
    # The last place of the queue waits for all the others, and for what the receivers hold.
    promise = [ratio((4000 + 4 * slots) * 1e6 * seconds, value) for slots, value in zip((1, 2), useful)]
    for figure, name in (("p99_us", "p99"), ("p100_us", "the last one")):
        yield (f"W5 answers of accepted requests against what the queue promises, {name}: one client; two",
               [ratio(value, most) for value, most in zip(over(figure), promise)], [1.05] * 2, [1.0] * 2, False)

    for grows in ("queued", "channels", "waiting", "waiting, one dies"):
        costs = {names["count"]: row["server_cpu_us"] for names, row in results.rows("W6") if names["grows"] == grows}
        value = ratio(max(costs.values()), costs[min(costs)]) if costs else None
        if not costs and results.about.get("short"):
            continue
        until = f"{max(costs):,}" if costs else "?"
        yield f"W6 growth of the cost per operation, {grows}, to {until}", [value], [2], [1.3], False
    sdk = lambda calls: results.median("client_cpu_us", workload="W7", system="relay", calls=calls)  # noqa: E731
    yield "W7 SDK: CPU per callback request over raw frames", [ratio(sdk("callback"), sdk("raw"))], [2], [1.5], False
    yield "W7 the same, blocking; streamed (no bar)", [ratio(sdk("blocking"), sdk("raw")), ratio(sdk("streamed"), sdk("raw"))], [], [], False


def text_of(value):
    if value is None:
        return "not measured"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(values, bars, goals, more_is_better):
    if None in values or not values:
        return ""
    reached = lambda marks: marks and all(v >= m if more_is_better else v <= m for v, m in zip(values, marks))  # noqa: E731
    if reached(goals):
        return "goal"
    if reached(bars):
        return "bar"
    return "**missed**" if bars else ""


def heading(results):
    about = results.about
    versions = ", ".join(f"{name}: {version}" for name, version in sorted(about["versions"].items()))
    form = " --short" if about["short"] else ""
    return (f"`tools/bench/compare{form}` at {about['commit']}, {about['date']}, on {about['cpu']}, {about['kernel']}; load before "
            f"it {about['load_before']:.1f}. Medians of one run, loopback TCP. {versions}.")


def readme(folder):
    results = Results(folder)
    lines = [heading(results), "", "| figure | measured | bar | goal | |", "| --- | --- | --- | --- | --- |"]
    for what, values, bars, goals, more in figures(results):
        sign = ">= " if more else "<= "
        marks = ["; ".join(sign + text_of(mark) for mark in kind) for kind in (bars, goals)]
        lines.append(f"| {what} | {'; '.join(map(text_of, values))} | {marks[0]} | {marks[1]} | {verdict(values, bars, goals, more)} |")
    return "\n".join(lines)


COLUMNS = {
    "W1": ("requests_per_second", "p50_us", "p99_us", "p99.9_us", "server_cpu_us", "client_cpu_us"),
    "calls": ("reads", "writes", "calls"),
    "pairs": ("requests_per_second", "p50_us", "p99_us", "server_cpu_us"),
    "W2": ("mb_per_second", "server_cpu_s_per_gb", "server_rss_bytes"),
    "W2 reno": ("mb_per_second", "server_cpu_s_per_gb", "server_rss_bytes"),
    "W3": ("requests_per_second", "p50_us", "p99_us", "p99.9_us", "server_cpu_us"),
    "W4": ("idle_rss_bytes", "base_rss_bytes", "idle_cpu_s", "p50_us", "p99_us"),
    "W5": ("requests", "in_time", "refused", "lost", "not_offered", "p99_us", "p100_us", "server_rss_bytes"),
    "W6": ("server_cpu_us", "server_rss_bytes"),
    "W7": ("requests_per_second", "p50_us", "p99_us", "client_cpu_us", "server_cpu_us"),
}


def tables(results):
    for workload, columns in COLUMNS.items():
        rows = list(results.rows(workload))
        if not rows:
            continue
        names = [name for name in Results.NAMES[1:] if any(name in row for row, _ in rows)]
        yield f"\n## {workload}\n\n| " + " | ".join([*names, *columns]) + " |\n|" + " --- |" * (len(names) + len(columns))
        order = lambda row: [str(row[0].get(name, "")).rjust(12) for name in (*names[1:], "system")]  # noqa: E731
        for row, measured in sorted(rows, key=order):
            cells = [str(row.get(name, "")) for name in names] + [text_of(measured.get(name)) for name in columns]
            yield "| " + " | ".join(cells) + " |"


def write(folder):
    """Writes results.md and the pictures beside results.jsonl; returns what was measured against the bars."""
    results = Results(folder)
    table = readme(folder)
    failed = [f"{workload} {system}: {count} of its runs failed" for (workload, system), count in results.failures.items()]
    drawn = []
    if any(True for _ in results.rows("W1")):
        drawn = [pictures.draw(folder, results, each) for each in (False, True)]
    parts = ["# The relay beside others", "", table, *failed, "", *(f"![{name}]({name})" for name in drawn), *tables(results)]
    (folder / "results.md").write_text("\n".join(parts) + "\n")
    return "\n".join([table, *failed, "", f"{folder}/results.md has all of it"])
