// SPDX-License-Identifier: GPL-2.0-only
#include "ops/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/run.h"
#include "base/sysfile.h"
#include "ops/op.h"
#include "proc/offline.h"
#include "wire/channel.h"
#include "wire/errors.h"

/* What a file held before it was written. The last one written is the first to be restored. */
struct before {
	struct before *next;
	const char *path;
	uint32_t scope;
	char *text; /* all of it: of some files an empty line is another word than none */
};

static struct before *written;

static bool remember(const char *path, uint32_t scope)
{
	struct before *before = malloc(sizeof(*before));
	char *text = before ? sysfile_read_whole(path) : NULL;

	if (!text) {
		run_error("cannot read %s, which is to be restored: %s", path, strerror(errno));
		free(before);
		return false;
	}
	before->text = text;
	before->path = path;
	before->scope = scope;
	before->next = written;
	written = before;
	return true;
}

static void write_text(const char *path, const char *text)
{
	int error = sysfile_write(path, text);

	if (error)
		run_error("cannot write %s to %s: %s", text, path, strerror(-error));
	else
		offline_note(path);
}

void files_restore(uint32_t scope)
{
	for (struct before **at = &written; *at;) {
		struct before *before = *at;

		if (scope && before->scope != scope) {
			at = &before->next;
			continue;
		}
		write_text(before->path, before->text);
		*at = before->next;
		free(before->text);
		free(before);
	}
}

static void describe_path(const struct program *program, const struct ktstr_op *op, char *ret, size_t size)
{
	snprintf(ret, size, "%s", program_string(program, op->path));
}

static void run_write(const struct moment *now, const struct ktstr_op *op)
{
	const char *path = program_string(now->program, op->path);

	if (!(op->flags & KTSTR_OP_FLAG_RESTORE) || remember(path, now->here.scope))
		write_text(path, program_string(now->program, op->text));
}

const struct op_ops op_write = { NULL, run_write, describe_path };

void files_send(const char *path, uint32_t op)
{
	static uint32_t reads;
	struct ktstr_msg_read msg = { .at_ns = run_at_ns(), .op = op };
	char *text = sysfile_read_whole(path);
	size_t bytes = text ? strlen(text) : 0;

	msg.bytes = (uint32_t)bytes;
	if (!text)
		run_error("cannot read %s: %s", path, strerror(errno));
	else if (reads++ < KTSTR_MAX_READS)
		channel_send(KTSTR_MSG_READ, &msg, sizeof(msg), text,
			     bytes < KTSTR_MAX_TEXT_BYTES ? bytes : KTSTR_MAX_TEXT_BYTES);
	free(text);
}

static void run_read(const struct moment *now, const struct ktstr_op *op)
{
	files_send(program_string(now->program, op->path), now->index);
}

const struct op_ops op_read = { NULL, run_read, describe_path };
