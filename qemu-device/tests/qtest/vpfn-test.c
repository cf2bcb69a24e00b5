/*
 * QTest testcase for the vpfn virtual GPU
 *
 * The expectations are those of docs/specs/vpfn.rst. The virtual clock stands
 * still unless a test moves it, so that work in flight stays where it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "hw/misc/vpfn_regs.h"
#include "hw/pci/pci_regs.h"
#include "libqtest.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "qobject/qdict.h"

/* Where the tests put the BARs: VRAM beyond what 32 bits reach */
#define REGS_ADDR       0xe0000000u
#define MSIX_ADDR       0xe0001000u
#define ECAM_ADDR       0xb0000000u
#define VRAM_ADDR       (256 * GiB)

/* Guest memory: 128 MiB, and nothing at HOLE */
#define MEM_SIZE        (128 * MiB)
#define MSG_ADDR        0x00080000u
#define RING_ADDR       0x00100000u
#define TABLE_ADDR      0x00400000u
#define SRC_MEM         0x01000000u
#define DST_MEM         0x02000000u
#define HOLE            0x70000000u

/* The GART window: guest memory at its own addresses, and HOLE */
#define GART(addr)      (VPFN_GART_START + (addr))
#define GART_SIZE       (2 * GiB)
/* Where a test maps other pages */
#define SRC_WINDOW      GART(0x20000000u)
#define DST_WINDOW      GART(0x30000000u)

#define SRC_VRAM        0
#define DST_VRAM        (4 * MiB)
#define VRAM_SIZE       (64 * MiB)
#define REGION_SIZE     (2 * MiB)

#define RING_SIZE       8
#define PAGE            VPFN_GART_PAGE_SIZE

/* What a slice copies within VRAM, and more than two slices */
#define SLICE_COPY      (1 * MiB)
#define LONG_COPY       (2 * MiB + 512 * KiB)

#define GPU             "/machine/peripheral/gpu"
#define GPU_DEVFN       (4 << 3)
#define PEER_DEVFN      (5 << 3)

typedef struct Vpfn {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *pdev;
    uint32_t tail;
} Vpfn;

typedef struct Desc {
    uint8_t op;
    uint8_t flags;
    uint32_t fence;
    uint64_t length;
    uint64_t src;
    uint64_t dst;
    uint32_t pattern;
} Desc;

#define NOP { .op = VPFN_OP_NOP }
#define FILL(dst_, length_, pattern_) \
    { .op = VPFN_OP_FILL, .dst = (dst_), .length = (length_), \
      .pattern = (pattern_) }
#define COPY(src_, dst_, length_) \
    { .op = VPFN_OP_COPY, .src = (src_), .dst = (dst_), .length = (length_) }
#define CRC(src_, dst_, length_) \
    { .op = VPFN_OP_CRC32C, .src = (src_), .dst = (dst_), .length = (length_) }

static const Desc nop = NOP;

/* The device */

static uint32_t reg(Vpfn *v, uint32_t offset)
{
    return qtest_readl(v->qts, REGS_ADDR + offset);
}

static void set_reg(Vpfn *v, uint32_t offset, uint32_t val)
{
    qtest_writel(v->qts, REGS_ADDR + offset, val);
}

static void write_bars(Vpfn *v, uint32_t regs, uint64_t vram)
{
    qpci_config_writel(v->pdev, PCI_BASE_ADDRESS_0, regs);
    qpci_config_writel(v->pdev, PCI_BASE_ADDRESS_2, extract64(vram, 0, 32));
    qpci_config_writel(v->pdev, PCI_BASE_ADDRESS_3, extract64(vram, 32, 32));
    qpci_config_writel(v->pdev, PCI_BASE_ADDRESS_4,
                       regs + (MSIX_ADDR - REGS_ADDR));
}

static void write_command(Vpfn *v, uint16_t command)
{
    qpci_config_writew(v->pdev, PCI_COMMAND, command);
}

static void map_device(Vpfn *v)
{
    write_bars(v, REGS_ADDR, VRAM_ADDR);
    write_command(v, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void find_device(Vpfn *v, int devfn)
{
    v->pdev = qpci_device_find(v->bus, devfn);
    g_assert_nonnull(v->pdev);
}

static Vpfn *start_qemu(const char *args)
{
    Vpfn *v = g_new0(Vpfn, 1);

    v->qts = qtest_initf("-M q35 -m 128M -nodefaults %s", args);
    v->bus = qpci_new_pc(v->qts, NULL);
    return v;
}

/* Contents */

static uint8_t *random_bytes(size_t size)
{
    uint32_t *data = g_malloc(ROUND_UP(size, 4));
    size_t i;

    for (i = 0; i < DIV_ROUND_UP(size, 4); i++) {
        data[i] = g_test_rand_int();
    }
    return (uint8_t *)data;
}

/* The time that the qtest protocol takes grows with the square of the size. */
#define CHUNK           (16 * KiB)

static void write_bytes(Vpfn *v, uint64_t addr, const void *data, size_t size)
{
    size_t i;

    for (i = 0; i < size; i += CHUNK) {
        qtest_bufwrite(v->qts, addr + i, data + i, MIN(CHUNK, size - i));
    }
}

static uint8_t *fill_random(Vpfn *v, uint64_t addr, size_t size)
{
    uint8_t *data = random_bytes(size);

    write_bytes(v, addr, data, size);
    return data;
}

static uint8_t *read_bytes(Vpfn *v, uint64_t addr, size_t size)
{
    uint8_t *data = g_malloc(size);
    size_t i;

    for (i = 0; i < size; i += CHUNK) {
        qtest_bufread(v->qts, addr + i, data + i, MIN(CHUNK, size - i));
    }
    return data;
}

static void assert_bytes(Vpfn *v, uint64_t addr, const uint8_t *expected,
                         size_t size)
{
    g_autofree uint8_t *data = read_bytes(v, addr, size);
    size_t i;

    for (i = 0; i < size; i++) {
        if (data[i] != expected[i]) {
            g_error("0x%02x instead of 0x%02x at offset 0x%zx of 0x%" PRIx64,
                    data[i], expected[i], i, addr);
        }
    }
}

/* The GART */

static void set_entry(Vpfn *v, uint64_t addr, uint64_t entry)
{
    uint64_t page = (addr - VPFN_GART_START) / PAGE;

    qtest_writeq(v->qts, TABLE_ADDR + page * VPFN_GART_ENTRY_SIZE, entry);
}

static void map_page(Vpfn *v, uint64_t addr, uint64_t bus_addr)
{
    set_entry(v, addr, bus_addr | VPFN_GART_VALID);
}

static void map_memory(Vpfn *v)
{
    g_autofree uint64_t *table = g_new(uint64_t, MEM_SIZE / PAGE);
    uint64_t i;

    for (i = 0; i < MEM_SIZE / PAGE; i++) {
        table[i] = cpu_to_le64(i * PAGE | VPFN_GART_VALID);
    }
    write_bytes(v, TABLE_ADDR, table, i * VPFN_GART_ENTRY_SIZE);
    map_page(v, GART(HOLE), HOLE);
}

static Vpfn *start_with(const char *options)
{
    g_autofree char *args =
        g_strdup_printf("-device vpfn,id=gpu,addr=4%s", options);
    Vpfn *v = start_qemu(args);

    find_device(v, GPU_DEVFN);
    map_device(v);
    map_memory(v);
    return v;
}

static Vpfn *start(void)
{
    return start_with(",vram-size=64M");
}

static void end(Vpfn *v)
{
    g_free(v->pdev);
    qpci_free_pc(v->bus);
    qtest_quit(v->qts);
    g_free(v);
}

/* The ring */

static void set_gart_base(Vpfn *v, uint64_t addr)
{
    set_reg(v, VPFN_REG_GART_BASE_LO, extract64(addr, 0, 32));
    set_reg(v, VPFN_REG_GART_BASE_HI, extract64(addr, 32, 32));
}

static void enable_ring(Vpfn *v, uint64_t addr, uint32_t size)
{
    set_reg(v, VPFN_REG_RING_BASE_LO, extract64(addr, 0, 32));
    set_reg(v, VPFN_REG_RING_BASE_HI, extract64(addr, 32, 32));
    set_reg(v, VPFN_REG_RING_SIZE, size);
    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);
    v->tail = 0;
}

static void enable(Vpfn *v)
{
    set_gart_base(v, TABLE_ADDR);
    enable_ring(v, RING_ADDR, RING_SIZE);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, VPFN_CTRL_ENABLE);
}

static void reset_engine(Vpfn *v)
{
    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_RESET);
}

static void write_raw(Vpfn *v, uint32_t index, const uint8_t *raw)
{
    qtest_memwrite(v->qts, RING_ADDR + index * VPFN_DESC_SIZE, raw,
                   VPFN_DESC_SIZE);
}

static void encode(const Desc *d, uint8_t *raw)
{
    memset(raw, 0, VPFN_DESC_SIZE);
    stb_p(raw + VPFN_DESC_OP, d->op);
    stb_p(raw + VPFN_DESC_FLAGS, d->flags);
    stl_le_p(raw + VPFN_DESC_FENCE, d->fence);
    stq_le_p(raw + VPFN_DESC_LENGTH, d->length);
    stq_le_p(raw + VPFN_DESC_SRC_ADDR, d->src);
    stq_le_p(raw + VPFN_DESC_DST_ADDR, d->dst);
    stl_le_p(raw + VPFN_DESC_PATTERN, d->pattern);
}

/* Writes a descriptor, and leaves the doorbell alone. */
static void queue(Vpfn *v, const Desc *d)
{
    uint8_t raw[VPFN_DESC_SIZE];

    encode(d, raw);
    write_raw(v, v->tail, raw);
    v->tail = (v->tail + 1) % RING_SIZE;
}

static void ring_doorbell(Vpfn *v)
{
    set_reg(v, VPFN_REG_RING_TAIL, v->tail);
}

static void submit(Vpfn *v, const Desc *d)
{
    queue(v, d);
    ring_doorbell(v);
}

/* The time from one slice of work to the next: each call runs one. */
static void step(Vpfn *v)
{
    qtest_clock_step(v->qts, 20 * 1000);
}

static bool is_busy(Vpfn *v)
{
    return reg(v, VPFN_REG_STATUS) & VPFN_STATUS_BUSY;
}

static void run(Vpfn *v)
{
    int i;

    for (i = 0; is_busy(v); i++) {
        g_assert_cmpint(i, <, 10000);
        step(v);
    }
}

static void run_well(Vpfn *v)
{
    run(v);
    g_assert_cmpuint(reg(v, VPFN_REG_ERROR), ==, VPFN_ERROR_NONE);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, v->tail);
}

static void execute(Vpfn *v, const Desc *d)
{
    submit(v, d);
    run_well(v);
}

static uint64_t error_addr(Vpfn *v)
{
    return reg(v, VPFN_REG_ERROR_ADDR_LO) |
           (uint64_t)reg(v, VPFN_REG_ERROR_ADDR_HI) << 32;
}

static void assert_stopped(Vpfn *v, uint32_t error, uint32_t index)
{
    g_assert_cmpuint(reg(v, VPFN_REG_ERROR), ==, error);
    g_assert_cmpuint(reg(v, VPFN_REG_ERROR_INDEX), ==, index);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, index);
    g_assert_cmphex(reg(v, VPFN_REG_STATUS), ==, VPFN_STATUS_ERROR);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS) & VPFN_INT_ERROR, ==,
                    VPFN_INT_ERROR);
}

/* A descriptor that fails alone: afterwards the engine works again. */
static void assert_fails(Vpfn *v, const Desc *d, uint32_t error, uint64_t addr)
{
    reset_engine(v);
    enable(v);
    queue(v, &nop);
    submit(v, d);
    run(v);
    assert_stopped(v, error, 1);
    g_assert_cmphex(error_addr(v), ==, addr);

    reset_engine(v);
    g_assert_cmpuint(reg(v, VPFN_REG_ERROR), ==, VPFN_ERROR_NONE);
    g_assert_cmphex(error_addr(v), ==, 0);
    enable(v);
    execute(v, &nop);
}

/*
 * A region with an operand in it that is aligned to nothing, and bytes around
 * it that must not change
 */
#define OPERAND_LENGTH  200001
#define OPERAND_OFFSET  4099

typedef enum Place {
    IN_VRAM,
    IN_MEMORY,
    /* Pages of memory in the window, in reverse order */
    IN_PAGES,
    NUM_PLACES,
} Place;

typedef struct Operand {
    Place place;
    uint64_t cpu_addr;
    uint64_t addr;
    uint8_t *image;
} Operand;

