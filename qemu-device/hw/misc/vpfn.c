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

/* Limits of all sizes; ram_addr_t, in which QEMU counts RAM, may be narrow. */
#define VPFN_SIZE_MIN           (1 * MiB)
#define VPFN_SIZE_MAX           MIN(64 * GiB, RAM_ADDR_MAX)
#define VPFN_VRAM_SIZE_DEFAULT  (256 * MiB)
#define VPFN_GART_SIZE_DEFAULT  (2 * GiB)

#define VPFN_PCIE_CAP_OFFSET    0x80
#define VPFN_INT_ALL            (VPFN_INT_FENCE | VPFN_INT_ERROR)

#define VPFN_NUM_REGS           (VPFN_REG_INT_ENABLE / 4 + 1)
#define R(name)                 (VPFN_REG_##name / 4)

/* Bytes of a descriptor outside all fields: FLAGS + 1, + 2, and from END on */
#define VPFN_DESC_PAD           (VPFN_DESC_FLAGS + 1)
#define VPFN_DESC_END           (VPFN_DESC_PATTERN + 4)

/*
 * The engine works in slices, each run by a timer of the virtual clock. Unlike
 * a bottom half, that never runs while the VM is stopped, so that nothing
 * changes after the state was saved; and with -icount it runs at the same
 * instruction every time. Between slices other threads get the big lock.
 *
 * A slice ends when its budget is spent, in bytes of VRAM; what is slower costs
 * more. To end it after a time of the host's clock would make -icount runs
 * differ. The budget is therefore small enough for the slowest case, memory
 * that the host has yet to allocate, where each page is a fault.
 */
#define VPFN_SLICE_BUDGET       (1 * MiB)
#define VPFN_SLICE_DELAY_NS     (20 * SCALE_US)
#define VPFN_COST_FETCH         (4 * KiB)
#define VPFN_COST_GART          4
#define VPFN_COST_CRC           8
#define VPFN_STEP_SIZE          (64 * KiB)

typedef struct VpfnDesc {
    uint8_t op;
    uint8_t flags;
    uint32_t fence;
    uint64_t length;
    uint64_t src;
    uint64_t dst;
    uint32_t pattern;
} VpfnDesc;

struct VpfnState {
    PCIDevice parent_obj;

    /* Properties; the first two are 0 until realize if not set */
    uint64_t vram_size;
    uint64_t visible_size;
    uint64_t gart_size;
    HostMemoryBackend *memdev;

    /* Injected faults */
    bool hang;
    bool gone;
    uint32_t dma_error;
    uint32_t lost_interrupts;

    MemoryRegion reg_bar;
    MemoryRegion vram_bar;
    MemoryRegion visible_vram;
    /* Unused if the VRAM is a host memory backend */
    MemoryRegion own_vram;
    /* What covers BAR n while the device is gone; n is even */
    MemoryRegion absent[VPFN_BAR_MSIX + 1];

    /* VRAM as the engine sees it */
    MemoryRegion all_vram;
    AddressSpace vram_as;
    MemoryRegion *vram;

    /* STATUS is worked out when it is read */
    uint32_t regs[VPFN_NUM_REGS];

    QEMUTimer timer;

    /* The descriptor that runs, if any: then head differs from tail */
    bool active;
    uint8_t raw_desc[VPFN_DESC_SIZE];
    VpfnDesc desc;
    uint64_t done;
    uint32_t crc;

    uint8_t buffer[VPFN_STEP_SIZE];
};

static uint64_t vpfn_reg64(VpfnState *s, unsigned lo)
{
    return deposit64(s->regs[lo], 32, 32, s->regs[lo + 1]);
}

static void vpfn_set_reg64(VpfnState *s, unsigned lo, uint64_t val)
{
    s->regs[lo] = extract64(val, 0, 32);
    s->regs[lo + 1] = extract64(val, 32, 32);
}

/* Interrupts */

/*
 * A message goes to an address of the guest's choice. The write may reset or
 * unplug this device, or change its registers: callers are done with the state.
 */
