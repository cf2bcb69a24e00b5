#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What can the guest ask of its host? Carries out the commands that arrive on the port
vpfn.control, one a line, and answers each with "ok", "ok VALUE" or "error TEXT".

  set ID PROPERTY VALUE   a property of a device; VALUE is JSON
  get ID PROPERTY         its value, as JSON
  unplug ID               asks the guest to let go of the card: it has left when a "plug" succeeds
  plug ID                 the same card again, into the same slot, as soon as the old one has left
  memcpy                  how many ns the host's memcpy() takes for 256 MiB of shared memory, as VRAM is
  wakeup MILLISECONDS     after that time, wakes the guest up, or as soon as it sleeps

usage: control.py QMP-SOCKET PIPE CARD...: QEMU reads PIPE.in and writes PIPE.out; a CARD is
the JSON that QEMU's -device has had
"""
import ctypes
import json
import mmap
import socket
import sys
import threading
import time

# Far more than any guest takes, so that an answer always comes
LIMIT = 60
MEMCPY_SIZE = 256 << 20


class Refused(Exception):
    """QEMU does not do it"""


class Qmp:
    """QEMU's monitor, for one thread at a time"""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rw")
        self.execute("qmp_capabilities")

    def execute(self, command, arguments=None):
        with self.lock:
            self.stream.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
            self.stream.flush()
            for line in self.stream:
                message = json.loads(line)
                if "error" in message:
                    raise Refused(message["error"]["desc"])
                if "return" in message:
                    return message["return"]
        raise EOFError("QEMU has ended")


def patiently(action, reasons=("",)):
    """Repeats what QEMU refuses, for one of these reasons, while it waits for the guest"""
    end = time.monotonic() + LIMIT
    while True:
        try:
            return action()
        except Refused as reason:
            if not any(word in str(reason) for word in reasons) or time.monotonic() > end:
                raise
        time.sleep(0.1)


class Control:
    def __init__(self, qmp, cards):
        self.qmp = qmp
        self.cards = {card["id"]: card for card in map(json.loads, cards)}
        self.shared = []

    def path(self, card):
        if card not in self.cards:
            raise Refused(f"no card is called {card}")
        return f"/machine/peripheral/{card}"

    def set(self, card, name, value):
        self.qmp.execute("qom-set", {"path": self.path(card), "property": name, "value": json.loads(value)})

    def get(self, card, name):
        return json.dumps(self.qmp.execute("qom-get", {"path": self.path(card), "property": name}))

    def unplug(self, card):
        self.path(card)
        self.qmp.execute("device_del", {"id": card})

    def plug(self, card):
        self.path(card)
        patiently(lambda: self.qmp.execute("device_add", self.cards[card]),
                  reasons=("Duplicate", "in use", "used by", "busy"))

    # The size is not the guest's to say: it would write beyond the memory, or take all there is.
    def memcpy(self):
        if not self.shared:
            self.shared = [ctypes.c_char.from_buffer(mmap.mmap(-1, MEMCPY_SIZE)) for _ in range(2)]
            for memory in self.shared:
                ctypes.memset(ctypes.byref(memory), 1, MEMCPY_SIZE)
        begin = time.monotonic_ns()
        ctypes.memmove(*map(ctypes.byref, self.shared), MEMCPY_SIZE)
        return time.monotonic_ns() - begin

    def wakeup(self, milliseconds):
        def wake():
            try:
                patiently(lambda: self.qmp.execute("system_wakeup"))
            except (Refused, OSError, EOFError, ValueError) as reason:
                print(f"wakeup: {reason}", file=sys.stderr)

        timer = threading.Timer(int(milliseconds) / 1000, wake)
        timer.daemon = True
        timer.start()

    def answer(self, line):
        command, *words = line.split() or [""]
        if command not in ("set", "get", "unplug", "plug", "memcpy", "wakeup"):
            return f"error no command is called '{command}'"
        try:
            value = getattr(self, command)(*words)
        except (Refused, TypeError, ValueError) as reason:
            return "error " + " ".join(str(reason).split())
        return "ok" if value is None else f"ok {value}"


def main():
    path, pipe, *cards = sys.argv[1:]
    # QEMU has its socket before it opens the pipe
    with open(pipe + ".out", encoding="utf-8") as questions, \
            open(pipe + ".in", "w", encoding="utf-8") as answers:
        control = Control(Qmp(path), cards)
        for line in questions:
            answer = control.answer(line)
            print(f"{line.strip()} -> {answer}", file=sys.stderr, flush=True)
            print(answer, file=answers, flush=True)


main()
