// SPDX-License-Identifier: GPL-2.0-only
/* cgroup v2: one directory per declared cgroup under /sys/fs/cgroup/ktstr, or under the scheduler's cgroup parent. */
#include "proc/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpulist.h"
#include "base/run.h"
#include "base/sysfile.h"
#include "wire/errors.h"

#define ROOT "/sys/fs/cgroup"
#define PARENT_ARGUMENT "ktstr.cgroup="
#define SCENARIO_BYTES 320 /* the host takes no longer parent */
#define PATH_BYTES 512
#define DRAIN_NS UINT64_C(2000000000)

struct cgroup {
	bool there;
	int fd;
	struct made made;
	const struct ktstr_cpumask *cpus; /* as last set; NULL: whatever its parent has */
};

static const struct program *program;
static struct cgroup cgroups[KTSTR_MAX_CGROUPS];
static const char *controllers = "+cpuset";
static char scenario[SCENARIO_BYTES] = ROOT "/ktstr";
static bool has_parent; /* the scheduler's: what is in it goes, it stays */

static bool enable_controllers(const char *dir)
{
	char path[PATH_BYTES + 32];
	int error;

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", dir);
	error = sysfile_write(path, controllers);
	if (error)
		run_error("cannot write %s to %s: %s", controllers, path, strerror(-error));
	return error == 0;
}

static bool make_dir(const char *dir)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST) {
		run_error("cannot make cgroup %s: %s", dir, strerror(errno));
		return false;
	}
	return true;
}

/* Once at the begin, and again when all was removed. */
static bool make_scenario(void)
{
	const char *slash = scenario + sizeof(ROOT) - 1;
	char dir[SCENARIO_BYTES];

	if (access(scenario, F_OK) == 0)
		return true;
	do {
		slash = strchr(slash + 1, '/');
		snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - scenario) : SCENARIO_BYTES, scenario);
		if (!make_dir(dir) || !enable_controllers(dir))
			return false;
	} while (slash);
	return true;
}

/* False where the kernel has no cpusets. */
static bool choose_controllers(bool cpu)
{
	char available[512];

	if (sysfile_read(ROOT "/cgroup.controllers", available, sizeof(available)) < 0 ||
	    !strstr(available, "cpuset")) {
		run_error("this kernel has no cpuset controller on cgroup v2 (CONFIG_CPUSETS)");
		return false;
	}
	/* "cpu" is also how "cpuset" begins: the controller of its own is a word of its own. */
	strncat(available, " ", sizeof(available) - strlen(available) - 1);
	if (cpu && (strncmp(available, "cpu ", 4) == 0 || strstr(available, " cpu ")))
		controllers = "+cpuset +cpu";
	return true;
}

void cgroup_make_parent(void)
{
	char line[4096]; /* the kernel's command line: twice what x86 takes */
	const char *path;

	if (sysfile_read("/proc/cmdline", line, sizeof(line)) < 0 || !(path = strstr(line, " " PARENT_ARGUMENT)))
		return;
	path += sizeof(PARENT_ARGUMENT); /* with the space, less the NUL */
	snprintf(scenario, sizeof(scenario), ROOT "%.*s", (int)strcspn(path, " "), path);
	has_parent = true;
	if (choose_controllers(true) && enable_controllers(ROOT))
		make_scenario();
}

void cgroup_setup(const struct program *of, bool cpu_controller)
{
	program = of;
	if (choose_controllers(cpu_controller) && enable_controllers(ROOT))
		make_scenario();
}

/* For a/b/c: make and delegate a and a/b. */
static bool make_parents(const char *name)
{
	char dir[PATH_BYTES];

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%s/%.*s", scenario, (int)(slash - name), name);
		if (!make_dir(dir) || !enable_controllers(dir))
			return false;
	}
	return true;
}

static const char *name_of(uint32_t id)
{
	return program_string(program, program->cgroups[id].name);
}

static void path_of(uint32_t id, char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s", scenario, name_of(id));
}

/* What the kernel then says must be what was asked: it silently narrows a list to the parent's. */
static bool set_list(const char *dir, const char *file, const struct ktstr_cpumask *wanted)
{
	char asked[CPULIST_BYTES], got[CPULIST_BYTES], path[PATH_BYTES + 64];
	struct ktstr_cpumask effective;
	int error;

	cpulist_format(wanted, asked, sizeof(asked));
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	error = sysfile_write(path, asked);
	if (error) {
		run_error("cannot write %s to %s: %s", asked, path, strerror(-error));
		return false;
	}
	snprintf(path, sizeof(path), "%s/%s.effective", dir, file);
	if (sysfile_read(path, got, sizeof(got)) < 0 || cpulist_parse(got, &effective) != 0) {
		run_error("cannot read %s", path);
		return false;
	}
	if (!cpumask_equal(&effective, wanted)) {
		run_error("%s is %s, asked for %s", path, got, asked);
		return false;
	}
	return true;
}

bool cgroup_set_cpus(uint32_t id, const struct ktstr_cpumask *cpus)
{
	char dir[PATH_BYTES];

	path_of(id, dir, sizeof(dir));
	if (!set_list(dir, "cpuset.cpus", cpus))
		return false;
	cgroups[id].cpus = cpus;
	return true;
}

