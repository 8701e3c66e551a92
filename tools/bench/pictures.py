"""Pictures of W1 as SVG: throughput, latency and CPU per request, each by what is in flight, a line for each system."""

import math

COLOURS = {"relay": "#c0392b", "nats": "#2471a3", "nats (libnats)": "#7fb3d5", "gearman": "#8e44ad", "majordomo": "#16a085",
           "rabbitmq": "#d68910", "redis": "#616a6b", "haproxy": "#a6acaf", "forwarder": "#1c2833"}
PANELS = (("requests_per_second", "requests/s"), ("p50_us", "latency p50, us"), ("p99_us", "latency p99, us"),
          ("p99.9_us", "latency p99.9, us"), ("server_cpu_us", "server CPU per request, us"))
WIDTH, HEIGHT, MARGIN = 360, 260, 52


class Panel:
    """Both axes are logarithmic."""

    def __init__(self, left, title, lines):
        self.left, self.title, self.lines = left, title, lines
        points = [point for line in lines.values() for point in line]
        self.xs = sorted({x for x, _ in points})
        values = [y for _, y in points if y > 0]
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))

    def x(self, value):
        first, last = math.log(self.xs[0]), math.log(self.xs[-1])
        part = (math.log(value) - first) / (last - first) if last > first else 0.5
        return self.left + MARGIN + part * (WIDTH - MARGIN - 20)

    def y(self, value):
        part = (math.log10(max(value, 10**self.low)) - self.low) / (self.high - self.low)
        return 30 + (1 - part) * (HEIGHT - 30 - MARGIN)

    def svg(self):
        yield f'<text x="{self.left + MARGIN}" y="18" font-weight="bold">{self.title}</text>'
        for power in range(self.low, self.high + 1):
            y = self.y(10**power)
            yield f'<line x1="{self.left + MARGIN}" x2="{self.left + WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{self.left + MARGIN - 4}" y="{y + 4:.1f}" text-anchor="end">{10**power:,g}</text>'
        for x in self.xs:
            yield f'<text x="{self.x(x):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{x}</text>'
        for name, line in self.lines.items():
            points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in line)
            width = 3 if name == "relay" else 1.5
            yield f'<polyline points="{points}" fill="none" stroke="{COLOURS.get(name, "#000")}" stroke-width="{width}"/>'


def draw(folder, results, each):
    """Returns the picture's name."""
    receivers = 4
    rows = [(names, row) for names, row in results.rows("W1") if names["each"] == each and names["receivers"] == receivers]
    systems = [name for name in COLOURS if any(names["system"] == name for names, _ in rows)]
    parts = []
    for number, (figure, title) in enumerate(PANELS):
        lines = {name: sorted((names["in_flight"], row[figure]) for names, row in rows if names["system"] == name and figure in row)
                 for name in systems}
        parts += Panel(number * WIDTH, title, lines).svg()
    for number, name in enumerate(systems):
        x = MARGIN + number * 130
        parts.append(f'<line x1="{x}" x2="{x + 24}" y1="{HEIGHT - 8}" y2="{HEIGHT - 8}" stroke="{COLOURS[name]}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 30}" y="{HEIGHT - 4}">{name}</text>')
    sharing = "a connection for each sender" if each else "one connection for all senders"
    parts.append(f'<text x="{MARGIN + WIDTH}" y="{HEIGHT - 22}">by requests in flight; {sharing}, {receivers} receivers, 64 bytes</text>')
    name = f"small_requests_{'each' if each else 'shared'}.svg"
    (folder / name).write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(PANELS)}" height="{HEIGHT}" '
                               'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n'
                               + "\n".join(parts) + "\n</svg>\n")
    return name
