// SPDX-License-Identifier: MIT
/*
 * How is an ioctl called? Mostly as it should be; sometimes with another size or direction in
 * its number, sometimes with its structure where it cannot be, or in a mapping of a buffer,
 * whose fault needs the locks that the driver may hold by then.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "fuzz.h"

enum { POINTER_GOOD, POINTER_BAD, POINTER_MAP };

static size_t mutated_size(struct fuzz_thread *t, size_t size)
{
	const size_t sizes[] = {
		0, 1, 4, 8, size - 1, size - 4, size - 8, size + 1, size + 8, 2 * size,
		fuzz_below(&t->random, 200), (1 << _IOC_SIZEBITS) - 1,
	};

	return FUZZ_PICK(&t->random, sizes) & ((1 << _IOC_SIZEBITS) - 1);
}

/**
 * fuzz_call_init:
 * @t: the calling thread
 * @call: how the ioctl will be called
 * @request: its number
 *
 * Decides this before the structure is filled, because what cannot come back must not be
 * large: a handle that is lost is memory until its file is closed.
 */
void fuzz_call_init(struct fuzz_thread *t, struct fuzz_call *call, unsigned long request)
{
	size_t size = _IOC_SIZE(request), n = size;
	unsigned int dir = _IOC_DIR(request);

	if (fuzz_chance(&t->random, 5))
		n = mutated_size(t, size);
	if (fuzz_chance(&t->random, 2))
		dir = fuzz_below(&t->random, 4);

	*call = (struct fuzz_call) {
		.request = _IOC(dir, _IOC_TYPE(request), _IOC_NR(request), n),
		.size = size,
		/* DRM copies no more than it knows, and no less than the size says. */
		.in = dir & _IOC_DIR(request) & _IOC_WRITE ? n : 0,
		.out = dir & _IOC_DIR(request) & _IOC_READ ? n : 0,
	};
	if (fuzz_chance(&t->random, 4))
		call->pointer = POINTER_BAD;
	else if (fuzz_chance(&t->random, 4))
		call->pointer = POINTER_MAP;
}

/**
 * fuzz_call_returns:
 * @call: how the ioctl will be called
 * @end: offset behind a field
 *
 * Returns: whether the caller will see that field.
 */
bool fuzz_call_returns(const struct fuzz_call *call, size_t end)
{
	return call->pointer == POINTER_GOOD && call->out >= end;
}

static void *place_for(struct fuzz_thread *t, struct fuzz_call *call, const void *args)
{
	char *addr;

	if (call->pointer == POINTER_BAD)
		return (void *)(uintptr_t)fuzz_bad_pointer(t);
	if (call->pointer == POINTER_MAP) {
		addr = (char *)(uintptr_t)fuzz_map_pointer(t);
		if (addr && !FUZZ_GUARDED(t, memcpy(addr, args, call->size)))
			return addr;
	}
	return t->scratch;
}

/**
 * fuzz_call_do:
 * @t: the calling thread
 * @call: how, from fuzz_call_init()
 * @fd: the file
 * @args: the structure, in and out
 * @seen: where what the kernel saw of it goes, as far as @call->known
 *
 * Returns: what the ioctl returned or its negative errno.
 */
int fuzz_call_do(struct fuzz_thread *t, struct fuzz_call *call, int fd, void *args, void *seen)
{
	size_t n = _IOC_SIZE(call->request);
	void *place;
	int ret;

	memset(t->scratch, 0xff, n > call->size ? n : call->size);
	memcpy(t->scratch, args, call->size);
	memset(seen, 0, call->size);
	memcpy(seen, args, call->in < call->size ? call->in : call->size);

	place = place_for(t, call, args);
	ret = ioctl(fd, call->request, place);
	if (ret < 0)
		ret = -errno;

	/* 8 bytes are readable at one of the bad pointers. */
	if (ret >= 0 && call->pointer == POINTER_BAD && (call->in > 8 || call->out > 8))
		fuzz_finding("ioctl %#lx reads and writes at %p", call->request, place);

	call->known = place == t->scratch;
	if (call->known)
		memcpy(args, t->scratch, call->size);
	return ret;
}

/**
 * fuzz_bad_pointer:
 * @t: the calling thread
 *
 * Returns: an address with 8 readable bytes and no more.
 */
uint64_t fuzz_bad_pointer(struct fuzz_thread *t)
{
	uintptr_t none = (uintptr_t)t->process->none_page;
	const uint64_t pointers[] = {
		0, 1, 0x7ffffffff000, 0x8000000000000000, 0xffff888000000000, -4096ull, ~0ull,
		none, none - 8, none + PFNMAP_PAGE - 4,
	};

	return FUZZ_PICK(&t->random, pointers);
}