static void init_operand(Vpfn *v, Operand *o, Place place, uint64_t vram,
                         uint64_t mem, uint64_t window)
{
    uint32_t i;

    *o = (Operand) { .place = place, .cpu_addr = mem };
    switch (place) {
    case IN_VRAM:
        o->cpu_addr = VRAM_ADDR + vram;
        o->addr = vram;
        break;
    case IN_MEMORY:
        o->addr = GART(mem);
        break;
    default:
        o->addr = window;
        for (i = 0; i < REGION_SIZE; i += PAGE) {
            map_page(v, window + i, mem + REGION_SIZE - PAGE - i);
        }
        break;
    }
    o->addr += OPERAND_OFFSET;
    o->image = fill_random(v, o->cpu_addr, REGION_SIZE);
}

static void init_src(Vpfn *v, Operand *o, Place place)
{
    init_operand(v, o, place, SRC_VRAM, SRC_MEM, SRC_WINDOW);
}

static void init_dst(Vpfn *v, Operand *o, Place place)
{
    init_operand(v, o, place, DST_VRAM, DST_MEM, DST_WINDOW);
}

/* Byte @i of the operand in the image of its region */
static uint8_t *operand_byte(const Operand *o, uint32_t i)
{
    uint32_t offset = OPERAND_OFFSET + i;

    if (o->place == IN_PAGES) {
        offset = REGION_SIZE - PAGE - offset / PAGE * PAGE + offset % PAGE;
    }
    return o->image + offset;
}

static void get_data(const Operand *o, uint8_t *data)
{
    uint32_t i;

    for (i = 0; i < OPERAND_LENGTH; i++) {
        data[i] = *operand_byte(o, i);
    }
}

static void put_data(const Operand *o, const uint8_t *data)
{
    uint32_t i;

    for (i = 0; i < OPERAND_LENGTH; i++) {
        *operand_byte(o, i) = data[i];
    }
}

/* The region is as the image says, inside the operand and around it. */
static void check_operand(Vpfn *v, Operand *o)
{
    assert_bytes(v, o->cpu_addr, o->image, REGION_SIZE);
    g_free(o->image);
}

/* One bit at a time: slow, and obviously the CRC that is specified */
static uint32_t reference_crc(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    size_t i;
    int bit;

    for (i = 0; i < size; i++) {
        crc ^= data[i];
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
    }
    return ~crc;
}

/* Messages: the tests have them written to memory. */

static uint8_t msix_cap(Vpfn *v)
{
    return qpci_find_capability(v->pdev, PCI_CAP_ID_MSIX, 0);
}

static void write_msix_flags(Vpfn *v, uint16_t flags)
{
    qpci_config_writew(v->pdev, msix_cap(v) + PCI_MSIX_FLAGS, flags);
}

static void mask_vector(Vpfn *v, unsigned vector, bool mask)
{
    qtest_writel(v->qts, MSIX_ADDR + vector * PCI_MSIX_ENTRY_SIZE +
                 PCI_MSIX_ENTRY_VECTOR_CTRL,
                 mask ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

static uint32_t message_data(unsigned vector)
{
    return 0x5ab0 + vector;
}

static void program_vector(Vpfn *v, unsigned vector, uint64_t addr)
{
    uint64_t entry = MSIX_ADDR + vector * PCI_MSIX_ENTRY_SIZE;

    qtest_writel(v->qts, entry + PCI_MSIX_ENTRY_LOWER_ADDR, addr);
    qtest_writel(v->qts, entry + PCI_MSIX_ENTRY_UPPER_ADDR, addr >> 32);
    qtest_writel(v->qts, entry + PCI_MSIX_ENTRY_DATA, message_data(vector));
    mask_vector(v, vector, false);
}

static void enable_messages(Vpfn *v)
{
    unsigned vector;

    for (vector = 0; vector < VPFN_NUM_VECTORS; vector++) {
        program_vector(v, vector, MSG_ADDR + 4 * vector);
    }
    write_msix_flags(v, PCI_MSIX_FLAGS_ENABLE);
}

/* Was there a message since the last call? */
static bool got_message(Vpfn *v, unsigned vector)
{
    uint64_t addr = MSG_ADDR + 4 * vector;
    uint32_t data = qtest_readl(v->qts, addr);

    qtest_writel(v->qts, addr, 0);
    if (data) {
        g_assert_cmphex(data, ==, message_data(vector));
    }
    return data;
}

static bool is_pending(Vpfn *v, unsigned vector)
{
    return qtest_readl(v->qts, MSIX_ADDR + 0x800) & BIT(vector);
}

static Desc nop_with_fence(uint32_t fence)
{
    return (Desc) {
        .op = VPFN_OP_NOP,
        .flags = VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT,
        .fence = fence,
    };
}

/* Goes towards higher addresses, because the destination is below. */
static const Desc long_copy = {
    .op = VPFN_OP_COPY,
    .flags = VPFN_FLAG_FENCE | VPFN_FLAG_INTERRUPT,
    .fence = 77,
    .src = 32 * MiB,
    .dst = 0,
    .length = LONG_COPY,
};

/* Starts long_copy and stops the clock in its middle. Returns the source. */
static uint8_t *start_long_copy(Vpfn *v)
{
    uint8_t *data = fill_random(v, VRAM_ADDR + long_copy.src, LONG_COPY);

    qtest_memset(v->qts, VRAM_ADDR + long_copy.dst, 0, LONG_COPY);
    enable(v);
    submit(v, &long_copy);
    step(v);
    g_assert_true(is_busy(v));
    return data;
}

/* The beginning is copied, the end is not: it is in flight. */
static void assert_copy_is_partial(Vpfn *v, const uint8_t *data)
{
    static const uint8_t zeroes[4096];

    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, 4096);
    assert_bytes(v, VRAM_ADDR + long_copy.dst + LONG_COPY - 4096, zeroes, 4096);
}

static void assert_copy_is_abandoned(Vpfn *v, const uint8_t *data)
{
    int i;

    for (i = 0; i < 10; i++) {
        step(v);
    }
    assert_copy_is_partial(v, data);
    g_assert_cmphex(reg(v, VPFN_REG_STATUS) & VPFN_STATUS_BUSY, ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS) & VPFN_INT_FENCE, ==, 0);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), !=, long_copy.fence);
}

static void assert_copy_is_complete(Vpfn *v, const uint8_t *data)
{
    run_well(v);
    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, LONG_COPY);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, long_copy.fence);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);
}

/* Identity and registers */

static uint32_t bar_size_bits(Vpfn *v, uint8_t offset)
{
    uint32_t old = qpci_config_readl(v->pdev, offset);
    uint32_t bits;

    qpci_config_writel(v->pdev, offset, UINT32_MAX);
    bits = qpci_config_readl(v->pdev, offset);
    qpci_config_writel(v->pdev, offset, old);
    return bits;
}

static void test_identity(Vpfn *v)
{
    g_assert_cmphex(qpci_config_readw(v->pdev, PCI_VENDOR_ID), ==, 0x1af4);
    g_assert_cmphex(qpci_config_readw(v->pdev, PCI_DEVICE_ID), ==, 0x10f0);
    g_assert_cmphex(qpci_config_readw(v->pdev, PCI_CLASS_DEVICE), ==, 0x0380);
    g_assert_cmphex(qpci_config_readb(v->pdev, PCI_REVISION_ID), ==, 3);
    g_assert_cmphex(qpci_config_readb(v->pdev, PCI_INTERRUPT_PIN), ==, 0);
    g_assert_cmphex(qpci_config_readl(v->pdev, PCI_SUBSYSTEM_VENDOR_ID), ==,
                    0x11001af4);

    /* Low bits: type; a 64-bit prefetchable BAR has 0xc */
    write_command(v, 0);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_0), ==, 0xfffff000);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_1), ==, 0);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_2), ==, 0xfc00000c);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_3), ==, 0xffffffff);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_4), ==, 0xfffff000);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_5), ==, 0);
}

static void test_capabilities(Vpfn *v)
{
    uint8_t exp = qpci_find_capability(v->pdev, PCI_CAP_ID_EXP, 0);
    uint8_t msix = msix_cap(v);
    uint16_t flags = qpci_config_readw(v->pdev, exp + PCI_EXP_FLAGS);

    g_assert_cmphex(exp, !=, 0);
    g_assert_cmphex((flags & PCI_EXP_FLAGS_TYPE) >> 4, ==,
                    PCI_EXP_TYPE_RC_END);
    g_assert_cmphex(qpci_config_readl(v->pdev, exp + PCI_EXP_DEVCAP) &
                    PCI_EXP_DEVCAP_FLR, ==, PCI_EXP_DEVCAP_FLR);

    g_assert_cmphex(msix, !=, 0);
    g_assert_cmphex(qpci_config_readw(v->pdev, msix + PCI_MSIX_FLAGS), ==, 1);
    g_assert_cmphex(qpci_config_readl(v->pdev, msix + PCI_MSIX_TABLE), ==, 4);
    g_assert_cmphex(qpci_config_readl(v->pdev, msix + PCI_MSIX_PBA), ==, 0x804);
    g_assert_cmphex(qpci_find_capability(v->pdev, PCI_CAP_ID_MSI, 0), ==, 0);
}

typedef struct RegInfo {
    uint32_t offset;
    uint32_t reset;
    /* Bits that keep what is written while the engine is disabled */
    uint32_t writable;
} RegInfo;

static const RegInfo reg_infos[] = {
    { VPFN_REG_ID, 0x4e465056, 0 },
    { VPFN_REG_REVISION, 3, 0 },
    { VPFN_REG_VRAM_SIZE_LO, VRAM_SIZE, 0 },
    { VPFN_REG_VRAM_SIZE_HI, 0, 0 },
    { VPFN_REG_VISIBLE_SIZE_LO, VRAM_SIZE, 0 },
    { VPFN_REG_VISIBLE_SIZE_HI, 0, 0 },
    { VPFN_REG_GART_SIZE_LO, GART_SIZE, 0 },
    { VPFN_REG_GART_SIZE_HI, 0, 0 },
    { VPFN_REG_CTRL, 0, 0 },
    { VPFN_REG_STATUS, 0, 0 },
    { VPFN_REG_ERROR, 0, 0 },
    { VPFN_REG_ERROR_INDEX, 0, 0 },
    { VPFN_REG_ERROR_ADDR_LO, 0, 0 },
    { VPFN_REG_ERROR_ADDR_HI, 0, 0 },
    { VPFN_REG_GART_BASE_LO, 0, 0xfffff000 },
    { VPFN_REG_GART_BASE_HI, 0, 0xffffffff },
    { VPFN_REG_RING_BASE_LO, 0, 0xffffffc0 },
    { VPFN_REG_RING_BASE_HI, 0, 0xffffffff },
    { VPFN_REG_RING_SIZE, 0, 0xffffffff },
    { VPFN_REG_RING_HEAD, 0, 0 },
    { VPFN_REG_RING_TAIL, 0, 0 },
    { VPFN_REG_FENCE, 0, 0xffffffff },
    { VPFN_REG_INT_STATUS, 0, 0 },
    { VPFN_REG_INT_ENABLE, 0, 0x3 },
};

static const RegInfo *find_reg(uint32_t offset)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(reg_infos); i++) {
        if (reg_infos[i].offset == offset) {
            return &reg_infos[i];
        }
    }
    return NULL;
}

/* Offsets without a register read as 0, too. */
static void assert_reset_values(Vpfn *v)
{
    uint32_t offset;

    for (offset = 0; offset < VPFN_REGS_SIZE; offset += 4) {
        const RegInfo *info = find_reg(offset);

        g_assert_cmphex(reg(v, offset), ==, info ? info->reset : 0);
    }
}

static void test_reset_values(Vpfn *v)
{
    assert_reset_values(v);
}

static void test_writable_bits(Vpfn *v)
{
    static const uint32_t values[] = { 0xa5a5a5a4, 0x5a5a5a58, 0 };
    uint32_t offset;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(values); i++) {
        for (offset = 0; offset < VPFN_REGS_SIZE; offset += 4) {
            set_reg(v, offset, values[i]);
        }
        for (offset = 0; offset < VPFN_REGS_SIZE; offset += 4) {
            const RegInfo *info = find_reg(offset);

            g_assert_cmphex(reg(v, offset), ==,
                            info ? info->reset | (values[i] & info->writable)
                                 : 0);
        }
    }
}

