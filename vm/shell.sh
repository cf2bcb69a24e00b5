#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A prompt in the VM, on this terminal. `exit` ends it, Ctrl-A X kills it.
# FLAVOUR=debug takes the kernel of `make check`.

. "$(dirname "$0")/lib.sh"

exec "$top/vm/boot.sh" --flavour "${FLAVOUR:-fast}" --terminal shell /vpfn/guest/shell
