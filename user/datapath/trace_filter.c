// SPDX-License-Identifier: Apache-2.0
#include "datapath/trace_filter.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/ip.h"
#include "base/units.h"

#define WORD_LEN 160 /* of a word: the longest is NAMESPACE/NAME:PORT */

struct parser {
	const char *text;
	size_t at;	     /* behind the last word */
	size_t begin;	     /* of the last word */
	char word[WORD_LEN]; /* "" at the end */
	struct shunt_trace_query *query;
	bool has_src, has_dst;
	struct shunt_err *err;
};

#define WANT_NET     "an address or network such as 10.0.0.9, 10.0.0.0/8 or fd00::/8"
#define WANT_PORT    "a port from 1 to 65535"
#define WANT_SERVICE "[NAMESPACE/]NAME[:PORT]"
#define WANT_WORD                                                                                  \
	"tcp, udp, ip, ip6, host NET, src NET, dst NET, port N, src port N, dst port N, "          \
	"service NAME, reason NAME, gate DEV or new"

static int fail(const struct parser *p, const char *want)
{
	if (!p->word[0])
		return shunt_err_set(p->err, -EINVAL, "filter: at its end, want %s", want);
	return shunt_err_set(p->err, -EINVAL, "filter: at character %zu, \"%s\": want %s",
			     p->begin + 1, p->word, want);
}

/* Bytes that a terminal could obey are no part of any word. */
static int next_word(struct parser *p)
{
	size_t len = 0;

	while (p->text[p->at] && isspace((unsigned char)p->text[p->at]))
		p->at++;
	p->begin = p->at;
	p->word[0] = '\0';
	for (; p->text[p->at] && !isspace((unsigned char)p->text[p->at]); p->at++) {
		if (len == WORD_LEN - 1 || !isgraph((unsigned char)p->text[p->at]))
			return shunt_err_set(p->err, -EINVAL, "filter: at character %zu, want %s",
					     p->begin + 1, WANT_WORD);
		p->word[len++] = p->text[p->at];
	}
	p->word[len] = '\0';
	return 0;
}

/* ---- values -------------------------------------------------------------------------------------
 */

/* Says that @was asks for another thing than before. 0 is not asked yet. */
static int set_once(const struct parser *p, uint8_t *was, uint8_t value, const char *what)
{
	if (*was && *was != value)
		return shunt_err_set(p->err, -EINVAL,
				     "filter: at character %zu, \"%s\": no packet is of two %s",
				     p->begin + 1, p->word, what);
	*was = value;
	p->query->conditions |= SHUNT_TRACE_IF_TUPLE;
	return 0;
}

static int read_net(struct parser *p, struct shunt_trace_net *ret_net)
{
	struct shunt_trace_net net = { 0 };
	struct shunt_cidr cidr;
	unsigned first, bits;

	if (next_word(p) < 0)
		return -EINVAL;
	if (shunt_cidr_parse(p->word, &cidr) < 0)
		return fail(p, WANT_NET);
	net.addr = cidr.net.addr;
	first = cidr.net.family == SHUNT_V4 ? 96 : 0; /* IPv4 stands in the last word */
	bits = first + cidr.prefix_len;
	for (unsigned bit = first; bit < bits; bit++)
		net.mask.word_be[bit / 32] |= htonl(0x80000000u >> bit % 32);
	*ret_net = net;
	return set_once(p, &p->query->tuple.family, cidr.net.family + 1, "families");
}

static int read_port(struct parser *p, __be16 *ret_port_be)
{
	uint64_t port;

	if (next_word(p) < 0)
		return -EINVAL;
	if (shunt_number_parse(p->word, 65535, &port) < 0 || !port)
		return fail(p, WANT_PORT);
	*ret_port_be = htons((uint16_t)port);
	p->query->conditions |= SHUNT_TRACE_IF_TUPLE;
	return 0;
}

static int given_twice(const struct parser *p, const char *what, int most)
{
	return shunt_err_set(p->err, -EINVAL, "filter: at character %zu, \"%s\": %s is taken %s",
			     p->begin + 1, p->word, what, most == 1 ? "once" : "twice at most");
}

/* ---- conditions
 * ------------------------------------------------------------------------------------- */

static int take_tcp(struct parser *p)
{
	return set_once(p, &p->query->tuple.proto, IPPROTO_TCP, "protocols");
}

static int take_udp(struct parser *p)
{
	return set_once(p, &p->query->tuple.proto, IPPROTO_UDP, "protocols");
}

static int take_ip(struct parser *p)
{
	return set_once(p, &p->query->tuple.family, SHUNT_V4 + 1, "families");
}