/* Narrow, wide and misaligned accesses read as 0 and change nothing. */
static void test_access_width(Vpfn *v)
{
    QTestState *qts = v->qts;
    uint64_t addr = REGS_ADDR + VPFN_REG_RING_BASE_LO;

    set_reg(v, VPFN_REG_RING_BASE_LO, 0x11223340);
    set_reg(v, VPFN_REG_RING_BASE_HI, 0x55667788);
    g_assert_cmphex(qtest_readb(qts, addr), ==, 0);
    g_assert_cmphex(qtest_readb(qts, addr + 3), ==, 0);
    g_assert_cmphex(qtest_readw(qts, addr), ==, 0);
    g_assert_cmphex(qtest_readw(qts, addr + 2), ==, 0);
    g_assert_cmphex(qtest_readl(qts, addr + 2), ==, 0);
    g_assert_cmphex(qtest_readq(qts, addr), ==, 0);
    g_assert_cmphex(qtest_readq(qts, addr - 4), ==, 0);

    qtest_writeb(qts, addr, 0x80);
    qtest_writew(qts, addr + 2, 0x8080);
    qtest_writel(qts, addr + 1, 0x80808080);
    qtest_writeq(qts, addr, 0x8080808080808080);
    qtest_writeq(qts, addr + 4, 0x8080808080808080);
    g_assert_cmphex(reg(v, VPFN_REG_RING_BASE_LO), ==, 0x11223340);
    g_assert_cmphex(reg(v, VPFN_REG_RING_BASE_HI), ==, 0x55667788);
    g_assert_cmphex(reg(v, VPFN_REG_RING_SIZE), ==, 0);
}

static void test_locked_registers(void)
{
    static const uint32_t locked[] = {
        VPFN_REG_GART_BASE_LO, VPFN_REG_GART_BASE_HI,
        VPFN_REG_RING_BASE_LO, VPFN_REG_RING_BASE_HI, VPFN_REG_RING_SIZE,
        VPFN_REG_FENCE,
    };
    Vpfn *v = start();
    uint32_t before;
    size_t i;

    enable(v);
    for (i = 0; i < ARRAY_SIZE(locked); i++) {
        before = reg(v, locked[i]);
        set_reg(v, locked[i], ~before);
        g_assert_cmphex(reg(v, locked[i]), ==, before);
    }

    set_reg(v, VPFN_REG_CTRL, 0);
    for (i = 0; i < ARRAY_SIZE(locked); i++) {
        set_reg(v, locked[i], 0x4000);
        g_assert_cmphex(reg(v, locked[i]), ==, 0x4000);
    }
    end(v);
}

/* VRAM */

static void test_vram(Vpfn *v)
{
    QTestState *qts = v->qts;

    g_assert_cmphex(qtest_readq(qts, VRAM_ADDR), ==, 0);
    g_assert_cmphex(qtest_readq(qts, VRAM_ADDR + VRAM_SIZE - 8), ==, 0);
    qtest_writeq(qts, VRAM_ADDR + 5, 0x1122334455667788);
    g_assert_cmphex(qtest_readb(qts, VRAM_ADDR + 5), ==, 0x88);
    g_assert_cmphex(qtest_readw(qts, VRAM_ADDR + 7), ==, 0x5566);
    qtest_writeb(qts, VRAM_ADDR + VRAM_SIZE - 1, 0x99);
    g_assert_cmphex(qtest_readl(qts, VRAM_ADDR + VRAM_SIZE - 4), ==,
                    0x99000000);

    qtest_system_reset(qts);
    map_device(v);
    g_assert_cmphex(qtest_readb(qts, VRAM_ADDR + VRAM_SIZE - 1), ==, 0x99);
}

static uint64_t resident_bytes(Vpfn *v)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            qtest_pid(v->qts));
    g_autofree char *text = NULL;
    unsigned long pages;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%*u %lu", &pages), ==, 1);
    return (uint64_t)pages * qemu_real_host_page_size();
}

static void test_vram_64g(void)
{
    Vpfn *v = start_with(",vram-size=64G");
    Desc fill = FILL(64 * GiB - 5, 5, 0x44332211);

    g_assert_cmphex(reg(v, VPFN_REG_VRAM_SIZE_LO), ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_VRAM_SIZE_HI), ==, 16);
    g_assert_cmphex(reg(v, VPFN_REG_VISIBLE_SIZE_LO), ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_VISIBLE_SIZE_HI), ==, 16);

    enable(v);
    execute(v, &fill);
    g_assert_cmphex(qtest_readq(v->qts, VRAM_ADDR + 64 * GiB - 8), ==,
                    0x1144332211000000);
    /* Sparse: what was not touched takes nothing of the host */
    g_assert_cmpuint(resident_bytes(v), <, 1 * GiB);
    end(v);
}

static void test_aperture(void)
{
    Vpfn *v = start_with(",vram-size=64M,visible-vram-size=1M");
    g_autofree uint8_t *data = NULL;
    Desc out = COPY(0, VRAM_SIZE - 4096, 4096);
    Desc back = COPY(out.dst, 1 * MiB - 4096, 4096);

    g_assert_cmphex(reg(v, VPFN_REG_VRAM_SIZE_LO), ==, VRAM_SIZE);
    g_assert_cmphex(reg(v, VPFN_REG_VISIBLE_SIZE_LO), ==, 1 * MiB);
    g_assert_cmphex(bar_size_bits(v, PCI_BASE_ADDRESS_2), ==, 0xfff0000c);

    /* To the end of VRAM and back: the CPU sees the beginning alone. */
    data = fill_random(v, VRAM_ADDR, 4096);
    qtest_writel(v->qts, VRAM_ADDR + 1 * MiB, 0x12345678);
    g_assert_cmphex(qtest_readl(v->qts, VRAM_ADDR + 1 * MiB), !=, 0x12345678);
    enable(v);
    execute(v, &out);
    qtest_memset(v->qts, VRAM_ADDR, 0, 4096);
    execute(v, &back);
    assert_bytes(v, VRAM_ADDR + 1 * MiB - 4096, data, 4096);
    end(v);
}

static char *make_file(size_t size, const char *suffix)
{
    char *path = g_strdup_printf("%s/vpfn-test-%d-%s", g_get_tmp_dir(),
                                 getpid(), suffix);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

/* The host sees in the file what the engine wrote. */
static void test_memdev(void)
{
    g_autofree char *path = make_file(4 * MiB, "vram");
    g_autofree char *args = g_strdup_printf(
        "-object memory-backend-file,id=mem,size=4M,share=on,mem-path=%s "
        "-device vpfn,id=gpu,addr=4,memdev=mem,visible-vram-size=1M", path);
    Vpfn *v = start_qemu(args);
    uint8_t byte;
    int fd = open(path, O_RDONLY);
    Desc fill = FILL(3 * MiB, 1, 0x5a);

    find_device(v, GPU_DEVFN);
    map_device(v);
    g_assert_cmphex(reg(v, VPFN_REG_VRAM_SIZE_LO), ==, 4 * MiB);
    enable(v);
    execute(v, &fill);
    g_assert_cmpint(pread(fd, &byte, 1, 3 * MiB), ==, 1);
    g_assert_cmphex(byte, ==, 0x5a);

    close(fd);
    unlink(path);
    end(v);
}

/* Operations */

static void test_nop(Vpfn *v)
{
    Desc fenced = nop_with_fence(5);

    enable(v);
    set_reg(v, VPFN_REG_CTRL, 0);
    set_reg(v, VPFN_REG_FENCE, 4);
    enable(v);

    /* Without flags nothing but the head moves. */
    execute(v, &nop);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 4);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, 0);

    /* Each flag does what it says and no more. */
    fenced.flags = VPFN_FLAG_FENCE;
    execute(v, &fenced);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 5);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, 0);
    fenced.flags = VPFN_FLAG_INTERRUPT;
    fenced.fence = 0;
    execute(v, &fenced);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 5);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);
}

static void test_fill(void)
{
    static const uint8_t pattern[] = { 0x11, 0x22, 0x33, 0x44 };
    g_autofree uint8_t *data = g_malloc(OPERAND_LENGTH);
    Vpfn *v = start();
    Place place;
    uint32_t i;

    for (i = 0; i < OPERAND_LENGTH; i++) {
        data[i] = pattern[i % 4];
    }

    enable(v);
    for (place = 0; place < NUM_PLACES; place++) {
        Operand dst;

        init_dst(v, &dst, place);
        execute(v, &(Desc) FILL(dst.addr, OPERAND_LENGTH, 0x44332211));
        put_data(&dst, data);
        check_operand(v, &dst);
    }
    end(v);
}

static void copy_between(Vpfn *v, Place src_place, Place dst_place)
{
    g_autofree uint8_t *data = g_malloc(OPERAND_LENGTH);
    Operand src, dst;

    init_src(v, &src, src_place);
    init_dst(v, &dst, dst_place);
    execute(v, &(Desc) COPY(src.addr, dst.addr, OPERAND_LENGTH));
    get_data(&src, data);
    put_data(&dst, data);
    check_operand(v, &src);
    check_operand(v, &dst);
}

static void test_copy(Vpfn *v)
{
    Place src, dst;

    enable(v);
    for (src = 0; src < NUM_PLACES; src++) {
        for (dst = 0; dst < NUM_PLACES; dst++) {
            copy_between(v, src, dst);
        }
    }
}

/* The parts overlap, and are larger than what is copied at once. */
static void copy_overlapping(Vpfn *v, uint64_t cpu_base, uint64_t base,
                             uint64_t src, uint64_t dst)
{
    const size_t length = LONG_COPY + 3, size = 4 * MiB;
    g_autofree uint8_t *image = fill_random(v, cpu_base, size);

    execute(v, &(Desc) COPY(base + src, base + dst, length));
    memmove(image + dst, image + src, length);
    assert_bytes(v, cpu_base, image, size);
}

static void test_copy_overlap(Vpfn *v)
{
    static const uint64_t overlaps[][2] = {
        { 4097, 1 * MiB }, { 1 * MiB, 4097 }, { 100, 101 }, { 101, 100 },
        { 100, 100 },
    };
    size_t i;

    enable(v);
    for (i = 0; i < ARRAY_SIZE(overlaps); i++) {
        copy_overlapping(v, VRAM_ADDR, 0, overlaps[i][0], overlaps[i][1]);
        copy_overlapping(v, SRC_MEM, GART(SRC_MEM), overlaps[i][0],
                         overlaps[i][1]);
    }
}

/* Only these four bytes change; they may lie in two pages. */
static uint32_t crc_of(Vpfn *v, const Operand *src, uint64_t dst,
                       uint64_t cpu_addr)
{
    qtest_memset(v->qts, cpu_addr - 1, 0xee, 6);
    execute(v, &(Desc) CRC(src->addr, dst, OPERAND_LENGTH));
    g_assert_cmphex(qtest_readb(v->qts, cpu_addr - 1), ==, 0xee);
    g_assert_cmphex(qtest_readb(v->qts, cpu_addr + 4), ==, 0xee);
    return qtest_readl(v->qts, cpu_addr);
}

static void test_crc(Vpfn *v)
{
    g_autofree uint8_t *data = g_malloc(OPERAND_LENGTH);
    Place place;

    enable(v);
    for (place = 0; place < NUM_PLACES; place++) {
        uint32_t expected;
        Operand src;

        init_src(v, &src, place);
        get_data(&src, data);
        expected = reference_crc(data, OPERAND_LENGTH);
        g_assert_cmphex(crc_of(v, &src, DST_VRAM + 1, VRAM_ADDR + DST_VRAM + 1),
                        ==, expected);
        g_assert_cmphex(crc_of(v, &src, GART(DST_MEM + PAGE - 1),
                               DST_MEM + PAGE - 1), ==, expected);
        check_operand(v, &src);
    }
}

/* The example of the specification, with the source at the end of VRAM */
static void test_crc_example(Vpfn *v)
{
    qtest_memwrite(v->qts, VRAM_ADDR + VRAM_SIZE - 9, "123456789", 9);
    enable(v);
    execute(v, &(Desc) CRC(VRAM_SIZE - 9, VRAM_SIZE - 4, 9));
    g_assert_cmphex(qtest_readl(v->qts, VRAM_ADDR + VRAM_SIZE - 4), ==,
                    0xe3069283);
}

/* The GART */

static void test_gart_size(void)
{
    Vpfn *v = start_with(",gart-size=16G");

    g_assert_cmphex(reg(v, VPFN_REG_GART_SIZE_LO), ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_GART_SIZE_HI), ==, 4);
    end(v);
}

/* Every bit of an entry counts. */
static void test_gart_entry_bits(Vpfn *v)
{
    Desc d = FILL(SRC_WINDOW, 4, 0x12345678);
    uint64_t mem = 0x05000000;
    unsigned bit;

    enable(v);
    map_page(v, SRC_WINDOW, mem);
    execute(v, &d);
    g_assert_cmphex(qtest_readl(v->qts, mem), ==, 0x12345678);

    set_entry(v, SRC_WINDOW, mem);
    assert_fails(v, &d, VPFN_ERROR_GART, SRC_WINDOW);
    set_entry(v, SRC_WINDOW, 0);
    assert_fails(v, &d, VPFN_ERROR_GART, SRC_WINDOW);
    for (bit = 1; bit < 12; bit++) {
        map_page(v, SRC_WINDOW, mem | BIT(bit));
        assert_fails(v, &d, VPFN_ERROR_GART, SRC_WINDOW);
    }
    /* Nothing is at these addresses. */
    for (bit = 27; bit < 64; bit++) {
        map_page(v, SRC_WINDOW, mem | BIT_ULL(bit));
        assert_fails(v, &d, VPFN_ERROR_DMA, SRC_WINDOW);
    }
}

