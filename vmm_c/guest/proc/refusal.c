// SPDX-License-Identifier: GPL-2.0-only
#include "proc/refusal.h"

#include <stdio.h>
#include <string.h>

bool refusal_matters(uint32_t command)
{
	return command == BPF_PROG_LOAD || command == BPF_MAP_CREATE || command == BPF_LINK_CREATE ||
	       command == BPF_MAP_UPDATE_ELEM || command == BPF_BTF_LOAD;
}

static const char *map_name(const struct refusal *refusal, uint32_t fd)
{
	return fd < REFUSAL_MAPS ? refusal->maps[fd] : "";
}

/* Names come from the loader: they may lack their end. */
static void set_name(char *ret, const char *name)
{
	snprintf(ret, BPF_OBJ_NAME_LEN, "%.*s", BPF_OBJ_NAME_LEN - 1, name);
}

static const char *name_of(const struct refusal *refusal, uint32_t command, const union bpf_attr *attr)
{
	switch (command) {
	case BPF_PROG_LOAD:
		return attr->prog_name;
	case BPF_MAP_CREATE:
		return attr->map_name;
	case BPF_LINK_CREATE:
		return map_name(refusal, attr->link_create.prog_fd); /* of a struct_ops: its map */
	case BPF_MAP_UPDATE_ELEM:
		return map_name(refusal, attr->map_fd);
	default:
		return "";
	}
}

static void describe_map(struct refusal *refusal, const union bpf_attr *attr)
{
	int n = snprintf(refusal->log, sizeof(refusal->log),
			 "map of type %u, %u bytes for a key, %u for a value, %u entries, flags %#x", attr->map_type,
			 attr->key_size, attr->value_size, attr->max_entries, attr->map_flags);

	refusal->log_bytes = (size_t)n;
}

void refusal_take(struct refusal *refusal, uint32_t command, const union bpf_attr *attr, long result)
{
	refusal->calls++;
	if (!refusal_matters(command))
		return;
	refusal->log_bytes = 0;
	refusal->command = KTSTR_REFUSED_NOTHING;
	if (result < 0) {
		refusal->command = command;
		refusal->error = (int32_t)-result;
		set_name(refusal->name, name_of(refusal, command, attr));
		if (command == BPF_MAP_CREATE)
			describe_map(refusal, attr);
	} else if (command == BPF_MAP_CREATE && result < REFUSAL_MAPS) {
		set_name(refusal->maps[result], attr->map_name);
	}
}

void refusal_log(struct refusal *refusal, const char *text, size_t bytes)
{
	size_t room = sizeof(refusal->log), kept = refusal->log_bytes;

	if (bytes > room) {
		text += bytes - room;
		bytes = room;
	}
	if (kept > room - bytes) {
		memmove(refusal->log, refusal->log + kept - (room - bytes), room - bytes);
		kept = room - bytes;
	}
	memcpy(refusal->log + kept, text, bytes);
	refusal->log_bytes = kept + bytes;
}

const char *refusal_words(const struct refusal *refusal, size_t *bytes)
{
	const char *text = refusal->log, *line;

	*bytes = refusal->log_bytes;
	if (*bytes < sizeof(refusal->log))
		return text;
	line = memchr(text, '\n', *bytes);
	if (line && line + 1 < text + *bytes) {
		*bytes -= (size_t)(line + 1 - text);
		text = line + 1;
	}
	return text;
}
