/*
 * vpfn: a virtual GPU whose memory is a large, RAM-backed PCI BAR
 *
 * The specification is docs/specs/vpfn.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/crc32c.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/misc/vpfn_regs.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/dma.h"
#include "system/hostmem.h"
#include "trace.h"

#define TYPE_VPFN "vpfn"
OBJECT_DECLARE_SIMPLE_TYPE(VpfnState, VPFN)

#define VPFN_VRAM_SIZE_MIN      (1 * MiB)
#define VPFN_VRAM_SIZE_MAX      (64 * GiB)
#define VPFN_VRAM_SIZE_DEFAULT  (256 * MiB)

#define VPFN_PCIE_CAP_OFFSET    0x80
#define VPFN_MSIX_BAR_SIZE      0x1000
#define VPFN_MSIX_PBA_OFFSET    0x800

#define VPFN_INT_ALL            (VPFN_INT_FENCE | VPFN_INT_ERROR)

/*
 * The engine works in slices, each run by a timer of the virtual clock. Unlike
 * a bottom half, that never runs while the VM is stopped, so that nothing
 * changes after the state was saved; and with -icount it runs at the same
 * instruction every time. Between slices other threads get the big lock.
 *
 * A slice has a budget: about as many bytes as VRAM can copy in a
 * millisecond. What is slower costs more.
 */
#define VPFN_SLICE_BUDGET       (8 * MiB)
#define VPFN_SLICE_DELAY_NS     (20 * SCALE_US)
#define VPFN_COST_FETCH         (4 * KiB)
#define VPFN_COST_SYSTEM        4
#define VPFN_COST_CRC           8

#define VPFN_BOUNCE_SIZE        (64 * KiB)

/* Source or destination, as a descriptor gives it. */
typedef struct VpfnOperand {
    uint8_t space;
    uint64_t addr;
    uint32_t count;
} VpfnOperand;

typedef struct VpfnDesc {
    uint8_t op;
    uint8_t flags;
    uint32_t fence;
    uint64_t length;
    VpfnOperand src;
    VpfnOperand dst;
    uint32_t pattern;
} VpfnDesc;

/* The part of an operand that comes next: all the rest, or that of an entry. */
typedef struct VpfnCursor {
    uint64_t addr;
    uint64_t left;
    uint32_t next_entry;
} VpfnCursor;

/* A BAR, and what covers it while the device is gone. */
typedef struct VpfnBar {
    MemoryRegion container;
    MemoryRegion absent;
} VpfnBar;

struct VpfnState {
    PCIDevice parent_obj;

    /* Properties; the sizes are 0 until realize if the user did not set them */
    uint64_t vram_size;
    uint64_t visible_size;
    HostMemoryBackend *memdev;

    /* Injected faults */
    bool hang;
    bool gone;
    uint32_t dma_error;
    uint32_t lost_interrupts;

    VpfnBar regs_bar;
    VpfnBar vram_bar;
    VpfnBar msix_bar;
    MemoryRegion regs;
    /* Unused if the VRAM is a host memory backend */
    MemoryRegion own_vram;
    MemoryRegion visible_vram;

    /* VRAM as the engine sees it */
    MemoryRegion all_vram;
    AddressSpace vram_as;
    const uint8_t *vram_host;

    /* Registers */
    bool enabled;
    uint32_t error;
    uint32_t error_index;
    uint64_t ring_base;
    uint32_t ring_size;
    uint32_t head;
    uint32_t tail;
    uint32_t fence;
    uint32_t int_status;
    uint32_t int_enable;

    QEMUTimer timer;

    /* The descriptor that runs, if any: then head differs from tail */
    bool active;
    uint8_t raw_desc[VPFN_DESC_SIZE];
    VpfnDesc desc;
    VpfnCursor src;
    VpfnCursor dst;
    uint64_t done;
    uint32_t crc;

    uint8_t bounce[VPFN_BOUNCE_SIZE];
};

/* Interrupts */

static void vpfn_send_message(VpfnState *s, unsigned vector)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    trace_vpfn_message(vector, s->lost_interrupts > 0);
    if (s->lost_interrupts) {
        s->lost_interrupts--;
    } else if (msix_enabled(pdev)) {
        msix_notify(pdev, vector);
    }
}

/*
 * The address of a message is the guest's choice, and may be one where a write
 * resets or unplugs this device: callers are done with the state.
 */
static void vpfn_set_interrupts(VpfnState *s, uint32_t status, uint32_t enable)
{
    uint32_t before = s->int_status & s->int_enable;
    uint32_t due = status & enable & ~before;
    unsigned vector;

    trace_vpfn_interrupt(status, enable);
    s->int_status = status;
    s->int_enable = enable;

    for (vector = 0; vector < VPFN_NUM_VECTORS; vector++) {
        if (due & BIT(vector)) {
            vpfn_send_message(s, vector);
        }
    }
}

/* What a descriptor may say */

typedef struct VpfnOp {
    /* Bit n: the operand may be in space n */
    unsigned src_spaces;
    unsigned dst_spaces;
    bool has_pattern;
} VpfnOp;

#define VPFN_NO_SPACE           BIT(VPFN_SPACE_NONE)
#define VPFN_LINEAR_SPACES      (BIT(VPFN_SPACE_VRAM) | BIT(VPFN_SPACE_SYSTEM))
#define VPFN_ALL_SPACES         (VPFN_LINEAR_SPACES | BIT(VPFN_SPACE_LIST))

