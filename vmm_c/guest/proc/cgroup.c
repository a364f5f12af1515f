// SPDX-License-Identifier: GPL-2.0-only
/* cgroup v2: one directory per declared cgroup under /sys/fs/cgroup/ktstr, or under the scheduler's cgroup parent. */
#include "proc/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
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
#include "proc/cgroup_tree.h"
#include "proc/limits.h"
#include "proc/offline.h"
#include "proc/partition.h"
#include "wire/errors.h"

#define ROOT "/sys/fs/cgroup"
#define PARENT_ARGUMENT "ktstr.cgroup="
#define SCENARIO_BYTES 320 /* the host takes no longer parent */
#define PATH_BYTES CGROUP_DIR_BYTES

struct cgroup {
	bool there;
	int fd;
	const char *partition; /* of which kind it is the root; NULL: of none */
	struct made made;
	const struct ktstr_cpumask *cpus; /* as last set; NULL: whatever its parent has */
};

static const struct program *program;
static struct cgroup cgroups[KTSTR_MAX_CGROUPS];
static char controllers[64] = "+cpuset";
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

static bool make_scenario(void)
{
	const char *slash = scenario + sizeof(ROOT) - 1;
	char dir[SCENARIO_BYTES];

	do {
		slash = strchr(slash + 1, '/');
		snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - scenario) : SCENARIO_BYTES, scenario);
		if (!make_dir(dir) || !enable_controllers(dir))
			return false;
	} while (slash);
	return true;
}

/* Whether a word is in the list: "cpu" is also how "cpuset" begins. */
static bool is_listed(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
			return true;
	return false;
}

/* Those whose flag is set; false where the kernel lacks one that the scenario cannot do without. */
static bool choose_controllers(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *name, *option;
		bool is_optional;
	} all[] = {
		{ 0, "cpuset", "CONFIG_CPUSETS", false },
		{ KTSTR_PROGRAM_CPU_CONTROLLER, "cpu", "CONFIG_FAIR_GROUP_SCHED", true },
		{ KTSTR_PROGRAM_MEMORY_CONTROLLER, "memory", "CONFIG_MEMCG", false },
		{ KTSTR_PROGRAM_IO_CONTROLLER, "io", "CONFIG_BLK_CGROUP", false },
		{ KTSTR_PROGRAM_PIDS_CONTROLLER, "pids", "CONFIG_CGROUP_PIDS", false },
	};
	char available[512] = "";
	size_t used = 0;

	sysfile_read(ROOT "/cgroup.controllers", available, sizeof(available));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if ((flags & all[i].flag) != all[i].flag)
			continue;
		if (is_listed(available, all[i].name))
			used += (size_t)snprintf(controllers + used, sizeof(controllers) - used, "%s+%s",
						 used ? " " : "", all[i].name);
		else if (!all[i].is_optional) {
			run_error("this kernel has no %s controller on cgroup v2 (%s)", all[i].name, all[i].option);
			return false;
		}
	}
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
	if (choose_controllers(KTSTR_PROGRAM_CPU_CONTROLLER) && enable_controllers(ROOT))
		make_scenario();
}

void cgroup_setup(const struct program *of)
{
	program = of;
	if (choose_controllers(of->header->flags) && enable_controllers(ROOT))
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
	struct ktstr_cpumask effective, there = *wanted;
	int error;

	if (strcmp(file, "cpuset.cpus") == 0)
		there = offline_without(wanted);
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
	if (!cpumask_equal(&effective, &there)) {
		cpulist_format(&there, asked, sizeof(asked));
		run_error("%s is %s, asked for %s", path, got, asked);
		return false;
	}
	return true;
}

bool cgroup_set_cpus(uint32_t id, const struct ktstr_cpumask *cpus)
{
	const char *partition = cgroups[id].partition;
	char dir[PATH_BYTES];

	path_of(id, dir, sizeof(dir));
	/* A partition cannot have the last CPUs that are no partition's in place of its own: it is none meanwhile. */
	if (partition && !partition_set(dir, "member", NULL))
		return false;
	if (!set_list(dir, "cpuset.cpus", cpus))
		return false;
	cgroups[id].cpus = cpus;
	return !partition || partition_set(dir, partition, cpus);
}

void cgroup_file(uint32_t id, const char *file, char ret[CGROUP_PATH_BYTES])
{
	snprintf(ret, CGROUP_PATH_BYTES, "%s/%s/%s", scenario, name_of(id), file);
}

bool cgroup_write(uint32_t id, const char *file, const char *text)
{
	char path[CGROUP_PATH_BYTES];
	bool good;
	int error;

	if (strcmp(file, "cpuset.cpus.partition") == 0) {
		path_of(id, path, sizeof(path));
		good = partition_set(path, text, cgroups[id].cpus);
		cgroups[id].partition = good && strcmp(text, "member") != 0 ? text : NULL;
		return good;
	}
	cgroup_file(id, file, path);
	error = sysfile_write(path, text);
	if (error)
		run_error("cannot write %s to %s: %s", text, path, strerror(-error));
	if (!error && strcmp(file, "cgroup.freeze") == 0 && strcmp(text, "1") == 0) {
		path_of(id, path, sizeof(path));
		limits_await_frozen(path);
	}
	return error == 0;
}

void cgroup_clear_cpus(uint32_t id)
{
	if (cgroup_write(id, "cpuset.cpus", "\n"))
		cgroups[id].cpus = NULL;
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
	if ((access(scenario, F_OK) < 0 && !make_scenario()) || !make_parents(name_of(id)) || !make_dir(dir) ||
	    (cpus && !cgroup_set_cpus(id, cpus)) || (mems && !set_list(dir, "cpuset.mems", mems)))
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

static void forget(uint32_t id)
{
	if (cgroups[id].there && cgroups[id].fd >= 0)
		close(cgroups[id].fd);
	cgroups[id] = (struct cgroup){ .fd = -1 };
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

void cgroup_lift(int32_t id)
{
	char dir[PATH_BYTES];
	const char *slash;

	if (id < 0 || !cgroups[id].there)
		return;
	for (slash = strchr(name_of((uint32_t)id), '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%s/%.*s", scenario, (int)(slash - name_of((uint32_t)id)),
			 name_of((uint32_t)id));
		limits_lift(dir, true);
	}
	path_of((uint32_t)id, dir, sizeof(dir));
	limits_lift(dir, true);
}

void cgroup_put_back(void)
{
	limits_put_back();
}

/* It, and whatever is in it. */
static void forget_tree(uint32_t id)
{
	size_t length = strlen(name_of(id));

	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_CGROUPS); i++)
		if (i != id && cgroups[i].there && strncmp(name_of(i), name_of(id), length) == 0 &&
		    name_of(i)[length] == '/')
			forget(i);
	forget(id);
}

void cgroup_remove(uint32_t id)
{
	char dir[PATH_BYTES];

	if (!cgroups[id].there)
		return;
	path_of(id, dir, sizeof(dir));
	forget_tree(id);
	cgroup_tree_remove(dir, true);
	remove_parents(name_of(id));
}

void cgroup_remove_all(void)
{
	for (uint32_t i = 0; i < program_count(program, KTSTR_TABLE_CGROUPS); i++)
		forget(i);
	cgroup_tree_remove(scenario, !has_parent);
}