static void vpfn_set_interrupts(VpfnState *s, uint32_t status, uint32_t enable)
{
    uint32_t before = s->regs[R(INT_STATUS)] & s->regs[R(INT_ENABLE)];
    uint32_t due = status & enable & ~before;
    PCIDevice *pdev = PCI_DEVICE(s);

    trace_vpfn_interrupt(status, enable);
    s->regs[R(INT_STATUS)] = status;
    s->regs[R(INT_ENABLE)] = enable;

    for (; due; due &= due - 1) {
        unsigned vector = ctz32(due);

        trace_vpfn_message(vector, s->lost_interrupts > 0);
        if (s->lost_interrupts) {
            s->lost_interrupts--;
        } else if (msix_enabled(pdev)) {
            msix_notify(pdev, vector);
        }
    }
}

static void vpfn_raise(VpfnState *s, uint32_t cause)
{
    vpfn_set_interrupts(s, s->regs[R(INT_STATUS)] | cause,
                        s->regs[R(INT_ENABLE)]);
}

/* Start and stop */

static bool vpfn_is_enabled(VpfnState *s)
{
    return s->regs[R(CTRL)] & VPFN_CTRL_ENABLE;
}

static bool vpfn_is_busy(VpfnState *s)
{
    return vpfn_is_enabled(s) &&
           s->regs[R(RING_HEAD)] != s->regs[R(RING_TAIL)];
}

