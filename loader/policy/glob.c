// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/glob.c - what a glob means: text to tokens, and matching tokens
 * against a text.  policies/README.md tells users the same.
 *
 * Three uses share one syntax.  Whatever could be read in two ways is refused
 * (three stars, [^…], a slash in a class): a pattern in an access policy must not
 * mean something else than its author thinks.
 */
#include <errno.h>
#include <string.h>

#include "loader/policy/internal.h"

struct parser {
	const unsigned char *p;
	enum tk_glob_use use;
	struct tk_glob *glob;
	bool component_start; /* the next byte is the first of a component */
	bool base_name;	      /* a resource pattern without '/' */
	const char *why;
};

static struct tk_token *token_add(struct parser *parser, enum tk_token_kind kind)
{
	struct tk_token *token = &parser->glob->tokens[parser->glob->count++];

	*token = (struct tk_token){.kind = kind};
	return token;
}

static void token_set(struct tk_token *token, unsigned char byte)
{
	token->bytes[byte / 64] |= 1ull << (byte % 64);
}

static bool refuse(struct parser *parser, const char *why)
{
	parser->why = why;
	return false;
}

static bool parse_stars(struct parser *parser)
{
	size_t stars = strspn((const char *)parser->p, "*");

	if (stars > 2)
		return refuse(parser, "more than two stars in a row");
	parser->p += stars;
	if (stars == 1) {
		token_add(parser, TK_STAR);
	} else if (parser->use == TK_GLOB_NAME) {
		return refuse(parser, "\"**\" in a base name");
	} else if (parser->component_start && *parser->p == '/') {
		parser->p++;
		if (*parser->p == '/')
			return refuse(parser, "\"//\" in a pattern");
		if (!*parser->p)
			return refuse(parser, "\"/\" at the end of a pattern");
		token_add(parser, TK_DIRS);
		return true; /* still at the start of a component */
	} else {
		token_add(parser,
			  parser->base_name ? TK_STAR : TK_DSTAR); /* there is no '/' in a base name */
	}
	parser->component_start = false;
	return true;
}

/* One character of a class, with its backslash taken off. */
static bool parse_class_byte(struct parser *parser, unsigned char *ret_byte)
{
	if (*parser->p == '\\')
		parser->p++;
	if (!*parser->p)
		return refuse(parser, "\"[\" without \"]\"");
	if (*parser->p == '/')
		return refuse(parser, "\"/\" in a class");
	if (*parser->p >= 0x80)
		return refuse(parser, "a character that is not ASCII in a class (patterns match bytes)");
	*ret_byte = *parser->p++;
	return true;
}

/* After the "[". */
static bool parse_class(struct parser *parser)
{
	struct tk_token *token = token_add(parser, TK_ONE);
	bool negated = *parser->p == '!', first = true;
	unsigned char low, high;

	if (*parser->p == '^')
		return refuse(parser,
			      "\"[^\" (a class is negated by \"!\"; write \"\\^\" for the character)");
	parser->p += negated;
	for (; first || *parser->p != ']'; first = false) {
		if (parser->p[0] == '[' &&
		    (parser->p[1] == ':' || parser->p[1] == '.' || parser->p[1] == '='))
			return refuse(parser, "a named class such as [:alpha:] (write the range)");
		if (!parse_class_byte(parser, &low))
			return false;
		high = low;
		if (parser->p[0] == '-' && parser->p[1] && parser->p[1] != ']') {
			parser->p++;
			if (!parse_class_byte(parser, &high))
				return false;
		}
		if (high < low)
			return refuse(parser, "a range that runs backwards");
		for (unsigned int byte = low; byte <= high; byte++)
			token_set(token, (unsigned char)byte);
	}
	parser->p++;
	for (int i = 0; negated && i < 4; i++)
		token->bytes[i] = ~token->bytes[i];
	token->bytes['/' / 64] &= ~(1ull << ('/' % 64));
	return true;
}

static bool parse_literal(struct parser *parser, unsigned char byte)
{
	if (byte == '/' && parser->use == TK_GLOB_NAME)
		return refuse(parser, "\"/\" in a base name");
	if (byte == '/' && parser->component_start)
		return refuse(parser, "\"//\" in a pattern");
	if (byte == '/' && !*parser->p)
		return refuse(parser, "\"/\" at the end of a pattern");
	token_set(token_add(parser, TK_ONE), byte);
	parser->component_start = byte == '/';
	return true;
}