/* Pages before the bad one are done, in what a single step covers, too. */
static void test_gart_error_address(Vpfn *v)
{
    uint64_t bad = SRC_WINDOW + 3 * PAGE;
    Desc d = FILL(SRC_WINDOW + 5, 8 * PAGE, UINT32_MAX);
    int i;

    for (i = 0; i < 9; i++) {
        map_page(v, SRC_WINDOW + i * PAGE, SRC_MEM + i * PAGE);
    }
    enable(v);
    set_entry(v, bad, 0);
    assert_fails(v, &d, VPFN_ERROR_GART, bad);
    g_assert_cmphex(qtest_readb(v->qts, SRC_MEM + 3 * PAGE - 1), ==, 0xff);
    g_assert_cmphex(qtest_readb(v->qts, SRC_MEM + 3 * PAGE), ==, 0);

    map_page(v, bad, HOLE);
    assert_fails(v, &d, VPFN_ERROR_DMA, bad);
    d = (Desc) COPY(SRC_WINDOW + 5, 0, 8 * PAGE);
    assert_fails(v, &d, VPFN_ERROR_DMA, bad);
    /* The first page of an operand may begin in its middle. */
    d = (Desc) COPY(bad + 5, 0, 8);
    assert_fails(v, &d, VPFN_ERROR_DMA, bad + 5);
    set_entry(v, bad, 0);
    assert_fails(v, &d, VPFN_ERROR_GART, bad + 5);
    d = (Desc) CRC(0, bad - 2, 1);
    assert_fails(v, &d, VPFN_ERROR_GART, bad);

    map_page(v, bad, SRC_MEM);
    execute(v, &d);
}

/* Part of the table lies where nothing is: guest memory ends before it. */
static void test_gart_unreadable(Vpfn *v)
{
    uint64_t table = MEM_SIZE - PAGE;
    uint64_t last = VPFN_GART_START + (PAGE / VPFN_GART_ENTRY_SIZE - 1) * PAGE;
    Desc d = FILL(last + PAGE - 1, 1, 0x5a);

    set_gart_base(v, table);
    enable_ring(v, RING_ADDR, RING_SIZE);
    qtest_writeq(v->qts, MEM_SIZE - 8, SRC_MEM | VPFN_GART_VALID);
    execute(v, &d);
    g_assert_cmphex(qtest_readb(v->qts, SRC_MEM + PAGE - 1), ==, 0x5a);
    d.length = 2;
    submit(v, &d);
    run(v);
    assert_stopped(v, VPFN_ERROR_GART, 1);
    g_assert_cmphex(error_addr(v), ==, last + PAGE);
}

/* Each descriptor sees the entries as they are when it runs. */
static void test_gart_entry_changes(Vpfn *v)
{
    Desc d = FILL(SRC_WINDOW, 4, 1);

    enable(v);
    map_page(v, SRC_WINDOW, SRC_MEM);
    execute(v, &d);
    map_page(v, SRC_WINDOW, DST_MEM);
    d.pattern = 2;
    execute(v, &d);
    g_assert_cmphex(qtest_readl(v->qts, SRC_MEM), ==, 1);
    g_assert_cmphex(qtest_readl(v->qts, DST_MEM), ==, 2);

    set_entry(v, SRC_WINDOW, 0);
    submit(v, &d);
    run(v);
    assert_stopped(v, VPFN_ERROR_GART, 2);
}

/* Up to the last byte of the window, and not beyond it */
static void test_gart_window_end(void)
{
    Vpfn *v = start_with(",vram-size=64M,gart-size=32M");
    uint64_t end_addr = VPFN_GART_START + 32 * MiB;
    Desc d = FILL(end_addr - 4, 4, 0x12345678);

    enable(v);
    execute(v, &d);
    g_assert_cmphex(qtest_readl(v->qts, 32 * MiB - 4), ==, 0x12345678);
    d.dst++;
    assert_fails(v, &d, VPFN_ERROR_ADDRESS, d.dst);
    d.dst = end_addr;
    assert_fails(v, &d, VPFN_ERROR_ADDRESS, d.dst);
    end(v);
}

/* The table may end with the last address, and not beyond it. */
static void test_gart_table_end(Vpfn *v)
{
    uint64_t table_size = GART_SIZE / PAGE * VPFN_GART_ENTRY_SIZE;

    set_gart_base(v, -table_size + PAGE);
    enable_ring(v, RING_ADDR, RING_SIZE);
    assert_stopped(v, VPFN_ERROR_RING, 0);
    reset_engine(v);

    set_gart_base(v, -table_size);
    enable_ring(v, RING_ADDR, RING_SIZE);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, VPFN_CTRL_ENABLE);
    submit(v, &(Desc) FILL(VPFN_GART_START, 1, 1));
    run(v);
    assert_stopped(v, VPFN_ERROR_GART, 0);
}

/* The table may lie in VRAM, above 4 GiB. */
static void test_gart_table_in_vram(Vpfn *v)
{
    qtest_writeq(v->qts, VRAM_ADDR + 1 * MiB + 8, SRC_MEM | VPFN_GART_VALID);
    set_gart_base(v, VRAM_ADDR + 1 * MiB);
    enable_ring(v, RING_ADDR, RING_SIZE);
    execute(v, &(Desc) FILL(GART(PAGE), 4, 0x12345678));
    g_assert_cmphex(qtest_readl(v->qts, SRC_MEM), ==, 0x12345678);
}

/* What DMA reaches */

/* Maps the page of @addr, and returns its engine address. */
static uint64_t map_bus(Vpfn *v, uint64_t addr)
{
    map_page(v, DST_WINDOW, QEMU_ALIGN_DOWN(addr, PAGE));
    return DST_WINDOW + addr % PAGE;
}

/* A write that would do something if it arrived, and a read */
static void assert_unreachable(Vpfn *v, uint64_t addr, uint32_t val)
{
    uint64_t engine_addr = map_bus(v, addr);
    Desc d = FILL(engine_addr, 4, val);

    assert_fails(v, &d, VPFN_ERROR_DMA, engine_addr);
    d = (Desc) COPY(engine_addr, 0, 4);
    assert_fails(v, &d, VPFN_ERROR_DMA, engine_addr);
}

static void test_own_bars(Vpfn *v)
{
    enable(v);
    execute(v, &(Desc) FILL(map_bus(v, VRAM_ADDR + 12345), 4, 0x12345678));
    g_assert_cmphex(qtest_readl(v->qts, VRAM_ADDR + 12345), ==, 0x12345678);

    assert_unreachable(v, REGS_ADDR + VPFN_REG_CTRL, VPFN_CTRL_RESET);
    assert_unreachable(v, MSIX_ADDR, 0x12345678);
    g_assert_cmphex(qtest_readl(v->qts, MSIX_ADDR), ==, 0);

    /* The register is there for the CPU as before. */
    g_assert_cmphex(reg(v, VPFN_REG_ID), ==, VPFN_ID);
}

#define PEER_VRAM       (VRAM_ADDR + 4 * GiB)

/* The memory of another device can be reached, its registers cannot. */
static void test_peer(void)
{
    Vpfn *v = start_qemu("-device vpfn,id=gpu,addr=4,vram-size=64M "
                         "-device vpfn,addr=5,vram-size=64M");
    uint32_t peer_regs = REGS_ADDR + 64 * KiB;

    find_device(v, PEER_DEVFN);
    write_bars(v, peer_regs, PEER_VRAM);
    write_command(v, PCI_COMMAND_MEMORY);
    g_free(v->pdev);
    find_device(v, GPU_DEVFN);
    map_device(v);

    enable(v);
    execute(v, &(Desc) FILL(map_bus(v, PEER_VRAM + 4096), 4, 0x12345678));
    g_assert_cmphex(qtest_readl(v->qts, PEER_VRAM + 4096), ==, 0x12345678);
    execute(v, &(Desc) COPY(map_bus(v, PEER_VRAM + 4096), 8, 4));
    g_assert_cmphex(qtest_readl(v->qts, VRAM_ADDR + 8), ==, 0x12345678);

    assert_unreachable(v, peer_regs + VPFN_REG_RING_SIZE, 8);
    g_assert_cmphex(qtest_readl(v->qts, peer_regs + VPFN_REG_RING_SIZE), ==, 0);
    end(v);
}

/* The ring */

static void test_ring_wrap(Vpfn *v)
{
    uint32_t i, j, fence = 0;

    enable(v);
    for (i = 0; i < 5; i++) {
        /* As many as fit, from another index each time */
        for (j = 0; j < RING_SIZE - 1; j++) {
            Desc d = nop_with_fence(++fence);

            queue(v, &d);
        }
        ring_doorbell(v);
        run_well(v);
        g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, fence);
    }
    g_assert_cmpuint(v->tail, ==, 5 * (RING_SIZE - 1) % RING_SIZE);
}

static void test_ring_sizes(void)
{
    static const uint32_t bad[] = {
        0, 1, 3, 6, 65535, 65537, 131072, 0x80000000, 0xffffffff
    };
    Vpfn *v = start();
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        enable_ring(v, RING_ADDR, bad[i]);
        assert_stopped(v, VPFN_ERROR_RING, 0);
        reset_engine(v);
    }

    enable_ring(v, RING_ADDR, VPFN_RING_SIZE_MAX);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, VPFN_CTRL_ENABLE);
    set_reg(v, VPFN_REG_RING_TAIL, VPFN_RING_SIZE_MAX - 1);
    g_assert_cmphex(reg(v, VPFN_REG_STATUS), ==, VPFN_STATUS_BUSY);
    reset_engine(v);

    /* The smallest: indices 0 and 1 take turns. */
    enable_ring(v, RING_ADDR, VPFN_RING_SIZE_MIN);
    for (i = 0; i < 3; i++) {
        set_reg(v, VPFN_REG_RING_TAIL, (i + 1) % 2);
        g_assert_true(is_busy(v));
        run(v);
        g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, (i + 1) % 2);
    }
    end(v);
}

/* A ring may end at 2^64 and not beyond it; nothing is there. */
static void test_ring_address(Vpfn *v)
{
    enable_ring(v, -(uint64_t)(RING_SIZE - 1) * VPFN_DESC_SIZE, RING_SIZE);
    assert_stopped(v, VPFN_ERROR_RING, 0);
    reset_engine(v);

    enable_ring(v, -(uint64_t)RING_SIZE * VPFN_DESC_SIZE, RING_SIZE);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, VPFN_CTRL_ENABLE);
    set_reg(v, VPFN_REG_RING_TAIL, 3);
    run(v);
    assert_stopped(v, VPFN_ERROR_FETCH, 0);
}

/* The high half of the address counts: a ring beyond 4 GiB, in VRAM */
static void test_ring_above_4g(Vpfn *v)
{
    Desc d = nop_with_fence(99);
    uint8_t raw[VPFN_DESC_SIZE];

    encode(&d, raw);
    qtest_memwrite(v->qts, VRAM_ADDR + 1 * MiB, raw, sizeof(raw));
    enable_ring(v, VRAM_ADDR + 1 * MiB, RING_SIZE);
    set_reg(v, VPFN_REG_RING_TAIL, 1);
    run(v);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 99);
}

static void test_bad_tail(Vpfn *v)
{
    static const uint32_t bad[] = { RING_SIZE, RING_SIZE + 1, 0xffffffff };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad); i++) {
        enable(v);
        execute(v, &nop);
        set_reg(v, VPFN_REG_RING_TAIL, bad[i]);
        assert_stopped(v, VPFN_ERROR_TAIL, 1);
        g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 1);
        reset_engine(v);
    }
}

static void test_bad_tail_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);

    set_reg(v, VPFN_REG_RING_TAIL, RING_SIZE);
    assert_stopped(v, VPFN_ERROR_TAIL, 0);
    assert_copy_is_abandoned(v, data);
}

static void test_doorbell_flood(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    int i;

    /* It neither runs within the write nor puts off what is due. */
    for (i = 0; i < 1000; i++) {
        ring_doorbell(v);
    }
    assert_copy_is_partial(v, data);
    for (i = 0; is_busy(v); i++) {
        g_assert_cmpint(i, <, 100);
        ring_doorbell(v);
        qtest_clock_step(v->qts, 10 * 1000);
        ring_doorbell(v);
    }
    assert_copy_is_complete(v, data);
}

static void test_doorbell_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc d = nop_with_fence(78);

    /* In order: the fence of the later one comes after the copy. */
    submit(v, &d);
    step(v);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 0);
    run_well(v);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 78);
    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, LONG_COPY);
}