static const VpfnOp vpfn_ops[] = {
    [VPFN_OP_NOP] = { VPFN_NO_SPACE, VPFN_NO_SPACE, false },
    [VPFN_OP_FILL] = { VPFN_NO_SPACE, VPFN_ALL_SPACES, true },
    [VPFN_OP_COPY] = { VPFN_ALL_SPACES, VPFN_ALL_SPACES, false },
    [VPFN_OP_CRC32C] = { VPFN_ALL_SPACES, VPFN_LINEAR_SPACES, false },
};

static void vpfn_decode(const uint8_t *raw, VpfnDesc *d)
{
    d->op = ldub_p(raw + VPFN_DESC_OP);
    d->flags = ldub_p(raw + VPFN_DESC_FLAGS);
    d->fence = ldl_le_p(raw + VPFN_DESC_FENCE);
    d->length = ldq_le_p(raw + VPFN_DESC_LENGTH);
    d->src.space = ldub_p(raw + VPFN_DESC_SRC_SPACE);
    d->src.addr = ldq_le_p(raw + VPFN_DESC_SRC_ADDR);
    d->src.count = ldl_le_p(raw + VPFN_DESC_SRC_COUNT);
    d->dst.space = ldub_p(raw + VPFN_DESC_DST_SPACE);
    d->dst.addr = ldq_le_p(raw + VPFN_DESC_DST_ADDR);
    d->dst.count = ldl_le_p(raw + VPFN_DESC_DST_COUNT);
    d->pattern = ldl_le_p(raw + VPFN_DESC_PATTERN);
}

/* Fields that the operation or another field makes meaningless must be 0. */
static bool vpfn_operand_is_clean(const VpfnOperand *o)
{
    return (o->space != VPFN_SPACE_NONE || !o->addr) &&
           (o->space == VPFN_SPACE_LIST || !o->count);
}

static bool vpfn_desc_is_clean(const uint8_t *raw, const VpfnDesc *d)
{
    return !(d->flags & ~(VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT)) &&
           (d->flags & VPFN_FLAG_FENCE || !d->fence) &&
           (vpfn_ops[d->op].has_pattern || !d->pattern) &&
           vpfn_operand_is_clean(&d->src) && vpfn_operand_is_clean(&d->dst) &&
           buffer_is_zero(raw + VPFN_DESC_RESERVED,
                          VPFN_DESC_SIZE - VPFN_DESC_RESERVED);
}

static bool vpfn_space_is_valid(unsigned allowed, uint8_t space)
{
    return space <= VPFN_SPACE_LIST && (allowed & BIT(space));
}

static bool vpfn_count_is_valid(const VpfnOperand *o)
{
    return o->space != VPFN_SPACE_LIST ||
           (o->count >= 1 && o->count <= VPFN_LIST_MAX);
}

static bool vpfn_length_is_valid(const VpfnDesc *d)
{
    if (d->op == VPFN_OP_NOP) {
        return !d->length;
    }
    return d->length >= 1 && d->length <= VPFN_LENGTH_MAX &&
           vpfn_count_is_valid(&d->src) && vpfn_count_is_valid(&d->dst);
}

/* @length is not 0. */
static bool vpfn_range_is_valid(VpfnState *s, uint8_t space, uint64_t addr,
                                uint64_t length)
{
    uint64_t last = space == VPFN_SPACE_VRAM ? s->vram_size - 1 : UINT64_MAX;

    return addr <= last && length - 1 <= last - addr;
}

static bool vpfn_operand_is_in_range(VpfnState *s, const VpfnOperand *o,
                                     uint64_t length)
{
    switch (o->space) {
    case VPFN_SPACE_NONE:
        return true;
    case VPFN_SPACE_LIST:
        length = (uint64_t)o->count * VPFN_ENTRY_SIZE;
        break;
    }
    return vpfn_range_is_valid(s, o->space, o->addr, length);
}

/* The first of the specification's checks that fails. */
static uint32_t vpfn_check(VpfnState *s, const uint8_t *raw, const VpfnDesc *d)
{
    uint64_t dst_length = d->op == VPFN_OP_CRC32C ? VPFN_CRC_SIZE : d->length;

    if (d->op >= ARRAY_SIZE(vpfn_ops)) {
        return VPFN_ERROR_OP;
    }
    if (!vpfn_desc_is_clean(raw, d)) {
        return VPFN_ERROR_RESERVED;
    }
    if (!vpfn_space_is_valid(vpfn_ops[d->op].src_spaces, d->src.space) ||
        !vpfn_space_is_valid(vpfn_ops[d->op].dst_spaces, d->dst.space)) {
        return VPFN_ERROR_SPACE;
    }
    if (!vpfn_length_is_valid(d)) {
        return VPFN_ERROR_LENGTH;
    }
    if (!vpfn_operand_is_in_range(s, &d->src, d->length) ||
        !vpfn_operand_is_in_range(s, &d->dst, dst_length)) {
        return VPFN_ERROR_ADDRESS;
    }
    return VPFN_ERROR_NONE;
}

/* Access to memory */

static AddressSpace *vpfn_address_space(VpfnState *s, uint8_t space)
{
    return space == VPFN_SPACE_VRAM ? &s->vram_as :
                                      pci_get_address_space(PCI_DEVICE(s));
}

static bool vpfn_read(VpfnState *s, uint8_t space, uint64_t addr, void *buf,
                      uint64_t length)
{
    return dma_memory_read(vpfn_address_space(s, space), addr, buf, length,
                           MEMTXATTRS_UNSPECIFIED) == MEMTX_OK;
}

static bool vpfn_write(VpfnState *s, uint8_t space, uint64_t addr,
                       const void *buf, uint64_t length)
{
    return dma_memory_write(vpfn_address_space(s, space), addr, buf, length,
                            MEMTXATTRS_UNSPECIFIED) == MEMTX_OK;
}

/* The engine */

