// SPDX-License-Identifier: MIT
/*
 * What does a process of the fuzzer own? Files, handles, dma-bufs and mappings, in tables that
 * its threads share without coordination: what one has picked another may close, so that
 * handles, fds and addresses go stale as they do in a client with a bug.
 *
 * The lock guards the tables, not what they name.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

void fuzz_lock(struct fuzz_thread *t)
{
	pthread_mutex_lock(&t->process->lock);
}

void fuzz_unlock(struct fuzz_thread *t)
{
	pthread_mutex_unlock(&t->process->lock);
}

/* Address space for mappings at fixed addresses, and a page that no process may touch. */
static void reserve(struct fuzz_process *p)
{
	char *pages;

	if (pfnmap_reserve(FUZZ_ARENA, PFNMAP_1G, (void **)&p->arena))
		fuzz_finding("no address space for an arena");

	pages = mmap(NULL, 3 * PFNMAP_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || mprotect(pages, PFNMAP_PAGE, PROT_READ | PROT_WRITE))
		fuzz_finding("no address space for three pages");
	p->none_page = pages + PFNMAP_PAGE;
}

/* Something for each file, so that few operations of a young process find nothing to do. */
static void furnish(struct fuzz_process *p)
{
	for (unsigned int i = 0; i < 2 * FUZZ_FILES; i++) {
		unsigned int file = i % FUZZ_FILES;
		struct drm_syncobj_create create = {};
		struct vpfn_bo bo;

		if (!vpfn_ioctl(p->files[file].fd, DRM_IOCTL_SYNCOBJ_CREATE, &create)) {
			p->syncs[i].file = file;
			p->syncs[i].handle = create.handle;
			p->syncs[i].timeline = i >= FUZZ_FILES;
		}
		if (!vpfn_bo_create_in(p->files[file].fd, 4 * PFNMAP_PAGE, 1 + i % 3, i % 2, &bo)) {
			p->bos[i].file = file;
			p->bos[i].handle = bo.handle;
			p->bos[i].size = bo.size;
			p->bos[i].offset = bo.offset;
		}
	}
}

/**
 * fuzz_state_init:
 * @p: a process that has nothing yet
 */
void fuzz_state_init(struct fuzz_process *p)
{
	pthread_mutex_init(&p->lock, NULL);
	for (unsigned int i = 0; i < FUZZ_FILES; i++) {
		struct fuzz_file *file = &p->files[i];

		file->device = i % fuzz_shared->device_count;
		file->primary = i >= FUZZ_FILES - fuzz_shared->device_count;
		file->fd = open(file->primary ? fuzz_shared->devices[file->device].primary :
				fuzz_shared->devices[file->device].render, O_RDWR | O_CLOEXEC);
		/* Who opens the primary node first is the master; the place is for those who ask. */
		if (file->primary)
			ioctl(file->fd, DRM_IOCTL_DROP_MASTER, NULL);
	}
	for (unsigned int i = 0; i < FUZZ_SYNC_FDS; i++)
		p->sync_fds[i] = -1;
	for (unsigned int i = 0; i < FUZZ_DMABUFS; i++)
		p->dmabufs[i].fd = -1;

	p->proc_mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	reserve(p);
	if (p->role == FUZZ_WORKER)
		furnish(p);
}

/* Memory. Object 0 has no owner. */

static uint64_t huge_share(uint64_t size)
{
	return size >= PFNMAP_1G ? 0 : size;
}

/**
 * fuzz_huge_get:
 * @owner: who wants a buffer of 1 GiB, or wants that there be none
 *
 * Moved to system memory such a buffer would take half of a small machine.
 *
 * Returns: whether @owner may.
 */
bool fuzz_huge_get(unsigned int owner)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&fuzz_shared->huge_owner, &none, owner, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/**
 * fuzz_huge_put:
 * @owner: who may no longer have a buffer of 1 GiB
 */