static void test_doorbell_takes_back(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc d = nop_with_fence(78);

    set_reg(v, VPFN_REG_RING_TAIL, 0);
    assert_copy_is_abandoned(v, data);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, VPFN_CTRL_ENABLE);

    /* Index 0 is next, and starts anew. */
    v->tail = 0;
    execute(v, &d);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 78);
}

static void test_doorbell_disabled(Vpfn *v)
{
    enable(v);
    set_reg(v, VPFN_REG_CTRL, 0);
    set_reg(v, VPFN_REG_RING_TAIL, 1);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 0);
    g_assert_cmphex(reg(v, VPFN_REG_STATUS), ==, 0);
}

/* A descriptor is read when its turn comes, and once. */
static void test_descriptor_is_read_once(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc before = nop_with_fence(1), after = nop_with_fence(2);

    submit(v, &before);
    /* The one that runs is the device's own now, the next is not yet. */
    v->tail = 0;
    queue(v, &after);
    queue(v, &after);
    run_well(v);
    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, LONG_COPY);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 2);
}

/* Interrupts */

static void test_messages(Vpfn *v)
{
    Desc d = nop_with_fence(1);
    Desc bad = { .op = 99 };

    enable_messages(v);
    enable(v);

    /* Disabled: the cause is noted, and sent when it is enabled. */
    execute(v, &d);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_ERROR);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE | VPFN_INT_ERROR);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));

    /* As long as it is not cleared, no second message */
    execute(v, &d);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    set_reg(v, VPFN_REG_INT_STATUS, VPFN_INT_ERROR);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);
    set_reg(v, VPFN_REG_INT_STATUS, VPFN_INT_FENCE);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, 0);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    execute(v, &d);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));

    /* Errors have the other vector. */
    g_assert_false(got_message(v, VPFN_VECTOR_ERROR));
    submit(v, &bad);
    run(v);
    assert_stopped(v, VPFN_ERROR_OP, 3);
    g_assert_true(got_message(v, VPFN_VECTOR_ERROR));
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
}

/* Starts a descriptor that interrupts, afresh. */
static void cause_message(Vpfn *v)
{
    Desc d = nop_with_fence(1);

    set_reg(v, VPFN_REG_INT_STATUS, VPFN_INT_FENCE);
    execute(v, &d);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);
}

static void test_masked_messages(Vpfn *v)
{
    enable_messages(v);
    enable(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);

    mask_vector(v, VPFN_VECTOR_FENCE, true);
    cause_message(v);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    g_assert_true(is_pending(v, VPFN_VECTOR_FENCE));
    g_assert_false(is_pending(v, VPFN_VECTOR_ERROR));
    mask_vector(v, VPFN_VECTOR_FENCE, false);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));
    g_assert_false(is_pending(v, VPFN_VECTOR_FENCE));

    write_msix_flags(v, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    cause_message(v);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    g_assert_true(is_pending(v, VPFN_VECTOR_FENCE));
    write_msix_flags(v, PCI_MSIX_FLAGS_ENABLE);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));
}

static void test_messages_without_msix(Vpfn *v)
{
    enable_messages(v);
    enable(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);

    write_msix_flags(v, 0);
    cause_message(v);
    g_assert_false(is_pending(v, VPFN_VECTOR_FENCE));
    write_msix_flags(v, PCI_MSIX_FLAGS_ENABLE);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    cause_message(v);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));
}

static void test_messages_without_bus_master(Vpfn *v)
{
    enable_messages(v);
    enable(v);
    cause_message(v);
    write_command(v, PCI_COMMAND_MEMORY);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);
    write_command(v, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    g_assert_false(is_pending(v, VPFN_VECTOR_FENCE));
}

/* Has the fence of the next descriptor send @val to @addr, another waiting */
static void write_by_message(Vpfn *v, uint64_t addr, uint32_t val)
{
    enable_messages(v);
    program_vector(v, VPFN_VECTOR_FENCE, addr);
    qtest_writel(v->qts, MSIX_ADDR + PCI_MSIX_ENTRY_DATA, val);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);
    enable(v);
    queue(v, &(Desc) { .flags = VPFN_FLAG_INTERRUPT });
    submit(v, &nop);
}

/* A message may be a write to a register of the device that sends it. */
static void test_message_to_own_register(Vpfn *v)
{
    write_by_message(v, REGS_ADDR + VPFN_REG_CTRL, VPFN_CTRL_RESET);
    run(v);
    assert_reset_values(v);
}

/* Errors */

typedef struct BadDesc {
    uint32_t error;
    Desc desc;
    uint64_t addr;
} BadDesc;

#define WINDOW_END      (VPFN_GART_START + GART_SIZE)
#define WITH(what, ...) { .op = VPFN_OP_##what, .src = GART(SRC_MEM), \
                          .dst = GART(DST_MEM), .length = 4096, __VA_ARGS__ }

static const BadDesc bad_descs[] = {
    { VPFN_ERROR_OP, { .op = VPFN_OP_CRC32C + 1 } },
    { VPFN_ERROR_OP, { .op = 0xff } },

    { VPFN_ERROR_RESERVED, { .flags = 0x4 } },
    { VPFN_ERROR_RESERVED, { .flags = 0x80 } },
    { VPFN_ERROR_RESERVED, { .fence = 1 } },
    { VPFN_ERROR_RESERVED, { .flags = VPFN_FLAG_INTERRUPT, .fence = 1 } },
    { VPFN_ERROR_RESERVED, { .src = 1 } },
    { VPFN_ERROR_RESERVED, { .dst = 1ull << 63 } },
    { VPFN_ERROR_RESERVED, { .pattern = 1 } },
    { VPFN_ERROR_RESERVED, WITH(FILL) },
    { VPFN_ERROR_RESERVED, WITH(COPY, .pattern = 1) },
    { VPFN_ERROR_RESERVED, WITH(CRC32C, .pattern = 1) },

    { VPFN_ERROR_LENGTH, { .length = 1 } },
    { VPFN_ERROR_LENGTH, WITH(COPY, .length = 0) },
    { VPFN_ERROR_LENGTH, WITH(CRC32C, .length = VPFN_LENGTH_MAX + 1) },
    { VPFN_ERROR_LENGTH, FILL(0, UINT64_MAX, 0) },

    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = VRAM_SIZE - 4095),
      VRAM_SIZE - 4095 },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = VRAM_SIZE), VRAM_SIZE },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = UINT64_MAX), UINT64_MAX },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .dst = VRAM_SIZE - 4095),
      VRAM_SIZE - 4095 },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .dst = -4096ull), -4096ull },
    { VPFN_ERROR_ADDRESS, FILL(0, VRAM_SIZE + 1, 0), 0 },
    { VPFN_ERROR_ADDRESS, FILL(0, VPFN_LENGTH_MAX, 0), 0 },
    /* From VRAM, or what lies above it, into the window */
    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = VPFN_GART_START - 1),
      VPFN_GART_START - 1 },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = WINDOW_END - 4095),
      WINDOW_END - 4095 },
    { VPFN_ERROR_ADDRESS, WITH(COPY, .dst = WINDOW_END), WINDOW_END },
    { VPFN_ERROR_ADDRESS, FILL(GART(0), GART_SIZE + 1, 0), GART(0) },
    { VPFN_ERROR_ADDRESS, WITH(CRC32C, .dst = VRAM_SIZE - 3), VRAM_SIZE - 3 },
    { VPFN_ERROR_ADDRESS, WITH(CRC32C, .dst = WINDOW_END - 3),
      WINDOW_END - 3 },
    /* The source comes first. */
    { VPFN_ERROR_ADDRESS, WITH(COPY, .src = WINDOW_END, .dst = VRAM_SIZE),
      WINDOW_END },

    { VPFN_ERROR_GART, WITH(COPY, .src = SRC_WINDOW), SRC_WINDOW },
    { VPFN_ERROR_GART, WITH(COPY, .dst = DST_WINDOW), DST_WINDOW },
    { VPFN_ERROR_GART, WITH(CRC32C, .dst = DST_WINDOW), DST_WINDOW },

    { VPFN_ERROR_DMA, WITH(COPY, .src = GART(HOLE)), GART(HOLE) },
    { VPFN_ERROR_DMA, WITH(COPY, .dst = GART(HOLE)), GART(HOLE) },
    { VPFN_ERROR_DMA, WITH(COPY, .src = 0, .dst = GART(HOLE)), GART(HOLE) },
    { VPFN_ERROR_DMA, WITH(COPY, .src = GART(HOLE), .dst = 0), GART(HOLE) },
    { VPFN_ERROR_DMA, WITH(CRC32C, .src = GART(HOLE)), GART(HOLE) },
    { VPFN_ERROR_DMA, WITH(CRC32C, .dst = GART(HOLE)), GART(HOLE) },
    { VPFN_ERROR_DMA, FILL(GART(HOLE), 1, 0), GART(HOLE) },
};

static void test_bad_descriptors(void)
{
    Vpfn *v = start();
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad_descs); i++) {
        g_test_message("descriptor %zu", i);
        assert_fails(v, &bad_descs[i].desc, bad_descs[i].error,
                     bad_descs[i].addr);
    }

    /* What is just inside works. */
    execute(v, &(Desc) WITH(COPY, .dst = VRAM_SIZE - 4096));
    execute(v, &(Desc) WITH(COPY, .src = VRAM_SIZE - 4096));
    execute(v, &(Desc) WITH(CRC32C, .dst = VRAM_SIZE - 4));
    end(v);
}

/* A descriptor's bytes that belong to no field */
static void test_reserved_bytes(Vpfn *v)
{
    uint8_t raw[VPFN_DESC_SIZE];
    uint32_t i;

    for (i = VPFN_DESC_FLAGS + 1; i < VPFN_DESC_SIZE; i++) {
        if (i == VPFN_DESC_FENCE) {
            i = VPFN_DESC_PATTERN + 4;
        }
        reset_engine(v);
        enable(v);
        encode(&nop, raw);
        raw[i] = 0x80;
        write_raw(v, 0, raw);
        set_reg(v, VPFN_REG_RING_TAIL, 1);
        run(v);
        assert_stopped(v, VPFN_ERROR_RESERVED, 0);
    }
}

/* The ring itself lies partly where nothing is. */
static void test_fetch_error(Vpfn *v)
{
    uint64_t last = MEM_SIZE - VPFN_DESC_SIZE;
    uint8_t raw[VPFN_DESC_SIZE];

    encode(&nop, raw);
    qtest_memwrite(v->qts, last, raw, sizeof(raw));
    enable_ring(v, last, RING_SIZE);
    set_reg(v, VPFN_REG_RING_TAIL, 3);
    run(v);
    assert_stopped(v, VPFN_ERROR_FETCH, 1);
}

/* After an error: everything stays, and nothing starts before a reset. */
static void test_error_state(Vpfn *v)
{
    Desc good = nop_with_fence(7);
    Desc bad = { .op = VPFN_OP_FILL, .flags = VPFN_FLAG_FENCE |
                 VPFN_FLAG_INTERRUPT, .fence = 8, .length = 1,
                 .dst = VRAM_SIZE };

    enable(v);
    queue(v, &good);
    queue(v, &bad);
    submit(v, &good);
    run(v);
    assert_stopped(v, VPFN_ERROR_ADDRESS, 1);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 3);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 7);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==,
                    VPFN_INT_FENCE | VPFN_INT_ERROR);

    set_reg(v, VPFN_REG_INT_STATUS, VPFN_INT_ERROR);
    set_reg(v, VPFN_REG_CTRL, 0);
    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);
    set_reg(v, VPFN_REG_RING_TAIL, 4);
    step(v);
    g_assert_cmphex(reg(v, VPFN_REG_CTRL), ==, 0);
    g_assert_cmpuint(reg(v, VPFN_REG_ERROR), ==, VPFN_ERROR_ADDRESS);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, 1);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 3);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==, VPFN_INT_FENCE);

    g_assert_cmphex(error_addr(v), ==, VRAM_SIZE);

    /* The other bits of a write with RESET do not count. */
    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_RESET | VPFN_CTRL_ENABLE);
    assert_reset_values(v);
    enable(v);
    execute(v, &good);
}

/* Stopping in flight */

static void test_disable_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc d = nop_with_fence(5);

    submit(v, &d);
    set_reg(v, VPFN_REG_CTRL, 0);
    assert_copy_is_abandoned(v, data);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, 0);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 2);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_SIZE), ==, RING_SIZE);

    /* An empty ring: what waited is forgotten. */
    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 0);
    assert_copy_is_abandoned(v, data);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 0);
}

/* Enabling what is enabled is no restart. */
static void test_enable_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);

    set_reg(v, VPFN_REG_CTRL, VPFN_CTRL_ENABLE);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 1);
    assert_copy_is_complete(v, data);
}

