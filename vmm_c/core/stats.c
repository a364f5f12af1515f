// SPDX-License-Identifier: GPL-2.0-only
#include "stats.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "kvm.h"

#define MAX_NAME 256
#define MAX_STATS 1024

static int read_exactly(int fd, void *ret, size_t bytes, uint64_t offset, struct vmm_error *err)
{
	ssize_t n = pread(fd, ret, bytes, (off_t)offset);

	if (n == (ssize_t)bytes)
		return 0;
	return error_set(err, n < 0 ? errno : EIO, "reading KVM's statistics: %s",
			 n < 0 ? strerror(errno) : "fewer bytes than announced");
}

/* A descriptor is followed by its name, so the table's step depends on the header. */
static int read_stat(int fd, const struct kvm_stats_header *header, uint32_t i, struct vmm_stat *ret, uint16_t *size,
		    struct vmm_error *err)
{
	uint64_t step = sizeof(struct kvm_stats_desc) + header->name_size;
	uint8_t bytes[sizeof(struct kvm_stats_desc) + MAX_NAME];
	struct kvm_stats_desc desc;
	int rc = read_exactly(fd, bytes, step, header->desc_offset + i * step, err);

	if (rc)
		return rc;
	memcpy(&desc, bytes, sizeof(desc));
	*ret = (struct vmm_stat){ 0 };
	memcpy(ret->name, bytes + sizeof(desc), MIN(header->name_size, sizeof(ret->name) - 1));
	*size = desc.size;
	return read_exactly(fd, &ret->value, sizeof(ret->value), header->data_offset + desc.offset, err);
}

/* Histograms have more than one number and are left out. */
static int read_stats(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err)
{
	struct kvm_stats_header header;
	uint32_t count = 0;
	int rc = read_exactly(fd, &header, sizeof(header), 0, err);

	if (rc == 0 && (header.name_size == 0 || header.name_size > MAX_NAME || header.num_desc > MAX_STATS))
		rc = error_set(err, EPROTO, "KVM's statistics: %u names of %u bytes", header.num_desc, header.name_size);
	for (uint32_t i = 0; rc == 0 && i < header.num_desc; i++) {
		struct vmm_stat stat;
		uint16_t size;

		rc = read_stat(fd, &header, i, &stat, &size, err);
		if (rc == 0 && size == 1 && count++ < capacity)
			ret[count - 1] = stat;
	}
	return rc ? rc : (int)count;
}

int stats_read(int fd, struct vmm_stat *ret, uint32_t capacity, struct vmm_error *err)
{
	int stats = kvm_ioctl(fd, KVM_GET_STATS_FD, NULL, "KVM_GET_STATS_FD", err);
	int rc;

	if (stats < 0)
		return stats;
	rc = read_stats(stats, ret, capacity, err);
	close(stats);
	return rc;
}