void fuzz_huge_put(unsigned int owner)
{
	__atomic_compare_exchange_n(&fuzz_shared->huge_owner, &owner, 0, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/**
 * fuzz_object_new:
 * @t: the calling thread
 * @size: size of a buffer to create
 *
 * Returns: its object, with one reference, or 0 if the process has enough of them.
 */
unsigned int fuzz_object_new(struct fuzz_thread *t, uint64_t size)
{
	struct fuzz_process *p = t->process;
	unsigned int i;

	if (size >= PFNMAP_1G && (t->child || !fuzz_huge_get(p->place + 1)))
		return 0;

	fuzz_lock(t);
	for (i = FUZZ_OBJECTS - 1; i; i--) {
		if (!p->objects[i].refs)
			break;
	}
	if (i && p->bytes + huge_share(size) > fuzz_shared->process_bytes)
		i = 0;
	if (i) {
		p->objects[i] = (struct fuzz_object) { .refs = 1, .size = size };
		p->bytes += huge_share(size);
	}
	fuzz_unlock(t);

	if (!i && size >= PFNMAP_1G)
		fuzz_huge_put(p->place + 1);
	return i;
}

/* With the lock held. */
static void object_put(struct fuzz_process *p, unsigned int object)
{
	struct fuzz_object *o = &p->objects[object];

	if (!object || --o->refs)
		return;
	p->bytes -= huge_share(o->size);
	if (o->size >= PFNMAP_1G)
		fuzz_huge_put(p->place + 1);
}

/**
 * fuzz_object_get:
 * @t: the calling thread
 * @object: an object, which may be gone by now
 *
 * Returns: the object, with another reference, or 0.
 */
unsigned int fuzz_object_get(struct fuzz_thread *t, unsigned int object)
{
	struct fuzz_object *o = &t->process->objects[object];

	fuzz_lock(t);
	if (!object || !o->refs)
		object = 0;
	else
		o->refs++;
	fuzz_unlock(t);
	return object;
}

void fuzz_object_put(struct fuzz_thread *t, unsigned int object)
{
	fuzz_lock(t);
	object_put(t->process, object);
	fuzz_unlock(t);
}

/* Files */

/**
 * fuzz_file_pick:
 * @t: the calling thread
 * @slot: where the number of the slot goes, or NULL
 *
 * Returns: one of the files, most of the time an open one.
 */
struct fuzz_file fuzz_file_pick(struct fuzz_thread *t, unsigned int *slot)
{
	unsigned int i = fuzz_below(&t->random, FUZZ_FILES);
	struct fuzz_file file;

	fuzz_lock(t);
	file = t->process->files[i];
	fuzz_unlock(t);
	if (slot)
		*slot = i;
	return file;
}

struct fuzz_file fuzz_file_of(struct fuzz_thread *t, unsigned int slot)
{
	struct fuzz_file file;

	fuzz_lock(t);
	file = t->process->files[slot];
	fuzz_unlock(t);
	return file;
}

/**
 * fuzz_file_put:
 * @t: the calling thread
 * @slot: number of the slot
 * @file: a new file for it; the old one is closed, and what belonged to it goes
 */
void fuzz_file_put(struct fuzz_thread *t, unsigned int slot, struct fuzz_file file)
{
	struct fuzz_process *p = t->process;
	int old;

	fuzz_lock(t);
	old = p->files[slot].fd;
	p->files[slot] = file;
	for (unsigned int i = 0; i < FUZZ_BOS; i++) {
		if (p->bos[i].size && p->bos[i].file == slot) {
			object_put(p, p->bos[i].object);
			p->bos[i] = (struct fuzz_bo) {};
		}
	}
	for (unsigned int i = 0; i < FUZZ_SYNCS; i++) {
		if (p->syncs[i].file == slot)
			p->syncs[i] = (struct fuzz_sync) {};
	}
	fuzz_unlock(t);
	if (old >= 0)
		close(old);
}

/* Buffers */

/* The first one in use from @from on; of that file, or of any. */
static struct fuzz_bo find_bo(struct fuzz_process *p, unsigned int from, int file)
{
	for (unsigned int i = 0; i < FUZZ_BOS; i++) {
		struct fuzz_bo *bo = &p->bos[(from + i) % FUZZ_BOS];

		if (bo->size && (file < 0 || bo->file == (unsigned int)file))
			return *bo;
	}
	return (struct fuzz_bo) { .file = file < 0 ? from % FUZZ_FILES : (unsigned int)file };
}

/**
 * fuzz_bo_pick:
 * @t: the calling thread
 *
 * Returns: a buffer; one of size 0, with a bad handle, if there is none.
 */
struct fuzz_bo fuzz_bo_pick(struct fuzz_thread *t)
{
	unsigned int from = fuzz_below(&t->random, FUZZ_BOS);
	struct fuzz_bo bo;

	fuzz_lock(t);
	bo = find_bo(t->process, from, -1);
	fuzz_unlock(t);
	return bo;
}

struct fuzz_bo fuzz_bo_pick_of(struct fuzz_thread *t, unsigned int file)
{
	unsigned int from = fuzz_below(&t->random, FUZZ_BOS);
	struct fuzz_bo bo;

	fuzz_lock(t);
	bo = find_bo(t->process, from, file);
	fuzz_unlock(t);
	return bo;
}

static void close_handle(struct fuzz_process *p, const struct fuzz_bo *bo)
{
	struct drm_gem_close args = { .handle = bo->handle };

	ioctl(p->files[bo->file].fd, DRM_IOCTL_GEM_CLOSE, &args);
}

/**
 * fuzz_bo_put:
 * @t: the calling thread
 * @bo: a new buffer, with a reference to its object, which takes the place of another
 */
void fuzz_bo_put(struct fuzz_thread *t, struct fuzz_bo bo)
{
	struct fuzz_process *p = t->process;
	unsigned int i = fuzz_below(&t->random, FUZZ_BOS);
	struct fuzz_bo old;

	fuzz_lock(t);
	old = p->bos[i];
	p->bos[i] = bo;
	if (old.size)
		object_put(p, old.object);
	fuzz_unlock(t);
	if (old.size)
		close_handle(p, &old);
}

/**
 * fuzz_bo_pick_primary:
 * @t: the calling thread
 *
 * Returns: a buffer, as a rule of a file of a primary node.
 */
struct fuzz_bo fuzz_bo_pick_primary(struct fuzz_thread *t)
{
	unsigned int slot;
	struct fuzz_file file;

	for (int i = 0; i < 8; i++) {
		file = fuzz_file_pick(t, &slot);
		if (file.primary)
			return fuzz_bo_pick_of(t, slot);
	}
	return fuzz_bo_pick(t);
}

/**
 * fuzz_bo_drop:
 * @t: the calling thread
 * @file: slot of a file
 * @handle: a handle of it that is closed
 */
void fuzz_bo_drop(struct fuzz_thread *t, unsigned int file, uint32_t handle)
{
	struct fuzz_process *p = t->process;

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_BOS; i++) {
		struct fuzz_bo *bo = &p->bos[i];

		if (bo->size && bo->file == file && bo->handle == handle) {
			object_put(p, bo->object);
			*bo = (struct fuzz_bo) {};
		}
	}
	fuzz_unlock(t);
}

/* Syncobjs */

/**
 * fuzz_sync_pick:
 * @t: the calling thread
 * @file: slot of the file
 * @used: prefer one that a job has signalled or will signal
 *
 * Returns: a syncobj; handle 0 if the file has none.
 */
struct fuzz_sync fuzz_sync_pick(struct fuzz_thread *t, unsigned int file, bool used)
{
	unsigned int from = fuzz_below(&t->random, FUZZ_SYNCS);
	struct fuzz_process *p = t->process;
	struct fuzz_sync found = { .file = file };

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_SYNCS; i++) {
		const struct fuzz_sync *sync = &p->syncs[(from + i) % FUZZ_SYNCS];

		if (!sync->handle || sync->file != file)
			continue;
		found = *sync;
		if (sync->used || !used)
			break;
	}
	fuzz_unlock(t);
	return found;
}