/* Copies towards higher addresses of VRAM must not overrun their own source. */
static bool vpfn_runs_backward(const VpfnDesc *d)
{
    return d->src.space == VPFN_SPACE_VRAM && d->dst.space == VPFN_SPACE_VRAM &&
           d->op == VPFN_OP_COPY && d->src.addr < d->dst.addr;
}

static uint64_t vpfn_cursor_addr(const VpfnDesc *d, const VpfnCursor *c,
                                 uint64_t length)
{
    return vpfn_runs_backward(d) ? c->addr + c->left - length : c->addr;
}

static void vpfn_cursor_init(const VpfnDesc *d, const VpfnOperand *o,
                             VpfnCursor *c)
{
    *c = (VpfnCursor) { };
    if (o->space != VPFN_SPACE_LIST) {
        c->addr = o->addr;
        c->left = d->length;
    }
}

static void vpfn_cursor_advance(const VpfnDesc *d, VpfnCursor *c,
                                uint64_t length)
{
    if (!vpfn_runs_backward(d)) {
        c->addr += length;
    }
    c->left -= length;
}

static bool vpfn_cursor_at_end(const VpfnOperand *o, const VpfnCursor *c)
{
    return !c->left && c->next_entry == o->count;
}

/* Goes on to the next entry. Only lists have nothing left before the end. */
static uint32_t vpfn_cursor_refill(VpfnState *s, const VpfnOperand *o,
                                   VpfnCursor *c)
{
    uint8_t raw[VPFN_ENTRY_SIZE];

    if (c->next_entry == o->count) {
        return VPFN_ERROR_LIST;
    }
    if (!vpfn_read(s, VPFN_SPACE_SYSTEM,
                   o->addr + (uint64_t)c->next_entry * VPFN_ENTRY_SIZE,
                   raw, sizeof(raw))) {
        return VPFN_ERROR_FETCH;
    }

    c->next_entry++;
    c->addr = ldq_le_p(raw + VPFN_ENTRY_ADDR);
    c->left = ldl_le_p(raw + VPFN_ENTRY_LENGTH);
    if (!c->left || ldl_le_p(raw + VPFN_ENTRY_RESERVED) ||
        !vpfn_range_is_valid(s, VPFN_SPACE_SYSTEM, c->addr, c->left)) {
        return VPFN_ERROR_LIST;
    }
    return VPFN_ERROR_NONE;
}

/* @length bytes of the pattern, in the phase that the destination is in. */
static void vpfn_expand_pattern(VpfnState *s, uint64_t length)
{
    uint32_t pattern = ror32(s->desc.pattern, s->done % 4 * 8);
    uint64_t i;

    for (i = 0; i < length; i += sizeof(pattern)) {
        stl_le_p(s->bounce + i, pattern);
    }
}

/* The next @length bytes of the source, or NULL. */
static const uint8_t *vpfn_source(VpfnState *s, uint64_t length)
{
    uint64_t addr = vpfn_cursor_addr(&s->desc, &s->src, length);

    switch (s->desc.src.space) {
    case VPFN_SPACE_NONE:
        vpfn_expand_pattern(s, length);
        return s->bounce;
    case VPFN_SPACE_VRAM:
        return s->vram_host + addr;
    default:
        return vpfn_read(s, VPFN_SPACE_SYSTEM, addr, s->bounce, length) ?
               s->bounce : NULL;
    }
}

static bool vpfn_consume(VpfnState *s, const uint8_t *buf, uint64_t length)
{
    if (s->desc.op == VPFN_OP_CRC32C) {
        /* crc32c() inverts its result, which is not the last one yet */
        s->crc = ~crc32c(s->crc, buf, length);
        return true;
    }
    return vpfn_write(s, s->desc.dst.space,
                      vpfn_cursor_addr(&s->desc, &s->dst, length), buf, length);
}

static uint64_t vpfn_step_max(const VpfnDesc *d)
{
    /* No need to bounce; and memmove() is at its best with large blocks */
    if (d->op == VPFN_OP_COPY && d->src.space == VPFN_SPACE_VRAM &&
        d->dst.space == VPFN_SPACE_VRAM) {
        return VPFN_SLICE_BUDGET;
    }
    return VPFN_BOUNCE_SIZE;
}

static uint64_t vpfn_step_cost(const VpfnDesc *d, uint64_t length)
{
    if (d->op == VPFN_OP_CRC32C) {
        return length * VPFN_COST_CRC;
    }
    if (d->src.space > VPFN_SPACE_VRAM || d->dst.space > VPFN_SPACE_VRAM) {
        return length * VPFN_COST_SYSTEM;
    }
    return length;
}

static uint32_t vpfn_move(VpfnState *s, int64_t *budget)
{
    const VpfnDesc *d = &s->desc;
    uint64_t length = MIN(MIN(s->src.left, s->dst.left), d->length - s->done);
    const uint8_t *buf;
    bool ok;

    length = MIN(length, vpfn_step_max(d));
    *budget -= vpfn_step_cost(d, length);

    buf = vpfn_source(s, length);
    ok = buf && vpfn_consume(s, buf, length);
    /* DMA can reach whatever resets or unplugs this device */
    if (!s->active) {
        return VPFN_ERROR_NONE;
    }
    if (!ok) {
        return VPFN_ERROR_DMA;
    }

    s->done += length;
    vpfn_cursor_advance(d, &s->src, length);
    vpfn_cursor_advance(d, &s->dst, length);
    return VPFN_ERROR_NONE;
}