/* A doorbell does not put off a slice that is due. */
static void vpfn_schedule(VpfnState *s)
{
    if (vpfn_is_busy(s) && !s->hang) {
        timer_mod_anticipate_ns(&s->timer, VPFN_SLICE_DELAY_NS +
                                qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    }
}

static void vpfn_stop(VpfnState *s)
{
    trace_vpfn_stop(s->regs[R(RING_HEAD)], s->active);
    s->regs[R(CTRL)] = 0;
    s->active = false;
    timer_del(&s->timer);
}

static void vpfn_fail(VpfnState *s, uint32_t error, uint64_t addr)
{
    trace_vpfn_error(error, s->regs[R(RING_HEAD)], addr);
    vpfn_stop(s);
    s->regs[R(ERROR)] = error;
    s->regs[R(ERROR_INDEX)] = s->regs[R(RING_HEAD)];
    vpfn_set_reg64(s, R(ERROR_ADDR_LO), addr);
    vpfn_raise(s, VPFN_INT_ERROR);
}

static void vpfn_reset_engine(VpfnState *s)
{
    trace_vpfn_reset();
    vpfn_stop(s);
    s->hang = false;
    memset(&s->regs[R(CTRL)], 0, sizeof(s->regs) - VPFN_REG_CTRL);
}

/* Is the last byte at or below 2^64 - 1? @length is not 0. */
static bool vpfn_range_is_valid(uint64_t addr, uint64_t length)
{
    return length - 1 <= UINT64_MAX - addr;
}

static bool vpfn_setup_is_valid(VpfnState *s)
{
    uint64_t entries = s->gart_size / VPFN_GART_PAGE_SIZE;
    uint64_t ring_size = s->regs[R(RING_SIZE)];

    return is_power_of_2(ring_size) && ring_size >= VPFN_RING_SIZE_MIN &&
           ring_size <= VPFN_RING_SIZE_MAX &&
           vpfn_range_is_valid(vpfn_reg64(s, R(RING_BASE_LO)),
                               ring_size * VPFN_DESC_SIZE) &&
           vpfn_range_is_valid(vpfn_reg64(s, R(GART_BASE_LO)),
                               entries * VPFN_GART_ENTRY_SIZE);
}

static void vpfn_enable(VpfnState *s)
{
    s->regs[R(RING_HEAD)] = 0;
    s->regs[R(RING_TAIL)] = 0;
    if (!vpfn_setup_is_valid(s)) {
        vpfn_fail(s, VPFN_ERROR_RING, 0);
        return;
    }
    trace_vpfn_enable(vpfn_reg64(s, R(RING_BASE_LO)), s->regs[R(RING_SIZE)],
                      vpfn_reg64(s, R(GART_BASE_LO)));
    s->regs[R(CTRL)] = VPFN_CTRL_ENABLE;
}

/* What a descriptor may say */

static void vpfn_decode(const uint8_t *raw, VpfnDesc *d)
{
    d->op = ldub_p(raw + VPFN_DESC_OP);
    d->flags = ldub_p(raw + VPFN_DESC_FLAGS);
    d->fence = ldl_le_p(raw + VPFN_DESC_FENCE);
    d->length = ldq_le_p(raw + VPFN_DESC_LENGTH);
    d->src = ldq_le_p(raw + VPFN_DESC_SRC_ADDR);
    d->dst = ldq_le_p(raw + VPFN_DESC_DST_ADDR);
    d->pattern = ldl_le_p(raw + VPFN_DESC_PATTERN);
}

static bool vpfn_has_src(const VpfnDesc *d)
{
    return d->op == VPFN_OP_COPY || d->op == VPFN_OP_CRC32C;
}

/* Fields that the operation or another field makes meaningless must be 0. */
static bool vpfn_desc_is_clean(const uint8_t *raw, const VpfnDesc *d)
{
    return !(d->flags & ~(VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT)) &&
           (d->flags & VPFN_FLAG_FENCE || !d->fence) &&
           (vpfn_has_src(d) || !d->src) &&
           (d->op != VPFN_OP_NOP || !d->dst) &&
           (d->op == VPFN_OP_FILL || !d->pattern) &&
           !lduw_le_p(raw + VPFN_DESC_PAD) &&
           buffer_is_zero(raw + VPFN_DESC_END, VPFN_DESC_SIZE - VPFN_DESC_END);
}

static bool vpfn_is_gart(uint64_t addr)
{
    return addr >= VPFN_GART_START;
}

static bool vpfn_operand_is_valid(VpfnState *s, uint64_t addr, uint64_t length)
{
    uint64_t offset = vpfn_is_gart(addr) ? addr - VPFN_GART_START : addr;
    uint64_t size = vpfn_is_gart(addr) ? s->gart_size : s->vram_size;

    return offset < size && length <= size - offset;
}

/* The first of the specification's checks that fails, and ERROR_ADDR */
static uint32_t vpfn_check(VpfnState *s, uint64_t *addr)
{
    const VpfnDesc *d = &s->desc;
    uint64_t dst_length = d->op == VPFN_OP_CRC32C ? VPFN_CRC_SIZE : d->length;

    *addr = 0;
    if (d->op > VPFN_OP_CRC32C) {
        return VPFN_ERROR_OP;
    }
    if (!vpfn_desc_is_clean(s->raw_desc, d)) {
        return VPFN_ERROR_RESERVED;
    }
    if (d->op == VPFN_OP_NOP ? d->length : d->length - 1 >= VPFN_LENGTH_MAX) {
        return VPFN_ERROR_LENGTH;
    }
    if (vpfn_has_src(d) && !vpfn_operand_is_valid(s, d->src, d->length)) {
        *addr = d->src;
        return VPFN_ERROR_ADDRESS;
    }
    /* That of a NOP is 0 bytes at address 0. */
    if (!vpfn_operand_is_valid(s, d->dst, dst_length)) {
        *addr = d->dst;
        return VPFN_ERROR_ADDRESS;
    }
    return VPFN_ERROR_NONE;
}

/* Access to memory */

/*
 * Only to memory: a guest that makes the engine write registers or
 * configuration space could reset, unplug or reprogram any device in the middle
 * of a slice, and keep the host busy for long.
 */
static bool vpfn_dma(VpfnState *s, uint64_t addr, void *buf, uint64_t length,
                     DMADirection dir)
{
    const MemTxAttrs attrs = { .memory = true };

    return pci_dma_rw(PCI_DEVICE(s), addr, buf, length, dir, attrs) == MEMTX_OK;
}

/*
 * Deals with the result of an access. Returns false if the engine has stopped,
 * which an access that succeeds may also do: an IOMMU reports a fault by a
 * message, and a message may reset or unplug this device.
 */
static bool vpfn_goes_on(VpfnState *s, bool ok, uint32_t error, uint64_t addr)
{
    if (!s->active) {
        return false;
    }
    if (!ok) {
        vpfn_fail(s, error, addr);
    }
    return ok;
}

/* The bus address that a GART entry maps an engine address to */
static bool vpfn_translate(VpfnState *s, uint64_t addr, uint64_t *bus_addr)
{
    uint64_t page = (addr - VPFN_GART_START) / VPFN_GART_PAGE_SIZE;
    uint64_t entry;
    bool ok;

    ok = vpfn_dma(s, vpfn_reg64(s, R(GART_BASE_LO)) +
                  page * VPFN_GART_ENTRY_SIZE, &entry, sizeof(entry),
                  DMA_DIRECTION_TO_DEVICE);
    entry = ok ? le64_to_cpu(entry) : 0;
    *bus_addr = (entry & VPFN_GART_ADDR_MASK) + addr % VPFN_GART_PAGE_SIZE;
    return (entry & ~VPFN_GART_ADDR_MASK) == VPFN_GART_VALID;
}

/* Between the buffer and the GART window, page by page */
static bool vpfn_gart_rw(VpfnState *s, uint64_t addr, uint64_t length,
                         DMADirection dir)
{
    uint8_t *buf = s->buffer;
    uint64_t bus_addr, part;
    bool ok;

    for (; length; addr += part, buf += part, length -= part) {
        part = MIN(length, VPFN_GART_PAGE_SIZE - addr % VPFN_GART_PAGE_SIZE);
        ok = vpfn_translate(s, addr, &bus_addr);
        if (!vpfn_goes_on(s, ok, VPFN_ERROR_GART, addr)) {
            return false;
        }
        ok = vpfn_dma(s, bus_addr, buf, part, dir);
        if (!vpfn_goes_on(s, ok, VPFN_ERROR_DMA, addr)) {
            return false;
        }
    }
    return true;
}

/* Between the buffer and at most VPFN_STEP_SIZE bytes of an operand */
static bool vpfn_rw(VpfnState *s, uint64_t addr, uint64_t length,
                    DMADirection dir)
{
    if (vpfn_is_gart(addr)) {
        return vpfn_gart_rw(s, addr, length, dir);
    }
    /* Cannot fail: the address space is RAM throughout. */
    address_space_rw(&s->vram_as, addr, MEMTXATTRS_UNSPECIFIED, s->buffer,
                     length, dir == DMA_DIRECTION_FROM_DEVICE);
    return true;
}

/* The engine */

/* A copy to a higher address must not overrun its own source. */
static bool vpfn_runs_backward(const VpfnDesc *d)
{
    return d->op == VPFN_OP_COPY && d->src < d->dst &&
           d->dst - d->src < d->length;
}

/* Every step begins at a multiple of the pattern's size. */
static void vpfn_expand_pattern(VpfnState *s, uint64_t length)
{
    uint64_t i;

    for (i = 0; i < length; i += sizeof(s->desc.pattern)) {
        stl_le_p(s->buffer + i, s->desc.pattern);
    }
}

/* All is read before any is written, so that operands may overlap. */
static void vpfn_step(VpfnState *s, int64_t *budget)
{
    const VpfnDesc *d = &s->desc;
    uint64_t length = MIN(d->length - s->done, VPFN_STEP_SIZE);
    uint64_t offset = vpfn_runs_backward(d) ? d->length - s->done - length
                                            : s->done;

    bool gart = vpfn_is_gart(d->src) || vpfn_is_gart(d->dst);

    *budget -= length * (d->op == VPFN_OP_CRC32C ? VPFN_COST_CRC :
                         gart ? VPFN_COST_GART : 1);

    if (d->op == VPFN_OP_FILL) {
        vpfn_expand_pattern(s, length);
    } else if (!vpfn_rw(s, d->src + offset, length, DMA_DIRECTION_TO_DEVICE)) {
        return;
    }

    if (d->op == VPFN_OP_CRC32C) {
        /* crc32c() inverts its result, which is not the last one yet */
        s->crc = ~crc32c(s->crc, s->buffer, length);
    } else if (!vpfn_rw(s, d->dst + offset, length,
                        DMA_DIRECTION_FROM_DEVICE)) {
        return;
    }
    s->done += length;
}

static void vpfn_start(VpfnState *s, int64_t *budget)
{
    uint32_t head = s->regs[R(RING_HEAD)];
    uint64_t desc_addr = vpfn_reg64(s, R(RING_BASE_LO)) +
                         (uint64_t)head * VPFN_DESC_SIZE;
    uint64_t error_addr;
    uint32_t error;
    bool ok;

    *budget -= VPFN_COST_FETCH;
    s->active = true;
    s->done = 0;
    s->crc = UINT32_MAX;

    ok = vpfn_dma(s, desc_addr, s->raw_desc, VPFN_DESC_SIZE,
                  DMA_DIRECTION_TO_DEVICE);
    if (!vpfn_goes_on(s, ok, VPFN_ERROR_FETCH, 0)) {
        return;
    }

    vpfn_decode(s->raw_desc, &s->desc);
    error = vpfn_check(s, &error_addr);
    if (error) {
        vpfn_fail(s, error, error_addr);
        return;
    }
    if (s->dma_error && --s->dma_error == 0) {
        vpfn_fail(s, VPFN_ERROR_DMA, 0);
        return;
    }
    trace_vpfn_start(head, s->desc.op, s->desc.length);
}

static void vpfn_finish(VpfnState *s)
{
    const VpfnDesc *d = &s->desc;
    uint32_t head = s->regs[R(RING_HEAD)];

    if (d->op == VPFN_OP_CRC32C) {
        stl_le_p(s->buffer, ~s->crc);
        if (!vpfn_rw(s, d->dst, VPFN_CRC_SIZE, DMA_DIRECTION_FROM_DEVICE)) {
            return;
        }
    }

    trace_vpfn_complete(head, d->fence);
    s->active = false;
    s->regs[R(RING_HEAD)] = (head + 1) & (s->regs[R(RING_SIZE)] - 1);
    if (d->flags & VPFN_FLAG_FENCE) {
        s->regs[R(FENCE)] = d->fence;
    }
    if (d->flags & VPFN_FLAG_INTERRUPT) {
        vpfn_raise(s, VPFN_INT_FENCE);
    }
}

static void vpfn_run_slice(void *opaque)
{
    VpfnState *s = opaque;
    int64_t budget = VPFN_SLICE_BUDGET;

    trace_vpfn_slice(s->regs[R(RING_HEAD)], s->active ? s->done : 0);
    /* A message may unplug the device. */
    object_ref(OBJECT(s));
    while (vpfn_is_busy(s) && budget > 0) {
        if (!s->active) {
            vpfn_start(s, &budget);
        } else if (s->done < s->desc.length) {
            vpfn_step(s, &budget);
        } else {
            vpfn_finish(s);
        }
    }
    vpfn_schedule(s);
    object_unref(OBJECT(s));
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
    } else if (s->regs[R(ERROR)]) {
        vpfn_log_ignored("start after an error:", VPFN_REG_CTRL);
    } else if (!vpfn_is_enabled(s)) {
        vpfn_enable(s);
    }
}