void fuzz_sync_put(struct fuzz_thread *t, struct fuzz_sync sync)
{
	struct fuzz_process *p = t->process;
	unsigned int i = fuzz_below(&t->random, FUZZ_SYNCS);
	struct drm_syncobj_destroy destroy = {};
	struct fuzz_sync old;

	fuzz_lock(t);
	old = p->syncs[i];
	p->syncs[i] = sync;
	fuzz_unlock(t);
	if (!old.handle)
		return;
	destroy.handle = old.handle;
	ioctl(p->files[old.file].fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy);
}

void fuzz_sync_update(struct fuzz_thread *t, const struct fuzz_sync *sync)
{
	struct fuzz_process *p = t->process;

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_SYNCS; i++) {
		if (p->syncs[i].handle == sync->handle && p->syncs[i].file == sync->file)
			p->syncs[i] = *sync;
	}
	fuzz_unlock(t);
}

void fuzz_sync_drop(struct fuzz_thread *t, unsigned int file, uint32_t handle)
{
	struct fuzz_process *p = t->process;

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_SYNCS; i++) {
		if (p->syncs[i].handle == handle && p->syncs[i].file == file)
			p->syncs[i] = (struct fuzz_sync) {};
	}
	fuzz_unlock(t);
}

int fuzz_sync_fd_pick(struct fuzz_thread *t)
{
	return t->process->sync_fds[fuzz_below(&t->random, FUZZ_SYNC_FDS)];
}