static void test_reset_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);

    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);
    reset_engine(v);
    assert_reset_values(v);
    assert_copy_is_abandoned(v, data);
}

static void trigger_flr(Vpfn *v)
{
    uint8_t exp = qpci_find_capability(v->pdev, PCI_CAP_ID_EXP, 0);
    uint16_t ctl = qpci_config_readw(v->pdev, exp + PCI_EXP_DEVCTL);

    qpci_config_writew(v->pdev, exp + PCI_EXP_DEVCTL,
                       ctl | PCI_EXP_DEVCTL_BCR_FLR);
}

static void assert_config_is_reset(Vpfn *v)
{
    g_assert_cmphex(qpci_config_readw(v->pdev, PCI_COMMAND) &
                    (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER), ==, 0);
    g_assert_cmphex(qpci_config_readl(v->pdev, PCI_BASE_ADDRESS_0), ==, 0);
    g_assert_cmphex(qpci_config_readw(v->pdev, msix_cap(v) + PCI_MSIX_FLAGS) &
                    PCI_MSIX_FLAGS_ENABLE, ==, 0);
}

static void reset_device_in_flight(void (*reset)(Vpfn *))
{
    Vpfn *v = start();
    g_autofree uint8_t *data = start_long_copy(v);

    enable_messages(v);
    reset(v);
    assert_config_is_reset(v);
    map_device(v);
    assert_reset_values(v);
    assert_copy_is_abandoned(v, data);
    end(v);
}

static void test_flr_in_flight(void)
{
    reset_device_in_flight(trigger_flr);
}

static void reset_machine(Vpfn *v)
{
    qtest_system_reset(v->qts);
}

static void test_system_reset_in_flight(void)
{
    reset_device_in_flight(reset_machine);
}

static void test_bus_master_off_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc fill = FILL(GART(DST_MEM), 1 * MiB, 0xffffffff);

    /* The copy stays within VRAM, but then the ring is out of reach. */
    queue(v, &nop);
    ring_doorbell(v);
    write_command(v, PCI_COMMAND_MEMORY);
    run(v);
    assert_stopped(v, VPFN_ERROR_FETCH, 1);
    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, LONG_COPY);

    reset_engine(v);
    write_command(v, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    enable(v);
    submit(v, &fill);
    step(v);
    g_assert_true(is_busy(v));
    write_command(v, PCI_COMMAND_MEMORY);
    run(v);
    /* The table is out of reach before the data is. */
    assert_stopped(v, VPFN_ERROR_GART, 0);
    g_assert_cmphex(qtest_readl(v->qts, DST_MEM), ==, 0xffffffff);
    g_assert_cmphex(qtest_readl(v->qts, DST_MEM + 1 * MiB - 4), ==, 0);
}

static void test_bar_in_flight(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);

    /* Moved, then disabled, then back */
    qpci_config_writel(v->pdev, PCI_BASE_ADDRESS_3,
                       extract64(VRAM_ADDR, 32, 32) + 1);
    step(v);
    assert_bytes(v, VRAM_ADDR + 4 * GiB + long_copy.dst, data, SLICE_COPY);
    write_command(v, PCI_COMMAND_MASTER);
    step(v);
    map_device(v);
    assert_copy_is_complete(v, data);
}

/* Time is not all that it takes: a VM that is stopped does nothing. */
static void test_stopped_vm(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    int i;

    qtest_qmp_assert_success(v->qts, "{ 'execute': 'stop' }");
    for (i = 0; i < 10; i++) {
        g_usleep(1000);
        assert_copy_is_partial(v, data);
    }
    g_assert_true(is_busy(v));
    qtest_qmp_assert_success(v->qts, "{ 'execute': 'cont' }");
    assert_copy_is_complete(v, data);
}

/* What a device does to itself through configuration space */

static uint64_t ecam_addr(unsigned bus, unsigned devfn, unsigned offset)
{
    return ECAM_ADDR + (bus << 20) + (devfn << 12) + offset;
}

static void enable_ecam(Vpfn *v)
{
    QPCIDevice *host = qpci_device_find(v->bus, 0);

    qpci_config_writel(host, 0x64, 0);
    qpci_config_writel(host, 0x60, ECAM_ADDR | 1);
    g_free(host);
}

/* DMA does not get there, be it the device's own or another one's. */
static void test_config_space(Vpfn *v)
{
    uint8_t exp = qpci_find_capability(v->pdev, PCI_CAP_ID_EXP, 0);

    enable_ecam(v);
    enable(v);
    assert_unreachable(v, ecam_addr(0, GPU_DEVFN, exp + PCI_EXP_DEVCTL),
                       PCI_EXP_DEVCTL_BCR_FLR);
    assert_unreachable(v, ecam_addr(0, GPU_DEVFN, PCI_COMMAND), 0);
    assert_unreachable(v, ecam_addr(0, 0, PCI_COMMAND), 0);
}

static void test_flr_by_message(Vpfn *v)
{
    uint8_t exp = qpci_find_capability(v->pdev, PCI_CAP_ID_EXP, 0);

    enable_ecam(v);
    write_by_message(v, ecam_addr(0, GPU_DEVFN, exp + PCI_EXP_DEVCTL),
                     PCI_EXP_DEVCTL_BCR_FLR);
    step(v);
    assert_config_is_reset(v);
    map_device(v);
    assert_reset_values(v);
    enable(v);
    execute(v, &nop);
}

#define PORT_DEVFN      (5 << 3)
#define SLOT_DEVFN      (1 << 8)

/* A root port whose slot has, or will have, the device */
static Vpfn *start_with_port(const char *device)
{
    g_autofree char *args = g_strdup_printf(
        "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "
        "-device pcie-root-port,id=rp,addr=5,chassis=1,slot=1 %s", device);
    Vpfn *v = start_qemu(args);
    QPCIDevice *port = qpci_device_find(v->bus, PORT_DEVFN);
    uint16_t vram = (uint16_t)(VRAM_ADDR >> 16);

    qpci_config_writel(port, PCI_PRIMARY_BUS, 0x00010100);
    qpci_config_writew(port, PCI_MEMORY_BASE, REGS_ADDR >> 16);
    qpci_config_writew(port, PCI_MEMORY_LIMIT, REGS_ADDR >> 16);
    qpci_config_writew(port, PCI_PREF_MEMORY_BASE, vram);
    qpci_config_writew(port, PCI_PREF_MEMORY_LIMIT, vram | 0xfff0);
    qpci_config_writel(port, PCI_PREF_BASE_UPPER32, VRAM_ADDR >> 32);
    qpci_config_writel(port, PCI_PREF_LIMIT_UPPER32, VRAM_ADDR >> 32);
    qpci_config_writew(port, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    g_free(port);
    return v;
}

static uint8_t slot_control(Vpfn *v)
{
    QPCIDevice *port = qpci_device_find(v->bus, PORT_DEVFN);
    uint8_t exp = qpci_find_capability(port, PCI_CAP_ID_EXP, 0);

    g_free(port);
    return exp + PCI_EXP_SLTCTL;
}

static const uint16_t slot_off = PCI_EXP_SLTCTL_PWR_OFF |
                                 PCI_EXP_SLTCTL_PWR_IND_OFF |
                                 PCI_EXP_SLTCTL_ATTN_IND_OFF;

static void power_slot(Vpfn *v, uint16_t control)
{
    QPCIDevice *port = qpci_device_find(v->bus, PORT_DEVFN);

    qpci_config_writew(port, slot_control(v), control);
    g_free(port);
}

static Vpfn *start_in_slot(void)
{
    Vpfn *v = start_with_port("-device vpfn,id=gpu,bus=rp,vram-size=64M");

    find_device(v, SLOT_DEVFN);
    map_device(v);
    return v;
}

static void unplug(Vpfn *v)
{
    qtest_qmp_device_del_send(v->qts, "gpu");
    power_slot(v, slot_off);
    qtest_qmp_eventwait(v->qts, "DEVICE_DELETED");
}

/* Another device is in the slot. */
static void find_new_device(Vpfn *v)
{
    g_free(v->pdev);
    power_slot(v, PCI_EXP_SLTCTL_PWR_IND_ON);
    find_device(v, SLOT_DEVFN);
    map_device(v);
}

static void test_endpoint(void)
{
    Vpfn *v = start_in_slot();
    uint16_t flags;
    uint8_t exp;

    exp = qpci_find_capability(v->pdev, PCI_CAP_ID_EXP, 0);
    flags = qpci_config_readw(v->pdev, exp + PCI_EXP_FLAGS);
    g_assert_cmphex((flags & PCI_EXP_FLAGS_TYPE) >> 4, ==,
                    PCI_EXP_TYPE_ENDPOINT);
    g_assert_cmphex(reg(v, VPFN_REG_ID), ==, VPFN_ID);
    end(v);
}

static void test_unplug_in_flight(void)
{
    Vpfn *v = start_in_slot();
    g_autofree uint8_t *data = start_long_copy(v);

    enable_messages(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE | VPFN_INT_ERROR);
    unplug(v);
    qtest_clock_step(v->qts, 1000 * 1000);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    g_assert_false(got_message(v, VPFN_VECTOR_ERROR));

    /* Another one in the same slot, with other settings */
    qtest_qmp_device_add(v->qts, "vpfn", "gpu",
                         "{ 'bus': 'rp', 'vram-size': 16777216 }");
    find_new_device(v);
    g_assert_cmphex(reg(v, VPFN_REG_VRAM_SIZE_LO), ==, 16 * MiB);
    g_assert_cmphex(qtest_readl(v->qts, VRAM_ADDR), ==, 0);
    enable(v);
    execute(v, &nop);
    end(v);
}

/* A memory backend can be used again after the device has left. */
static void test_unplug_memdev(void)
{
    Vpfn *v = start_with_port(
        "-object memory-backend-ram,id=mem,size=64M "
        "-device vpfn,id=gpu,bus=rp,memdev=mem");
    g_autofree uint8_t *data = NULL;

    find_device(v, SLOT_DEVFN);
    map_device(v);
    data = start_long_copy(v);
    unplug(v);

    qtest_qmp_device_add(v->qts, "vpfn", "gpu",
                         "{ 'bus': 'rp', 'memdev': 'mem' }");
    find_new_device(v);
    assert_copy_is_partial(v, data);
    end(v);
}

/* What a surprise removal ends with: first gone, then told to leave */
static void test_unplug_gone(void)
{
    Vpfn *v = start_in_slot();
    g_autofree uint8_t *data = start_long_copy(v);

    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", true);
    g_assert_cmphex(reg(v, VPFN_REG_ID), ==, UINT32_MAX);
    unplug(v);
    end(v);
}

static void test_unplug_by_message(void)
{
    Vpfn *v = start_in_slot();

    enable_ecam(v);
    write_by_message(v, ecam_addr(0, PORT_DEVFN, slot_control(v)), slot_off);
    /* The request alone does nothing; but with it, the event tells the end. */
    qtest_qmp_device_del_send(v->qts, "gpu");
    qtest_clock_step(v->qts, 1000 * 1000);
    qtest_qmp_eventwait(v->qts, "DEVICE_DELETED");
    end(v);
}

/* Injected faults */

static void set_fault(Vpfn *v, const char *name, int64_t value)
{
    qtest_qmp_assert_success(v->qts,
        "{ 'execute': 'qom-set', 'arguments': {"
        "  'path': '" GPU "', 'property': %s, 'value': %" PRId64 " } }",
        name, value);
}

static int64_t get_fault(Vpfn *v, const char *name)
{
    QDict *rsp = qtest_qmp(v->qts,
        "{ 'execute': 'qom-get', 'arguments': {"
        "  'path': '" GPU "', 'property': %s } }", name);
    int64_t value = qdict_get_int(rsp, "return");

    qobject_unref(rsp);
    return value;
}

static void test_inject_hang(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    int i;

    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", true);
    g_assert_true(qtest_qom_get_bool(v->qts, GPU, "x-inject-hang"));
    for (i = 0; i < 10; i++) {
        step(v);
        ring_doorbell(v);
    }
    assert_copy_is_partial(v, data);
    g_assert_true(is_busy(v));

    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", false);
    assert_copy_is_complete(v, data);

    /* Each kind of reset ends it. */
    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", true);
    submit(v, &nop);
    step(v);
    g_assert_true(is_busy(v));
    reset_engine(v);
    g_assert_false(qtest_qom_get_bool(v->qts, GPU, "x-inject-hang"));
    enable(v);
    execute(v, &nop);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", true);
    trigger_flr(v);
    g_assert_false(qtest_qom_get_bool(v->qts, GPU, "x-inject-hang"));
}

static void test_inject_dma_error(Vpfn *v)
{
    Desc bad = { .op = 99 };

    set_fault(v, "x-inject-dma-error", 3);
    enable(v);
    execute(v, &nop);
    execute(v, &nop);
    g_assert_cmpint(get_fault(v, "x-inject-dma-error"), ==, 1);

    /* One that is rejected does not count. */
    submit(v, &bad);
    run(v);
    assert_stopped(v, VPFN_ERROR_OP, 2);
    reset_engine(v);
    g_assert_cmpint(get_fault(v, "x-inject-dma-error"), ==, 1);

    enable(v);
    submit(v, &nop);
    run(v);
    assert_stopped(v, VPFN_ERROR_DMA, 0);
    g_assert_cmphex(error_addr(v), ==, 0);
    g_assert_cmpint(get_fault(v, "x-inject-dma-error"), ==, 0);
    reset_engine(v);
    enable(v);
    execute(v, &nop);
}

static void test_inject_lost_interrupts(Vpfn *v)
{
    int i;

    enable_messages(v);
    enable(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);
    set_fault(v, "x-inject-lost-interrupts", 2);
    mask_vector(v, VPFN_VECTOR_FENCE, true);
    for (i = 1; i >= 0; i--) {
        cause_message(v);
        g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
        g_assert_false(is_pending(v, VPFN_VECTOR_FENCE));
        g_assert_cmpint(get_fault(v, "x-inject-lost-interrupts"), ==, i);
        mask_vector(v, VPFN_VECTOR_FENCE, false);
    }
    cause_message(v);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));
}