static uint32_t vpfn_start(VpfnState *s, int64_t *budget)
{
    uint64_t addr = s->ring_base + (uint64_t)s->head * VPFN_DESC_SIZE;
    VpfnDesc *d = &s->desc;
    uint32_t error;

    *budget -= VPFN_COST_FETCH;
    if (!vpfn_read(s, VPFN_SPACE_SYSTEM, addr, s->raw_desc, VPFN_DESC_SIZE)) {
        return VPFN_ERROR_FETCH;
    }

    vpfn_decode(s->raw_desc, d);
    error = vpfn_check(s, s->raw_desc, d);
    if (error) {
        return error;
    }
    if (s->dma_error && --s->dma_error == 0) {
        trace_vpfn_inject_dma_error(s->head);
        return VPFN_ERROR_DMA;
    }

    trace_vpfn_start(s->head, d->op, d->length);
    vpfn_cursor_init(d, &d->src, &s->src);
    vpfn_cursor_init(d, &d->dst, &s->dst);
    s->done = 0;
    s->crc = UINT32_MAX;
    s->active = true;
    return VPFN_ERROR_NONE;
}

static bool vpfn_write_crc(VpfnState *s)
{
    uint8_t buf[VPFN_CRC_SIZE];

    stl_le_p(buf, ~s->crc);
    return vpfn_write(s, s->desc.dst.space, s->desc.dst.addr, buf, sizeof(buf));
}

static void vpfn_complete(VpfnState *s)
{
    const VpfnDesc *d = &s->desc;

    s->active = false;
    if (d->flags & VPFN_FLAG_FENCE) {
        s->fence = d->fence;
    }
    trace_vpfn_complete(s->head, s->fence);
    s->head = (s->head + 1) & (s->ring_size - 1);
    if (d->flags & VPFN_FLAG_INTERRUPT) {
        vpfn_set_interrupts(s, s->int_status | VPFN_INT_FENCE, s->int_enable);
    }
}

static uint32_t vpfn_finish(VpfnState *s)
{
    const VpfnDesc *d = &s->desc;
    bool ok;

    if (!vpfn_cursor_at_end(&d->src, &s->src) ||
        !vpfn_cursor_at_end(&d->dst, &s->dst)) {
        return VPFN_ERROR_LIST;
    }

    ok = d->op != VPFN_OP_CRC32C || vpfn_write_crc(s);
    if (!s->active) {
        return VPFN_ERROR_NONE;
    }
    if (!ok) {
        return VPFN_ERROR_DMA;
    }
    vpfn_complete(s);
    return VPFN_ERROR_NONE;
}

/* The next small piece of work. */
static uint32_t vpfn_advance(VpfnState *s, int64_t *budget)
{
    if (!s->active) {
        return vpfn_start(s, budget);
    }
    if (s->done == s->desc.length) {
        return vpfn_finish(s);
    }
    if (!s->src.left) {
        *budget -= VPFN_COST_FETCH;
        return vpfn_cursor_refill(s, &s->desc.src, &s->src);
    }
    if (!s->dst.left) {
        *budget -= VPFN_COST_FETCH;
        return vpfn_cursor_refill(s, &s->desc.dst, &s->dst);
    }
    return vpfn_move(s, budget);
}

static bool vpfn_is_busy(VpfnState *s)
{
    return s->enabled && s->head != s->tail;
}

/* A doorbell must not put off a slice that is due. */
static void vpfn_schedule(VpfnState *s)
{
    if (vpfn_is_busy(s) && !s->hang && !timer_pending(&s->timer)) {
        timer_mod(&s->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                             VPFN_SLICE_DELAY_NS);
    }
}

static void vpfn_stop(VpfnState *s)
{
    trace_vpfn_stop(s->head, s->active);
    s->enabled = false;
    s->active = false;
    timer_del(&s->timer);
}

static void vpfn_fail(VpfnState *s, uint32_t error)
{
    trace_vpfn_error(error, s->head);
    vpfn_stop(s);
    s->error = error;
    s->error_index = s->head;
    vpfn_set_interrupts(s, s->int_status | VPFN_INT_ERROR, s->int_enable);
}

static void vpfn_run_slice(VpfnState *s)
{
    int64_t budget = VPFN_SLICE_BUDGET;

    trace_vpfn_slice(s->head, s->active ? s->done : 0);
    while (vpfn_is_busy(s) && budget > 0) {
        uint32_t error = vpfn_advance(s, &budget);

        if (error) {
            vpfn_fail(s, error);
        }
    }
    vpfn_schedule(s);
}

static void vpfn_timer(void *opaque)
{
    VpfnState *s = opaque;
    MemReentrancyGuard *guard = &DEVICE(s)->mem_reentrancy_guard;

    /* DMA may unplug the device */
    object_ref(OBJECT(s));
    /* What qemu_bh_new_guarded() does for bottom halves: no DMA to own MMIO */
    guard->engaged_in_io = true;
    vpfn_run_slice(s);
    guard->engaged_in_io = false;
    object_unref(OBJECT(s));
}

static void vpfn_reset_engine(VpfnState *s)
{
    trace_vpfn_reset();
    vpfn_stop(s);
    s->error = VPFN_ERROR_NONE;
    s->error_index = 0;
    s->ring_base = 0;
    s->ring_size = 0;
    s->head = 0;
    s->tail = 0;
    s->fence = 0;
    s->int_status = 0;
    s->int_enable = 0;
    s->hang = false;
}

static bool vpfn_ring_is_valid(VpfnState *s)
{
    return is_power_of_2(s->ring_size) &&
           s->ring_size >= VPFN_RING_SIZE_MIN &&
           s->ring_size <= VPFN_RING_SIZE_MAX &&
           vpfn_range_is_valid(s, VPFN_SPACE_SYSTEM, s->ring_base,
                               (uint64_t)s->ring_size * VPFN_DESC_SIZE);
}

