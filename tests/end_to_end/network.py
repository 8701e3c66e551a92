"""Two network namespaces and a link between them that can be cut: the black hole that no program can play."""

import contextlib
import ctypes
import os
import shutil
import subprocess


class Network:
    """Skips the test, with the reason, where it cannot be made."""

    SERVER, PEER = f"relay-server-{os.getpid()}", f"relay-peer-{os.getpid()}"
    ADDRESS = "192.0.2.1"

    def __init__(self, test):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            test.skipTest("cutting a link takes root and the program `ip`")
        self.libc = ctypes.CDLL(None, use_errno=True)
        made = subprocess.run(["ip", "netns", "add", self.SERVER], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            test.skipTest(f"no network namespaces here: {made.stderr.strip()}")

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    def __enter__(self):
        try:
            self.ip("netns", "add", self.PEER)
            self.ip("-n", self.SERVER, "link", "add", "relay0", "type", "veth", "peer", "name", "relay0",
                    "netns", self.PEER)
            for namespace, address in ((self.SERVER, self.ADDRESS), (self.PEER, "192.0.2.2")):
                self.ip("-n", namespace, "address", "add", f"{address}/24", "dev", "relay0")
                for device in ("lo", "relay0"):
                    self.ip("-n", namespace, "link", "set", device, "up")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in (self.SERVER, self.PEER):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    @contextlib.contextmanager
    def inside(self, namespace):
        """Sockets and processes that are made meanwhile are in the namespace."""
        with open("/proc/thread-self/ns/net", "rb") as outside:
            self.enter(f"/run/netns/{namespace}")
            try:
                yield
            finally:
                if self.libc.setns(outside.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")

    def enter(self, path):
        with open(path, "rb") as namespace:
            if self.libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), f"setns {path}")

    def cut(self):
        self.ip("-n", self.PEER, "link", "set", "relay0", "down")
