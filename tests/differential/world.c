// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/world.c - the world of world.h, and its tree on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/differential/world.h"

const struct world_exe world_exes[] = {
	{"/bin/tool", "/bin/tl", "one", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
	 true, false},
	{"/bin/editor", NULL, "two", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
	 true, false},
	{"/opt/suite/editor", "/bin/suite", "three",
	 "8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f", true, false},
	{"/opt/open/tool", NULL, "four", "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00",
	 false, false},
	{"/srv/tool.bin", "/opt/tool", "five",
	 "222b0bd51fcef7e65c2e62db2ed65457013bab56be6fafeb19ee11d453153c80", true, false},
	{"/bin/ted", NULL, "six", "44778d82365e4af681c40d5f0eef5cf6f5899d3f0ac335050a7ed6779cf3f674",
	 false, true},
};
const size_t world_exe_count = sizeof(world_exes) / sizeof(world_exes[0]);

const uint32_t world_uids[] = {0, 1000, 1001, 1002, 65534};
const size_t world_uid_count = sizeof(world_uids) / sizeof(world_uids[0]);
const uint32_t world_gids[] = {0, 100, 2000, 2001, 4294967294u};
const size_t world_gid_count = sizeof(world_gids) / sizeof(world_gids[0]);

const char *const world_units[WORLD_UNITS] = {NULL, "one.service", "two.scope", "three.service"};

const char *const world_zones[] = {"UTC", "Asia/Jakarta", "Europe/Berlin", "America/New_York",
				   "Australia/Lord_Howe", "Africa/Casablanca"};
const size_t world_zone_count = sizeof(world_zones) / sizeof(world_zones[0]);
const int64_t world_instants[] = {
	1774746000 - 1, /* 2026-03-29 01:00 UTC: summer time begins in Europe */
	1774746000,
	1774746000 + 1800,
	1792890000 - 1, /* 2026-10-25 01:00 UTC: it ends */
	1792890000 - 1800,
	1792890000,
	1792890000 + 3599,
	1772953200 - 60, /* 2026-03-08 07:00 UTC: it begins in New York */
	1772953200,
	1793512800 - 1, /* 2026-11-01 06:00 UTC: it ends */
	1793512800,
	1775314800, /* 2026-04-04 15:00 UTC: half an hour of it ends on Lord Howe */
	1775314800 - 60,
	1700000000, /* 2023-11-14 22:13:20 UTC, a Tuesday */
	1700000000 + 86400,
	1700000000 + 2 * 86400 + 3600,
	1700000000 + 3 * 86400 + 7200,
	1700000000 + 4 * 86400 + 9000,
	1700000000 + 5 * 86400 + 21600,
	1700000000 + 6 * 86400 + 40000,
	4100000000, /* 2099: past every zone's table */
	4100000000 + 12 * 3600,
	86400 * 365,
};
const size_t world_instant_count = sizeof(world_instants) / sizeof(world_instants[0]);

const char *const world_actions[WORLD_ACTIONS] = {"data_read", "data_write", "execute", "list",	    "create",
						  "delete",    "rename",     "link",	"set_attr", "key_op"};

static int directory_make(const char *root, const char *path, mode_t mode)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return mkdir(full, 0700) < 0 || chmod(full, mode) < 0 ? -errno : 0;
}

static int exe_make(const char *root, const struct world_exe *exe)
{
	char full[256], link[256];
	size_t len = strlen(exe->contents);
	int fd;

	snprintf(full, sizeof(full), "%s%s", root, exe->path);
	fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	if (fd < 0)
		return -errno;
	if (write(fd, exe->contents, len) != (ssize_t)len || fchmod(fd, exe->foreign ? 0775 : 0755) < 0) {
		close(fd);
		return -EIO;
	}
	close(fd);
	if (!exe->link)
		return 0;
	snprintf(link, sizeof(link), "%s%s", root, exe->link);
	return symlink(full, link) < 0 ? -errno : 0;
}

int world_create(char *root)
{
	static const struct {
		const char *path;
		mode_t mode;
	} directories[] = {
		{"/bin", 0755}, {"/opt", 0755}, {"/opt/suite", 0755}, {"/opt/open", 0777}, {"/srv", 0755},
	};
	int r = 0;

	strcpy(root, "/tmp/tk-differential-XXXXXX");
	if (!mkdtemp(root) || chmod(root, 0755) < 0)
		return -errno;
	for (size_t i = 0; !r && i < sizeof(directories) / sizeof(directories[0]); i++)
		r = directory_make(root, directories[i].path, directories[i].mode);
	for (size_t i = 0; !r && i < world_exe_count; i++)
		r = exe_make(root, &world_exes[i]);
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void world_remove(const char *root)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