static void vpfn_enable(VpfnState *s)
{
    s->head = 0;
    s->tail = 0;
    if (!vpfn_ring_is_valid(s)) {
        vpfn_fail(s, VPFN_ERROR_RING);
        return;
    }
    trace_vpfn_enable(s->ring_base, s->ring_size);
    s->enabled = true;
}

/* Registers */

static void vpfn_log_ignored(const char *access, hwaddr addr)
{
    qemu_log_mask(LOG_GUEST_ERROR, "vpfn: ignored %s register 0x%" HWADDR_PRIx
                  "\n", access, addr);
}

static void vpfn_write_ctrl(VpfnState *s, uint32_t val)
{
    if (val & VPFN_CTRL_RESET) {
        vpfn_reset_engine(s);
    } else if (!(val & VPFN_CTRL_ENABLE)) {
        vpfn_stop(s);
    } else if (s->error) {
        vpfn_log_ignored("start after an error:", VPFN_REG_CTRL);
    } else if (!s->enabled) {
        vpfn_enable(s);
    }
}

static void vpfn_write_tail(VpfnState *s, uint32_t val)
{
    if (!s->enabled) {
        vpfn_log_ignored("write while disabled to", VPFN_REG_RING_TAIL);
        return;
    }
    if (val >= s->ring_size) {
        vpfn_fail(s, VPFN_ERROR_TAIL);
        return;
    }

    s->tail = val;
    if (!vpfn_is_busy(s)) {
        s->active = false;
    }
    vpfn_schedule(s);
}

/* The registers that are locked while the engine is enabled. */
static void vpfn_write_setup(VpfnState *s, hwaddr addr, uint32_t val)
{
    if (s->enabled) {
        vpfn_log_ignored("write while enabled to", addr);
        return;
    }

    switch (addr) {
    case VPFN_REG_RING_BASE_LO:
        s->ring_base = deposit64(s->ring_base, 0, 32,
                                 QEMU_ALIGN_DOWN(val, VPFN_DESC_SIZE));
        break;
    case VPFN_REG_RING_BASE_HI:
        s->ring_base = deposit64(s->ring_base, 32, 32, val);
        break;
    case VPFN_REG_RING_SIZE:
        s->ring_size = val;
        break;
    case VPFN_REG_FENCE:
        s->fence = val;
        break;
    }
}

static uint32_t vpfn_status(VpfnState *s)
{
    return (vpfn_is_busy(s) ? VPFN_STATUS_BUSY : 0) |
           (s->error ? VPFN_STATUS_ERROR : 0);
}

static uint32_t vpfn_reg_value(VpfnState *s, hwaddr addr)
{
    switch (addr) {
    case VPFN_REG_ID:
        return VPFN_ID;
    case VPFN_REG_REVISION:
        return VPFN_REVISION;
    case VPFN_REG_VRAM_SIZE_LO:
        return extract64(s->vram_size, 0, 32);
    case VPFN_REG_VRAM_SIZE_HI:
        return extract64(s->vram_size, 32, 32);
    case VPFN_REG_VISIBLE_SIZE_LO:
        return extract64(s->visible_size, 0, 32);
    case VPFN_REG_VISIBLE_SIZE_HI:
        return extract64(s->visible_size, 32, 32);
    case VPFN_REG_CTRL:
        return s->enabled ? VPFN_CTRL_ENABLE : 0;
    case VPFN_REG_STATUS:
        return vpfn_status(s);
    case VPFN_REG_ERROR:
        return s->error;
    case VPFN_REG_ERROR_INDEX:
        return s->error_index;
    case VPFN_REG_RING_BASE_LO:
        return extract64(s->ring_base, 0, 32);
    case VPFN_REG_RING_BASE_HI:
        return extract64(s->ring_base, 32, 32);
    case VPFN_REG_RING_SIZE:
        return s->ring_size;
    case VPFN_REG_RING_HEAD:
        return s->head;
    case VPFN_REG_RING_TAIL:
        return s->tail;
    case VPFN_REG_FENCE:
        return s->fence;
    case VPFN_REG_INT_STATUS:
        return s->int_status;
    case VPFN_REG_INT_ENABLE:
        return s->int_enable;
    default:
        vpfn_log_ignored("read of", addr);
        return 0;
    }
}

static uint64_t vpfn_reg_read(void *opaque, hwaddr addr, unsigned size)
{
    uint32_t val = vpfn_reg_value(opaque, addr);

    trace_vpfn_reg_read(addr, val);
    return val;
}

static void vpfn_reg_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    VpfnState *s = opaque;

    trace_vpfn_reg_write(addr, val);
    switch (addr) {
    case VPFN_REG_CTRL:
        vpfn_write_ctrl(s, val);
        break;
    case VPFN_REG_RING_BASE_LO:
    case VPFN_REG_RING_BASE_HI:
    case VPFN_REG_RING_SIZE:
    case VPFN_REG_FENCE:
        vpfn_write_setup(s, addr, val);
        break;
    case VPFN_REG_RING_TAIL:
        vpfn_write_tail(s, val);
        break;
    case VPFN_REG_INT_STATUS:
        vpfn_set_interrupts(s, s->int_status & ~val, s->int_enable);
        break;
    case VPFN_REG_INT_ENABLE:
        vpfn_set_interrupts(s, s->int_status, val & VPFN_INT_ALL);
        break;
    default:
        vpfn_log_ignored("write to", addr);
        break;
    }
}

static const MemoryRegionOps vpfn_reg_ops = {
    .read = vpfn_reg_read,
    .write = vpfn_reg_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 4,
    },
};

/* A device that is gone */

static uint64_t vpfn_absent_read(void *opaque, hwaddr addr, unsigned size)
{
    return UINT64_MAX;
}