static void assert_gone(Vpfn *v)
{
    QTestState *qts = v->qts;

    g_assert_cmphex(qpci_config_readl(v->pdev, PCI_VENDOR_ID), ==, UINT32_MAX);
    g_assert_cmphex(reg(v, VPFN_REG_ID), ==, UINT32_MAX);
    g_assert_cmphex(qtest_readb(qts, REGS_ADDR + 1), ==, 0xff);
    g_assert_cmphex(qtest_readq(qts, VRAM_ADDR + 4096), ==, UINT64_MAX);
    g_assert_cmphex(qtest_readw(qts, VRAM_ADDR + VRAM_SIZE - 2), ==, 0xffff);
    g_assert_cmphex(qtest_readl(qts, MSIX_ADDR), ==, UINT32_MAX);
}

static void test_inject_gone(Vpfn *v)
{
    g_autofree uint8_t *data = start_long_copy(v);
    Desc d = nop_with_fence(3);

    enable_messages(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", true);
    g_assert_true(qtest_qom_get_bool(v->qts, GPU, "x-inject-gone"));
    assert_gone(v);

    /* Writes are ignored, time does nothing, no message comes. */
    qtest_writel(v->qts, VRAM_ADDR, 0x12345678);
    write_command(v, 0);
    enable_ring(v, RING_ADDR, RING_SIZE);
    submit(v, &d);
    qtest_clock_step(v->qts, 1000 * 1000);
    g_assert_false(got_message(v, VPFN_VECTOR_FENCE));
    assert_gone(v);

    /* Being told so again changes nothing. */
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", true);
    assert_gone(v);
    qtest_system_reset(v->qts);
    g_assert_true(qtest_qom_get_bool(v->qts, GPU, "x-inject-gone"));
    g_assert_cmphex(qpci_config_readl(v->pdev, PCI_VENDOR_ID), ==, UINT32_MAX);

    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", false);
    assert_config_is_reset(v);
    map_device(v);
    assert_reset_values(v);
    assert_copy_is_abandoned(v, data);
    enable(v);
    execute(v, &d);

    /* Its return alone resets it, too. */
    enable_messages(v);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", true);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", false);
    assert_config_is_reset(v);
}

static void test_inject_from_start(void)
{
    Vpfn *v = start_qemu("-device vpfn,id=gpu,addr=4,x-inject-gone=on,"
                         "x-inject-dma-error=1,x-inject-hang=on");

    g_assert_null(qpci_device_find(v->bus, GPU_DEVFN));
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", false);
    find_device(v, GPU_DEVFN);
    map_device(v);
    enable(v);
    submit(v, &nop);
    run(v);
    assert_stopped(v, VPFN_ERROR_DMA, 0);
    end(v);
}

/* Migration */

static void wait_for_migration(Vpfn *v, const char *expected)
{
    for (;;) {
        QDict *rsp = qtest_qmp_assert_success_ref(v->qts,
                         "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(rsp, "status");
        bool done = !g_strcmp0(status, "completed") ||
                    !g_strcmp0(status, "failed");

        if (done) {
            g_assert_cmpstr(status, ==, expected);
        }
        qobject_unref(rsp);
        if (done) {
            return;
        }
        g_usleep(1000);
    }
}

static void save(Vpfn *v, const char *path)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    qtest_qmp_assert_success(v->qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    wait_for_migration(v, "completed");
}

static Vpfn *load(const char *path, const char *options, const char *expected)
{
    g_autofree char *uri = g_strdup_printf("file:%s", path);
    g_autofree char *args = g_strdup_printf(
        "-incoming defer -device vpfn,id=gpu,addr=4%s", options);
    Vpfn *v = start_qemu(args);

    qtest_qmp_assert_success(v->qts, "{ 'execute': 'migrate-incoming',"
                             "  'arguments': { 'uri': %s,"
                             "                 'exit-on-error': false } }",
                             uri);
    wait_for_migration(v, expected);
    return v;
}

/* The machine goes on elsewhere. */
static Vpfn *migrate(Vpfn *v)
{
    g_autofree char *path = make_file(0, "migration");
    uint32_t tail = v->tail;

    save(v, path);
    end(v);
    v = load(path, ",vram-size=64M", "completed");
    unlink(path);
    find_device(v, GPU_DEVFN);
    v->tail = tail;
    return v;
}

static void test_migrate_copy(void)
{
    Vpfn *v = start();
    g_autofree uint8_t *data = start_long_copy(v);
    Desc d = nop_with_fence(78);

    /* One runs, one waits; the fence before is known. */
    submit(v, &d);
    v = migrate(v);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_BASE_LO), ==, RING_ADDR);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_SIZE), ==, RING_SIZE);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_HEAD), ==, 0);
    g_assert_cmpuint(reg(v, VPFN_REG_RING_TAIL), ==, 2);
    g_assert_cmphex(reg(v, VPFN_REG_STATUS), ==, VPFN_STATUS_BUSY);
    assert_copy_is_partial(v, data);
    step(v);
    g_assert_true(is_busy(v));
    run_well(v);
    g_assert_cmpuint(reg(v, VPFN_REG_FENCE), ==, 78);
    assert_bytes(v, VRAM_ADDR + long_copy.dst, data, LONG_COPY);
    end(v);
}

/* No work is left, and no timer, which the destination would refuse. */
static void test_migrate_taken_back(void)
{
    Vpfn *v = start();

    g_free(start_long_copy(v));
    set_reg(v, VPFN_REG_RING_TAIL, 0);
    v->tail = 0;
    v = migrate(v);
    execute(v, &nop);
    end(v);
}

/* Pages in reverse order on both sides */
static void test_migrate_gart(void)
{
    g_autofree uint8_t *data = g_malloc(OPERAND_LENGTH);
    Vpfn *v = start();
    Operand src, dst;
    int i;

    enable(v);
    init_src(v, &src, IN_PAGES);
    init_dst(v, &dst, IN_PAGES);
    get_data(&src, data);
    put_data(&dst, data);
    /* As many as fit, so that a slice does not do it all */
    for (i = 0; i < RING_SIZE - 1; i++) {
        queue(v, &(Desc) COPY(src.addr, dst.addr, OPERAND_LENGTH));
    }
    ring_doorbell(v);
    step(v);
    g_assert_true(is_busy(v));
    v = migrate(v);
    g_assert_cmphex(reg(v, VPFN_REG_GART_BASE_LO), ==, TABLE_ADDR);
    g_assert_true(is_busy(v));
    run_well(v);
    check_operand(v, &src);
    check_operand(v, &dst);
    end(v);
}

static void test_migrate_crc(void)
{
    Vpfn *v = start();
    g_autofree uint8_t *data = fill_random(v, VRAM_ADDR, 2 * MiB);

    enable(v);
    submit(v, &(Desc) CRC(0, GART(DST_MEM), 2 * MiB));
    step(v);
    g_assert_true(is_busy(v));
    v = migrate(v);
    g_assert_true(is_busy(v));
    run_well(v);
    g_assert_cmphex(qtest_readl(v->qts, DST_MEM), ==,
                    reference_crc(data, 2 * MiB));
    end(v);
}

static void test_migrate_interrupts(void)
{
    Vpfn *v = start();
    Desc bad = { .op = 99 };

    enable_messages(v);
    enable(v);
    set_reg(v, VPFN_REG_INT_ENABLE, VPFN_INT_FENCE | VPFN_INT_ERROR);
    mask_vector(v, VPFN_VECTOR_FENCE, true);
    cause_message(v);
    submit(v, &bad);
    run(v);
    assert_stopped(v, VPFN_ERROR_OP, 1);
    g_assert_true(got_message(v, VPFN_VECTOR_ERROR));

    v = migrate(v);
    assert_stopped(v, VPFN_ERROR_OP, 1);
    g_assert_cmphex(reg(v, VPFN_REG_INT_STATUS), ==,
                    VPFN_INT_FENCE | VPFN_INT_ERROR);
    g_assert_cmphex(reg(v, VPFN_REG_INT_ENABLE), ==,
                    VPFN_INT_FENCE | VPFN_INT_ERROR);
    g_assert_false(got_message(v, VPFN_VECTOR_ERROR));
    g_assert_true(is_pending(v, VPFN_VECTOR_FENCE));
    mask_vector(v, VPFN_VECTOR_FENCE, false);
    g_assert_true(got_message(v, VPFN_VECTOR_FENCE));
    end(v);
}

static void test_migrate_faults(void)
{
    Vpfn *v = start();
    g_autofree uint8_t *data = start_long_copy(v);

    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", true);
    set_fault(v, "x-inject-dma-error", 5);
    set_fault(v, "x-inject-lost-interrupts", 6);
    v = migrate(v);
    g_assert_cmpint(get_fault(v, "x-inject-dma-error"), ==, 5);
    g_assert_cmpint(get_fault(v, "x-inject-lost-interrupts"), ==, 6);
    qtest_clock_step(v->qts, 1000 * 1000);
    assert_copy_is_partial(v, data);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-hang", false);
    assert_copy_is_complete(v, data);
    end(v);
}

static void test_migrate_gone(void)
{
    g_autofree char *path = make_file(0, "gone");
    Vpfn *v = start();

    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", true);
    save(v, path);
    end(v);
    v = load(path, ",vram-size=64M", "completed");
    unlink(path);
    g_assert_true(qtest_qom_get_bool(v->qts, GPU, "x-inject-gone"));
    g_assert_null(qpci_device_find(v->bus, GPU_DEVFN));
    g_assert_cmphex(reg(v, VPFN_REG_ID), ==, UINT32_MAX);
    qtest_qom_set_bool(v->qts, GPU, "x-inject-gone", false);
    find_device(v, GPU_DEVFN);
    map_device(v);
    assert_reset_values(v);
    end(v);
}

/*
 * A state that no device saves. The value of FENCE is a landmark; these are
 * the distances from there of what is changed.
 */
#define LANDMARK        0xfe4ce5a1

enum {
    AT_HANG = -62,
    AT_GONE = -61,
    AT_CTRL = -52,
    AT_ERROR = -44,
    AT_GART_BASE_LO = -28,
    AT_RING_BASE_LO = -20,
    AT_RING_SIZE = -12,
    AT_HEAD = -8,
    AT_TAIL = -4,
    AT_INT_STATUS = 4,
    AT_INT_ENABLE = 8,
    AT_TIMER = 12,
    AT_ACTIVE = 20,
    AT_OP = 21,
    AT_DST_ADDR = 45,
    AT_DONE = 85,
};

typedef struct BadState {
    int at;
    int size;
    uint64_t value;
} BadState;

/* Two registers, the lower one first */
#define LO_HI(lo, hi)   ((uint64_t)(uint32_t)(lo) << 32 | (hi))