static bool parse_token(struct parser *parser)
{
	unsigned char byte = *parser->p;

	if (byte == '*')
		return parse_stars(parser);
	parser->p++;
	if (byte == '?' || byte == '[')
		parser->component_start = false;
	if (byte == '?') {
		struct tk_token *token = token_add(parser, TK_ONE);

		memset(token->bytes, 0xff, sizeof(token->bytes));
		token->bytes['/' / 64] &= ~(1ull << ('/' % 64));
		return true;
	}
	if (byte == '[')
		return parse_class(parser);
	if (byte != '\\')
		return parse_literal(parser, byte);
	byte = *parser->p;
	if (!byte)
		return refuse(parser, "\"\\\" at the end of a pattern");
	if (byte == '/')
		return refuse(parser, "\"\\/\" (a slash cannot be escaped)");
	parser->p++;
	return parse_literal(parser, byte);
}

/* "." and ".." never occur in the paths that patterns are matched against. */
static bool has_dots(const char *pattern)
{
	for (const char *p = pattern; p; p = strchr(p, '/')) {
		size_t len;

		p += *p == '/';
		len = strcspn(p, "/");
		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return true;
	}
	return false;
}

/* What depends on the use: where a pattern begins. */
static bool parse_start(struct parser *parser, const char *pattern)
{
	if (!*pattern)
		return refuse(parser, "an empty pattern");
	if (parser->use != TK_GLOB_NAME && has_dots(pattern))
		return refuse(parser, "\".\" or \"..\" as a component");
	if (parser->use == TK_GLOB_PATH) {
		if (*pattern != '/')
			return refuse(parser, "a path that does not begin with \"/\"");
		parser->component_start = false;
	}
	if (parser->use != TK_GLOB_RESOURCE)
		return true;
	if (*pattern == '/') {
		parser->p++; /* anchored at the guard point */
		if (!*parser->p)
			return refuse(parser, "\"/\" at the end of a pattern");
	} else if (!strchr(pattern, '/')) {
		parser->base_name = true;
		token_add(parser, TK_DIRS); /* at any depth */
	}
	return true;
}

int tk_glob_parse(const char *pattern, enum tk_glob_use use, struct tk_glob **ret_glob, const char **ret_why)
{
	TK_FREE struct tk_glob *glob = NULL;
	struct parser parser = {.p = (const unsigned char *)pattern, .use = use, .component_start = true};
	bool good;

	/* A token comes from at least one byte, but for the one that parse_start() may add. */
	glob = malloc(sizeof(*glob) + (strlen(pattern) + 1) * sizeof(glob->tokens[0]));
	if (!glob)
		return -ENOMEM;
	glob->count = 0;
	parser.glob = glob;
	good = parse_start(&parser, pattern);
	while (good && *parser.p)
		good = parse_token(&parser);
	if (!good) {
		*ret_why = parser.why;
		return -EINVAL;
	}
	*ret_glob = glob;
	glob = NULL;
	return 0;
}

/* ---------------------------------------------------------------- matching */

/*
 * A set of positions: 2 * i is "token i comes next", 2 * i + 1 "inside the components that the TK_DIRS
 * at i swallows".  All positions advance together, so time is tokens times bytes whatever the pattern.
 */
static void position_add(const struct tk_glob *glob, bool *positions, size_t token)
{
	/* What can match nothing is passed over; a position that is set has been here already. */
	while (!positions[2 * token]) {
		positions[2 * token] = true;
		if (token == glob->count || glob->tokens[token].kind == TK_ONE)
			return;
		token++;
	}
}

static void positions_step(const struct tk_glob *glob, const bool *now, bool *next, unsigned char byte)
{
	for (size_t i = 0; i < glob->count; i++) {
		const struct tk_token *token = &glob->tokens[i];
		bool here = now[2 * i], inside = now[2 * i + 1];

		if (!here && !inside)
			continue;
		if (token->kind == TK_ONE) {
			if (tk_token_takes(token, byte))
				position_add(glob, next, i + 1);
		} else if (token->kind == TK_DIRS) {
			if (inside || byte != '/')
				next[2 * i + 1] = true;
			if (inside && byte == '/')
				position_add(glob, next, i + 1);
		} else if (token->kind == TK_DSTAR || byte != '/') {
			position_add(glob, next, i);
		}
	}
}

bool tk_glob_run(const struct tk_glob *glob, const char *text)
{
	TK_FREE bool *both = calloc(2, 2 * glob->count + 2);
	bool *now = both, *next = both + 2 * glob->count + 2, *spare;

	if (!both)
		return false;
	position_add(glob, now, 0);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		memset(next, 0, 2 * glob->count + 2);
		positions_step(glob, now, next, *p);
		spare = now;
		now = next;
		next = spare;
	}
	return now[2 * glob->count];
}

bool tk_glob_match(const char *pattern, const char *path)
{
	TK_FREE struct tk_glob *glob = NULL;
	const char *why;

	return !tk_glob_parse(pattern, TK_GLOB_PATH, &glob, &why) && tk_glob_run(glob, path);
}
