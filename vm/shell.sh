#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A prompt in the VM, on this terminal. `exit` ends it, Ctrl-A X kills it.
# FLAVOUR=debug takes the kernel of `make check`; ADD=DIR brings files of one's own as /vpfn/*.

. "$(dirname "$0")/lib.sh"

exec "$top/vm/boot.sh" --flavour "${FLAVOUR:-fast}" ${ADD:+--add "$ADD"} --terminal shell /vpfn/guest/shell
