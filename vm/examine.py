#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Why does a VM hang? Prints what QEMU's monitor knows of the processors, their local APICs, the
interrupt controllers and the queues of the virtio devices.

usage: examine.py QMP-SOCKET
"""
import json
import socket
import sys

COMMANDS = ("info status", "info cpus", "info registers -a", "info lapic 0", "info lapic 1", "info pic", "info irq")


def main():
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(20)
        monitor.connect(sys.argv[1])
        stream = monitor.makefile("rw")

        def execute(command, **arguments):
            stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            stream.flush()
            for line in stream:
                message = json.loads(line)
                if "return" in message or "error" in message:
                    return message.get("return", message.get("error"))
            raise EOFError("QEMU has ended")

        execute("qmp_capabilities")
        for command in COMMANDS:
            print(f"== {command}\n{execute('human-monitor-command', **{'command-line': command})}")
        for device in execute("x-query-virtio"):
            print(f"== {device['name']} {device['path']}")
            for queue in range(2):
                print(execute("x-query-virtio-queue-status", path=device["path"], queue=queue))


main()