static void vpfn_write_tail(VpfnState *s, uint32_t val)
{
    if (!vpfn_is_enabled(s)) {
        vpfn_log_ignored("write while disabled to", VPFN_REG_RING_TAIL);
        return;
    }
    if (val >= s->regs[R(RING_SIZE)]) {
        vpfn_fail(s, VPFN_ERROR_TAIL, 0);
        return;
    }

    s->regs[R(RING_TAIL)] = val;
    if (!vpfn_is_busy(s)) {
        s->active = false;
        timer_del(&s->timer);
    }
    vpfn_schedule(s);
}

/* The registers that are locked while the engine is enabled */
static const uint32_t vpfn_setup_bits[VPFN_NUM_REGS] = {
    [R(GART_BASE_LO)] = -VPFN_GART_PAGE_SIZE,
    [R(GART_BASE_HI)] = UINT32_MAX,
    [R(RING_BASE_LO)] = -VPFN_DESC_SIZE,
    [R(RING_BASE_HI)] = UINT32_MAX,
    [R(RING_SIZE)] = UINT32_MAX,
    [R(FENCE)] = UINT32_MAX,
};

static void vpfn_write_setup(VpfnState *s, hwaddr addr, uint32_t val)
{
    if (addr >= sizeof(s->regs) || !vpfn_setup_bits[addr / 4]) {
        vpfn_log_ignored("write to", addr);
    } else if (vpfn_is_enabled(s)) {
        vpfn_log_ignored("write while enabled to", addr);
    } else {
        s->regs[addr / 4] = val & vpfn_setup_bits[addr / 4];
    }
}

