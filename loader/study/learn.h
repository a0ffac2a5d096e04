/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/learn.h - from recorded deeds to rules that permit exactly these: who,
 * in which program, did what to which paths, put together where it is the same.
 * Never prints.
 */
#ifndef TK_LOADER_LEARN_H
#define TK_LOADER_LEARN_H

#include <cjson/cJSON.h>

#include "loader/study/boxes.h"
#include "loader/study/recording.h"

enum tk_generalise {
	TK_LEARN_NONE, /* the paths themselves */
	TK_LEARN_SETS, /* files of the same suffix in the same directory */
	TK_LEARN_WIDE, /* any path in the guard point */
};

#define TK_LEARN_DIMS TK_DIM_TIMES /* those before it: what is learnt holds at any time */

/* What was seen of one guard point. */
struct tk_lesson {
	enum tk_generalise generalise;
	bool key; /* its policy has one */
	/* Users as a policy names them; globs on executables; globs below the guard point, "" for itself. */
	char **names[TK_LEARN_DIMS];
	size_t name_count[TK_LEARN_DIMS];
	struct tk_sighting *sightings;
	size_t sighting_count;
	uint64_t event_count;
};

#define TK_LEARN_NAMES_MAX 4096 /* of a dimension */

/* One deed more; exe is the path of its program, below the path below the guard point.  -E2BIG, -ENOMEM. */
int tk_lesson_add(struct tk_lesson *lesson, const struct tk_deed *deed, const char *exe, const char *below);
void tk_lesson_free(struct tk_lesson *lesson);

/*
 * Puts policy, guard point and sets into the tree of a policy: the guard point's policy becomes one of its
 * own, with the learnt rules; its mode becomes enforce.  -ENOMEM.
 */
int tk_lesson_write(struct tk_lesson *lesson, cJSON *tree, cJSON *guard);
/* Takes away policies no guard point uses any more, and sets that no rule uses. */
void tk_lesson_prune(cJSON *tree);

#endif
