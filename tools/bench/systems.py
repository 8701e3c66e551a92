"""The systems that tools/bench/compare measures: how each is installed, started on loopback with a folder of its own,
held still while another is measured, and stopped by its own process id."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

PATIENCE_SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def allow_many_files():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class System:
    """One server process. `dialect` is how bench_peers speaks to it."""

    name = dialect = ""
    program = "bench_peers"  # for small requests
    packages = ()

    def __init__(self, build, scratch, flags=()):
        self.build = build
        self.folder = pathlib.Path(scratch) / self.name
        self.flags = list(flags)
        self.port = None
        self.process = None
        self.url = None

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = self.spawn(self.command())
        self.wait_until_ready()
        return self

    def spawn(self, command):
        with open(self.folder / "log", "ab") as log:
            # A session of its own: what it starts in turn is stopped with it.
            return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.folder, env={**os.environ, **self.environment()},
                                    start_new_session=True, preexec_fn=allow_many_files)

    @property
    def pid(self):
        return self.process.pid

    def wait_until_ready(self):
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self.process.poll() is not None or time.monotonic() > give_up:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start: {tail}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        self.url = f"tcp://127.0.0.1:{self.port}"

    def arguments(self):
        """For bench_peers and bench_streams."""
        return [self.dialect, "--server", self.url, "--pid", str(self.pid)]

    def rss_bytes(self):
        pages = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def hold(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def let_go(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self):
        if self.process is None:
            return
        self.let_go()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def first_line(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "?"


class Relay(System):
    name = dialect = "relay"

    def command(self):
        return [self.build / "server" / "relayd", "--listen", f"tcp://127.0.0.1:{self.port}", "--log-level", "warning",
                *self.flags]

    def version(self):
        return first_line(self.build / "server" / "relayd", "--version")


class Nats(System):
    name = dialect = "nats"
    packages = ("nats-server", "libnats-dev")

    def command(self):
        return ["nats-server", "-a", "127.0.0.1", "-p", self.port]

    def version(self):
        return first_line("nats-server", "--version")


class NatsLibrary(Nats):
    """The same server, spoken to by its own C library."""
    name = "nats (libnats)"
    dialect = "libnats"
    program = "bench_libnats"


class Redis(System):
    name = dialect = "redis"
    packages = ("redis-server",)

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", self.port, "--save", "", "--appendonly", "no",
                "--maxclients", "15000", "--dir", self.folder]

    def version(self):
        return first_line("redis-server", "--version")


class Gearman(System):
    name = dialect = "gearman"
    packages = ("gearman-job-server",)

    def command(self):
        return ["gearmand", "-L", "127.0.0.1", "-p", self.port, f"--log-file={self.folder}/gearmand.log"]

    def version(self):
        return first_line("gearmand", "--version")


class Majordomo(System):
    name = dialect = "majordomo"
    packages = ("libzmq3-dev",)

    def command(self):
        return [self.build / "tools" / "bench" / "peers" / "majordomo_broker", f"tcp://127.0.0.1:{self.port}"]

    # A worker that went without a word is a worker for 7.5 s more: each load has a broker of its own.
    def hold(self):
        self.stop()

    def let_go(self):
        self.start()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def version(self):
        return "MDP 0.1 on libzmq " + first_line("pkg-config", "--modversion", "libzmq")


class Rabbitmq(System):
    name = dialect = "rabbitmq"
    packages = ("rabbitmq-server",)
    epmd = None

    def environment(self):
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
        }

    def start(self):
        self.epmd_port, self.dist_port = free_port(), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text("vm_memory_high_watermark.relative = 0.6\n")
        (self.folder / "plugins").write_text("[].\n")
        # Erlang would leave this one behind.
        self.epmd = self.spawn(["epmd", "-port", self.epmd_port, "-address", "127.0.0.1"])
        return super().start()

    def command(self):
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    @property
    def pid(self):
        return int((self.folder / "pid").read_text())

    def stop(self):
        super().stop()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()
            self.epmd = None

    def version(self):
        return "RabbitMQ " + first_line("dpkg-query", "--show", "--showformat=${Version}", "rabbitmq-server")


class Proxy(System):
    """Takes bytes from one connection to another."""
    dialect = "pipe"

    def start(self):
        self.backend_port = free_port()
        return super().start()

    def arguments(self):
        return [*super().arguments(), "--backend-port", str(self.backend_port)]


class Haproxy(Proxy):
    name = "haproxy"
    packages = ("haproxy",)

    def command(self):
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""\
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:{self.port}
  server backend 127.0.0.1:{self.backend_port}
""")
        return ["haproxy", "-db", "-f", config]

    def version(self):
        return first_line("haproxy", "-v")


class Forwarder(Proxy):
    name = "forwarder"

    def command(self):
        return [self.build / "tools" / "bench" / "peers" / "forwarder", self.port, self.backend_port]

    def version(self):
        return "a bare byte forwarder, of this tree"


ALL = (Relay, Nats, NatsLibrary, Gearman, Majordomo, Rabbitmq, Redis, Haproxy, Forwarder)
