"""What the machine says: processor time of processes and of a core, memory, free ports."""

import os
import socket
import time

TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1


def free_ports(count):
    """Ports that nobody listens on now, below the range that clients' sockets use."""
    ports, port = [], 20000 + os.getpid() % 10000
    while len(ports) < count:
        port = port + 1 if port < 32000 else 20000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            except OSError:
                continue
    return ports


def on_core(core, command):
    return ["taskset", "-c", str(core), *command]


def tree(pid):
    """A process and all that it started."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        below = [int(child) for child in children.read().split()]
    return [pid] + [process for child in below for process in tree(child)]


def processor_seconds(pids):
    """User and system time of processes, in seconds."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def core_seconds(core):
    """Time in which a core did anything, in seconds."""
    with open("/proc/stat") as stat:
        for line in stat:
            fields = line.split()
            if fields[0] == f"cpu{core}":
                user, nice, system, _, _, interrupts, soft, *_ = map(int, fields[1:])
                return (user + nice + system + interrupts + soft) / TICKS
    raise RuntimeError(f"no core {core}")


def resident_bytes(pids):
    """Memory that is really there, shared pages counted once in each process that made them its own."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
    return total


class Meter:
    """Processor time from its making to `stop`, of a server's processes and of its core."""

    def __init__(self, pids):
        self.pids = pids
        self.core = core_seconds(SERVER_CORE)
        self.processes = processor_seconds(pids)
        self.began = time.monotonic()

    def stop(self):
        processes = processor_seconds(self.pids) - self.processes
        core = core_seconds(SERVER_CORE) - self.core
        return processes, core, time.monotonic() - self.began