/**
 * fuzz_map_pointer:
 * @t: the calling thread
 *
 * Returns: an address in a mapping of a buffer, if there is one; else a bad pointer.
 */
uint64_t fuzz_map_pointer(struct fuzz_thread *t)
{
	struct fuzz_map map = fuzz_map_pick(t, NULL);
	uint64_t offset;

	if (!map.addr)
		return fuzz_bad_pointer(t);
	offset = fuzz_below(&t->random, map.size / PFNMAP_PAGE) * PFNMAP_PAGE;
	return (uintptr_t)map.addr + offset;
}

static uint64_t number(struct fuzz_thread *t)
{
	const uint64_t numbers[] = {
		0, 1, 2, 3, 4, 7, 8, 16, 64, 65, 1024, 1025, 1u << 31, ~0u, ~0ull,
		1ull << 32, fuzz_next(&t->random),
	};

	return FUZZ_PICK(&t->random, numbers);
}

/*
 * Linux 7.3 allocates an array of any length for the syncobj ioctls, and warns if that is more
 * than the page allocator can have: a known sore, which would end each run.
 */
static uint64_t array_count(struct fuzz_thread *t)
{
	static const uint64_t counts[] = { 0, 1, 2, 5, 64, 65, 1025 };

	return FUZZ_PICK(&t->random, counts);
}

static uint64_t bytes(struct fuzz_thread *t, uint64_t was)
{
	const uint64_t numbers[] = {
		0, 1, 2, 4, 4095, 4096, 4097, PFNMAP_2M - 4, PFNMAP_2M, PFNMAP_2M + 4, 16 << 20,
		(16 << 20) + 4, PFNMAP_1G, 1ull << 32, 1ull << 40, INT64_MAX, 1ull << 63, ~0ull,
		~3ull, ~4095ull, was + 1, was + 4, was - 1, was - 4, -was, was + PFNMAP_PAGE,
	};

	return FUZZ_PICK(&t->random, numbers);
}

static uint64_t bad_size(struct fuzz_thread *t)
{
	static const uint64_t sizes[] = {
		0, 1, 4095, 4097, PFNMAP_2M + 1, 1ull << 40, 1ull << 44, 1ull << 63, ~0ull, ~4095ull,
		~4094ull,
	};

	return FUZZ_PICK(&t->random, sizes);
}

static uint64_t handle(struct fuzz_thread *t)
{
	const uint64_t handles[] = {
		0, 1 + fuzz_below(&t->random, 16), ~0u, 1u << 31, fuzz_next(&t->random),
	};

	return FUZZ_PICK(&t->random, handles);
}

static uint64_t time_value(struct fuzz_thread *t)
{
	const int64_t times[] = {
		0, -1, INT64_MIN, 1, vpfn_deadline(0), vpfn_deadline(1000000),
	};

	return FUZZ_PICK(&t->random, times);
}

static uint64_t fd_value(struct fuzz_thread *t)
{
	const int fds[] = { -1, 0, 1, 3 + fuzz_below(&t->random, 40), 1023, INT32_MAX, INT32_MIN };

	return FUZZ_PICK(&t->random, fds);
}

static uint64_t interesting(struct fuzz_thread *t, enum fuzz_domain domain, uint64_t was)
{
	switch (domain) {
	case FUZZ_COUNT:
		return array_count(t);
	case FUZZ_BYTES:
		return bytes(t, was);
	case FUZZ_SIZE:
		return bad_size(t);
	case FUZZ_HANDLE:
		return handle(t);
	case FUZZ_POINTER:
		return fuzz_chance(&t->random, 50) ? fuzz_bad_pointer(t) : fuzz_map_pointer(t);
	case FUZZ_TIME:
		return time_value(t);
	case FUZZ_FD:
		return fd_value(t);
	default:
		return number(t);
	}
}

/**
 * fuzz_mutate:
 * @t: the calling thread
 * @args: a structure
 * @fields: its fields
 * @count: how many
 *
 * Replaces a field by an interesting value of its domain, or two, or three.
 */
void fuzz_mutate(struct fuzz_thread *t, void *args, const struct fuzz_field *fields,
		 size_t count)
{
	unsigned int times = fuzz_chance(&t->random, 70) ? 1 : 2 + fuzz_below(&t->random, 2);

	while (times--) {
		const struct fuzz_field *field = &fields[fuzz_below(&t->random, count)];
		uint64_t value = 0;

		memcpy(&value, (char *)args + field->offset, field->size);
		value = interesting(t, field->domain, value);
		memcpy((char *)args + field->offset, &value, field->size);
	}
}
