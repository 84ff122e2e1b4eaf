"""Creates hosts as network namespaces, and forwards their packets with delay and loss.

Usage: network.py COUNT DELAY LOSS. Prints a random PREFIX once the hosts exist. Namespace PREFIX-N has the address 10.0.0.N,
with N from 1 to COUNT. Each packet takes DELAY seconds, and a fraction LOSS of packets is lost. The lines `cut N` and `join N` on
standard input cut a host off and connect it again. Removes the hosts at the end of standard input, also if a test is killed.
"""

import collections
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def create(name, host):
    ip("netns", "add", name)
    interface = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(interface, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    ip("link", "set", name, "netns", name)
    ip("-n", name, "address", "add", f"10.0.0.{host}/24", "dev", name)
    ip("-n", name, "link", "set", name, "up")
    return interface


def forward(interfaces, delay, loss):
    late, cut = collections.deque(), set()
    while True:
        wait = max(0, late[0][0] - time.monotonic()) if late else None
        for ready in select.select([0, *interfaces.values()], [], [], wait)[0]:
            data = os.read(ready, 1 << 16)
            if ready == 0:
                if not data:
                    return
                command, host = data.split()
                (cut.add if command == b"cut" else cut.discard)(int(host))
            # Drops all other packets, such as IPv6 neighbor discovery.
            elif data[0] >> 4 == 4 and data[19] in interfaces:
                if cut.isdisjoint([data[15], data[19]]) and random.random() >= loss:
                    late.append((time.monotonic() + delay, interfaces[data[19]], data))
        while late and late[0][0] <= time.monotonic():
            _, interface, packet = late.popleft()
            os.write(interface, packet)


count, delay, loss = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
prefix = "r" + os.urandom(4).hex()
names = {host: f"{prefix}-{host}" for host in range(1, count + 1)}
try:
    interfaces = {host: create(name, host) for host, name in names.items()}
    print(prefix, flush=True)
    forward(interfaces, delay, loss)
finally:
    for name in names.values():
        subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)
