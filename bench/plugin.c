// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A plugin for QEMU: where does the guest's kernel spend its instructions between two marks?
 *
 * A mark is a NOP with a displacement that says which one it is, so that it costs nothing where
 * there is no plugin. What runs between the n-th mark of begin and the next one of end is written
 * to QEMU's log (-d plugin) when QEMU ends: "instructions N ADDRESS COUNT" for each translation
 * block in the kernel's half of the addresses.
 *
 * For one processor.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qemu-plugin.h>

#include "marks.h"

#define WINDOWS_MAX	64

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct block {
	struct block *next;
	uint64_t address;
	unsigned int instructions;
	unsigned int runs[WINDOWS_MAX + 1];	/* in each window, from 1 on */
};

static struct block *blocks;
static unsigned int windows;	/* that have begun */
static unsigned int window;	/* 0: none */

static void on_block(unsigned int vcpu, void *data)
{
	struct block *block = data;

	(void)vcpu;
	block->runs[window]++;
}

static void on_begin(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	if (windows < WINDOWS_MAX)
		window = ++windows;
}

static void on_end(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	window = 0;
}

static void look_for_mark(struct qemu_plugin_insn *insn, const char *mark,
			  qemu_plugin_vcpu_udata_cb_t seen)
{
	char bytes[sizeof(MARK_BEGIN) - 1];

	if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) == sizeof(bytes) &&
	    !memcmp(bytes, mark, sizeof(bytes)))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, seen, QEMU_PLUGIN_CB_NO_REGS, NULL);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block;

	(void)id;
	if (!(qemu_plugin_tb_vaddr(tb) >> 63)) {
		for (size_t i = 0; i < count; i++) {
			look_for_mark(qemu_plugin_tb_get_insn(tb, i), MARK_BEGIN, on_begin);
			look_for_mark(qemu_plugin_tb_get_insn(tb, i), MARK_END, on_end);
		}
		return;
	}

	block = calloc(1, sizeof(*block));
	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->instructions = count;
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void on_exit_of_qemu(qemu_plugin_id_t id, void *data)
{
	char line[96];

	(void)id;
	(void)data;
	for (struct block *block = blocks; block; block = block->next) {
		for (unsigned int i = 1; i <= windows; i++) {
			if (!block->runs[i])
				continue;
			snprintf(line, sizeof(line), "instructions %u %#" PRIx64 " %u\n", i,
				 block->address, block->runs[i] * block->instructions);
			qemu_plugin_outs(line);
		}
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
					   char **argv)
{
	(void)info;
	(void)argc;
	(void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
	return 0;
}