static void vpfn_absent_write(void *opaque, hwaddr addr, uint64_t val,
                              unsigned size)
{
}

static const MemoryRegionOps vpfn_absent_ops = {
    .read = vpfn_absent_read,
    .write = vpfn_absent_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

static void vpfn_cover_bars(VpfnState *s)
{
    memory_region_set_enabled(&s->regs_bar.absent, s->gone);
    memory_region_set_enabled(&s->vram_bar.absent, s->gone);
    memory_region_set_enabled(&s->msix_bar.absent, s->gone);
}

static uint32_t vpfn_config_read(PCIDevice *pdev, uint32_t addr, int len)
{
    if (VPFN(pdev)->gone) {
        return UINT32_MAX;
    }
    return pci_default_read_config(pdev, addr, len);
}

static void vpfn_config_write(PCIDevice *pdev, uint32_t addr, uint32_t val,
                              int len)
{
    if (VPFN(pdev)->gone) {
        return;
    }
    pci_default_write_config(pdev, addr, val, len);
    pcie_cap_flr_write_config(pdev, addr, val, len);
}

/* Injected faults */

static bool vpfn_get_hang(Object *obj, Error **errp)
{
    return VPFN(obj)->hang;
}

static void vpfn_set_hang(Object *obj, bool value, Error **errp)
{
    VpfnState *s = VPFN(obj);

    trace_vpfn_inject_hang(value);
    s->hang = value;
    if (!DEVICE(s)->realized) {
        return;
    }
    timer_del(&s->timer);
    vpfn_schedule(s);
}

static bool vpfn_get_gone(Object *obj, Error **errp)
{
    return VPFN(obj)->gone;
}

static void vpfn_set_gone(Object *obj, bool value, Error **errp)
{
    VpfnState *s = VPFN(obj);

    if (value == s->gone) {
        return;
    }
    trace_vpfn_inject_gone(value);
    s->gone = value;
    if (!DEVICE(s)->realized) {
        return;
    }

    vpfn_cover_bars(s);
    if (value) {
        /* The BARs stay where they are, or nobody would read ones there */
        vpfn_reset_engine(s);
    } else {
        pci_device_reset(PCI_DEVICE(s));
    }
}

static void vpfn_instance_init(Object *obj)
{
    VpfnState *s = VPFN(obj);

    object_property_add_uint32_ptr(obj, "inject-dma-error", &s->dma_error,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "inject-lost-interrupts",
                                   &s->lost_interrupts,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_set_description(obj, "inject-dma-error",
        "counts descriptors down; the one that makes it 0 fails");
    object_property_set_description(obj, "inject-lost-interrupts",
        "counts messages down that are not sent");
}

/* How the device comes and goes */

static bool vpfn_check_size(uint64_t size, uint64_t max, const char *property,
                            Error **errp)
{
    if (is_power_of_2(size) && size >= VPFN_VRAM_SIZE_MIN && size <= max) {
        return true;
    }

    error_setg(errp, "%s must be a power of two from %" PRIu64 " to %" PRIu64
               " bytes, not %" PRIu64, property, (uint64_t)VPFN_VRAM_SIZE_MIN,
               max, size);
    return false;
}

static MemoryRegion *vpfn_init_own_vram(VpfnState *s, Error **errp)
{
    if (!s->vram_size) {
        s->vram_size = VPFN_VRAM_SIZE_DEFAULT;
    }
    if (!vpfn_check_size(s->vram_size, VPFN_VRAM_SIZE_MAX, "vram-size", errp)) {
        return NULL;
    }
    /* The host gives memory only for what the guest touches. */
    if (!memory_region_init_ram_flags_nomigrate(&s->own_vram, OBJECT(s),
                                                "vpfn.vram", s->vram_size,
                                                RAM_NORESERVE, errp)) {
        return NULL;
    }
    return &s->own_vram;
}

static MemoryRegion *vpfn_find_backend(VpfnState *s, Error **errp)
{
    const char *id = object_get_canonical_path_component(OBJECT(s->memdev));
    MemoryRegion *vram = host_memory_backend_get_memory(s->memdev);

    if (host_memory_backend_is_mapped(s->memdev)) {
        error_setg(errp, "memdev '%s' is used by another device", id);
        return NULL;
    }
    if (memory_region_is_rom(vram)) {
        error_setg(errp, "memdev '%s' is read-only", id);
        return NULL;
    }
    if (!vpfn_check_size(memory_region_size(vram), VPFN_VRAM_SIZE_MAX,
                         "size of memdev", errp)) {
        return NULL;
    }
    if (s->vram_size && s->vram_size != memory_region_size(vram)) {
        error_setg(errp, "vram-size (%" PRIu64 " bytes) must be the size of "
                   "memdev (%" PRIu64 " bytes)", s->vram_size,
                   memory_region_size(vram));
        return NULL;
    }

    s->vram_size = memory_region_size(vram);
    return vram;
}

static bool vpfn_check_visible_size(VpfnState *s, Error **errp)
{
    if (!s->visible_size) {
        s->visible_size = s->vram_size;
    }
    return vpfn_check_size(s->visible_size, s->vram_size, "visible-vram-size",
                           errp);
}

static bool vpfn_init_msix(VpfnState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    MemoryRegion *bar = &s->msix_bar.container;
    unsigned vector;

    memory_region_init(bar, OBJECT(s), "vpfn.msix-bar", VPFN_MSIX_BAR_SIZE);
    if (msix_init(pdev, VPFN_NUM_VECTORS, bar, VPFN_BAR_MSIX, 0, bar,
                  VPFN_BAR_MSIX, VPFN_MSIX_PBA_OFFSET, 0, errp)) {
        return false;
    }
    for (vector = 0; vector < VPFN_NUM_VECTORS; vector++) {
        msix_vector_use(pdev, vector);
    }
    return true;
}

static void vpfn_register_bar(VpfnState *s, VpfnBar *bar, int number,
                              uint8_t flags)
{
    memory_region_init_io(&bar->absent, OBJECT(s), &vpfn_absent_ops, s,
                          "vpfn.absent", memory_region_size(&bar->container));
    memory_region_add_subregion_overlap(&bar->container, 0, &bar->absent, 1);
    pci_register_bar(PCI_DEVICE(s), number,
                     PCI_BASE_ADDRESS_SPACE_MEMORY | flags, &bar->container);
}

static void vpfn_init_bars(VpfnState *s, MemoryRegion *vram)
{
    memory_region_init(&s->regs_bar.container, OBJECT(s), "vpfn.regs-bar",
                       VPFN_REGS_SIZE);
    memory_region_init_io(&s->regs, OBJECT(s), &vpfn_reg_ops, s, "vpfn.regs",
                          VPFN_REGS_SIZE);
    memory_region_add_subregion(&s->regs_bar.container, 0, &s->regs);

    memory_region_init(&s->vram_bar.container, OBJECT(s), "vpfn.vram-bar",
                       s->visible_size);
    memory_region_init_alias(&s->visible_vram, OBJECT(s), "vpfn.visible-vram",
                             vram, 0, s->visible_size);
    memory_region_add_subregion(&s->vram_bar.container, 0, &s->visible_vram);

    vpfn_register_bar(s, &s->regs_bar, VPFN_BAR_REGS, 0);
    vpfn_register_bar(s, &s->vram_bar, VPFN_BAR_VRAM,
                      PCI_BASE_ADDRESS_MEM_TYPE_64 |
                      PCI_BASE_ADDRESS_MEM_PREFETCH);
    vpfn_register_bar(s, &s->msix_bar, VPFN_BAR_MSIX, 0);
    vpfn_cover_bars(s);
}

/* A region that lies in another holds a reference to its owner: this device. */
static void vpfn_exit_bars(VpfnState *s)
{
    memory_region_del_subregion(&s->regs_bar.container, &s->regs_bar.absent);
    memory_region_del_subregion(&s->regs_bar.container, &s->regs);
    memory_region_del_subregion(&s->vram_bar.container, &s->vram_bar.absent);
    memory_region_del_subregion(&s->vram_bar.container, &s->visible_vram);
    memory_region_del_subregion(&s->msix_bar.container, &s->msix_bar.absent);
    msix_uninit(PCI_DEVICE(s), &s->msix_bar.container, &s->msix_bar.container);
}

/*
 * The engine writes VRAM through an address space of its own, which takes care
 * of dirty logging and of code that the guest runs from there. Its root belongs
 * to this device, which therefore outlives it.
 */
static void vpfn_init_engine(VpfnState *s, MemoryRegion *vram)
{
    memory_region_init_alias(&s->all_vram, OBJECT(s), "vpfn.all-vram", vram, 0,
                             s->vram_size);
    address_space_init(&s->vram_as, &s->all_vram, "vpfn.vram");
    s->vram_host = memory_region_get_ram_ptr(vram);
    timer_init_ns(&s->timer, QEMU_CLOCK_VIRTUAL, vpfn_timer, s);
}

static void vpfn_realize(PCIDevice *pdev, Error **errp)
{
    VpfnState *s = VPFN(pdev);
    MemoryRegion *vram;

    vram = s->memdev ? vpfn_find_backend(s, errp) : vpfn_init_own_vram(s, errp);
    if (!vram || !vpfn_check_visible_size(s, errp) ||
        !vpfn_init_msix(s, errp)) {
        return;
    }

    /* From here on nothing fails. */
    if (s->memdev) {
        host_memory_backend_set_mapped(s->memdev, true);
    }
    vmstate_register_ram(vram, DEVICE(s));
    vpfn_init_engine(s, vram);
    vpfn_init_bars(s, vram);

    /* With a fixed offset this cannot fail. */
    pcie_endpoint_cap_init(pdev, VPFN_PCIE_CAP_OFFSET);
    pcie_cap_flr_init(pdev);
}

static void vpfn_exit(PCIDevice *pdev)
{
    VpfnState *s = VPFN(pdev);

    vpfn_stop(s);
    address_space_destroy(&s->vram_as);
    vpfn_exit_bars(s);
    pcie_cap_exit(pdev);

    if (s->memdev) {
        vmstate_unregister_ram(host_memory_backend_get_memory(s->memdev),
                               DEVICE(s));
        host_memory_backend_set_mapped(s->memdev, false);
    } else {
        vmstate_unregister_ram(&s->own_vram, DEVICE(s));
    }
}

static void vpfn_reset_enter(Object *obj, ResetType type)
{
    vpfn_reset_engine(VPFN(obj));
}

/* Migration */

static bool vpfn_cursor_is_valid(VpfnState *s, const VpfnOperand *o,
                                 const VpfnCursor *c)
{
    VpfnCursor expected;

    if (o->space == VPFN_SPACE_LIST) {
        return c->next_entry <= o->count && c->left <= UINT32_MAX &&
               (!c->left || vpfn_range_is_valid(s, VPFN_SPACE_SYSTEM, c->addr,
                                                c->left));
    }

    vpfn_cursor_init(&s->desc, o, &expected);
    vpfn_cursor_advance(&s->desc, &expected, s->done);
    return c->addr == expected.addr && c->left == expected.left &&
           c->next_entry == expected.next_entry;
}

static bool vpfn_progress_is_valid(VpfnState *s)
{
    return vpfn_check(s, s->raw_desc, &s->desc) == VPFN_ERROR_NONE &&
           s->done <= s->desc.length &&
           vpfn_cursor_is_valid(s, &s->desc.src, &s->src) &&
           vpfn_cursor_is_valid(s, &s->desc.dst, &s->dst);
}

static bool vpfn_engine_is_valid(VpfnState *s)
{
    if (!s->enabled) {
        return !s->active;
    }
    return !s->error && vpfn_ring_is_valid(s) && s->head < s->ring_size &&
           s->tail < s->ring_size &&
           (!s->active || (vpfn_is_busy(s) && vpfn_progress_is_valid(s)));
}

static int vpfn_post_load(void *opaque, int version_id)
{
    VpfnState *s = opaque;

    vpfn_decode(s->raw_desc, &s->desc);
    if (s->error > VPFN_ERROR_DMA || s->ring_base % VPFN_DESC_SIZE ||
        (s->int_status | s->int_enable) & ~VPFN_INT_ALL ||
        !vpfn_engine_is_valid(s)) {
        error_report("vpfn: the state to load is invalid");
        return -EINVAL;
    }

    vpfn_cover_bars(s);
    if (!vpfn_is_busy(s) || s->hang) {
        timer_del(&s->timer);
    }
    vpfn_schedule(s);
    return 0;
}

static const VMStateDescription vpfn_cursor_vmstate = {
    .name = "vpfn/cursor",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(addr, VpfnCursor),
        VMSTATE_UINT64(left, VpfnCursor),
        VMSTATE_UINT32(next_entry, VpfnCursor),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vpfn_vmstate = {
    .name = "vpfn",
    .version_id = 2,
    .minimum_version_id = 2,
    .post_load = vpfn_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, VpfnState),
        VMSTATE_MSIX(parent_obj, VpfnState),
        VMSTATE_UINT64_EQUAL(visible_size, VpfnState,
                             "visible-vram-size differs"),
        VMSTATE_BOOL(hang, VpfnState),
        VMSTATE_BOOL(gone, VpfnState),
        VMSTATE_UINT32(dma_error, VpfnState),
        VMSTATE_UINT32(lost_interrupts, VpfnState),
        VMSTATE_BOOL(enabled, VpfnState),
        VMSTATE_UINT32(error, VpfnState),
        VMSTATE_UINT32(error_index, VpfnState),
        VMSTATE_UINT64(ring_base, VpfnState),
        VMSTATE_UINT32(ring_size, VpfnState),
        VMSTATE_UINT32(head, VpfnState),
        VMSTATE_UINT32(tail, VpfnState),
        VMSTATE_UINT32(fence, VpfnState),
        VMSTATE_UINT32(int_status, VpfnState),
        VMSTATE_UINT32(int_enable, VpfnState),
        VMSTATE_TIMER(timer, VpfnState),
        VMSTATE_BOOL(active, VpfnState),
        VMSTATE_UINT8_ARRAY(raw_desc, VpfnState, VPFN_DESC_SIZE),
        VMSTATE_STRUCT(src, VpfnState, 1, vpfn_cursor_vmstate, VpfnCursor),
        VMSTATE_STRUCT(dst, VpfnState, 1, vpfn_cursor_vmstate, VpfnCursor),
        VMSTATE_UINT64(done, VpfnState),
        VMSTATE_UINT32(crc, VpfnState),
        VMSTATE_END_OF_LIST()
    },
};

/* What QEMU has to know */

static const Property vpfn_properties[] = {
    DEFINE_PROP_SIZE("vram-size", VpfnState, vram_size, 0),
    DEFINE_PROP_SIZE("visible-vram-size", VpfnState, visible_size, 0),
    DEFINE_PROP_LINK("memdev", VpfnState, memdev, TYPE_MEMORY_BACKEND,
                     HostMemoryBackend *),
};

static void vpfn_add_properties(ObjectClass *klass)
{
    device_class_set_props(DEVICE_CLASS(klass), vpfn_properties);
    object_class_property_add_bool(klass, "inject-hang", vpfn_get_hang,
                                   vpfn_set_hang);
    object_class_property_add_bool(klass, "inject-gone", vpfn_get_gone,
                                   vpfn_set_gone);

    object_class_property_set_description(klass, "vram-size",
        "bytes of VRAM, a power of two from 1M to 64G (default: the size of "
        "memdev, else 256M)");
    object_class_property_set_description(klass, "visible-vram-size",
        "bytes of VRAM that the BAR shows, a power of two from 1M to vram-size "
        "(default: vram-size)");
    object_class_property_set_description(klass, "memdev",
        "host memory backend that holds the VRAM");
    object_class_property_set_description(klass, "inject-hang",
        "the engine makes no progress until it is reset");
    object_class_property_set_description(klass, "inject-gone",
        "the device behaves as if it was pulled out");
}

static void vpfn_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    k->realize = vpfn_realize;
    k->exit = vpfn_exit;
    k->config_read = vpfn_config_read;
    k->config_write = vpfn_config_write;
    k->vendor_id = VPFN_PCI_VENDOR_ID;
    k->device_id = VPFN_PCI_DEVICE_ID;
    k->revision = VPFN_REVISION;
    k->class_id = PCI_CLASS_DISPLAY_OTHER;

    rc->phases.enter = vpfn_reset_enter;

    dc->desc = "virtual GPU with large memory BAR";
    dc->vmsd = &vpfn_vmstate;
    set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);
    vpfn_add_properties(klass);
}

static const TypeInfo vpfn_types[] = {
    {
        .name = TYPE_VPFN,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(VpfnState),
        .instance_init = vpfn_instance_init,
        .class_init = vpfn_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(vpfn_types)