static uint64_t vpfn_reg_read(void *opaque, hwaddr addr, unsigned size)
{
    VpfnState *s = opaque;
    uint32_t val = 0;

    if (size != 4 || addr % 4 || addr >= sizeof(s->regs)) {
        vpfn_log_ignored("read of", addr);
    } else if (addr == VPFN_REG_STATUS) {
        val = (vpfn_is_busy(s) ? VPFN_STATUS_BUSY : 0) |
              (s->regs[R(ERROR)] ? VPFN_STATUS_ERROR : 0);
    } else {
        val = s->regs[addr / 4];
    }
    trace_vpfn_reg_read(addr, val);
    return val;
}

static void vpfn_reg_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    VpfnState *s = opaque;

    trace_vpfn_reg_write(addr, val);
    if (size != 4 || addr % 4) {
        vpfn_log_ignored("misaligned, narrow or wide write to", addr);
        return;
    }

    switch (addr) {
    case VPFN_REG_CTRL:
        vpfn_write_ctrl(s, val);
        break;
    case VPFN_REG_RING_TAIL:
        vpfn_write_tail(s, val);
        break;
    case VPFN_REG_INT_STATUS:
        vpfn_set_interrupts(s, s->regs[R(INT_STATUS)] & ~val,
                            s->regs[R(INT_ENABLE)]);
        break;
    case VPFN_REG_INT_ENABLE:
        vpfn_set_interrupts(s, s->regs[R(INT_STATUS)], val & VPFN_INT_ALL);
        break;
    default:
        vpfn_write_setup(s, addr, val);
        break;
    }
}

