// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/torn.c - what lies in a file before its record's payload is put over it, when the programs have not
 * watched the file all along: after a power cut, a rescue boot, with the disk in another machine.  Owns the question
 * whether a move that was cut short has left it so, and the keeping of what none leaves.
 *
 * A move cuts the file, and then writes plaintext or payload to it.  So what it leaves is, sector by sector, one of
 * these or zeros, and nothing of that is in danger: the payload has it all.  Other bytes are somebody's, or the
 * disk's.  No clock tells which: a change of times or owners is no other content, and clocks are set.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "loader/agent/io.h"
#include "loader/agent/record.h"

#define SECTOR 512 /* what a disk writes whole */
#define PIECE 4096
#define VERSION_1_MOST (1 << 20) /* of that format each look at a part reads everything */

struct look {
	const struct tk_file *file;
	const struct tk_keyring *keys;
	int payload;
	struct tk_reader *plain; /* NULL: not asked for yet */
};

static void look_end(struct look *look)
{
	tk_reader_free(look->plain);
	tk_fd_close(&look->payload);
}

/* Beyond their ends both go on with zeros, as a file does that was made longer. */
static int payload_at(const struct look *look, uint64_t at, uint8_t piece[PIECE])
{
	uint64_t size = look->file->record.payload_size;
	size_t len = at >= size ? 0 : size - at < PIECE ? (size_t)(size - at) : PIECE;
	ssize_t n = tk_read_at(look->payload, piece, len, TK_PAYLOAD + (off_t)at);

	if (n < 0)
		return (int)n;
	memset(piece + n, 0, PIECE - (size_t)n);
	return 0;
}

static int plain_at(struct look *look, uint64_t at, uint8_t piece[PIECE])
{
	size_t len = 0;
	int err = look->plain ? 0
			      : tk_reader_open(look->keys, look->payload, TK_PAYLOAD, look->file->record.payload_size,
					       &look->plain);

	/* Too much to look at: then it is kept, needed or not. */
	if (!err && (tk_reader_header(look->plain)->version > 1 ||
		     tk_reader_header(look->plain)->original_size <= VERSION_1_MOST))
		err = tk_reader_read(look->plain, piece, PIECE, at, &len);
	if (!err)
		memset(piece + len, 0, PIECE - len);
	return err;
}

static bool sectors_are(const uint8_t *found, const uint8_t *one, const uint8_t *other, size_t len)
{
	static const uint8_t zeros[SECTOR];

	for (size_t at = 0; at < len; at += SECTOR) {
		size_t n = len - at < SECTOR ? len - at : SECTOR;

		if (memcmp(found + at, zeros, n) && memcmp(found + at, one + at, n) && memcmp(found + at, other + at, n))
			return false;
	}
	return true;
}

/*
 * Can a move have left this?  1, 0; -errno: it cannot be told now, for want of the key, say.  Where the administrator
 * has worked unguarded he may have cut it as well: then only if it is all there.
 */
static int is_torn(struct tk_agent *agent, const struct tk_file *file, int fd, uint64_t size)
{
	__attribute__((cleanup(look_end))) struct look look = {
		.file = file,
		.keys = agent->keys,
		.payload = tk_record_payload(file->volume, &file->record),
	};
	uint8_t found[PIECE], sealed[PIECE], plain[PIECE];

	if (look.payload < 0)
		return look.payload;
	if (file->unguarded && size != file->record.plain_size)
		return 0;
	for (uint64_t at = 0; at < size; at += PIECE) {
		ssize_t n = tk_read_at(fd, found, PIECE, (off_t)at);
		int err;

		if (n < 0)
			continue; /* there is nothing to lose in what cannot be read */
		err = payload_at(&look, at, sealed);
		if (!err && (file->unguarded || !sectors_are(found, sealed, sealed, (size_t)n))) {
			err = plain_at(&look, at, plain);
			if (!err && (file->unguarded ? memcmp(found, plain, (size_t)n) != 0
						     : !sectors_are(found, sealed, plain, (size_t)n)))
				return 0;
		}
		if (err)
			return err;
	}
	return 1;
}

/* A TAKA file in the journal, durably: what it was may be plaintext that somebody has laid there. */
static int save(struct tk_agent *agent, struct tk_file *file, int fd, uint64_t size)
{
	const struct tk_recipe *recipe = &file->record.recipe;
	struct tk_params params = {
		.algorithm = (enum tk_algorithm)recipe->algorithm,
		.version = 2,
		.chunk_log2 = recipe->chunk_log2,
		.key_id = recipe->key_id,
	};
	char path[192], name[TK_RECORD_NAME];
	TK_AUTO_DRAFT draft = {.fd = -1};
	int err = tk_draft_new(file->volume, &draft);

	if (!err)
		err = tk_encrypt_fd(agent->keys, &params, fd, 0, size, draft.fd, 0, NULL, NULL, &size);
	if (!err)
		err = tk_draft_found(&draft, &file->record, name);
	if (err)
		return err;
	file->saved = true;
	tk_file_name(file, path, sizeof(path));
	tk_report_found(agent, file->volume, name, path);
	return 0;
}

/* The file's content stays.  It may be whole by itself, a backup that was brought back: no crash leaves that. */
static int set_aside(struct tk_agent *agent, struct tk_file *file, int fd)
{
	char path[192], name[TK_RECORD_NAME];
	int err = fsync(fd) ? -errno : tk_record_aside(file->volume, &file->record, name);

	if (err)
		return err;
	file->has_record = false;
	file->unsynced = true;
	tk_file_name(file, path, sizeof(path));
	tk_report_aside(agent, file->volume, name, path);
	return 1;
}

int tk_torn_yield(struct tk_agent *agent, struct tk_file *file, int fd)
{
	struct stat st;
	int err;

	if (file->saved)
		return 0;
	if (fstat(fd, &st))
		return -errno;
	err = is_torn(agent, file, fd, (uint64_t)st.st_size);
	if (err)
		return err < 0 ? err : 0;
	err = tk_verify_fd(agent->keys, fd, 0, (uint64_t)st.st_size, NULL, NULL);
	if (err && err > -TK_E_FIRST)
		return err;
	if (!err || file->unguarded)
		return set_aside(agent, file, fd);
	return save(agent, file, fd, (uint64_t)st.st_size);
}