void fuzz_sync_fd_put(struct fuzz_thread *t, int fd)
{
	unsigned int i = fuzz_below(&t->random, FUZZ_SYNC_FDS);
	int old = __atomic_exchange_n(&t->process->sync_fds[i], fd, __ATOMIC_SEQ_CST);

	if (old >= 0)
		close(old);
}

/* dma-bufs */

struct fuzz_dmabuf fuzz_dmabuf_pick(struct fuzz_thread *t)
{
	unsigned int from = fuzz_below(&t->random, FUZZ_DMABUFS);
	struct fuzz_dmabuf found = { .fd = -1 };

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_DMABUFS && found.fd < 0; i++)
		found = t->process->dmabufs[(from + i) % FUZZ_DMABUFS];
	fuzz_unlock(t);
	return found;
}

/**
 * fuzz_dmabuf_put:
 * @t: the calling thread
 * @dmabuf: a new dma-buf, with a reference to its object, which takes the place of another
 */
void fuzz_dmabuf_put(struct fuzz_thread *t, struct fuzz_dmabuf dmabuf)
{
	unsigned int i = fuzz_below(&t->random, FUZZ_DMABUFS);
	struct fuzz_process *p = t->process;
	struct fuzz_dmabuf old;

	fuzz_lock(t);
	old = p->dmabufs[i];
	p->dmabufs[i] = dmabuf;
	if (old.fd >= 0)
		object_put(p, old.object);
	fuzz_unlock(t);
	if (old.fd >= 0)
		close(old.fd);
}

/* Mappings */

/**
 * fuzz_map_pick:
 * @t: the calling thread
 * @slot: where the number of the slot goes, or NULL
 *
 * Returns: a mapping; no address if there is none.
 */
struct fuzz_map fuzz_map_pick(struct fuzz_thread *t, unsigned int *slot)
{
	unsigned int from = fuzz_below(&t->random, FUZZ_MAPS), at = from;
	struct fuzz_process *p = t->process;
	struct fuzz_map map = {};

	fuzz_lock(t);
	for (unsigned int i = 0; i < FUZZ_MAPS && !map.addr; i++) {
		at = (from + i) % FUZZ_MAPS;
		map = p->maps[at];
	}
	fuzz_unlock(t);
	if (slot)
		*slot = at;
	return map;
}

/**
 * fuzz_map_put:
 * @t: the calling thread
 * @map: a new mapping, with a reference to its object, which takes the place of another
 */
void fuzz_map_put(struct fuzz_thread *t, struct fuzz_map map)
{
	unsigned int i = fuzz_below(&t->random, FUZZ_MAPS);
	struct fuzz_process *p = t->process;
	struct fuzz_map old;

	fuzz_lock(t);
	old = p->maps[i];
	p->maps[i] = map;
	if (old.addr)
		object_put(p, old.object);
	fuzz_unlock(t);
	if (old.addr)
		munmap(old.addr, old.size);
}

/**
 * fuzz_map_replace:
 * @t: the calling thread
 * @slot: number of a slot
 * @was: what was picked from it
 * @now: what has become of it; size 0 if nothing is left
 */
void fuzz_map_replace(struct fuzz_thread *t, unsigned int slot, struct fuzz_map was,
		      struct fuzz_map now)
{
	struct fuzz_process *p = t->process;
	struct fuzz_map *map = &p->maps[slot];

	fuzz_lock(t);
	if (map->addr == was.addr && map->size == was.size && map->object == was.object) {
		*map = now.size ? now : (struct fuzz_map) {};
		if (!now.size)
			object_put(p, was.object);
	}
	fuzz_unlock(t);
}
