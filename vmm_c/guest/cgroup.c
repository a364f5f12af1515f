// SPDX-License-Identifier: GPL-2.0-only
/* cgroup v2: one directory per declared cgroup under /sys/fs/cgroup/ktstr. */
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpulist.h"
#include "report.h"
#include "run.h"
#include "sysfile.h"

#define ROOT "/sys/fs/cgroup"
#define SCENARIO ROOT "/ktstr"
#define PATH_BYTES 512
#define DRAIN_NS UINT64_C(2000000000)

struct cgroup {
	int fd;
	bool has_cpus;
	struct ktstr_cpumask cpus;
};

static struct cgroup cgroups[KTSTR_MAX_CGROUPS];
static int32_t cgroup_count;
static const char *controllers = "+cpuset";

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

void cgroup_setup(bool cpu_controller)
{
	char available[512];

	if (sysfile_read(ROOT "/cgroup.controllers", available, sizeof(available)) < 0 ||
	    !strstr(available, "cpuset")) {
		run_error("this kernel has no cpuset controller on cgroup v2 (CONFIG_CPUSETS)");
		return;
	}
	/* "cpu" is also how "cpuset" begins: the controller of its own is a word of its own. */
	strncat(available, " ", sizeof(available) - strlen(available) - 1);
	if (cpu_controller && (strncmp(available, "cpu ", 4) == 0 || strstr(available, " cpu ")))
		controllers = "+cpuset +cpu";
	if (enable_controllers(ROOT) && make_dir(SCENARIO))
		enable_controllers(SCENARIO);
}

/* For a/b/c: make and delegate a and a/b. */
static bool make_parents(const char *name)
{
	char dir[PATH_BYTES];

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), SCENARIO "/%.*s", (int)(slash - name), name);
		if (!make_dir(dir) || !enable_controllers(dir))
			return false;
	}
	return true;
}

static bool set_cpus(const char *dir, const struct ktstr_cpumask *cpus)
{
	char asked[CPULIST_BYTES], got[CPULIST_BYTES], path[PATH_BYTES + 32];
	struct ktstr_cpumask effective;
	int error;

	cpulist_format(cpus, asked, sizeof(asked));
	snprintf(path, sizeof(path), "%s/cpuset.cpus", dir);
	error = sysfile_write(path, asked);
	if (error) {
		run_error("cannot write %s to %s: %s", asked, path, strerror(-error));
		return false;
	}
	snprintf(path, sizeof(path), "%s/cpuset.cpus.effective", dir);
	if (sysfile_read(path, got, sizeof(got)) < 0 || cpulist_parse(got, &effective) != 0) {
		run_error("cannot read %s", path);
		return false;
	}
	if (!cpumask_equal(&effective, cpus)) {
		run_error("%s is %s, asked for %s", path, got, asked);
		return false;
	}
	return true;
}

void cgroup_add(const struct ktstr_op_add_cgroup *op)
{
	struct cgroup *cg = &cgroups[cgroup_count];
	char dir[PATH_BYTES];

	*cg = (struct cgroup){ .fd = -1, .has_cpus = op->has_cpus, .cpus = op->cpus };
	cgroup_count++;
	snprintf(dir, sizeof(dir), SCENARIO "/%s", op->name);
	if (!make_parents(op->name))
		return;
	/* A parent of an earlier one may exist already, undeclared until now. */
	if (!make_dir(dir) || (op->has_cpus && !set_cpus(dir, &op->cpus)))
		return;
	cg->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg->fd < 0)
		run_error("cannot open cgroup %s: %s", dir, strerror(errno));
}

int cgroup_fd(int32_t index)
{
	return index < 0 ? -1 : cgroups[index].fd;
}

const struct ktstr_cpumask *cgroup_cpus(int32_t index)
{
	return index >= 0 && cgroups[index].has_cpus ? &cgroups[index].cpus : NULL;
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

static bool remove_tree(const char *dir, uint64_t until)
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
		       remove_tree(child, until);
	}
	closedir(entries);
	return good && remove_when_empty(dir, until);
}

void cgroup_remove_all(void)
{
	for (int32_t i = 0; i < cgroup_count; i++) {
		if (cgroups[i].fd >= 0)
			close(cgroups[i].fd);
		cgroups[i].fd = -1;
	}
	sysfile_write(SCENARIO "/cgroup.kill", "1");
	remove_tree(SCENARIO, now_ns() + DRAIN_NS);
}