/* Every access arrives as it was made, on every host, to be refused here. */
#define VPFN_ANY_ACCESS \
    { .min_access_size = 1, .max_access_size = 8, .unaligned = true }

static const MemoryRegionOps vpfn_reg_ops = {
    .read = vpfn_reg_read,
    .write = vpfn_reg_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = VPFN_ANY_ACCESS,
    .impl = VPFN_ANY_ACCESS,
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
    .valid = VPFN_ANY_ACCESS,
    .impl = VPFN_ANY_ACCESS,
};

static void vpfn_show_bars(VpfnState *s)
{
    unsigned i;

    for (i = 0; i <= VPFN_BAR_MSIX; i += 2) {
        memory_region_set_enabled(&s->absent[i], s->gone);
    }
}

static uint32_t vpfn_config_read(PCIDevice *pdev, uint32_t addr, int len)
{
    return VPFN(pdev)->gone ? UINT32_MAX
                            : pci_default_read_config(pdev, addr, len);
}

static void vpfn_config_write(PCIDevice *pdev, uint32_t addr, uint32_t val,
                              int len)
{
    if (!VPFN(pdev)->gone) {
        pci_default_write_config(pdev, addr, val, len);
        pcie_cap_flr_write_config(pdev, addr, val, len);
    }
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

    vpfn_show_bars(s);
    if (value) {
        /* Not the BARs: they must stay where they are, to read as all ones. */
        vpfn_reset_engine(s);
    } else {
        pci_device_reset(PCI_DEVICE(s));
    }
}