static int take_ip6(struct parser *p)
{
	return set_once(p, &p->query->tuple.family, SHUNT_V6 + 1, "families");
}

static bool is_net_set(const struct shunt_trace_net *net)
{
	static const struct shunt_trace_net none;

	return memcmp(net, &none, sizeof(none));
}

static int take_host(struct parser *p)
{
	for (int i = 0; i < SHUNT_TRACE_ADDRS; i++)
		if (!is_net_set(&p->query->tuple.host[i]))
			return read_net(p, &p->query->tuple.host[i]);
	return given_twice(p, "host", 2);
}

static int take_port(struct parser *p)
{
	for (int i = 0; i < SHUNT_TRACE_ADDRS; i++)
		if (!p->query->tuple.port_be[i])
			return read_port(p, &p->query->tuple.port_be[i]);
	return given_twice(p, "port", 2);
}

/* "src NET" or "src port N" */
static int take_side(struct parser *p, struct shunt_trace_net *net, __be16 *port_be, bool *has_net)
{
	struct parser ahead = *p;

	if (next_word(&ahead) < 0)
		return -EINVAL;
	if (!strcmp(ahead.word, "port")) {
		*p = ahead;
		return *port_be ? given_twice(p, "a side's port", 1) : read_port(p, port_be);
	}
	if (*has_net)
		return given_twice(p, "a side's address", 1);
	*has_net = true;
	return read_net(p, net);
}

static int take_src(struct parser *p)
{
	return take_side(p, &p->query->tuple.src, &p->query->tuple.sport_be, &p->has_src);
}

static int take_dst(struct parser *p)
{
	return take_side(p, &p->query->tuple.dst, &p->query->tuple.dport_be, &p->has_dst);
}

/* Copies up to @end. Return: 0, or -EINVAL: nothing there, or too long for a name. */
static int copy_name(char *to, size_t size, const char *from, const char *end)
{
	size_t len = (size_t)(end - from);

	if (!len || len >= size)
		return -EINVAL;
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

/* "80", "53/udp". Return: 0 or -EINVAL. */
static int parse_service_port(const char *text, struct shunt_trace_query *query)
{
	const char *slash = strchr(text, '/');
	char digits[8] = "";
	uint64_t port;

	if (copy_name(digits, sizeof(digits), text, slash ? slash : text + strlen(text)) < 0 ||
	    shunt_number_parse(digits, 65535, &port) < 0 || !port)
		return -EINVAL;
	if (slash && strcmp(slash, "/udp") && strcmp(slash, "/tcp"))
		return -EINVAL;
	query->port = (uint16_t)port;
	query->proto = !slash ? 0 : slash[1] == 'u' ? IPPROTO_UDP : IPPROTO_TCP;
	return 0;
}

static int take_service(struct parser *p)
{
	struct shunt_trace_query *q = p->query;
	const char *slash, *colon, *name;

	if (q->conditions & SHUNT_TRACE_IF_SERVICE)
		return given_twice(p, "service", 1);
	if (next_word(p) < 0)
		return -EINVAL;
	colon = strchr(p->word, ':');
	slash = memchr(p->word, '/', colon ? (size_t)(colon - p->word) : strlen(p->word));
	name = slash ? slash + 1 : p->word;
	if (slash && copy_name(q->namespace_, sizeof(q->namespace_), p->word, slash) < 0)
		return fail(p, WANT_SERVICE);
	if (copy_name(q->service, sizeof(q->service), name, colon ? colon : name + strlen(name)) <
		    0 ||
	    strchr(q->service, '/') || (colon && parse_service_port(colon + 1, q) < 0))
		return fail(p, WANT_SERVICE);
	q->conditions |= SHUNT_TRACE_IF_SERVICE;
	return 0;
}

static int take_reason(struct parser *p)
{
	static const char *const names[] = {
#define REASON_NAME(name, action, text) #name,
		SHUNT_REASONS(REASON_NAME)
#undef REASON_NAME
	};

	if (p->query->conditions & SHUNT_TRACE_IF_REASON)
		return given_twice(p, "reason", 1);
	if (next_word(p) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcasecmp(names[i], p->word))
			continue;
		p->query->reason = i;
		p->query->conditions |= SHUNT_TRACE_IF_REASON;
		return 0;
	}
	return fail(p, "a reason such as FORWARDED or NO_SERVICE: `shunt status -o json` lists "
		       "them");
}

static int take_gate(struct parser *p)
{
	if (p->query->conditions & SHUNT_TRACE_IF_GATE)
		return given_twice(p, "gate", 1);
	if (next_word(p) < 0)
		return -EINVAL;
	if (copy_name(p->query->gate, sizeof(p->query->gate), p->word, p->word + strlen(p->word)) <
	    0)
		return fail(p, "the name of an interface");
	p->query->conditions |= SHUNT_TRACE_IF_GATE;
	return 0;
}