void cgroup_add(uint32_t id, struct made made)
{
	const struct ktstr_cgroup *declared = &program->cgroups[id];
	const struct ktstr_cpumask *cpus = program_mask(program, declared->cpus);
	const struct ktstr_cpumask *mems = program_mask(program, declared->mems);
	struct cgroup *cg = &cgroups[id];
	char dir[PATH_BYTES];

	*cg = (struct cgroup){ .there = true, .fd = -1, .made = made };
	path_of(id, dir, sizeof(dir));
	/* A parent of an earlier one may exist already, undeclared until now. */
	if (!make_scenario() || !make_parents(name_of(id)) || !make_dir(dir) || (cpus && !cgroup_set_cpus(id, cpus)) ||
	    (mems && !set_list(dir, "cpuset.mems", mems)))
		return;
	cg->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg->fd < 0)
		run_error("cannot open cgroup %s: %s", dir, strerror(errno));
}

int cgroup_fd(int32_t id)
{
	return id < 0 || !cgroups[id].there ? -1 : cgroups[id].fd;
}

/* Into its cgroup from birth: moving it later would cost an RCU grace period each. */
pid_t cgroup_fork(int fd)
{
	struct clone_args args = { .exit_signal = SIGCHLD };

	if (fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)fd;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

const char *cgroup_name(int32_t id)
{
	return id < 0 ? "the agent's" : name_of((uint32_t)id);
}

int cgroup_move(int32_t id, int32_t pid)
{
	char path[PATH_BYTES + 32] = ROOT, text[16];

	if (id >= 0)
		path_of((uint32_t)id, path, PATH_BYTES);
	strcat(path, "/cgroup.procs");
	snprintf(text, sizeof(text), "%d", pid);
	return sysfile_write(path, text);
}

const struct ktstr_cpumask *cgroup_cpus(int32_t id)
{
	return id >= 0 ? cgroups[id].cpus : NULL;
}

const struct made *cgroup_made(uint32_t id)
{
	return cgroups[id].there ? &cgroups[id].made : NULL;
}

/* The kernel may take a moment to let go of a task that was already reaped. */
static bool remove_when_empty(const char *dir, uint64_t until)
{
	char path[PATH_BYTES + 32];
	int fd;

	if (rmdir(dir) == 0)
		return true;
	snprintf(path, sizeof(path), "%s/cgroup.events", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && errno == EBUSY && now_ns() < until) {
		struct pollfd change = { .fd = fd, .events = POLLPRI };
		char events[128];

		/* kernfs reports a change since the last read. */
		if (pread(fd, events, sizeof(events), 0) < 0)
			break;
		if (rmdir(dir) == 0) {
			close(fd);
			return true;
		}
		if (errno == EBUSY) {
			poll(&change, 1, 10);
			errno = EBUSY;
		}
	}
	run_error("cannot remove cgroup %s: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

/* itself: beside all below it. */
static bool remove_tree(const char *dir, bool itself, uint64_t until)
{
	DIR *entries = opendir(dir);
	struct dirent *entry;
	bool good = true;

	if (!entries)
		return errno == ENOENT;
	while (good && (entry = readdir(entries))) {
		char child[PATH_BYTES];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		good = snprintf(child, sizeof(child), "%s/%s", dir, entry->d_name) < (int)sizeof(child) &&
		       remove_tree(child, true, until);
	}
	closedir(entries);
	return good && (!itself || remove_when_empty(dir, until));
}

static void forget(uint32_t id)
{
	if (cgroups[id].there && cgroups[id].fd >= 0)
		close(cgroups[id].fd);
	cgroups[id] = (struct cgroup){ .fd = -1 };
}

static void kill_and_remove(const char *dir, bool itself)
{
	char path[PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/cgroup.kill", dir);
	sysfile_write(path, "1");
	remove_tree(dir, itself, now_ns() + DRAIN_NS);
}

static bool is_declared(const char *name)
{
	for (uint32_t id = 0; id < program_count(program, KTSTR_TABLE_CGROUPS); id++)
		if (cgroups[id].there && strcmp(name_of(id), name) == 0)
			return true;
	return false;
}

/* Those that were made on the way to it, and now lead nowhere. */
static void remove_parents(const char *name)
{
	char parent[KTSTR_CGROUP_NAME_BYTES], dir[PATH_BYTES];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", name);
	while ((slash = strrchr(parent, '/'))) {
		*slash = '\0';
		snprintf(dir, sizeof(dir), "%s/%s", scenario, parent);
		if (is_declared(parent) || rmdir(dir) < 0)
			return;
	}
}

void cgroup_remove(uint32_t id)
{
	char dir[PATH_BYTES];

	if (!cgroups[id].there)
		return;
	path_of(id, dir, sizeof(dir));
	forget(id);
	kill_and_remove(dir, true);
	remove_parents(name_of(id));
}

void cgroup_remove_all(void)
{
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_CGROUPS); i++)
		forget(i);
	kill_and_remove(scenario, !has_parent);
}
