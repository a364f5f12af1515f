// SPDX-License-Identifier: GPL-2.0-only
/* Whole machines on this host's KVM, by the public interface alone: what tests of them share. */
#ifndef KTSTR_VMM_MACHINE_H
#define KTSTR_VMM_MACHINE_H

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "ktstr_vmm.h"
#include "vmm_test.h"

#define CODE_AT 0x1000000ULL
#define COUNTER 0x1100000ULL
#define TIMEOUT_MS 60000

/* out 0x604, SLP_EN | SLP_TYP 5; then wait for the end */
#define POWER_OFF "\x66\xba\x04\x06\x66\xb8\x00\x34\x66\xef\xf4\xeb\xfd"
#define RESET "\xb0\xfe\xe6\x64\xf4\xeb\xfd" /* out 0x64, 0xfe */
#define TRIPLE_FAULT "\x0f\x0b" /* ud2, and the IDT is empty */
#define SPIN "\xeb\xfe"
#define HALT "\xf4\xeb\xfd"
#define COUNT "\x48\xff\x04\x25\x00\x00\x10\x01\xeb\xf6" /* inc qword [COUNTER]; again */
#define SET_RAX "\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11" SPIN

/* TSan has a thread of its own and maps more and more. */
#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

static struct vmm_error error;

/* The path of an ELF kernel that has this code; it lives as long as the program. */
static inline const char *kernel_of(const char *code, size_t bytes)
{
	static char path[64];
	struct {
		Elf64_Ehdr elf;
		Elf64_Phdr segment;
		uint8_t code[4096];
	} file = {
		.elf = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
			 .e_machine = EM_X86_64, .e_entry = CODE_AT, .e_phoff = 64, .e_phentsize = 56, .e_phnum = 1 },
		.segment = { .p_type = PT_LOAD, .p_offset = 120, .p_paddr = CODE_AT, .p_filesz = 4096, .p_memsz = 4096 },
	};
	int fd = memfd_create("kernel", 0);

	memcpy(file.code, code, bytes);
	CHECK(write(fd, &file, sizeof(file)) == sizeof(file));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static inline struct vmm_config config_of(const char *code, size_t bytes)
{
	return (struct vmm_config){
		.kernel = kernel_of(code, bytes), .command_line = "", .nodes = 1, .llcs = 1, .cores = 2, .threads = 1,
		.memory_bytes = 64 << 20, .console_fd = -1, .channel_fd = -1, .snapshot_memory_fd = -1,
		.snapshot_state_fd = -1, .console_limit = 1 << 20,
		.channel_limit = 1 << 20,
	};
}

#define CONFIG(code) config_of(code, sizeof(code) - 1)

/* What vmm_guest.c does for this command; it lies next to the program. */
static inline struct vmm_config guest_config(const char *command)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 16);
	struct vmm_config config = CONFIG(HALT);

	CHECK(n > 0);
	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, "vmm_guest");
	config.kernel = path;
	config.command_line = command;
	config.deadline_ms = TIMEOUT_MS;
	return config;
}

static inline struct vmm *create(const struct vmm_config *config)
{
	struct vmm *vmm = vmm_create(config, &error);

	if (!vmm)
		fprintf(stderr, "vmm_create: %s\n", error.text);
	CHECK(vmm);
	return vmm;
}

static inline struct vmm *start(const struct vmm_config *config)
{
	struct vmm *vmm = create(config);

	CHECK(vmm_start(vmm, &error) == 0);
	return vmm;
}

/* Run to its end, which has to be for this reason. */
static inline void run_to(const struct vmm_config *config, enum vmm_reason reason, const char *words)
{
	struct vmm *vmm = start(config);
	struct vmm_exit end;

	CHECK(vmm_wait(vmm, TIMEOUT_MS, &end) == 1);
	if (end.reason != (uint32_t)reason || !strstr(end.text, words))
		fprintf(stderr, "ended with reason %u: %s\n", end.reason, end.text);
	CHECK(end.reason == (uint32_t)reason && strstr(end.text, words));
	vmm_destroy(vmm);
}

static inline void refused(const struct vmm_config *config, int code, const char *words)
{
	struct vmm *vmm = vmm_create(config, &error);

	if (vmm || error.code != code || !strstr(error.text, words))
		fprintf(stderr, "%s: %d %s\n", vmm ? "created" : "refused", error.code, error.text);
	CHECK(!vmm && error.code == code && strstr(error.text, words));
}

static inline uint64_t counter(struct vmm *vmm)
{
	uint64_t value;

	CHECK(vmm_read(vmm, COUNTER, &value, sizeof(value), &error) == 0);
	return value;
}

static inline void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static inline void until_counter_passes(struct vmm *vmm, uint64_t value)
{
	for (int i = 0; i < 4000 && counter(vmm) <= value; i++)
		nap();
	CHECK(counter(vmm) > value);
}

static inline uint32_t entries(const char *path)
{
	DIR *folder = opendir(path);
	uint32_t n = 0;

	while (readdir(folder))
		n++;
	closedir(folder);
	return n;
}

/* A thread that was joined is seen there for a moment more. */
static inline bool threads_become(uint32_t expected)
{
	for (int i = 0; i < 400 && entries("/proc/self/task") != expected; i++)
		nap();
	return entries("/proc/self/task") == expected;
}

static inline uint32_t mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uint32_t n = 0;

	for (int c; (c = fgetc(maps)) != EOF;)
		n += c == '\n';
	fclose(maps);
	return n;
}

#endif
