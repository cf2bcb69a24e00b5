/*
 * vpfn: a virtual GPU whose memory is a large, RAM-backed PCI BAR
 *
 * The specification is docs/specs/vpfn.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/log.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/misc/vpfn_regs.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/hostmem.h"
#include "trace.h"

#define TYPE_VPFN "vpfn"
OBJECT_DECLARE_SIMPLE_TYPE(VpfnState, VPFN)

#define VPFN_VRAM_SIZE_MIN      (1 * MiB)
#define VPFN_VRAM_SIZE_MAX      (64 * GiB)
#define VPFN_VRAM_SIZE_DEFAULT  (256 * MiB)

#define VPFN_PCIE_CAP_OFFSET    0x80

struct VpfnState {
    PCIDevice parent_obj;

    MemoryRegion regs;
    /* Unused if the VRAM is a host memory backend. */
    MemoryRegion own_vram;

    /* Properties; vram_size is 0 until realize if the user did not set it. */
    uint64_t vram_size;
    HostMemoryBackend *memdev;
};

static uint64_t vpfn_reg_read(void *opaque, hwaddr addr, unsigned size)
{
    VpfnState *s = opaque;
    uint64_t val = 0;

    switch (addr) {
    case VPFN_REG_ID:
        val = VPFN_ID;
        break;
    case VPFN_REG_REVISION:
        val = VPFN_REVISION;
        break;
    case VPFN_REG_VRAM_SIZE_LO:
        val = extract64(s->vram_size, 0, 32);
        break;
    case VPFN_REG_VRAM_SIZE_HI:
        val = extract64(s->vram_size, 32, 32);
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      "vpfn: read of a reserved register, 0x%" HWADDR_PRIx
                      "\n", addr);
        break;
    }

    trace_vpfn_reg_read(addr, val);
    return val;
}

static void vpfn_reg_write(void *opaque, hwaddr addr, uint64_t val,
                           unsigned size)
{
    trace_vpfn_reg_write(addr, val);
    qemu_log_mask(LOG_GUEST_ERROR,
                  "vpfn: write to a register that is read-only or reserved, 0x%"
                  HWADDR_PRIx "\n", addr);
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

static bool vpfn_check_vram_size(uint64_t size, const char *property,
                                 Error **errp)
{
    if (is_power_of_2(size) && size >= VPFN_VRAM_SIZE_MIN &&
        size <= VPFN_VRAM_SIZE_MAX) {
        return true;
    }

    error_setg(errp, "%s must be a power of two from 1 MiB to 64 GiB, not %"
               PRIu64 " bytes", property, size);
    return false;
}

/* The memory of the device, or NULL with an error that names the property. */
static MemoryRegion *vpfn_init_vram(VpfnState *s, Error **errp)
{
    MemoryRegion *backend;

    if (!s->memdev) {
        if (!s->vram_size) {
            s->vram_size = VPFN_VRAM_SIZE_DEFAULT;
        }
        if (!vpfn_check_vram_size(s->vram_size, "vram-size", errp)) {
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

    if (host_memory_backend_is_mapped(s->memdev)) {
        error_setg(errp, "memdev '%s' is used by another device",
                   object_get_canonical_path_component(OBJECT(s->memdev)));
        return NULL;
    }

    backend = host_memory_backend_get_memory(s->memdev);
    if (!vpfn_check_vram_size(memory_region_size(backend), "size of memdev",
                              errp)) {
        return NULL;
    }
    if (s->vram_size && s->vram_size != memory_region_size(backend)) {
        error_setg(errp, "vram-size (%" PRIu64 " bytes) must be the size of "
                   "memdev (%" PRIu64 " bytes)", s->vram_size,
                   memory_region_size(backend));
        return NULL;
    }

    s->vram_size = memory_region_size(backend);
    host_memory_backend_set_mapped(s->memdev, true);
    return backend;
}

static void vpfn_realize(PCIDevice *pdev, Error **errp)
{
    VpfnState *s = VPFN(pdev);
    MemoryRegion *vram;

    vram = vpfn_init_vram(s, errp);
    if (!vram) {
        return;
    }
    vmstate_register_ram(vram, DEVICE(s));

    memory_region_init_io(&s->regs, OBJECT(s), &vpfn_reg_ops, s, "vpfn.regs",
                          VPFN_REGS_SIZE);
    pci_register_bar(pdev, VPFN_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->regs);
    pci_register_bar(pdev, VPFN_BAR_VRAM,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, vram);

    /* With a fixed offset this cannot fail. */
    pcie_endpoint_cap_init(pdev, VPFN_PCIE_CAP_OFFSET);
    pcie_cap_flr_init(pdev);
}

static void vpfn_exit(PCIDevice *pdev)
{
    VpfnState *s = VPFN(pdev);

    pcie_cap_exit(pdev);

    if (s->memdev) {
        vmstate_unregister_ram(host_memory_backend_get_memory(s->memdev),
                               DEVICE(s));
        host_memory_backend_set_mapped(s->memdev, false);
    } else {
        vmstate_unregister_ram(&s->own_vram, DEVICE(s));
    }
}

static void vpfn_config_write(PCIDevice *pdev, uint32_t addr, uint32_t val,
                              int len)
{
    pci_default_write_config(pdev, addr, val, len);
    pcie_cap_flr_write_config(pdev, addr, val, len);
}

static const VMStateDescription vpfn_vmstate = {
    .name = "vpfn",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, VpfnState),
        VMSTATE_END_OF_LIST()
    },
};

static const Property vpfn_properties[] = {
    DEFINE_PROP_SIZE("vram-size", VpfnState, vram_size, 0),
    DEFINE_PROP_LINK("memdev", VpfnState, memdev, TYPE_MEMORY_BACKEND,
                     HostMemoryBackend *),
};

static void vpfn_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = vpfn_realize;
    k->exit = vpfn_exit;
    k->config_write = vpfn_config_write;
    k->vendor_id = VPFN_PCI_VENDOR_ID;
    k->device_id = VPFN_PCI_DEVICE_ID;
    k->revision = VPFN_REVISION;
    k->class_id = PCI_CLASS_DISPLAY_OTHER;

    dc->desc = "virtual GPU with large memory BAR";
    dc->vmsd = &vpfn_vmstate;
    device_class_set_props(dc, vpfn_properties);
    set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);

    object_class_property_set_description(klass, "vram-size",
        "bytes of VRAM, a power of two from 1M to 64G (default: the size of "
        "memdev, else 256M)");
    object_class_property_set_description(klass, "memdev",
        "host memory backend that holds the VRAM");
}

static const TypeInfo vpfn_types[] = {
    {
        .name = TYPE_VPFN,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(VpfnState),
        .class_init = vpfn_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(vpfn_types)