static int take_new(struct parser *p)
{
	p->query->conditions |= SHUNT_TRACE_IF_NEW;
	return 0;
}

static int take_nothing(struct parser *p)
{
	(void)p;
	return 0;
}

static const struct {
	const char *word;
	int (*take)(struct parser *p);
} words[] = {
	{ "tcp", take_tcp },	   { "udp", take_udp },	  { "ip", take_ip },
	{ "ip6", take_ip6 },	   { "host", take_host }, { "src", take_src },
	{ "dst", take_dst },	   { "port", take_port }, { "service", take_service },
	{ "reason", take_reason }, { "gate", take_gate }, { "new", take_new },
	{ "and", take_nothing },
};

/* What people try who know other filters. */
static bool is_of_another_language(const char *word)
{
	return strchr("(!", word[0]) || !strcmp(word, "or") || !strcmp(word, "not") ||
	       !strcmp(word, "&&") || !strcmp(word, "||");
}

static int take_word(struct parser *p)
{
	if (is_of_another_language(p->word))
		return shunt_err_set(p->err, -EINVAL,
				     "filter: at character %zu, \"%s\": all words must hold; there "
				     "is no or, no not and no bracket",
				     p->begin + 1, p->word);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(words[i].word, p->word))
			return words[i].take(p);
	return fail(p, WANT_WORD);
}

int shunt_trace_query_parse(const char *text, struct shunt_trace_query *ret_query,
			    struct shunt_err *err)
{
	struct shunt_trace_query query = { 0 };
	struct parser p = { .text = text, .query = &query, .err = err };
	int r;

	if (strlen(text) > SHUNT_TRACE_MAX_FILTER)
		return shunt_err_set(err, -EINVAL, "filter: it is longer than %d characters",
				     SHUNT_TRACE_MAX_FILTER);
	for (;;) {
		r = next_word(&p);
		if (r < 0)
			return r;
		if (!p.word[0])
			break;
		r = take_word(&p);
		if (r < 0)
			return r;
	}
	*ret_query = query;
	return 0;
}

/* ---- names
 * ------------------------------------------------------------------------------------------- */

static bool is_meant(const struct shunt_trace_query *query, const struct shunt_service_name *name)
{
	return name->name[0] && !strncmp(name->name, query->service, SHUNT_NAME_LEN) &&
	       (!query->namespace_[0] ||
		!strncmp(name->namespace_, query->namespace_, SHUNT_NAME_LEN)) &&
	       (!query->port || ntohs(name->port_be) == query->port) &&
	       (!query->proto || name->proto == query->proto);
}

static int resolve_service(const struct shunt_trace_query *query, const struct shunt_dp_maps *maps,
			   struct shunt_trace_filter *filter, struct shunt_err *err)
{
	for (uint32_t i = 1; i < maps->service_names.n; i++) {
		if (!is_meant(query,
			      SHUNT_DP_AT(maps->service_names, struct shunt_service_name, i)))
			continue;
		if (filter->n_services == SHUNT_TRACE_SERVICES)
			return shunt_err_set(err, -E2BIG,
					     "filter: %s has more than %d ports: name one by :PORT",
					     query->service, SHUNT_TRACE_SERVICES);
		filter->service[filter->n_services++] = i;
	}
	if (filter->n_services)
		return 0;
	return shunt_err_set(
		err, -ENOENT,
		"filter: no service %s%s%s%s is split here: `shunt status` lists those "
		"that are",
		query->namespace_, query->namespace_[0] ? "/" : "", query->service,
		query->port ? " with that port" : "");
}

int shunt_trace_query_resolve(const struct shunt_trace_query *query,
			      const struct shunt_dp_maps *maps,
			      struct shunt_trace_filter *ret_filter, struct shunt_err *err)
{
	struct shunt_trace_filter filter = { .conditions = query->conditions,
					     .reason = query->reason,
					     .tuple = query->tuple };
	int r;

	if (query->conditions & SHUNT_TRACE_IF_GATE) {
		filter.ifindex = if_nametoindex(query->gate);
		if (!filter.ifindex)
			return shunt_err_set(err, -ENOENT, "filter: there is no interface %s",
					     query->gate);
	}
	if (query->conditions & SHUNT_TRACE_IF_SERVICE) {
		r = resolve_service(query, maps, &filter, err);
		if (r < 0)
			return r;
	}
	*ret_filter = filter;
	return 0;
}