static const BadState bad_states[] = {
    { AT_HANG, 1, 1 },
    { AT_GONE, 1, 1 },
    { AT_CTRL, 4, 0 },
    { AT_CTRL, 4, 3 },
    { AT_ERROR, 4, VPFN_ERROR_DMA },
    { AT_ERROR, 4, VPFN_ERROR_DMA + 1 },
    { AT_GART_BASE_LO, 4, TABLE_ADDR + 1 },
    { AT_GART_BASE_LO, 8, LO_HI(-PAGE, UINT32_MAX) },
    { AT_RING_BASE_LO, 4, RING_ADDR + 1 },
    { AT_RING_BASE_LO, 8, LO_HI(-VPFN_DESC_SIZE, UINT32_MAX) },
    { AT_RING_SIZE, 4, 0 },
    { AT_RING_SIZE, 4, 7 },
    { AT_RING_SIZE, 4, 131072 },
    { AT_HEAD, 4, RING_SIZE },
    { AT_HEAD, 4, 1 },
    { AT_TAIL, 4, RING_SIZE },
    { AT_TAIL, 4, 0 },
    { AT_INT_STATUS, 4, 4 },
    { AT_INT_ENABLE, 4, 0x80000000 },
    { AT_TIMER, 8, -1ull },
    { AT_OP, 1, 99 },
    { AT_OP, 1, VPFN_OP_NOP },
    { AT_DST_ADDR, 8, VRAM_SIZE - 8 * MiB + 1 },
    { AT_DONE, 8, 8 * MiB + 1 },
    { AT_DONE, 8, UINT64_MAX },
};

static void patch_be(uint8_t *p, int size, uint64_t value)
{
    while (size--) {
        p[size] = value;
        value >>= 8;
    }
}

static uint8_t *find_landmark(char *data, gsize size)
{
    uint8_t landmark[4];
    uint8_t *p;

    patch_be(landmark, sizeof(landmark), LANDMARK);
    p = memmem(data, size, landmark, sizeof(landmark));
    g_assert_nonnull(p);
    return p;
}

/* A fill in the middle of which the clock stops */
static void save_fill(const char *path)
{
    Vpfn *v = start();

    set_reg(v, VPFN_REG_FENCE, LANDMARK);
    enable(v);
    submit(v, &(Desc) FILL(4096, 8 * MiB, 0));
    step(v);
    g_assert_true(is_busy(v));
    save(v, path);
    end(v);
}

static void patch_state(char *data, gsize size, int at, int bytes,
                        uint64_t value)
{
    g_test_message("%d bytes at %d become 0x%" PRIx64, bytes, at, value);
    patch_be(find_landmark(data, size) + at, bytes, value);
}

static Vpfn *load_data(const char *path, const char *data, gsize size,
                       const char *expected)
{
    g_assert_true(g_file_set_contents(path, data, size, NULL));
    return load(path, ",vram-size=64M", expected);
}

static void test_migrate_bad_state(void)
{
    g_autofree char *path = make_file(0, "state");
    g_autofree char *data = NULL;
    gsize size, i;
    Vpfn *v;

    save_fill(path);
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    for (i = 0; i < ARRAY_SIZE(bad_states); i++) {
        const BadState *bad = &bad_states[i];
        g_autofree char *copy = g_memdup2(data, size);

        patch_state(copy, size, bad->at, bad->size, bad->value);
        end(load_data(path, copy, size, "failed"));
    }

    /* Unchanged it works, unless the device differs. */
    g_assert_true(g_file_set_contents(path, data, size, NULL));
    end(load(path, ",vram-size=64M,visible-vram-size=16M", "failed"));
    end(load(path, ",vram-size=128M,visible-vram-size=64M", "failed"));
    end(load(path, ",vram-size=64M,gart-size=1G", "failed"));
    v = load(path, ",vram-size=64M", "completed");
    v->tail = 1;
    run_well(v);
    g_assert_cmphex(reg(v, VPFN_REG_FENCE), ==, LANDMARK);
    unlink(path);
    end(v);
}

/*
 * The next slice is not later than usual. (That of each migration under qtest
 * would be: there the destination's clock starts at 0.)
 */
static void test_migrate_late_timer(void)
{
    g_autofree char *path = make_file(0, "late");
    g_autofree char *data = NULL;
    gsize size;
    Vpfn *v;

    save_fill(path);
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    patch_state(data, size, AT_TIMER, 8, INT64_MAX);
    v = load_data(path, data, size, "completed");
    v->tail = 1;
    run_well(v);
    unlink(path);
    end(v);
}

/* A hang or an idle engine goes with a timer that is not armed. */
static void test_migrate_idle_timer(void)
{
    g_autofree char *path = make_file(0, "timer");
    g_autofree char *data = NULL;
    gsize size;

    save_fill(path);
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    patch_state(data, size, AT_TIMER, 8, -1ull);
    patch_state(data, size, AT_HANG, 1, 1);
    end(load_data(path, data, size, "completed"));
    patch_state(data, size, AT_HANG, 1, 0);
    patch_state(data, size, AT_ACTIVE, 1, 0);
    patch_state(data, size, AT_TAIL, 4, 0);
    end(load_data(path, data, size, "completed"));
    unlink(path);
}

/* Properties */

typedef struct BadArgs {
    const char *args;
    const char *message;
} BadArgs;

#define MEM "-object memory-backend-ram,id=mem,size="

static const BadArgs bad_args[] = {
    { "-device vpfn,vram-size=3M", "vram-size" },
    { "-device vpfn,vram-size=512K", "vram-size" },
    { "-device vpfn,vram-size=128G", "vram-size" },
    { "-device vpfn,vram-size=2M,visible-vram-size=4M", "visible-vram-size" },
    { "-device vpfn,visible-vram-size=3M", "visible-vram-size" },
    { "-device vpfn,visible-vram-size=64K", "visible-vram-size" },
    { "-device vpfn,gart-size=3M", "gart-size" },
    { "-device vpfn,gart-size=0", "gart-size" },
    { "-device vpfn,gart-size=128G", "gart-size" },
    { MEM "3M -device vpfn,memdev=mem", "memdev" },
    { MEM "512K -device vpfn,memdev=mem", "memdev" },
    { MEM "2M -device vpfn,memdev=mem,vram-size=4M", "memdev" },
    { MEM "2M -device vpfn,memdev=mem,vram-size=1M", "vram-size" },
    { MEM "2M -device vpfn,memdev=mem,visible-vram-size=4M",
      "visible-vram-size" },
    { MEM "2M -device vpfn,memdev=mem -device vpfn,memdev=mem", "memdev" },
    { "-device vpfn,memdev=mem", "memdev" },
    { "-cpu qemu64,-apic -device vpfn", "MSI-X" },
};

/* QEMU ends with an error and says what it is about. */
static void assert_refused(const char *args, const char *message)
{
    const char *qemu = g_getenv("QTEST_QEMU_BINARY");
    g_autofree char *command = g_strdup_printf(
        "%s -M q35 -accel qtest -nodefaults -display none -S %s", qemu, args);
    g_autofree char *errors = NULL;
    int status;

    g_test_message("%s", args);
    g_assert_true(g_spawn_command_line_sync(command, NULL, &errors, &status,
                                            NULL));
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_nonnull(strstr(errors, message));
}

static void test_bad_properties(void)
{
    g_autofree char *path = make_file(1 * MiB, "readonly");
    g_autofree char *readonly = g_strdup_printf(
        "-object memory-backend-file,id=mem,size=1M,readonly=on,mem-path=%s "
        "-device vpfn,memdev=mem", path);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(bad_args); i++) {
        assert_refused(bad_args[i].args, bad_args[i].message);
    }
    assert_refused(readonly, "memdev 'mem' is read-only");
    unlink(path);
}

typedef struct TestCase {
    const char *path;
    /* With the usual device */
    void (*test)(Vpfn *v);
    /* With one, or none, of its own */
    void (*alone)(void);
} TestCase;

static const TestCase tests[] = {
    { "vpfn/identity", test_identity },
    { "vpfn/capabilities", test_capabilities },
    { "vpfn/endpoint", .alone = test_endpoint },
    { "vpfn/bad-properties", .alone = test_bad_properties },

    { "vpfn/registers/reset-values", test_reset_values },
    { "vpfn/registers/writable-bits", test_writable_bits },
    { "vpfn/registers/access-width", test_access_width },
    { "vpfn/registers/locked", .alone = test_locked_registers },

    { "vpfn/vram/access", test_vram },
    { "vpfn/vram/64g", .alone = test_vram_64g },
    { "vpfn/vram/aperture", .alone = test_aperture },
    { "vpfn/vram/memdev", .alone = test_memdev },

    { "vpfn/op/nop", test_nop },
    { "vpfn/op/fill", .alone = test_fill },
    { "vpfn/op/copy", test_copy },
    { "vpfn/op/copy-overlap", test_copy_overlap },
    { "vpfn/op/crc", test_crc },
    { "vpfn/op/crc-example", test_crc_example },

    { "vpfn/gart/size", .alone = test_gart_size },
    { "vpfn/gart/entry-bits", test_gart_entry_bits },
    { "vpfn/gart/error-address", test_gart_error_address },
    { "vpfn/gart/unreadable", test_gart_unreadable },
    { "vpfn/gart/entry-changes", test_gart_entry_changes },
    { "vpfn/gart/window-end", .alone = test_gart_window_end },
    { "vpfn/gart/table-end", test_gart_table_end },
    { "vpfn/gart/table-in-vram", test_gart_table_in_vram },

    { "vpfn/dma/own-bars", test_own_bars },
    { "vpfn/dma/peer", .alone = test_peer },
    { "vpfn/dma/config-space", test_config_space },

    { "vpfn/ring/wrap", test_ring_wrap },
    { "vpfn/ring/sizes", .alone = test_ring_sizes },
    { "vpfn/ring/address", test_ring_address },
    { "vpfn/ring/above-4g", test_ring_above_4g },
    { "vpfn/ring/bad-tail", test_bad_tail },
    { "vpfn/ring/bad-tail-in-flight", test_bad_tail_in_flight },
    { "vpfn/ring/doorbell-flood", test_doorbell_flood },
    { "vpfn/ring/doorbell-in-flight", test_doorbell_in_flight },
    { "vpfn/ring/doorbell-takes-back", test_doorbell_takes_back },
    { "vpfn/ring/doorbell-disabled", test_doorbell_disabled },
    { "vpfn/ring/read-once", test_descriptor_is_read_once },

    { "vpfn/interrupt/messages", test_messages },
    { "vpfn/interrupt/masked", test_masked_messages },
    { "vpfn/interrupt/without-msix", test_messages_without_msix },
    { "vpfn/interrupt/without-bus-master", test_messages_without_bus_master },
    { "vpfn/interrupt/own-register", test_message_to_own_register },

    { "vpfn/error/descriptors", .alone = test_bad_descriptors },
    { "vpfn/error/reserved-bytes", test_reserved_bytes },
    { "vpfn/error/fetch", test_fetch_error },
    { "vpfn/error/state", test_error_state },

    { "vpfn/in-flight/disable", test_disable_in_flight },
    { "vpfn/in-flight/enable", test_enable_in_flight },
    { "vpfn/in-flight/reset", test_reset_in_flight },
    { "vpfn/in-flight/flr", .alone = test_flr_in_flight },
    { "vpfn/in-flight/system-reset", .alone = test_system_reset_in_flight },
    { "vpfn/in-flight/bus-master-off", test_bus_master_off_in_flight },
    { "vpfn/in-flight/bar", test_bar_in_flight },
    { "vpfn/in-flight/stopped-vm", test_stopped_vm },

    { "vpfn/self/flr-by-message", test_flr_by_message },
    { "vpfn/self/unplug-by-message", .alone = test_unplug_by_message },

    { "vpfn/unplug/in-flight", .alone = test_unplug_in_flight },
    { "vpfn/unplug/memdev", .alone = test_unplug_memdev },
    { "vpfn/unplug/gone", .alone = test_unplug_gone },

    { "vpfn/inject/hang", test_inject_hang },
    { "vpfn/inject/dma-error", test_inject_dma_error },
    { "vpfn/inject/lost-interrupts", test_inject_lost_interrupts },
    { "vpfn/inject/gone", test_inject_gone },
    { "vpfn/inject/from-start", .alone = test_inject_from_start },

    { "vpfn/migrate/copy", .alone = test_migrate_copy },
    { "vpfn/migrate/taken-back", .alone = test_migrate_taken_back },
    { "vpfn/migrate/gart", .alone = test_migrate_gart },
    { "vpfn/migrate/crc", .alone = test_migrate_crc },
    { "vpfn/migrate/interrupts", .alone = test_migrate_interrupts },
    { "vpfn/migrate/faults", .alone = test_migrate_faults },
    { "vpfn/migrate/gone", .alone = test_migrate_gone },
    { "vpfn/migrate/bad-state", .alone = test_migrate_bad_state },
    { "vpfn/migrate/late-timer", .alone = test_migrate_late_timer },
    { "vpfn/migrate/idle-timer", .alone = test_migrate_idle_timer },
};

static void run_test(const void *data)
{
    const TestCase *t = data;
    Vpfn *v;

    if (t->alone) {
        t->alone();
        return;
    }
    v = start();
    t->test(v);
    end(v);
}

int main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_data_func(tests[i].path, &tests[i], run_test);
    }
    return g_test_run();
}