static void vpfn_instance_init(Object *obj)
{
    VpfnState *s = VPFN(obj);

    object_property_add_bool(obj, "x-inject-hang", vpfn_get_hang,
                             vpfn_set_hang);
    object_property_add_bool(obj, "x-inject-gone", vpfn_get_gone,
                             vpfn_set_gone);
    object_property_add_uint32_ptr(obj, "x-inject-dma-error", &s->dma_error,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint32_ptr(obj, "x-inject-lost-interrupts",
                                   &s->lost_interrupts,
                                   OBJ_PROP_FLAG_READWRITE);
}

/* How the device comes and goes */

static bool vpfn_check_size(uint64_t size, uint64_t max, const char *property,
                            Error **errp)
{
    if (is_power_of_2(size) && size >= VPFN_SIZE_MIN && size <= max) {
        return true;
    }

    error_setg(errp, "%s must be a power of two from %" PRIu64 " to %" PRIu64
               " bytes, not %" PRIu64, property, (uint64_t)VPFN_SIZE_MIN, max,
               size);
    return false;
}

/*
 * RAM_NORESERVE makes VRAM cost the host what the guest touches, and not swap
 * space for all of it. QEMU refuses the flag where the host cannot do so.
 */
static uint32_t vpfn_vram_flags(void)
{
    g_autofree char *mode = NULL;

    if (g_file_get_contents("/proc/sys/vm/overcommit_memory", &mode, NULL,
                            NULL) && (mode[0] == '0' || mode[0] == '1')) {
        return RAM_NORESERVE;
    }
    return 0;
}

static MemoryRegion *vpfn_init_own_vram(VpfnState *s, Error **errp)
{
    s->vram_size = s->vram_size ?: VPFN_VRAM_SIZE_DEFAULT;
    if (!vpfn_check_size(s->vram_size, VPFN_SIZE_MAX, "vram-size", errp) ||
        !memory_region_init_ram_flags_nomigrate(&s->own_vram, OBJECT(s),
                                                "vpfn.vram", s->vram_size,
                                                vpfn_vram_flags(), errp)) {
        return NULL;
    }
    return &s->own_vram;
}

static MemoryRegion *vpfn_find_backend(VpfnState *s, Error **errp)
{
    const char *id = object_get_canonical_path_component(OBJECT(s->memdev));
    MemoryRegion *vram = host_memory_backend_get_memory(s->memdev);
    uint64_t size = memory_region_size(vram);

    if (host_memory_backend_is_mapped(s->memdev)) {
        error_setg(errp, "memdev '%s' is used by another device", id);
        return NULL;
    }
    if (memory_region_is_rom(vram)) {
        error_setg(errp, "memdev '%s' is read-only", id);
        return NULL;
    }
    if (!vpfn_check_size(size, VPFN_SIZE_MAX, "size of memdev", errp)) {
        return NULL;
    }
    if (s->vram_size && s->vram_size != size) {
        error_setg(errp, "vram-size (%" PRIu64 " bytes) must be the size of "
                   "memdev (%" PRIu64 " bytes)", s->vram_size, size);
        return NULL;
    }

    s->vram_size = size;
    return vram;
}

static void vpfn_cover_bar(VpfnState *s, int bar, MemoryRegion *mr)
{
    memory_region_init_io(&s->absent[bar], OBJECT(s), &vpfn_absent_ops, s,
                          "vpfn.absent", memory_region_size(mr));
    memory_region_add_subregion_overlap(mr, 0, &s->absent[bar], 1);
}

static void vpfn_init_bars(VpfnState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    memory_region_init_io(&s->reg_bar, OBJECT(s), &vpfn_reg_ops, s,
                          "vpfn.regs", VPFN_REGS_SIZE);
    pci_register_bar(pdev, VPFN_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->reg_bar);

    memory_region_init(&s->vram_bar, OBJECT(s), "vpfn.vram-bar",
                       s->visible_size);
    memory_region_init_alias(&s->visible_vram, OBJECT(s), "vpfn.visible-vram",
                             s->vram, 0, s->visible_size);
    memory_region_add_subregion(&s->vram_bar, 0, &s->visible_vram);
    pci_register_bar(pdev, VPFN_BAR_VRAM,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->vram_bar);

    vpfn_cover_bar(s, VPFN_BAR_REGS, &s->reg_bar);
    vpfn_cover_bar(s, VPFN_BAR_VRAM, &s->vram_bar);
    vpfn_cover_bar(s, VPFN_BAR_MSIX, &pdev->msix_exclusive_bar);
    vpfn_show_bars(s);
}

/* A region that lies in another holds a reference to its owner: this device. */
static void vpfn_exit_bars(VpfnState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    memory_region_del_subregion(&s->reg_bar, &s->absent[VPFN_BAR_REGS]);
    memory_region_del_subregion(&s->vram_bar, &s->absent[VPFN_BAR_VRAM]);
    memory_region_del_subregion(&s->vram_bar, &s->visible_vram);
    memory_region_del_subregion(&pdev->msix_exclusive_bar,
                                &s->absent[VPFN_BAR_MSIX]);
    msix_uninit_exclusive_bar(pdev);
}

/*
 * The engine writes VRAM through an address space of its own, which takes care
 * of dirty logging and of code that the guest runs from there. Its root belongs
 * to this device, which therefore outlives it.
 */
static void vpfn_init_engine(VpfnState *s)
{
    memory_region_init_alias(&s->all_vram, OBJECT(s), "vpfn.all-vram", s->vram,
                             0, s->vram_size);
    address_space_init(&s->vram_as, &s->all_vram, "vpfn.vram");
    timer_init_ns(&s->timer, QEMU_CLOCK_VIRTUAL, vpfn_run_slice, s);

    s->regs[R(ID)] = VPFN_ID;
    s->regs[R(REVISION)] = VPFN_REVISION;
    vpfn_set_reg64(s, R(VRAM_SIZE_LO), s->vram_size);
    vpfn_set_reg64(s, R(VISIBLE_SIZE_LO), s->visible_size);
    vpfn_set_reg64(s, R(GART_SIZE_LO), s->gart_size);
}

static void vpfn_realize(PCIDevice *pdev, Error **errp)
{
    VpfnState *s = VPFN(pdev);

    s->vram = s->memdev ? vpfn_find_backend(s, errp)
                        : vpfn_init_own_vram(s, errp);
    if (!s->vram) {
        return;
    }
    s->visible_size = s->visible_size ?: s->vram_size;
    if (!vpfn_check_size(s->visible_size, s->vram_size, "visible-vram-size",
                         errp) ||
        !vpfn_check_size(s->gart_size, VPFN_SIZE_MAX, "gart-size", errp) ||
        msix_init_exclusive_bar(pdev, VPFN_NUM_VECTORS, VPFN_BAR_MSIX, errp)) {
        return;
    }

    /* From here on nothing fails. */
    if (s->memdev) {
        host_memory_backend_set_mapped(s->memdev, true);
    }
    vmstate_register_ram(s->vram, DEVICE(s));
    msix_vector_use(pdev, VPFN_VECTOR_FENCE);
    msix_vector_use(pdev, VPFN_VECTOR_ERROR);
    vpfn_init_engine(s);
    vpfn_init_bars(s);

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
    vmstate_unregister_ram(s->vram, DEVICE(s));
    if (s->memdev) {
        host_memory_backend_set_mapped(s->memdev, false);
    }
}

static void vpfn_reset_enter(Object *obj, ResetType type)
{
    vpfn_reset_engine(VPFN(obj));
}

/* Migration */

static bool vpfn_engine_is_valid(VpfnState *s)
{
    uint64_t addr;

    if (!vpfn_is_enabled(s)) {
        return !s->active;
    }
    return !s->gone && !s->regs[R(ERROR)] && vpfn_setup_is_valid(s) &&
           s->regs[R(RING_HEAD)] < s->regs[R(RING_SIZE)] &&
           s->regs[R(RING_TAIL)] < s->regs[R(RING_SIZE)] &&
           (!s->active || (vpfn_is_busy(s) && s->done <= s->desc.length &&
                           vpfn_check(s, &addr) == VPFN_ERROR_NONE));
}

static bool vpfn_regs_are_valid(VpfnState *s)
{
    uint32_t ints = s->regs[R(INT_STATUS)] | s->regs[R(INT_ENABLE)];

    return s->regs[R(CTRL)] <= VPFN_CTRL_ENABLE &&
           s->regs[R(ERROR)] <= VPFN_ERROR_DMA &&
           s->regs[R(GART_BASE_LO)] % VPFN_GART_PAGE_SIZE == 0 &&
           s->regs[R(RING_BASE_LO)] % VPFN_DESC_SIZE == 0 &&
           !(ints & ~VPFN_INT_ALL);
}

static int vpfn_post_load(void *opaque, int version_id)
{
    VpfnState *s = opaque;

    vpfn_decode(s->raw_desc, &s->desc);
    if (!vpfn_regs_are_valid(s) || !vpfn_engine_is_valid(s) ||
        timer_pending(&s->timer) != (vpfn_is_busy(s) && !s->hang)) {
        error_report("vpfn: the state to load is invalid");
        return -EINVAL;
    }

    /* Brings a deadline that is too late forward. */
    vpfn_schedule(s);
    vpfn_show_bars(s);
    return 0;
}

static const VMStateDescription vpfn_vmstate = {
    .name = "vpfn",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = vpfn_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, VpfnState),
        VMSTATE_MSIX(parent_obj, VpfnState),
        VMSTATE_UINT64_EQUAL(visible_size, VpfnState,
                             "visible-vram-size differs"),
        VMSTATE_UINT64_EQUAL(gart_size, VpfnState, "gart-size differs"),
        VMSTATE_BOOL(hang, VpfnState),
        VMSTATE_BOOL(gone, VpfnState),
        VMSTATE_UINT32(dma_error, VpfnState),
        VMSTATE_UINT32(lost_interrupts, VpfnState),
        VMSTATE_UINT32_SUB_ARRAY(regs, VpfnState, R(CTRL),
                                 VPFN_NUM_REGS - R(CTRL)),
        VMSTATE_TIMER(timer, VpfnState),
        VMSTATE_BOOL(active, VpfnState),
        VMSTATE_UINT8_ARRAY(raw_desc, VpfnState, VPFN_DESC_SIZE),
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
    DEFINE_PROP_SIZE("gart-size", VpfnState, gart_size, VPFN_GART_SIZE_DEFAULT),
};

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
    device_class_set_props(dc, vpfn_properties);
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
